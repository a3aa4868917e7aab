"""Every optimizer equals its formula, and is a good citizen of optax."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import references

import dljax as dj

NUM_STEPS = 500
RATES = {
    "sgd": 0.05,
    "momentum": 0.02,
    "nag": 0.02,
    "adagrad": 0.3,
    "adadelta": 1.0,
    "rmsprop": 0.01,
    "adam": 0.05,
}
NAMES = list(RATES)
every_optimizer = pytest.mark.parametrize("name", NAMES)


def make(name, learning_rate):
    factory = getattr(dj.optimizers, name)
    return factory() if name == "adadelta" else factory(learning_rate)


def problem(seed=0):
    """A tree of parameters, and per leaf the constants of a noisy, curved gradient."""
    draw = np.random.default_rng(seed)
    shapes = {"W": (4, 3), "scalar": (), "nested": [(5,), {"deep": ((2, 2, 2), (1,))}]}
    is_shape = lambda s: isinstance(s, tuple) and all(isinstance(n, int) for n in s)  # noqa: E731
    build = lambda f: jax.tree.map(f, shapes, is_leaf=is_shape)  # noqa: E731
    params = build(lambda s: draw.normal(size=s))
    minimum = build(lambda s: 3.0 + draw.uniform(size=s))
    curvature = build(lambda s: draw.uniform(0.1, 2.0, size=s))
    noise = build(lambda s: 0.3 * draw.normal(size=(NUM_STEPS, *s)))
    return params, minimum, curvature, noise


def gradient(W, minimum, curvature, noise_t):
    return curvature * (W - minimum) + 0.1 * (W - minimum) ** 3 / 10 + noise_t


def run_ours(optimizer, params, minimum, curvature, noise):
    def step(carry, noise_t):
        params, state = carry
        grads = jax.tree.map(gradient, params, minimum, curvature, noise_t)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    params = jax.tree.map(jnp.asarray, params)
    (params, state), _ = jax.jit(lambda c: jax.lax.scan(step, c, noise))(
        (params, optimizer.init(params))
    )
    return dj.optimizers.eval_params(state, params), state


def run_reference(name, params, minimum, curvature, noise, learning_rate):
    def one_leaf(W, low, h, noise):
        g = lambda W, t: gradient(W, low, h, noise[t - 1])  # noqa: E731
        return getattr(references, name)(g, W, NUM_STEPS, learning_rate)

    return jax.tree.map(one_leaf, params, minimum, curvature, noise)


@every_optimizer
@pytest.mark.usefixtures("x64")
def test_equals_the_formula_in_float64_over_500_steps(name):
    case = problem()
    ours, _ = run_ours(make(name, RATES[name]), *case)
    reference = run_reference(name, *case, lambda t: RATES[name])
    # 500 steps of a few roundings each, none amplified on a convex function
    chex.assert_trees_all_close(ours, reference, rtol=1e-12)
    assert not np.allclose(ours["W"], case[0]["W"])


@every_optimizer
@pytest.mark.usefixtures("x64")
def test_a_schedule_sees_count_zero_first(name):
    case = problem(1)
    schedule = lambda count: RATES[name] / (1 + 0.1 * count)  # noqa: E731
    ours, _ = run_ours(make(name, schedule), *case)
    reference = run_reference(name, *case, lambda t: RATES[name] / (1 + 0.1 * (t - 1)))
    chex.assert_trees_all_close(ours, reference, rtol=1e-12)


@every_optimizer
@pytest.mark.usefixtures("x64")
def test_a_traced_learning_rate_gives_the_numbers_of_a_python_one(name):
    case = problem()
    rates = jnp.array([0.5, 1.0]) * RATES[name]
    together = jax.vmap(lambda rate: run_ours(make(name, rate), *case)[0])(rates)
    for i, rate in enumerate(rates.tolist()):
        alone, _ = run_ours(make(name, rate), *case)
        one = jax.tree.map(lambda x, i=i: x[i], together)
        chex.assert_trees_all_close(one, alone, rtol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (dj.optimizers.sgd(0.1), optax.sgd(0.1)),
        (dj.optimizers.momentum(0.1), optax.sgd(0.1, momentum=0.9)),
        (dj.optimizers.rmsprop(0.1), optax.rmsprop(0.1, eps=1e-16)),
        (dj.optimizers.adadelta(), optax.adadelta(1.0, rho=0.95, eps=1e-6)),
        (
            dj.optimizers.adagrad(0.1),
            optax.adagrad(0.1, initial_accumulator_value=0.0, eps=1e-16),
        ),
    ],
    ids=["sgd", "momentum", "rmsprop", "adadelta", "adagrad"],
)
def test_equals_optax_where_optax_has_the_same_formula(ours, theirs):
    case = problem()
    chex.assert_trees_all_close(run_ours(ours, *case)[0], run_ours(theirs, *case)[0], rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_nag_equals_optax_nesterov_in_the_look_ahead_parameters():
    params, minimum, curvature, noise = problem()
    ours, theirs = dj.optimizers.nag(0.02), optax.sgd(0.02, momentum=0.9, nesterov=True)
    a, b = (params, ours.init(params)), (params, theirs.init(params))
    for t in range(50):
        noise_t = jax.tree.map(lambda x, t=t: x[t], noise)
        stepped = []
        for optimizer, (p, state) in ((ours, a), (theirs, b)):
            grads = jax.tree.map(gradient, p, minimum, curvature, noise_t)
            updates, state = optimizer.update(grads, state, p)
            stepped.append((optax.apply_updates(p, updates), state))
        a, b = stepped
    chex.assert_trees_all_close(a[0], b[0], rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_nag_keeps_its_weights_exact_when_the_learning_rate_changes_in_flight():
    case = problem()
    optimizer = optax.inject_hyperparams(dj.optimizers.nag)(0.02)
    params, state = case[0], optimizer.init(case[0])
    W, a = case[0], jax.tree.map(np.zeros_like, case[0])
    for t, rate in enumerate([0.02, 0.02, 0.1, 0.1, 0.001]):
        noise_t = jax.tree.map(lambda x, t=t: x[t], case[3])
        grads = jax.tree.map(gradient, params, *case[1:3], noise_t)
        state.hyperparams["learning_rate"] = jnp.asarray(rate)
        updates, state = optimizer.update(grads, state, params)
        a = jax.tree.map(lambda a, g: 0.9 * a + g, a, grads)
        W = jax.tree.map(lambda W, a, rate=rate: W - rate * a, W, a)
        params = optax.apply_updates(params, updates)
    chex.assert_trees_all_close(dj.optimizers.eval_params(state, params), W, rtol=1e-12)


def test_eval_params_finds_the_weights_under_chain_masked_and_partition():
    params = {"a": jnp.ones(3), "b": jnp.ones(2)}
    grads = jax.tree.map(jnp.ones_like, params)
    nag, sgd = dj.optimizers.nag(0.1), dj.optimizers.sgd(0.1)
    wrapped = {
        "chain": optax.chain(optax.clip(10.0), nag),
        "masked": optax.chain(
            optax.masked(nag, {"a": True, "b": False}),
            optax.masked(sgd, {"a": False, "b": True}),
        ),
        "partition": optax.partition({"nag": nag, "sgd": sgd}, {"a": "nag", "b": "sgd"}),
    }
    for name, optimizer in wrapped.items():
        updates, state = optimizer.update(grads, optimizer.init(params), params)
        weights = dj.optimizers.eval_params(state, optax.apply_updates(params, updates))
        # after one step W = 1 - 0.1 g for both; the parameters of nag are 0.09 further on
        chex.assert_trees_all_close(weights, jax.tree.map(lambda p: p - 0.1, params), rtol=1e-6)
        assert updates["a"][0] < -0.18, name


@every_optimizer
def test_the_state_keeps_its_types_under_scan_and_counts_the_steps(name):
    case = jax.tree.map(lambda x: np.asarray(x, np.float32), problem())
    _, state = run_ours(make(name, RATES[name]), *case)
    (rule,) = jax.tree.leaves(state, is_leaf=lambda s: hasattr(s, "stats"))
    assert int(rule.count) == NUM_STEPS
    assert {x.dtype for x in jax.tree.leaves(rule.stats)} <= {jnp.dtype("float32")}


@every_optimizer
def test_half_precision_parameters_keep_float32_statistics_and_stay_finite_at_zero_gradients(name):
    params = {"w": jnp.ones(4, jnp.bfloat16)}
    optimizer = make(name, np.float64(0.1))
    state = optimizer.init(params)
    updates, state = optimizer.update({"w": jnp.zeros(4, jnp.bfloat16)}, state, params)
    assert updates["w"].dtype == jnp.bfloat16
    assert {x.dtype for x in jax.tree.leaves(state.stats)} <= {jnp.dtype("float32")}
    chex.assert_tree_all_finite((updates, state))


@every_optimizer
def test_hypergradients_are_finite_at_decay_zero(name):
    factory = getattr(dj.optimizers, name)
    decays = {"momentum": ("b",), "nag": ("b",), "rmsprop": ("decay",), "adadelta": ("decay",)}
    decays = decays.get(name, ("b1", "b2") if name == "adam" else ())
    rate = {} if name == "adadelta" else {"learning_rate": jnp.float32(0.1)}

    def loss(numbers):
        optimizer = factory(**numbers)
        p, state = jnp.ones(3), None
        for _ in range(3):
            state = optimizer.init(p) if state is None else state
            updates, state = optimizer.update(2 * p, state, p)
            p = p + updates
        return (p**2).sum()

    numbers = {**rate, **{decay: jnp.float32(0.0) for decay in decays}}
    chex.assert_tree_all_finite(jax.grad(loss)(numbers))


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: dj.optimizers.sgd(-0.1), r"learning_rate must be in \[0, inf\), got -0.1"),
        (lambda: dj.optimizers.adam(float("nan")), r"learning_rate must be in \[0, inf\), got nan"),
        (lambda: dj.optimizers.adam(0.1, b1=1.0), r"b1 must be in \[0, 1\), got 1"),
        (lambda: dj.optimizers.adam(0.1, b2=-0.1), r"b2 must be in \[0, 1\), got -0.1"),
        (lambda: dj.optimizers.momentum(0.1, b=1.5), r"b must be in \[0, 1\), got 1.5"),
        (lambda: dj.optimizers.nag("fast"), r"learning_rate must be a number in .*, got 'fast'"),
        (lambda: dj.optimizers.rmsprop(0.1, decay=2), r"decay must be in \[0, 1\), got 2"),
        (lambda: dj.optimizers.adadelta(eps=0.0), r"eps must be in \(0, inf\), got 0"),
        (lambda: dj.optimizers.adagrad(np.array([0.1, -1.0])), "learning_rate must be in"),
    ],
)
def test_a_number_out_of_range_says_its_name_its_rule_and_what_came(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


def test_adadelta_has_no_learning_rate():
    with pytest.raises(TypeError):
        dj.optimizers.adadelta(0.1)


def test_an_empty_tree_is_a_tree():
    for name in NAMES:
        optimizer = make(name, 0.1)
        updates, state = optimizer.update({}, optimizer.init({}), {})
        assert updates == {}
        assert int(state.count) == 1
