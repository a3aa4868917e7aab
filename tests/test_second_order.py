"""Methods of second order solve in one step what is quadratic, and keep their own laws."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from scipy.optimize import rosen, rosen_der

import dljax as dj
from dljax import losses
from dljax.optimizers.solvers import backtrack, conjugate_gradients, solve_exactly

opt = dj.optimizers


def quadratic(seed=0):
    """A convex quadratic of a tree of six parameters: its value, and where it is lowest."""
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(6, 6))
    H, low = jnp.asarray(root @ root.T + np.eye(6)), jnp.asarray(draw.normal(size=6))
    row = lambda p: jnp.concatenate([p["a"].reshape(-1), p["b"]])  # noqa: E731
    value = lambda p: (row(p) - low) @ H @ (row(p) - low) / 2  # noqa: E731
    minimum = {"a": low[:4].reshape(2, 2), "b": low[4:]}
    return value, minimum


def functions_of(value, p):
    """What a caller without a trainer passes: for these, all three products are the Hessian's."""
    product = lambda v: jax.jvp(jax.grad(value), (p,), (v,))[1]  # noqa: E731
    names = ("hvp_fn", "gauss_newton_vp", "fisher_vp")
    return {"value_fn": value, **dict.fromkeys(names, product)}


def step(optimizer, value, p, state=None):
    @jax.jit
    def one(p, state):
        updates, state = optimizer.update(jax.grad(value)(p), state, p, **functions_of(value, p))
        return optax.apply_updates(p, updates), state

    return one(p, optimizer.init(p) if state is None else state)


SOLVERS = {
    "newton": opt.newton(),
    "newton_cg": opt.newton_cg(tolerance=1e-14),
    "gauss_newton": opt.gauss_newton(damping=0.0, solver="exact"),
    "gauss_newton cg": opt.gauss_newton(damping=0.0, solver="cg", tolerance=1e-14),
    "natural_gradient": opt.natural_gradient(1.0, damping=0.0, solver="exact"),
    "natural_gradient cg": opt.natural_gradient(1.0, damping=0.0, solver="cg", tolerance=1e-14),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", list(SOLVERS))
def test_one_step_solves_a_quadratic(name):
    value, minimum = quadratic()
    start = jax.tree.map(lambda x: x + 3.0, minimum)
    found, _ = jax.jit(lambda p: step(SOLVERS[name], value, p))(start)
    # a few roundings times the condition number, about 50
    chex.assert_trees_all_close(found, minimum, atol=1e-10)


@pytest.mark.usefixtures("x64")
def test_newton_does_not_depend_on_linear_coordinates():
    value, _ = quadratic()
    cubic = lambda p: value(p) + (p["a"] ** 4).sum()  # noqa: E731
    scale = {"a": jnp.array([[3.0, 0.2], [1.0, 10.0]]), "b": jnp.array([0.01, 7.0])}
    scaled = lambda p: cubic(jax.tree.map(jnp.multiply, p, scale))  # noqa: E731
    p = {"a": jnp.ones((2, 2)), "b": jnp.ones(2)}
    plain, _ = step(opt.newton(), cubic, p)
    other, _ = step(opt.newton(), scaled, jax.tree.map(jnp.divide, p, scale))
    chex.assert_trees_all_close(jax.tree.map(jnp.multiply, other, scale), plain, rtol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "make", [opt.newton, lambda: opt.newton_cg(tolerance=1e-3)], ids=["exact", "cg"]
)
def test_newton_finds_rosenbrocks_minimum_from_the_usual_start(make):
    optimizer, value = make(), lambda p: dj.problems.FUNCTIONS[1].value(p)
    body = lambda carry, _: (step(optimizer, value, *carry), None)  # noqa: E731
    p = jnp.array([-1.2, 1.0])
    (p, _), _ = jax.jit(lambda c: jax.lax.scan(body, c, None, 40))((p, optimizer.init(p)))
    np.testing.assert_allclose(p, [1.0, 1.0], atol=1e-8)
    np.testing.assert_allclose(rosen(p), 0.0, atol=1e-15)
    np.testing.assert_allclose(rosen_der(p), 0.0, atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_newton_leaves_a_saddle_downhill_where_the_plain_step_would_enter_it():
    value = lambda p: p[0] ** 2 / 2 - p[1] ** 2 / 2 + p[1] ** 4 / 4  # noqa: E731
    p = jnp.array([0.5, 0.1])
    assert value(step(opt.newton(), value, p)[0]) < value(p) - 0.1
    assert value(step(opt.newton_cg(), value, p)[0]) < value(p)


@pytest.mark.usefixtures("x64")
def test_gauss_newton_solves_linear_least_squares_like_lstsq():
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(20, 3)), draw.normal(size=20)
    task = dj.supervised(dj.linen_model(nn.Dense(1)), losses.squared_error)
    fit = dj.trainer(
        task, opt.gauss_newton(damping=0.0, solver="exact"), {"x": x, "y": y}, parts=()
    )
    state, _ = dj.run(fit, as_float64(fit.init(jax.random.key(0))), num_steps=1)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(20)]), y, rcond=None)[0]
    found = state.variables["params"]
    np.testing.assert_allclose(found["kernel"][:, 0], expected[:3], atol=1e-10)
    np.testing.assert_allclose(found["bias"][0], expected[3], atol=1e-10)


def as_float64(state):
    # what a step costs is a number in float32
    is_float = lambda x: jnp.issubdtype(x.dtype, jnp.floating) and x.ndim > 0  # noqa: E731
    double = lambda x: jnp.asarray(x, jnp.float64) if is_float(x) else x  # noqa: E731
    variables, opt_state = jax.tree.map(double, (state.variables, state.opt_state))
    return state._replace(variables=variables, opt_state=opt_state)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("solver", ["exact", "cg"])
def test_the_natural_gradient_does_not_depend_on_the_parametrization(solver):
    """Softmax regression in W, and in V with W = sinh(3 V) elementwise: one tangent of one path."""
    data = jax.tree.map(jnp.asarray, small.blobs(30))
    data["x"] = data["x"].astype(jnp.float64)
    W = jnp.asarray(np.random.default_rng(2).normal(size=(4, 2)))

    def moved(to_W, from_W):
        # the third logit is 0: with three the Fisher matrix would be singular
        def apply(variables, x, **_):
            return jnp.pad(x @ to_W(variables["params"]), ((0, 0), (0, 1))), variables

        model = dj.Model(lambda key, x: {"params": from_W(W)}, apply)
        optimizer = opt.natural_gradient(
            1.0, damping=0.0, solver=solver, tolerance=1e-13, max_iterations=200
        )
        fit = dj.trainer(dj.supervised(model, losses.cross_entropy), optimizer, data, parts=())

        @jax.jit
        def step_in_W(state):
            rows = jax.tree.map(lambda x: x[0], fit.draw(state, 1))
            p, new = state.variables["params"], fit.step(state, rows)[0].variables["params"]
            return jax.jvp(to_W, (p,), (new - p,))[1]

        return step_in_W(fit.init(jax.random.key(0)))

    plain = moved(lambda W: W, lambda W: W)
    bent = moved(lambda V: jnp.sinh(3 * V), lambda W: jnp.arcsinh(W) / 3)
    chex.assert_trees_all_close(plain, bent, rtol=1e-7, atol=1e-9)
    assert float(jnp.abs(plain).max()) > 0.1


@pytest.mark.usefixtures("x64")
def test_kfac_is_the_natural_gradient_of_a_linear_layer_with_squared_error():
    data = small.blobs(20)
    data = {"x": data["x"].astype(np.float64), "y": data["x"][:, 0].astype(np.float64) ** 2}
    task = dj.supervised(dj.linen_model(Layer()), losses.squared_error)
    steps = []
    for optimizer in (
        opt.natural_gradient(0.1, damping=0.0, solver="exact"),
        opt.kfac(0.1, damping=1e-20, max_kl=np.inf, exact=True),
    ):
        fit = dj.trainer(task, optimizer, data, parts=())
        state, _ = dj.run(fit, as_float64(fit.init(jax.random.key(0))), num_steps=3)
        steps.append(state.variables["params"])
    # the damping of 1e-20 enters by its root, 1e-10, times the condition number
    chex.assert_trees_all_close(*steps, atol=1e-9)


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1, name="layer")(x)


def test_kfac_never_promises_a_change_above_max_kl():
    draw = np.random.default_rng(5)
    layer = {"kernel": jnp.asarray(draw.normal(size=(3, 2))), "bias": jnp.ones(2)}
    factors = tuple(
        jnp.asarray(a @ a.T) for a in (draw.normal(size=(4, 4)), draw.normal(size=(2, 2)))
    )
    for max_kl in (1e-4, 1e-2, np.inf):
        optimizer = opt.kfac(1.0, max_kl=max_kl, damping=1e-6)
        grads = {"layer": jax.tree.map(lambda x: x.astype(jnp.float32), layer)}
        updates, _ = optimizer.update(
            grads, optimizer.init(grads), grads, kronecker_fn=lambda exact: ({"layer": factors}, 1)
        )
        U = jnp.concatenate([updates["layer"]["kernel"], updates["layer"]["bias"][None]])
        A, G = factors
        K = float(jnp.trace(U.T @ A @ U @ G)) / 2
        allowed = max_kl * (1 + 1e-3), 0.9 * min(max_kl, 1e-2)
        assert allowed[1] < K <= allowed[0]


@pytest.mark.slow
def test_kfac_learns_what_it_is_made_for_faster_than_gradient_descent():
    data = small.blobs(60)
    model = dj.linen_model(dj.modules.CNN(3, (2,), 4))
    task = dj.supervised(model, losses.cross_entropy, inputs=lambda b: b["x"].reshape(-1, 2, 2))

    def last_loss(optimizer):
        fit = dj.trainer(task, optimizer, data, batch_size=20, parts=("train",))
        trained = jax.jit(lambda key: dj.run(fit, fit.init(key), num_steps=20)[1])
        return trained(jax.random.key(0))["train_loss"][-1]

    assert float(last_loss(opt.kfac(0.3))) < 0.7 * float(last_loss(opt.sgd(0.1)))


@pytest.mark.usefixtures("x64")
def test_diagonal_fisher_divides_by_the_diagonal_alone():
    p = {"w": jnp.array([1.0, -2.0])}
    F = {"w": jnp.array([0.5, 4.0])}
    optimizer = opt.diagonal_fisher(0.1, damping=1e-3)
    state = optimizer.init(p)
    for t in (1, 2):
        offered = {"fisher_diagonal_fn": lambda exact, t=t: (jax.tree.map(lambda x: t * x, F), 1)}
        updates, state = optimizer.update({"w": jnp.ones(2)}, state, p, **offered)
    corrected = (0.95 * 0.05 * F["w"] + 0.05 * 2 * F["w"]) / (1 - 0.95**2)
    chex.assert_trees_all_close(updates["w"], -0.1 / (corrected + 1e-3), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_conjugate_gradients_solve_the_damped_system_and_count_their_products():
    draw = np.random.default_rng(6)
    root = draw.normal(size=(8, 8))
    H, g = jnp.asarray(root @ root.T), jnp.asarray(draw.normal(size=8))
    exact, took = solve_exactly(lambda v: H @ v, g, 0.3)
    d, of_cg = conjugate_gradients(lambda v: H @ v, g, 0.3, 1e-13, 100)
    chex.assert_trees_all_close(d, exact, rtol=1e-9)
    np.testing.assert_allclose((H + 0.3 * np.eye(8)) @ d, -g, atol=1e-10)
    assert took == {"products": 8, "solves": 1, "solve_flops": 9 * 8**3}
    assert 8 <= int(of_cg["products"]) <= 12  # n in exact arithmetic
    short, of_cg = conjugate_gradients(lambda v: H @ v, g, 0.3, 1e-13, 3)
    assert int(of_cg["products"]) == 3
    assert float(short @ g) < 0


def test_the_line_search_halves_until_the_step_is_sufficient():
    value = lambda u: (3.0 + u[0]) ** 2  # noqa: E731
    g, d = jnp.array([6.0]), jnp.array([-6.0])
    u, tried = backtrack(value, jnp.float32(9.0), 4.0, d, g, 10)
    # -24 and -12 climb, -6 is as high as the start, -3 is the minimum
    assert (float(u[0]), int(tried)) == (-3.0, 4)
    u, tried = backtrack(value, jnp.float32(9.0), 4.0, d, g, 1)
    assert (float(u[0]), int(tried)) == (0.0, 2)


def test_the_cost_counts_products_values_and_passes():
    value = lambda p: ((p - 1.0) ** 2).sum()  # noqa: E731
    p = jnp.array([0.0, 5.0, 2.0])
    cost = lambda optimizer: float(  # noqa: E731
        opt.gradient_equivalents(step(optimizer, value, p)[1], jnp.int32(1))
    )
    # the gradient; two gradients a product, of which there are three; and the step's value, 1/3,
    # with the value at the start, which a trainer would have
    np.testing.assert_allclose(cost(opt.newton()), 1 + 2 * 3 + 1 / 3 + 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(cost(opt.newton(max_halvings=0)), 1 + 2 * 3, rtol=1e-6)
    np.testing.assert_allclose(cost(opt.newton_cg(max_halvings=0)), 1 + 2, rtol=1e-6)
    assert cost(opt.adam(0.1)) == 1


def test_the_history_holds_the_cost_of_every_evaluation():
    fit = dj.trainer(small.classifier(), opt.kfac(0.1), small.blobs(), batch_size=8)
    trained = jax.jit(lambda key: dj.run(fit, fit.init(key), num_steps=4, eval_every=2)[1])
    history = trained(jax.random.key(0))
    np.testing.assert_allclose(history["cost"], [0.0, 4.0, 8.0])  # 1 + 1/3 + 2/3 a step


@pytest.mark.parametrize(
    "make",
    [
        lambda: opt.newton(damping=0.1),
        pytest.param(lambda: opt.newton_cg(damping=0.1), marks=pytest.mark.slow),
        pytest.param(lambda: opt.natural_gradient(0.1, damping=0.1), marks=pytest.mark.slow),
        pytest.param(lambda: opt.gauss_newton(damping=0.1), marks=pytest.mark.slow),
        pytest.param(lambda: opt.kfac(0.1), marks=pytest.mark.slow),
        pytest.param(lambda: opt.diagonal_fisher(0.1, damping=0.1), marks=pytest.mark.slow),
    ],
    ids=["newton", "newton_cg", "natural_gradient", "gauss_newton", "kfac", "diagonal_fisher"],
)
def test_members_with_different_seeds_train_in_one_program(make):
    data = small.blobs(24)
    member = lambda data, *, seed: dj.run(  # noqa: E731
        fit := dj.trainer(small.classifier((2,)), make(), data, parts=("train",)),
        fit.init(dj.stream(jax.random.key(0), "member", seed)),
        num_steps=6,
    )[1]
    study = dj.study(member, data, axes={"seed": np.arange(3)}, width=2)
    loss = study.results["train_loss"]
    assert (loss[:, -1] < loss[:, 0]).all()


MISSING = {
    "hvp_fn": opt.newton(),
    "gauss_newton_vp": opt.gauss_newton(),
    "fisher_vp": opt.natural_gradient(0.1),
    "fisher_diagonal_fn": opt.diagonal_fisher(0.1),
    "kronecker_fn": opt.kfac(0.1),
}


@pytest.mark.parametrize("name", list(MISSING))
def test_a_missing_function_is_named_and_so_is_who_supplies_it(name):
    p = {"layer": {"kernel": jnp.ones((2, 2))}}
    optimizer = MISSING[name]
    with pytest.raises(ValueError, match=f"must be given the extra argument {name}, which dj.tra"):
        optimizer.update(p, optimizer.init(p), p)


def test_a_task_without_a_likelihood_offers_no_fisher_matrix_and_the_error_says_so():
    data = {**small.blobs(8), "y": np.ones(8, np.float32)}
    task = dj.supervised(dj.linen_model(dj.modules.MLP(1)), losses.huber)
    fit = dj.trainer(task, opt.natural_gradient(0.1), data)
    with pytest.raises(ValueError, match=r"fisher_root, such as dj\.supervised with cross_entropy"):
        dj.run(fit, fit.init(jax.random.key(0)), num_steps=1)


class Twice(nn.Module):
    @nn.compact
    def __call__(self, x):
        layer = nn.Dense(4, name="layer")
        return layer(layer(x))[:, :3]


def test_kfac_says_which_layer_it_cannot_take():
    run_it = lambda model: dj.run(  # noqa: E731
        fit := dj.trainer(
            dj.supervised(model, losses.cross_entropy), opt.kfac(0.1), small.blobs(8)
        ),
        fit.init(jax.random.key(0)),
        num_steps=1,
    )
    with pytest.raises(ValueError, match="called once, got 'layer' twice"):
        run_it(dj.linen_model(Twice()))
    with pytest.raises(ValueError, match=r"kernels and biases of .* got a parameter at 'W'"):
        run_it(small.linear_model())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: opt.newton(damping=-1.0), r"damping must be in \[0, inf\), got -1"),
        (lambda: opt.newton(max_halvings=-1), r"max_halvings must be in \[0, inf\), got -1"),
        (lambda: opt.newton_cg(max_iterations=0), r"max_iterations must be in \[1, inf\), got 0"),
        (lambda: opt.gauss_newton(solver="lu"), "solver must be 'exact' or 'cg', got 'lu'"),
        (lambda: opt.natural_gradient(-1.0), r"learning_rate must be in \[0, inf\), got -1"),
        (lambda: opt.kfac(0.1, damping=0.0), r"damping must be in \(0, inf\), got 0"),
        (lambda: opt.kfac(0.1, max_kl=0.0), r"max_kl must be in \(0, inf\], got 0"),
        (lambda: opt.diagonal_fisher(0.1, decay=1.0), r"decay must be in \[0, 1\), got 1"),
    ],
    ids=["damping", "halvings", "iterations", "solver", "rate", "kfac", "kl", "decay"],
)
def test_a_number_out_of_range_says_its_name_its_rule_and_what_came(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_matrix_too_large_to_form_is_refused_with_what_to_take_instead():
    p = jnp.ones(5000)
    with pytest.raises(ValueError, match=r"at most 4,096 parameters, got 5,000: take newton_cg"):
        step(opt.newton(), lambda p: (p**2).sum(), p)


def test_complex_parameters_are_refused():
    p = jnp.ones(2, jnp.complex64)
    optimizer = opt.newton(max_halvings=0)
    with pytest.raises(ValueError, match="newton must have real parameters"):
        optimizer.update(p, optimizer.init(p), p, hvp_fn=lambda v: v)


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm(name="norm")(nn.Dense(6, name="a")(x))
        return nn.Dense(3, name="b")(nn.relu(x))


def trained(optimizer, model=None):
    model = dj.linen_model(Normed()) if model is None else model
    task = dj.supervised(model, losses.cross_entropy)
    fit = dj.trainer(task, optimizer, small.blobs(24), parts=("train",))
    run_it = jax.jit(lambda key: dj.run(fit, fit.init(key), num_steps=6)[1]["train_loss"])
    return run_it(jax.random.key(0))


@pytest.mark.slow
def test_kfac_takes_the_layers_that_a_partition_gives_it():
    optimizer = optax.partition(
        {"kfac": opt.kfac(0.1), "adam": opt.adam(0.01)}, {"a": "kfac", "norm": "adam", "b": "kfac"}
    )
    loss = trained(optimizer)
    assert loss[-1] < loss[0]


@pytest.mark.parametrize("name", ["natural_gradient", "diagonal_fisher", "sam"])
def test_a_method_that_needs_the_whole_tree_says_so_in_a_partition(name):
    part = opt.sam(opt.sgd(0.1)) if name == "sam" else getattr(opt, name)(0.1)
    optimizer = optax.partition(
        {"this": part, "sgd": opt.sgd(0.1)}, {"a": "this", "norm": "sgd", "b": "this"}
    )
    with pytest.raises(ValueError, match=f"{name} must have all parameters, got a part"):
        trained(optimizer)


def test_multi_steps_hands_the_functions_on():
    loss = trained(optax.MultiSteps(opt.newton_cg(damping=0.1), 2))
    assert loss[-1] < loss[0]


@pytest.mark.slow
def test_optax_line_searches_run_in_the_trainer():
    loss = trained(optax.lbfgs())
    assert loss[-1] < loss[0]


def test_sam_hands_on_no_curvature_of_another_point():
    with pytest.raises(ValueError, match="newton_cg must be given the extra argument hvp_fn"):
        trained(opt.sam(opt.newton_cg()))


def test_a_line_search_without_parameters_is_refused():
    p = jnp.ones(2)
    optimizer = opt.newton()
    with pytest.raises(ValueError, match="newton needs the parameters"):
        optimizer.update(p, optimizer.init(p), hvp_fn=lambda v: v, value_fn=jnp.sum)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: opt.newton(max_halvings=1.5), r"max_halvings must be a whole number .* got 1.5"),
        (lambda: opt.muon(0.1, num_iterations=2.5), "num_iterations must be a whole number"),
        (
            lambda: jax.jit(
                lambda p: optax.inject_hyperparams(opt.shampoo)(learning_rate=0.1).init(p)
            )(jnp.ones((2, 2))),
            "max_size must be a whole number that is not traced; .* static_args='max_size'",
        ),
        (lambda: opt.adam(None), "learning_rate must be a number in .* got None"),
        (
            lambda: opt.ema(opt.sgd),
            r"optimizer must be an optax.GradientTransformation, .* got sgd",
        ),
    ],
    ids=["halvings", "iterations", "static", "none", "factory"],
)
def test_an_argument_of_the_wrong_kind_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
