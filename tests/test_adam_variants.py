"""Every newer first-order optimizer keeps the laws of them all; Adam's variants and the signs."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import references_modern
from test_optimizers import gradient, problem, run_ours

import dljax as dj

NUM_STEPS = 250
RATES = {
    "adamw": 0.05,
    "amsgrad": 0.05,
    "nadam": 0.05,
    "adamax": 0.05,
    "adabelief": 0.05,
    "radam": 0.05,
    "signum": 0.02,
    "lion": 0.02,
    "lars": 0.05,
    "lamb": 0.02,
    "adafactor": 0.02,
    "muon": 0.05,
    "shampoo": 0.3,
    "soap": 0.05,
}
NUMBERS = {
    "lars": {"trust": 0.1, "weight_decay": 0.05},
    # of a singular matrix some eigenvectors are noise: an eps that covers it
    "soap": {"eps": 1e-8},
}
STATIC = ("num_iterations", "every", "max_size")
every_optimizer = pytest.mark.parametrize("name", list(RATES))


def make(name, learning_rate, **numbers):
    return getattr(dj.optimizers, name)(learning_rate, **numbers)


def short_problem(seed=0):
    """A scalar, a vector, a matrix and a cube, and the constants of their gradients."""
    *parts, noise = problem(seed)
    parts.append(jax.tree.map(lambda x: x[:NUM_STEPS], noise))
    return [
        {
            "scalar": part["scalar"],
            "vector": part["nested"][0],
            "matrix": part["W"],
            "cube": part["nested"][1]["deep"][0],
        }
        for part in parts
    ]


@every_optimizer
@pytest.mark.usefixtures("x64")
def test_equals_its_reference_in_float64_over_250_steps_of_a_schedule(name):
    params, minimum, curvature, noise = short_problem()
    rate = lambda t: RATES[name] / (1 + 0.01 * (t - 1))  # noqa: E731
    optimizer = make(name, lambda count: rate(count + 1), **NUMBERS.get(name, {}))
    ours, _ = run_ours(optimizer, params, minimum, curvature, noise)

    def one_leaf(W, low, h, noise):
        g = lambda W, t: gradient(W, low, h, noise[t - 1])  # noqa: E731
        return getattr(references_modern, name)(g, W, NUM_STEPS, rate)

    reference = jax.tree.map(one_leaf, params, minimum, curvature, noise)
    # most keep 1e-14; what goes through eigenvectors loses two digits
    chex.assert_trees_all_close(ours, reference, rtol=2e-11)
    assert not np.allclose(ours["matrix"], params["matrix"], atol=0.5)


@every_optimizer
def test_updates_of_zero_gradients_are_finite_in_float16_and_for_leaves_of_every_kind(name):
    params = {
        "scalar": jnp.ones([], jnp.bfloat16),
        "vector": jnp.zeros(2),
        "matrix": jnp.ones((2, 3), jnp.float16),
        "empty": jnp.zeros((0, 3)),
        "none": None,
    }
    factory = getattr(dj.optimizers, name)
    static = [x for x in STATIC if x in inspect.signature(factory).parameters]
    # float16 makes 0 of every eps, and 1 of no decay
    inject = optax.inject_hyperparams(factory, static, hyperparam_dtype=jnp.float16)
    optimizer = inject(0.1)
    grads = jax.tree.map(jnp.zeros_like, params)

    @jax.jit
    def two_steps(grads):
        def step(state, _):
            updates, state = optimizer.update(grads, state, params)
            return state, updates

        state, updates = jax.lax.scan(step, optimizer.init(params), length=2)
        return jax.tree.map(lambda x: x[-1], updates), state.inner_state

    updates, state = two_steps(grads)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
    chex.assert_tree_all_finite((updates, state))
    kept = {x.dtype for x in jax.tree.leaves(state.stats)} - {jnp.dtype("int32")}  # counters
    assert kept == {jnp.dtype("float32")}


@every_optimizer
def test_hypergradients_are_finite_at_zero_gradients_and_at_decay_zero(name):
    factory = getattr(dj.optimizers, name)
    defaults = {
        argument: jnp.float32(parameter.default)
        for argument, parameter in inspect.signature(factory).parameters.items()
        if argument not in ("learning_rate", *STATIC)
    }

    def loss(numbers):
        optimizer = factory(**numbers)

        def end(p):
            state = optimizer.init(p)
            for _ in range(2):
                updates, state = optimizer.update(2 * p, state, p)
                p = p + updates
            return p

        return jnp.sum(jax.vmap(end)(still_and_moving) ** 2)

    still_and_moving = jnp.stack([jnp.zeros((2, 2)), jnp.ones((2, 2))])
    # at b1 = 0 AdaBelief trusts every gradient, and moves by learning_rate / sqrt(eps) times it
    rate = jnp.float32(1e-9 if name == "adabelief" else 0.1)
    slope = jax.jit(jax.grad(loss))
    for decay in (1.0, 0.0):
        scaled = {k: v * decay if k in ("b", "b1", "b2") else v for k, v in defaults.items()}
        hypergradients = slope({"learning_rate": rate, **scaled})
        chex.assert_tree_all_finite(hypergradients)
        assert hypergradients["learning_rate"] != 0


OURS_AND_OPTAX = {
    "adamw": (
        dj.optimizers.adamw(0.05, eps=1e-40, weight_decay=0.1),
        optax.adamw(0.05, eps=1e-20, weight_decay=0.1),
    ),
    # without memory the maximum of the corrected v is the corrected maximum
    "amsgrad": (dj.optimizers.amsgrad(0.05, b2=0.0), optax.amsgrad(0.05, b2=0.0, eps=1e-16)),
    # a large psi makes the schedule of the momentum constant
    "nadam": (dj.optimizers.nadam(0.05, eps=1e-40, psi=1e9), optax.nadam(0.05, eps=1e-20)),
    "adamax": (dj.optimizers.adamax(0.05), optax.adamax(0.05, eps=1e-8)),
    "adabelief": (dj.optimizers.adabelief(0.05), optax.adabelief(0.05, eps=1e-16, eps_root=1e-16)),
    "radam": (
        dj.optimizers.radam(0.05, eps=1e-40),
        optax.radam(0.05, eps=1e-20, threshold=4.0),
    ),
    "lion": (dj.optimizers.lion(0.02), optax.lion(0.02, weight_decay=0.001)),
    "signum": (
        dj.optimizers.signum(0.02),
        optax.chain(optax.ema(0.9, debias=False), optax.scale_by_sign(), optax.scale(-0.02)),
    ),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", list(OURS_AND_OPTAX))
def test_equals_optax_where_optax_has_the_same_formula(name):
    case = [part["matrix"] for part in short_problem()]
    ours, theirs = (run_ours(optimizer, *case)[0] for optimizer in OURS_AND_OPTAX[name])
    # optax's 1 - b^t costs digits in the first steps, which later ones forget
    chex.assert_trees_all_close(ours, theirs, rtol=1e-11)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["adamw", "amsgrad", "nadam", "adamax", "radam"])
def test_equals_torch_where_torch_has_the_same_formula(name):
    torch = pytest.importorskip("torch")
    ours, theirs, numbers, their_numbers = {
        "adamw": ("adamw", torch.optim.AdamW, {"weight_decay": 0.1}, {"weight_decay": 0.1}),
        "amsgrad": ("amsgrad", torch.optim.Adam, {}, {"amsgrad": True}),
        # one schedule corrects what another decays in torch: only a constant one is the same
        "nadam": ("nadam", torch.optim.NAdam, {"psi": 1e9}, {"momentum_decay": 1e9}),
        "adamax": ("adamax", torch.optim.Adamax, {"eps": 1e-20}, {}),
        "radam": ("radam", torch.optim.RAdam, {}, {}),
    }[name]
    # torch's RAdam rectifies from rho > 5, at step 6; that step 5 differs is not counted
    rate = lambda count: 0.05 * (count != 4)  # noqa: E731
    case = [part["matrix"] for part in short_problem()]
    W, low, h, noise = case
    numbers = {"eps": 1e-40, **numbers}  # torch has it beside the root, and this is none at all
    expected, _ = run_ours(make(ours, rate, **numbers), *case)
    W = torch.tensor(W, requires_grad=True)
    optimizer = theirs([W], lr=0.05, eps=1e-20, **their_numbers)
    for count in range(NUM_STEPS):
        W.grad = torch.tensor(gradient(W.detach().numpy(), low, h, noise[count]))
        optimizer.param_groups[0]["lr"] = rate(count)
        optimizer.step()
    # torch keeps NAdam's product of the momenta in float32
    rtol = 1e-7 if name == "nadam" else 1e-11
    np.testing.assert_allclose(expected, W.detach().numpy(), rtol=rtol)


def test_adamw_without_decay_is_adam():
    case = [np.float32(part["matrix"]) for part in short_problem()]
    adamw, adam = (
        run_ours(make(name, 0.05, **numbers), *case)[0]
        for name, numbers in (("adamw", {"weight_decay": 0.0}), ("adam", {}))
    )
    chex.assert_trees_all_close(adamw, adam, rtol=1e-5)  # sums in another order in float32


@pytest.mark.parametrize("name", ["signum", "lion"])
def test_every_parameter_moves_by_the_learning_rate_whatever_its_gradient(name):
    numbers = {"weight_decay": 0.0} if name == "lion" else {}
    optimizer = make(name, 0.25, **numbers)
    grads = jnp.array([1e-30, -3.0, 1e30, 0.0])
    updates, _ = optimizer.update(grads, optimizer.init(grads), grads)
    np.testing.assert_array_equal(updates, [-0.25, 0.25, -0.25, 0.0])


def test_radam_begins_as_momentum_and_is_rectified_from_the_fifth_step():
    optimizer = dj.optimizers.radam(0.1)
    grads, state = jnp.array([2.0, -5.0]), optimizer.init(jnp.zeros(2))
    sizes = []
    for _ in range(6):
        updates, state = optimizer.update(grads, state)
        sizes.append(updates / grads)
    # along a constant gradient m / (1 - b1^t) is the gradient itself
    np.testing.assert_allclose(sizes[:4], -0.1, rtol=1e-5)
    assert (np.abs(updates) < 0.1 * 0.1).all()  # r of the sixth step is about 0.04


@pytest.mark.parametrize("name", ["adamw", "lion", "lars", "lamb", "adafactor", "muon"])
def test_an_optimizer_that_needs_the_parameters_says_so(name):
    optimizer = make(name, 0.1)
    with pytest.raises(ValueError, match=rf"{name} needs the parameters: call update\("):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


@pytest.mark.parametrize(
    ("name", "number", "message"),
    [
        *(
            (name, {"learning_rate": -0.1}, r"learning_rate must be in \[0, inf\)")
            for name in RATES
        ),
        ("adamw", {"weight_decay": -1.0}, r"weight_decay must be in \[0, inf\), got -1"),
        ("nadam", {"psi": -1.0}, r"psi must be in \[0, inf\), got -1"),
        ("radam", {"b2": 1.0}, r"b2 must be in \[0, 1\), got 1"),
        ("adabelief", {"eps": 0.0}, r"eps must be in \(0, inf\), got 0"),
        ("signum", {"b": 1.0}, r"b must be in \[0, 1\), got 1"),
        ("lion", {"weight_decay": float("nan")}, r"weight_decay must be in \[0, inf\), got nan"),
        ("lars", {"trust": -1.0}, r"trust must be in \[0, inf\), got -1"),
        ("lamb", {"b1": 1.5}, r"b1 must be in \[0, 1\), got 1.5"),
        ("adafactor", {"clip": 0.0}, r"clip must be in \(0, inf\), got 0"),
        ("adafactor", {"power": -0.8}, r"power must be in \[0, inf\), got -0.8"),
        ("muon", {"num_iterations": 0}, r"num_iterations must be in \[1, inf\), got 0"),
        ("muon", {"adam_ratio": -1.0}, r"adam_ratio must be in \[0, inf\), got -1"),
        ("shampoo", {"every": 0}, r"every must be in \[1, inf\), got 0"),
        ("soap", {"max_size": -1}, r"max_size must be in \[0, inf\), got -1"),
    ],
)
def test_a_number_out_of_range_says_its_name_and_its_rule(name, number, message):
    with pytest.raises(ValueError, match=message):
        make(name, **{"learning_rate": 0.1, **number})
