"""A head of mean and variance: the likelihood it learns by, its Fisher matrix and its ensembles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import dljax as dj
from dljax.losses import FISHER_ROOTS

DRAW = np.random.default_rng(0)
S, N = 5, 40
OUTPUTS = 3 * DRAW.normal(size=(N, 2))
Y = 2 * DRAW.normal(size=N)
MEAN, VARIANCE = DRAW.normal(size=(S, N)), DRAW.uniform(0.1, 2, size=(S, N))
KEY = jax.random.key(0)


def softplus(x):
    return np.logaddexp(0, x)


def test_the_loss_is_minus_the_log_density_of_a_normal_in_nats(x64):
    sd = np.sqrt(softplus(OUTPUTS[:, 1]) + 1e-6)
    expected = -scipy.stats.norm(OUTPUTS[:, 0], sd).logpdf(Y)
    # float64
    np.testing.assert_allclose(dj.losses.gaussian_nll(OUTPUTS, Y), expected, rtol=1e-12)


def test_mean_and_variance_are_read_from_any_leading_axes():
    outputs = OUTPUTS.reshape(4, 10, 2).astype(np.float32)
    mean, variance = dj.losses.mean_and_variance(outputs)
    np.testing.assert_array_equal(mean, outputs[..., 0])
    np.testing.assert_allclose(variance, softplus(outputs[..., 1]) + 1e-6, rtol=1e-6)  # float32
    with pytest.raises(AssertionError):
        dj.losses.mean_and_variance(outputs[..., :1])


@settings(max_examples=20, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_the_loss_and_its_gradient_are_finite_however_wrong_the_head_is(raw, mean, target):
    f = lambda outputs: dj.losses.gaussian_nll(outputs, jnp.array([target], jnp.float32))[0]  # noqa: E731
    loss, slope = jax.value_and_grad(f)(jnp.array([[mean, raw]], jnp.float32))
    assert np.isfinite(loss)
    assert np.isfinite(slope).all()


def test_shapes_that_would_broadcast_are_refused():
    for outputs, targets in ((OUTPUTS[:, :1], Y), (OUTPUTS[:1], Y), (OUTPUTS, Y[:, None])):
        with pytest.raises(AssertionError):
            dj.losses.gaussian_nll(outputs, targets)


def test_the_fisher_root_squares_to_the_mean_outer_product_of_gradients(x64):
    root = FISHER_ROOTS[dj.losses.gaussian_nll]
    f = jnp.asarray(OUTPUTS[:8])
    B = jnp.stack([root(f, jnp.broadcast_to(e, f.shape)) for e in np.eye(2)], axis=-1)
    # 10 points of Gauss and Hermite are exact for polynomials of degree 19; here it is 4
    points, weights = np.polynomial.hermite_e.hermegauss(10)
    mean, variance = dj.losses.mean_and_variance(f)
    gradient = jax.grad(lambda f, y: dj.losses.gaussian_nll(f[None], y[None])[0])
    F = 0.0
    for x, w in zip(points, weights / weights.sum()):
        g = jax.vmap(gradient)(f, mean + jnp.sqrt(variance) * x)
        F = F + w * g[:, :, None] * g[:, None]
    # float64, relative to a Fisher matrix of up to 1 / v^2
    np.testing.assert_allclose(jnp.einsum("nij,nkj->nik", B, B), F, rtol=1e-9, atol=1e-12)
    task = dj.supervised(dj.linen_model(dj.modules.MLP(2)), dj.losses.gaussian_nll)
    assert task.fisher_root is root


def test_a_line_of_unequal_noise_is_learnt_with_its_noise():
    draw = np.random.default_rng(1)
    x = draw.uniform(-1, 1, size=(2000, 1)).astype(np.float32)
    sd = np.where(x[:, 0] > 0, 1.0, 0.1)
    data = {"x": x, "y": (2 * x[:, 0] + sd * draw.normal(size=2000)).astype(np.float32)}
    task = dj.supervised(dj.linen_model(dj.modules.MLP(2, (16,))), dj.losses.gaussian_nll)
    fit = dj.trainer(task, dj.optimizers.adam(1e-2), data, batch_size=100, parts=())
    state, _ = jax.jit(lambda key: dj.run(fit, fit.init(key), num_steps=600))(KEY)
    at = {"x": np.array([[-0.5], [0.5]], np.float32)}
    mean, variance = dj.losses.mean_and_variance(fit.predict(state, at))
    # 1000 rows a side: 2 % of the deviation; the rest is a small network that has not converged
    np.testing.assert_allclose(mean, [-1, 1], atol=0.15)
    np.testing.assert_allclose(np.sqrt(variance), [0.1, 1.0], rtol=0.25)


def test_the_mixture_has_the_mean_and_the_variance_of_all_draws(x64):
    mean, variance = dj.predict.normal_mixture(MEAN, VARIANCE)
    np.testing.assert_allclose(mean, MEAN.mean(0), rtol=1e-12)
    second = (VARIANCE + MEAN**2).mean(0)
    np.testing.assert_allclose(variance, second - MEAN.mean(0) ** 2, rtol=1e-12)  # float64
    np.testing.assert_allclose(
        variance, dj.predict.variance_parts(MEAN, VARIANCE).total, rtol=1e-12
    )


def test_the_curve_of_a_regression_begins_at_the_members_and_ends_at_the_ensemble(x64):
    curve = dj.predict.regression_curve(MEAN, VARIANCE, Y)
    rows = dj.predict.regression_summary(KEY, MEAN, VARIANCE, Y)
    assert set(curve) == set(rows.ensemble) == {"rmse", "nll", "crps"}
    for name, scores in curve.items():
        assert scores.shape == (S,)
        np.testing.assert_allclose(scores[0], rows.members[name], rtol=1e-12)  # float64
        np.testing.assert_allclose(scores[-1], rows.ensemble[name], rtol=1e-12)


def test_every_point_of_the_curve_is_the_mean_over_neighbours_in_a_circle(x64):
    curve = dj.predict.regression_curve(MEAN, VARIANCE, Y)
    for size in range(1, S + 1):
        nll = []
        for start in range(S):
            members = (start + np.arange(size)) % S
            m = MEAN[members].mean(0)
            v = (VARIANCE[members] + MEAN[members] ** 2).mean(0) - m**2
            nll.append(-scipy.stats.norm(m, np.sqrt(v)).logpdf(Y).mean())
        np.testing.assert_allclose(curve["nll"][size - 1], np.mean(nll), rtol=1e-12)  # float64


def test_members_far_from_zero_lose_no_variance_to_rounding():
    far = np.float32(1e4) + np.linspace(-1, 1, S, dtype=np.float32)[:, None] * np.ones((1, 3), "f")
    variance, targets = np.full((S, 3), 1e-3, np.float32), np.full(3, 1e4, np.float32)
    curve = dj.predict.regression_curve(far, variance, targets)
    near = dj.predict.regression_curve(far - np.float32(1e4), variance, targets - np.float32(1e4))
    for name in curve:  # float32 keeps 1e4 to 1e-3, so that differences of 1 are kept to 1e-3
        np.testing.assert_allclose(curve[name], near[name], rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("variance", [0.0, -1.0, np.nan])
def test_a_variance_that_is_not_positive_is_refused(variance):
    with pytest.raises(ValueError, match="variance must be"):
        dj.predict.regression_curve(MEAN, np.full((S, N), variance), Y)
