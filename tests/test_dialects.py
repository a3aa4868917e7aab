"""Every dialect is the library it is named after, in float64, where gradients are small too."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import references_dialects as references

import dljax as dj

DIALECTS = dj.optimizers.dialects.DIALECTS
H = np.array([1e-6, 1e-2, 0.3, 1.0, 5.0])
START = np.array([1.5, -2.0, 1.6, 1.8, -1.7])
NUM_STEPS, RATE = 200, 0.005


def gradient(theta, t, sin=np.sin):
    """Of a quadratic whose minimum moves, so that the gradients of every coordinate vary."""
    return H * (theta + 0.3 * sin(t + np.arange(5.0)))


def rate(t, changing):
    """The learning rate of step t = 1, 2, ...: constant, or falling to a quarter at the end."""
    return RATE / (1 + changing * (t - 1) * 3 / NUM_STEPS)


def run(factory, **numbers):
    """Returns theta after the steps at a constant rate and at a changing one, float64[2, 5]."""

    def with_rate(changing):
        optimizer = factory(lambda count: rate(count + 1, changing), **numbers)

        def step(carry, t):
            theta, state = carry
            updates, state = optimizer.update(gradient(theta, t, jnp.sin), state, theta)
            return (optax.apply_updates(theta, updates), state), None

        start = jnp.asarray(START)
        steps = jnp.arange(1, NUM_STEPS + 1)
        (theta, state), _ = jax.lax.scan(step, (start, optimizer.init(start)), steps)
        return dj.optimizers.eval_params(state, theta)

    return np.asarray(jax.jit(jax.vmap(with_rate))(jnp.array([0.0, 1.0])))


def run_torch(make):
    torch = pytest.importorskip("torch")
    ends = []
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # the product of NAdam's mu has the default dtype
    for changing in (0.0, 1.0):
        theta = torch.tensor(START, dtype=torch.float64, requires_grad=True)
        optimizer = make(torch.optim, [theta])
        for t in range(1, NUM_STEPS + 1):
            optimizer.param_groups[0]["lr"] = rate(t, changing)
            theta.grad = torch.tensor(gradient(theta.detach().numpy(), t))
            optimizer.step()
        ends.append(theta.detach().numpy().copy())
    torch.set_default_dtype(before)
    return np.array(ends)


def run_reference(name, **numbers):
    f = getattr(references, name)
    return np.array(
        [f(gradient, START, NUM_STEPS, lambda t, c=c: rate(t, c), **numbers) for c in (0.0, 1.0)]
    )


def assert_same(ours, theirs):
    # the roundings of 200 steps; nothing gets so near its minimum that signs of g amplify them
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-11)
    assert np.abs(ours - START)[:, 2:].min() > 1e-4  # it moved
    assert np.abs(ours[0] - ours[1]).max() > 1e-5  # and the rate mattered


OPTAX = {  # ours, theirs
    "sgd": ({}, optax.sgd),
    "momentum": ({"b": 0.8}, lambda rate: optax.sgd(rate, momentum=0.8)),
    "nag": ({"b": 0.8}, lambda rate: optax.sgd(rate, momentum=0.8, nesterov=True)),
    "adagrad": ({}, optax.adagrad),
    "adadelta": (
        {"decay": 0.8, "weight_decay": 0.1},
        lambda rate: optax.adadelta(rate, rho=0.8, weight_decay=0.1),
    ),
    "rmsprop": ({"b": 0.5}, lambda rate: optax.rmsprop(rate, momentum=0.5)),
    "centered_rmsprop": (
        {"b": 0.5, "decay": 0.8, "initial": 0.2},
        lambda rate: optax.rmsprop(rate, 0.8, momentum=0.5, initial_scale=0.2, centered=True),
    ),
    "adam": ({"b1": 0.8, "b2": 0.99}, lambda rate: optax.adam(rate, b1=0.8, b2=0.99)),
    "adamw": ({"weight_decay": 0.1}, lambda rate: optax.adamw(rate, weight_decay=0.1)),
    "nadam": ({"b1": 0.8, "b2": 0.99}, lambda rate: optax.nadam(rate, b1=0.8, b2=0.99)),
}

TORCH = {
    "sgd": ({"weight_decay": 0.1}, "SGD", {"weight_decay": 0.1}),
    "momentum": (
        {"b": 0.8, "dampening": 0.5, "weight_decay": 0.1},
        "SGD",
        {"momentum": 0.8, "dampening": 0.5, "weight_decay": 0.1},
    ),
    "nag": (
        {"b": 0.8, "weight_decay": 0.1},
        "SGD",
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    "adagrad": (
        {"learning_rate_decay": 0.01, "initial": 0.2, "weight_decay": 0.1},
        "Adagrad",
        {"lr_decay": 0.01, "initial_accumulator_value": 0.2, "weight_decay": 0.1},
    ),
    "adadelta": (
        {"decay": 0.8, "weight_decay": 0.1},
        "Adadelta",
        {"rho": 0.8, "weight_decay": 0.1},
    ),
    "rmsprop": (
        {"b": 0.5, "decay": 0.8, "weight_decay": 0.1},
        "RMSprop",
        {"momentum": 0.5, "alpha": 0.8, "weight_decay": 0.1},
    ),
    "centered_rmsprop": (
        {"b": 0.5, "decay": 0.8, "weight_decay": 0.1},
        "RMSprop",
        {"momentum": 0.5, "alpha": 0.8, "weight_decay": 0.1, "centered": True},
    ),
    "adam": (
        {"b1": 0.8, "b2": 0.99, "weight_decay": 0.1},
        "Adam",
        {"betas": (0.8, 0.99), "weight_decay": 0.1},
    ),
    "adamw": ({"weight_decay": 0.1}, "AdamW", {"weight_decay": 0.1}),
    "nadam": (
        {"b1": 0.8, "b2": 0.99, "psi": 0.1, "weight_decay": 0.1},
        "NAdam",
        {"betas": (0.8, 0.99), "momentum_decay": 0.1, "weight_decay": 0.1},
    ),
}

WRITTEN_OUT = [  # dialects without a library here; None is every default
    *(("paper", name, {}) for name in ("momentum", "nag", "adagrad", "centered_rmsprop", "adam")),
    *(("paper", name, {}) for name in ("adam_hat", "nadam")),
    ("paper", "adamw", {"weight_decay": 1e-3}),
    ("keras", "sgd", {"weight_decay": 0.1}),
    ("keras", "momentum", {"weight_decay": 0.1}),
    ("keras", "nag", {"weight_decay": 0.1}),
    ("keras", "adagrad", {"weight_decay": 0.1}),
    ("keras", "adadelta", {"weight_decay": 0.1}),
    ("keras", "rmsprop", {"b": 0.5, "weight_decay": 0.1}),
    ("keras", "centered_rmsprop", {"b": 0.5, "weight_decay": 0.1}),
    ("keras", "adam", {"weight_decay": 0.1}),
    ("keras", "adamw", {}),
    ("keras", "nadam", {"weight_decay": 0.1}),
    ("tf1", "sgd", {"weight_decay": 0.1}),
    ("tf1", "momentum", {"weight_decay": 0.1}),
    ("tf1", "nag", {"weight_decay": 0.1}),
    ("tf1", "adagrad", {"weight_decay": 0.1}),
    ("tf1", "adadelta", {"weight_decay": 0.1}),
    ("tf1", "rmsprop", {"b": 0.5, "weight_decay": 0.1}),
    ("tf1", "centered_rmsprop", {"b": 0.5, "weight_decay": 0.1}),
    ("tf1", "adam", {"weight_decay": 0.1}),
]


@pytest.mark.parametrize("name", OPTAX)
@pytest.mark.usefixtures("x64")
def test_the_optax_dialect_is_optax(name):
    numbers, theirs = OPTAX[name]
    assert_same(run(getattr(DIALECTS["optax"], name), **numbers), run(theirs))


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.usefixtures("x64")
def test_the_torch_dialect_is_torch(name):
    numbers, theirs, their_numbers = TORCH[name]
    make = lambda optim, params: getattr(optim, theirs)(params, lr=1.0, **their_numbers)  # noqa: E731
    assert_same(run(getattr(DIALECTS["torch"], name), **numbers), run_torch(make))


@pytest.mark.parametrize(
    ("dialect", "name", "numbers"), WRITTEN_OUT, ids=[f"{d}-{n}" for d, n, _ in WRITTEN_OUT]
)
@pytest.mark.usefixtures("x64")
def test_the_other_dialects_are_their_formulas(dialect, name, numbers):
    if (dialect, name) == ("paper", "momentum"):  # Polyak's form has one rate for all steps
        ours = run(DIALECTS[dialect].momentum)
        np.testing.assert_allclose(ours[0], run_reference("paper_momentum")[0], rtol=1e-12)
        assert_same(ours, run_reference("keras_momentum"))
        return
    ours = run(getattr(DIALECTS[dialect], name), **numbers)
    assert_same(ours, run_reference(f"{dialect}_{name}", **numbers))


def defaults(function, **names):
    """Returns the defaults of a library's function under dljax's names."""
    parameters = inspect.signature(function).parameters
    return {ours: parameters[theirs].default for ours, theirs in names.items()}


def test_the_defaults_are_those_of_the_installed_libraries():
    torch = pytest.importorskip("torch").optim
    rate = {"learning_rate": "lr", "weight_decay": "weight_decay"}
    adam = {**rate, "eps": "eps"}
    rms = {**adam, "decay": "alpha", "b": "momentum"}
    grad = {**adam, "initial": "initial_accumulator_value", "learning_rate_decay": "lr_decay"}
    theirs = {
        "torch": {
            "sgd": defaults(torch.SGD, **rate),
            "momentum": defaults(torch.SGD, **rate, dampening="dampening"),
            "nag": defaults(torch.SGD, **rate),
            "adagrad": defaults(torch.Adagrad, **grad),
            "adadelta": defaults(torch.Adadelta, **adam, decay="rho"),
            "rmsprop": defaults(torch.RMSprop, **rms),
            "centered_rmsprop": defaults(torch.RMSprop, **rms),
            "adam": defaults(torch.Adam, **adam),
            "adamw": defaults(torch.AdamW, **adam),
            "nadam": defaults(torch.NAdam, **adam, psi="momentum_decay"),
        },
        "optax": {
            "adagrad": defaults(optax.adagrad, eps="eps", initial="initial_accumulator_value"),
            "adadelta": defaults(
                optax.adadelta, decay="rho", eps="eps", weight_decay="weight_decay"
            ),
            "rmsprop": defaults(optax.rmsprop, decay="decay", eps="eps", initial="initial_scale"),
            "adam": defaults(optax.adam, b1="b1", b2="b2", eps="eps"),
            "adamw": defaults(optax.adamw, eps="eps", weight_decay="weight_decay"),
        },
    }
    for dialect, optimizers in theirs.items():
        for name, expected in optimizers.items():
            ours = inspect.signature(getattr(DIALECTS[dialect], name)).parameters
            assert {k: ours[k].default for k in expected} == expected, (dialect, name)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_hypergradients_are_finite_at_a_gradient_and_decays_of_zero(dialect):
    module = DIALECTS[dialect]
    names = [
        name for name in dj.optimizers.dialects.distances.LEARNING_RATES if hasattr(module, name)
    ]

    def end(factory, numbers):
        optimizer, theta = factory(**numbers), jnp.array([0.0, 1.0])
        state = optimizer.init(theta)
        for t in range(2):
            updates, state = optimizer.update((t > 0) * theta, state, theta)
            theta = theta + updates
        return (theta**2).sum()

    numbers = {}
    for name in names:
        takes = inspect.signature(getattr(module, name)).parameters
        decays = {k: 0.0 for k in ("b", "b1", "b2", "decay", "weight_decay", "psi") if k in takes}
        numbers[name] = {k: 0.1 for k in ("learning_rate", "eps") if k in takes} | decays
    total = lambda numbers: sum(end(getattr(module, n), numbers[n]) for n in names)  # noqa: E731
    chex.assert_tree_all_finite(jax.grad(total)(numbers))


def test_half_precision_keeps_its_dtype_and_statistics_in_float32():
    params = {"w": jnp.ones(4, jnp.bfloat16), "frozen": None}
    grads = {"w": jnp.zeros(4, jnp.bfloat16), "frozen": None}
    for dialect, weight_decay in (("torch", 0.1), ("keras", 0.1), ("tf1", 0.1)):
        optimizer = DIALECTS[dialect].adam(0.1, weight_decay=weight_decay)
        updates, state = optimizer.update(grads, optimizer.init(params), params)
        assert updates["w"].dtype == jnp.bfloat16
        assert updates["frozen"] is None
        floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
        assert {x.dtype for x in floats} == {jnp.dtype("float32")}


def test_nesterov_is_evaluated_at_its_weights_in_the_paper_and_where_it_stands_in_libraries():
    for dialect, module in DIALECTS.items():
        optimizer, theta = module.nag(0.1), jnp.ones(3)
        updates, state = optimizer.update(theta, optimizer.init(theta), theta)
        theta = theta + updates
        shift = dj.optimizers.eval_params(state, theta) - theta
        # the first step is -0.19, of which 0.09 look ahead
        expected = 0.09 if dialect == "paper" else 0.0
        np.testing.assert_allclose(shift, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: d.torch.sgd(0.1, weight_decay=-1.0), r"weight_decay must be in \[0, inf\), got"),
        (lambda d: d.keras.sgd(0.1, weight_decay=-1.0), r"weight_decay must be in \[0, inf\), got"),
        (lambda d: d.torch.momentum(0.1, dampening=2.0), r"dampening must be in \[0, 1\], got 2"),
        (lambda d: d.torch.nadam(psi=-1.0), r"psi must be in \[0, inf\), got -1"),
        (lambda d: d.tf1.adagrad(0.1, initial=0.0), r"initial must be in \(0, inf\), got 0"),
        (lambda d: d.keras.adam(eps=0.0), r"eps must be in \(0, inf\), got 0"),
        (lambda d: d.optax.rmsprop(0.1, b=1.0), r"b must be in \[0, 1\), got 1"),
        (lambda d: d.divergence("adma"), "unknown optimizer 'adma'; did you mean 'adam'"),
        (lambda d: d.divergence("adam", esp=1.0), "unknown argument 'esp'; did you mean 'eps'"),
        (lambda d: d.divergence("adam", num_steps=0), r"num_steps must be in \[1, inf\), got 0"),
    ],
    ids=lambda x: x.split(" ")[0] if isinstance(x, str) else "",
)
def test_what_is_out_of_range_or_unknown_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make(dj.optimizers.dialects)


def test_weight_decay_says_that_it_needs_the_parameters():
    for optimizer in (
        DIALECTS["torch"].adam(),
        DIALECTS["keras"].adam(),
        DIALECTS["paper"].adamw(),
    ):
        with pytest.raises(ValueError, match="needs the parameters: call update"):
            optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


def test_a_halved_learning_rate_parts_keras_and_the_paper_from_the_others():
    table = dj.optimizers.dialects.divergence(
        "momentum", learning_rate=lambda count: jnp.where(count < 25, 0.02, 0.01)
    )
    assert table.loc["optax", "torch"] < 1e-15
    assert table.loc["paper", "keras"] < 1e-15
    assert table.loc["optax", "keras"] > 0.05


def test_divergence_is_a_distance_in_float64_that_finds_where_eps_and_starts_bite():
    table = dj.optimizers.dialects.divergence("rmsprop", decay=0.9, eps=1e-8)
    assert list(table) == list(DIALECTS)
    assert (table.to_numpy() == table.to_numpy().T).all()
    assert (np.diag(table) == 0).all()
    assert table.loc["optax", "keras"] < 1e-15  # so it was not computed in float32
    assert table.loc["optax", "torch"] > 0.5  # eps 1e-8 inside the root or outside
    assert table.loc["optax", "tf1"] > 0.5  # from 0 or from 1
    assert not jax.config.jax_enable_x64


def test_adamw_differs_by_its_default_decay_alone_in_optax_and_torch():
    apart = dj.optimizers.dialects.divergence("adamw").loc["optax", "torch"]
    matched = dj.optimizers.dialects.divergence("adamw", weight_decay=0.01).loc["optax", "torch"]
    assert matched < 1e-15 < 1e-3 < apart
