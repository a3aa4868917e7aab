"""Curvature along training is that of the exact Hessian, for every member by itself."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax.flatten_util import ravel_pytree

import dljax as dj
from dljax import deepobs, spectrum

EIGENVALUES = np.linalg.eigvalsh(deepobs.hessian())
NAMES = ["curvature_top", "curvature_trace", "curvature_trace_error", "stability_edge"]


def trained(task, optimizer, data, split=None, num_steps=6, eval_every=2, **options):
    """Returns the last state and the history of one compiled run."""
    fit = dj.trainer(task, optimizer, data, split, **options)
    run = lambda key: dj.run(fit, fit.init(key), num_steps=num_steps, eval_every=eval_every)  # noqa: E731
    return fit, *jax.jit(run)(jax.random.key(0))


def quadratic_form(H):
    """A task without data, l(p) = p^T H p / 2 of p in two leaves, from p = 1."""
    H = np.asarray(H, np.float32)

    def loss(p, batch):
        row = jnp.concatenate([p["a"], p["b"]])
        return (row @ H @ row / 2)[None]

    start = {"a": jnp.ones(2), "b": jnp.ones(len(H) - 2)}
    return dj.Task(
        init=lambda key, batch: {"params": start},
        predict=lambda variables, batch, **_: (variables["params"], variables),
        loss=loss,
        measure=lambda p, batch: {"loss": loss(p, batch)},
    )


def symmetric(eigenvalues):
    draw = np.random.default_rng(1).normal(size=(len(eigenvalues),) * 2)
    Q = np.linalg.qr(draw)[0]
    return (Q * eigenvalues) @ Q.T


def test_on_deepobs_quadratic_the_top_eigenvalue_is_exact_at_every_evaluation():
    _, _, history = trained(
        *(deepobs.quadratic_deep()[0], dj.optimizers.momentum(0.01)),
        *deepobs.quadratic_deep()[1:],
        batch_size=128,
        curvature=dj.Curvature(),
    )
    top = EIGENVALUES[-1]
    # asked for is 1 %; 20 iterations find the 10 large eigenvalues to the roundings of float32
    np.testing.assert_allclose(history["curvature_top"], np.full(4, top), rtol=1e-5)
    np.testing.assert_allclose(history["stability_edge"], np.full(4, 2 / top), rtol=1e-5)
    off = np.abs(history["curvature_trace"] - EIGENVALUES.sum())
    assert (off < 3 * history["curvature_trace_error"]).all()
    # what the estimated error is an estimate of: sqrt(2 sum_(i != j) H_ij^2 / 10) = 58
    assert 25 < history["curvature_trace_error"][0] < 120


@pytest.mark.parametrize(
    "eigenvalues",
    [[-9.0, -2.0, 0.0, 1.0, 3.0], [-5.0, -4.0, -3.0, -2.0, -1.0], [2.0, 2.0, 2.0, 2.0, 2.0]],
    ids=["indefinite", "negative", "equal"],
)
def test_lanczos_finds_a_known_spectrum_and_goes_on_where_it_is_exhausted(eigenvalues):
    H = jnp.asarray(symmetric(np.array(eigenvalues)), jnp.float32)
    like = {"a": jnp.zeros(2), "b": jnp.zeros(3)}
    unravel = ravel_pytree(like)[1]
    product = lambda v: unravel(H @ ravel_pytree(v)[0])  # noqa: E731
    alpha, beta = spectrum.lanczos(product, jax.random.key(0), like, 30)
    assert alpha.shape == beta.shape == (5,)  # never more than there are parameters
    found = spectrum.ritz_values(alpha, beta)
    # roundings of the largest eigenvalue; equal ones are found once and then repeated
    np.testing.assert_allclose(found, eigenvalues, atol=1e-5 * np.abs(eigenvalues).max())
    top = spectrum.top_eigenvalue(product, jax.random.key(0), like, 5)
    np.testing.assert_allclose(top, max(eigenvalues), atol=1e-4)


def test_the_trace_is_right_on_average_and_its_error_is_what_it_says():
    H = jnp.asarray(symmetric(np.linspace(-2, 5, 8)), jnp.float32)
    one = lambda i: spectrum.trace(  # noqa: E731
        lambda v: H @ v, dj.stream(jax.random.key(0), "i", i), jnp.zeros(8), 8
    )
    means, errors = jax.jit(jax.vmap(one))(jnp.arange(2000))
    variance = 2 * (np.sum(H**2) - np.sum(np.diag(H) ** 2)) / 8
    # 2,000 means: their mean to 2 % of a standard deviation, their variances to about 5 %
    np.testing.assert_allclose(means.mean(), np.trace(H), atol=0.1 * np.sqrt(variance))
    np.testing.assert_allclose(means.var(), variance, rtol=0.15)
    np.testing.assert_allclose((errors**2).mean(), variance, rtol=0.15)


def test_where_no_eigenvalue_is_above_zero_no_step_is_too_long():
    task = quadratic_form(symmetric(np.array([-3.0, -2.0, -2.0, -1.0])))
    _, _, history = trained(task, dj.optimizers.sgd(0.1), lambda key: {}, curvature=dj.Curvature())
    np.testing.assert_allclose(history["curvature_top"], np.full(4, -1.0), rtol=1e-5)
    assert np.isposinf(history["stability_edge"]).all()


def exact(task, params, data):
    """Largest eigenvalue and trace of the dense Hessian of the mean loss."""
    flat, unravel = ravel_pytree(params)
    predict = lambda p: task.predict({"params": unravel(p)}, data)[0]  # noqa: E731
    H = jax.jit(jax.hessian(lambda p: task.loss(predict(p), data).mean()))(flat)
    return np.linalg.eigvalsh(np.asarray(H, np.float64))[-1], np.trace(H)


def test_a_perceptron_has_the_curvature_of_its_dense_hessian_where_it_is_evaluated(monkeypatch):
    monkeypatch.setattr(dj.batches, "EVAL_ROWS", 10)  # 47 rows are 5 slices, the last one padded
    data = jax.tree.map(jnp.asarray, small.blobs())
    model = dj.linen_model(dj.modules.MLP(3, (5,), dropout=0.5))
    task = dj.supervised(model, dj.losses.cross_entropy)
    state, history = trained(
        task,
        dj.optimizers.nag(0.1),
        data,
        batch_size=8,
        curvature=dj.Curvature(43, 40),
        num_steps=8,
    )[1:]
    params = dj.optimizers.eval_params(state.opt_state, state.variables["params"])
    top, total = exact(task, params, data)
    # 43 iterations of 43 parameters: exact but for roundings
    np.testing.assert_allclose(history["curvature_top"][-1], top, rtol=1e-4)
    off = abs(history["curvature_trace"][-1] - total)
    assert off < 3 * history["curvature_trace_error"][-1] < total
    assert len(set(history["curvature_top"].tolist())) == 5  # it changes along training


def test_the_part_that_is_looked_at_has_its_own_weights():
    data = jax.tree.map(jnp.asarray, small.blobs(30))
    valid = dj.Rows(jnp.arange(20, 30), jnp.int32(8), jnp.array([2.0, 0.0] + [1.0] * 6 + [0.0] * 2))
    split = dj.Split(dj.Rows(jnp.arange(20), jnp.int32(20), jnp.ones(20)), valid)
    options = {"curvature": dj.Curvature(15, part="valid"), "num_steps": 2}
    task = dj.supervised(small.linear_model(), dj.losses.cross_entropy)
    state, history = trained(task, dj.optimizers.sgd(0.1), data, split, **options)[1:]
    rows = np.array([20, 20, *range(22, 28)])  # the first counts twice, the second not
    seen = jax.tree.map(lambda x: x[rows], data)
    top, _ = exact(task, state.variables["params"], seen)
    np.testing.assert_allclose(history["curvature_top"][-1], top, rtol=1e-4)


def member(data, *, seed, learning_rate, curvature):
    fit = dj.trainer(
        small.classifier(()),
        dj.optimizers.adam(learning_rate),
        data,
        batch_size=8,
        curvature=curvature,
    )
    key = dj.stream(jax.random.key(0), "member", seed)
    state, history = dj.run(fit, fit.init(key), num_steps=10, eval_every=5)
    return state.variables, history


@pytest.mark.slow
def test_a_member_has_its_own_curvature_and_the_bits_of_training_without():
    cells = {"seed": np.arange(5, dtype=np.uint32), "learning_rate": np.full(5, 0.01, np.float32)}
    cells["learning_rate"][3] = np.inf

    def run(one, members):
        part = {name: x[np.array(members)] for name, x in cells.items()}
        return dj.population(one, width=2)((small.blobs(),), part)

    measured, plain = (functools.partial(member, curvature=c) for c in (dj.Curvature(8, 3), None))
    together, alone = run(measured, range(5)), run(measured, [4, 3, 0])
    chex.assert_trees_all_equal(alone, jax.tree.map(lambda x: x[np.array([4, 3, 0])], together))
    variables, history = run(plain, range(5))
    chex.assert_trees_all_equal(variables, together[0])
    chex.assert_trees_all_equal(history, {name: together[1][name] for name in history})
    assert sorted(set(together[1]) - set(history)) == NAMES
    assert len(set(together[1]["curvature_top"][:, 0].tolist())) == 5
    for name in NAMES:
        assert np.isnan(together[1][name][3, 1:]).all()  # it diverged
        assert np.isfinite(together[1][name][[0, 1, 2, 4]]).all()


def test_without_curvature_no_product_with_the_hessian_is_traced_and_the_step_never_changes():
    data = small.blobs()

    def jaxprs(**options):
        fit = dj.trainer(small.classifier(), dj.optimizers.sgd(0.1), data, batch_size=8, **options)
        state = jax.eval_shape(fit.init, jax.random.key(0))
        rows = jax.eval_shape(lambda state: fit.draw(state, 1)[0], state)
        step = str(jax.make_jaxpr(fit.step)(state, rows))
        return step, str(jax.make_jaxpr(fit.evaluate)(state))

    plain, without, with_it = jaxprs(), jaxprs(curvature=None), jaxprs(curvature=dj.Curvature())
    assert plain == without
    assert plain[0] == with_it[0]
    assert "eigh" in with_it[1]
    assert "eigh" not in plain[1]


@pytest.mark.parametrize("b", [0.0, 0.5])
def test_gradient_descent_diverges_just_above_the_edge_and_not_below(b):
    """With momentum, heavy ball, the edge is 1 + b times that of plain descent."""
    task, edge = quadratic_form(deepobs.hessian()), 2 * (1 + b) / EIGENVALUES[-1]

    @jax.jit
    @jax.vmap
    def run(learning_rate):
        optimizer = (
            dj.optimizers.momentum(learning_rate, b=b) if b else dj.optimizers.sgd(learning_rate)
        )
        measured = dj.Curvature(num_probes=2)
        fit = dj.trainer(task, optimizer, lambda key: {}, curvature=measured)
        return dj.run(fit, fit.init(jax.random.key(0)), num_steps=400, eval_every=200)[1]

    history = run(jnp.array([0.98, 1.02]) * edge)
    np.testing.assert_allclose(
        (1 + b) * history["stability_edge"], np.full((2, 3), edge), rtol=1e-5
    )
    (start, _, below), (_, _, above) = history["valid_loss"]
    assert below < 0.1 * start
    assert above > 1e3 * start


@pytest.mark.parametrize(
    ("curvature", "message"),
    [
        (dj.Curvature(num_iterations=0), r"num_iterations must be in \[1, inf\), got 0"),
        (dj.Curvature(num_probes=1), r"num_probes must be in \[2, inf\), got 1"),
        (dj.Curvature(num_probes=2.5), r"num_probes must be a whole number in .*, got 2.5"),
        (dj.Curvature(part="test"), "must be one of train, got 'test'"),
        (True, "curvature must be a dj.Curvature or None, got True"),
    ],
    ids=["iterations", "probes", "whole", "part", "kind"],
)
def test_a_curvature_that_cannot_be_says_the_rule_and_what_came(curvature, message):
    with pytest.raises(ValueError, match=message):
        dj.trainer(small.classifier(), dj.optimizers.sgd(0.1), small.blobs(), curvature=curvature)


def test_complex_parameters_have_no_curvature_here():
    with pytest.raises(ValueError, match="lanczos must have real parameters"):
        spectrum.lanczos(lambda v: v, jax.random.key(0), jnp.ones(2, jnp.complex64), 2)
