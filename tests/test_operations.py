"""What a method says that it computed is what it computed: calls are counted as they are made."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from test_second_order import SOLVERS, functions_of, quadratic

import dljax as dj
from dljax.optimizers import eigenbasis, fisher, matrix, solvers

opt = dj.optimizers
NONE = dict.fromkeys(opt.operations((), jnp.int32(0))._fields, 0)


@pytest.fixture
def calls():
    return collections.Counter()


def counted(calls, name, f):
    """Returns `f`, of which every call that runs is counted, in loops, branches and batches too."""

    def call(*inputs, **options):
        jax.debug.callback(lambda _: calls.update([name]), jnp.ravel(jax.tree.leaves(inputs)[0])[0])
        return f(*inputs, **options)

    return call


def spent(optimizer, calls, functions, value, p, num_steps=3, given=None):
    """Returns the counts of some updates; of the calls those of the last step's functions too."""

    @jax.jit
    def one(p, state):
        extra = {name: counted(calls, kind, f(p)) for name, (kind, f) in functions.items()}
        extra |= {} if given is None else {"value": given(p)}
        updates, state = optimizer.update(jax.grad(value)(p), state, p, **extra)
        return optax.apply_updates(p, updates), state

    state = optimizer.init(p)
    for _ in range(num_steps):
        p, state = one(p, state)
    jax.effects_barrier()
    return {name: float(n) for name, n in opt.operations(state, num_steps)._asdict().items()}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", list(SOLVERS))
def test_products_losses_and_solves_are_those_that_were_made(name, calls, monkeypatch):
    value, minimum = quadratic()
    quartic = lambda p: value(p) + (p["a"] ** 4).sum()  # noqa: E731
    offered = ("hvp_fn", "gauss_newton_vp", "fisher_vp")
    functions = {n: ("products", lambda p, n=n: functions_of(quartic, p)[n]) for n in offered}
    functions["value_fn"] = "losses", lambda p: quartic
    given = quartic if "cg" in name else None  # the loss at the start, which a trainer has
    monkeypatch.setattr(solvers, "eigh", counted(calls, "solves", solvers.eigh))
    start = jax.tree.map(lambda x: x + 3.0, minimum)
    found = spent(SOLVERS[name], calls, functions, quartic, start, given=given)
    exact = "cg" not in name
    assert (calls["solves"], calls["products"] == 18) == ((3, True) if exact else (0, False))
    expected = {**NONE, "gradients": 3, **calls, "solve_flops": 9 * 6**3 * calls["solves"]}
    assert found == expected


MATRICES = {"kernel": (4, 3), "conv": (2, 2, 2, 3), "bias": (3,), "number": ()}


def cubes(*sizes):
    return sum(n**3 for n in sizes)


# axes of each array that have a matrix, and what their first factorization takes
SHAMPOO = (4, 3, 2, 2, 2, 3, 3, 1)
SOAP = (4, 3, 2, 2, 2, 3)
MUON = 5 * (4 * 3 * 12 + 2 * 27), 5 * (4 * 3 * 24 + 2 * 27)


@pytest.mark.parametrize(
    ("make", "solves", "flops"),
    [
        (lambda: opt.shampoo(0.1, max_size=2), 5 * 4, 5 * 9 * cubes(2, 2, 2, 1)),
        (lambda: opt.soap(0.1, every=2), 3 * 6, (9 + 2 * 8 / 3) * cubes(*SOAP)),
        (lambda: opt.muon(0.1), 5 * 2, 5 * sum(MUON)),
        (lambda: opt.adam(0.1), 0, 0),
        (lambda: opt.sam(opt.shampoo(0.1, every=3)), 2 * 8, 2 * 9 * cubes(*SHAMPOO)),
    ],
    ids=["shampoo", "soap", "muon", "adam", "sam of shampoo"],
)
def test_factorizations_are_counted_when_they_are_made(make, solves, flops, calls, monkeypatch):
    for module, name in ((eigenbasis, "eigh"), (eigenbasis, "orthogonal"), (matrix, "_orthogonal")):
        monkeypatch.setattr(module, name, counted(calls, "solves", getattr(module, name)))
    value = lambda p: sum(jnp.sum(x**2 + x) for x in jax.tree.leaves(p))  # noqa: E731
    p = {name: jnp.ones(shape) for name, shape in MATRICES.items()}
    functions = {"grad_fn": ("gradients", lambda p: jax.grad(value))}
    found = spent(make(), calls, functions, value, p, num_steps=5)
    assert calls["solves"] == solves
    expected = {**NONE, "gradients": 5 + calls["gradients"], "solves": solves, "solve_flops": flops}
    assert {**found, "solve_flops": 0} == {**expected, "solve_flops": 0}
    np.testing.assert_allclose(found["solve_flops"], flops, rtol=1e-6)  # it is in float32


@pytest.mark.parametrize(("name", "exact"), [("kfac", True), ("diagonal_fisher", False)])
def test_the_history_has_the_counts_of_passes_and_solves(name, exact, calls, monkeypatch):
    monkeypatch.setattr(fisher, "solve_positive", counted(calls, "solves", fisher.solve_positive))
    optimizer = getattr(opt, name)(0.1, exact=exact)
    fit = dj.trainer(small.classifier(), optimizer, small.blobs(), parts=())
    run = jax.jit(lambda key: dj.run(fit, fit.init(key), num_steps=4, eval_every=2)[1])
    history = jax.block_until_ready(run(jax.random.key(0)))
    jax.effects_barrier()
    step = np.array([0, 2, 4])
    # 4 inputs, 8 hidden, 3 outputs: the factors have the sizes 5, 8, 9 and 3
    solves, flops = (4, cubes(5, 8, 9, 3) / 3) if name == "kfac" else (0, 0)
    assert calls["solves"] == 4 * solves
    expected = {**NONE, "gradients": 2, "backwards": 2 * exact, "solves": solves}
    for column, a_step in expected.items():
        if column != "solve_flops":
            assert history[column].dtype == jnp.int32
            assert history[column].tolist() == (a_step * step).tolist(), column
    np.testing.assert_allclose(history["solve_flops"], flops * step, rtol=1e-6)
    np.testing.assert_allclose(history["cost"], (2 + 2 / 3 * 2 * exact) * step, rtol=1e-6)


def test_the_cost_weighs_the_counts_and_leaves_out_solves():
    found = opt.operations((), jnp.int32(7))
    assert [int(x) for x in found] == [0, 7, 0, 0, 0, 0]
    counts = opt.states.Operations(*(jnp.int32(n) for n in (6, 1, 3, 4, 5)), jnp.float32(1e9))
    cost = opt.gradient_equivalents({"anywhere": (counts, counts)}, jnp.int32(7))
    assert float(cost) == 7 + 2 * (6 / 3 + 1 + 3 * 2 / 3 + 4 * 2)
