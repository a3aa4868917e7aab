"""What members differ by, and scores of numbers: identities, closed forms, other libraries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import dljax as dj

S, N, C = 4, 7, 3
DRAW = np.random.default_rng(0)
LABELS = DRAW.integers(0, C, N)
LOG_P = np.asarray(dj.predict.log_probabilities(2 * DRAW.normal(size=(S, N, C)).astype("f")))
MEAN, TARGETS = DRAW.normal(size=(S, N)).astype("f"), DRAW.normal(size=N).astype("f")
VARIANCE = DRAW.uniform(0.3, 2, (S, N)).astype("f")
# what is called often: compiled once, and not checked
OFTEN = (
    "squared_ambiguity",
    "nll_ambiguity",
    "class_uncertainty",
    "auroc",
    "aupr",
    "fpr95",
    "aurc",
)
COMPILED = {name: jax.jit(getattr(dj.predict, name)) for name in OFTEN}
numbers = st.floats(-8, 8, width=32)
member_logits = arrays(np.float32, (S, N, C), elements=numbers)


@settings(max_examples=30, deadline=None)
@given(arrays(np.float32, (S, N), elements=numbers), arrays(np.float32, N, elements=numbers))
def test_the_error_of_an_ensemble_is_that_of_its_members_less_their_ambiguity(outputs, targets):
    parts = COMPILED["squared_ambiguity"](outputs, targets)
    # sums of squares up to 256, in float32
    np.testing.assert_allclose(parts.ensemble, parts.members - parts.ambiguity, atol=2e-4)
    assert (parts.ambiguity >= 0).all()
    np.testing.assert_allclose(parts.ambiguity, outputs.astype("d").var(0), rtol=1e-3, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(member_logits, arrays(np.int32, N, elements=st.integers(0, C - 1)))
def test_the_likelihood_has_such_an_identity_and_its_ambiguity_knows_no_labels(logits, labels):
    log_p = jax.nn.log_softmax(logits)
    parts = COMPILED["nll_ambiguity"](log_p, labels)
    np.testing.assert_allclose(parts.ensemble, parts.members - parts.ambiguity, atol=1e-5)
    wide = np.asarray(log_p, np.float64)
    g = np.exp(wide.mean(0))
    g /= g.sum(1, keepdims=True)
    divergence = (g * (np.log(g) - wide)).sum(-1).mean(0)
    np.testing.assert_allclose(parts.ambiguity, divergence, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(member_logits)
def test_entropy_is_its_aleatoric_and_its_epistemic_part(logits):
    log_p = jax.nn.log_softmax(logits)
    parts = COMPILED["class_uncertainty"](log_p)
    np.testing.assert_allclose(parts.total, parts.aleatoric + parts.epistemic, atol=1e-5)
    p = np.exp(np.asarray(log_p, np.float64))
    np.testing.assert_allclose(parts.total, scipy.stats.entropy(p.mean(0), axis=1), atol=1e-5)
    np.testing.assert_allclose(parts.aleatoric, scipy.stats.entropy(p, axis=2).mean(0), atol=1e-5)
    assert (parts.epistemic >= 0).all()


def test_equal_members_have_no_epistemic_part_and_opposite_ones_have_all_of_it():
    equal = COMPILED["class_uncertainty"](np.stack([LOG_P[0]] * S))
    np.testing.assert_allclose(equal.epistemic, 0, atol=1e-6)
    sure = np.where(np.eye(2, dtype="f") > 0, 0, -np.inf)[:, None]  # members say 0 and say 1
    parts = COMPILED["class_uncertainty"](sure)
    np.testing.assert_allclose([*parts], [[np.log(2)], [0], [np.log(2)]], rtol=1e-6)


def test_disagreement_and_stability_by_hand():
    votes = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 2, 2]])  # of four members for three rows
    log_p = jax.nn.log_softmax(5 * jax.nn.one_hot(votes.T, 3))
    np.testing.assert_allclose(dj.predict.disagreement(log_p), [0, 4 / 6, 5 / 6], rtol=1e-6)
    np.testing.assert_allclose(dj.predict.stability(log_p), [1, 0.5, 0.5])
    with pytest.raises(ValueError, match=r"the number of members must be in \[2, inf\), got 1"):
        dj.predict.disagreement(log_p[:1])


def test_the_parts_of_a_variance_are_those_of_draws():
    z = np.random.default_rng(1).normal(size=(200_000, S))
    draws = MEAN[:, 0] + np.sqrt(VARIANCE[:, 0]) * z
    parts = dj.predict.variance_parts(MEAN, VARIANCE)
    assert abs(draws.var() / parts.total[0] - 1) < 0.02
    np.testing.assert_allclose(parts.aleatoric, VARIANCE.mean(0), rtol=1e-6)
    np.testing.assert_allclose(parts.epistemic, MEAN.var(0), rtol=1e-5)


def test_the_density_of_a_mixture_is_that_of_scipy():
    density = scipy.stats.norm(MEAN, np.sqrt(VARIANCE)).pdf(TARGETS).mean(0)
    ours = dj.predict.log_likelihood(MEAN, VARIANCE, TARGETS)
    np.testing.assert_allclose(ours, np.log(density), rtol=1e-5, atol=1e-6)
    rmse = sklearn.metrics.root_mean_squared_error(TARGETS, MEAN[0])
    np.testing.assert_allclose(dj.predict.rmse(MEAN[0], TARGETS), rmse, rtol=1e-6)


def test_crps_is_the_integral_over_squared_differences_of_distribution_functions():
    ours = dj.predict.crps(MEAN, VARIANCE, TARGETS)
    z = np.linspace(-15, 15, 30_001)
    cdf = scipy.stats.norm(MEAN[..., None], np.sqrt(VARIANCE)[..., None]).cdf(z).mean(0)
    square = (cdf - (z >= TARGETS[:, None])) ** 2
    # a step of 1e-3 at the jump
    np.testing.assert_allclose(ours, scipy.integrate.trapezoid(square, z), atol=1e-3)


def test_crps_of_one_normal_of_a_sample_and_of_a_point_are_closed_forms():
    crps = jax.jit(dj.predict.crps)
    z = (TARGETS - MEAN[0]) / np.sqrt(VARIANCE[0])
    normal = scipy.stats.norm
    gaussian = z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / np.sqrt(np.pi)
    ours = crps(MEAN[:1], VARIANCE[:1], TARGETS)
    np.testing.assert_allclose(ours, np.sqrt(VARIANCE[0]) * gaussian, rtol=1e-4, atol=1e-6)
    between = np.abs(MEAN[:, None] - MEAN[None]).mean((0, 1)) / 2
    sample = np.abs(MEAN - TARGETS).mean(0) - between
    np.testing.assert_allclose(crps(MEAN, 0 * MEAN, TARGETS), sample, rtol=1e-5)
    point = crps(MEAN[:1], 0 * MEAN[:1], TARGETS)
    np.testing.assert_allclose(point, np.abs(MEAN[0] - TARGETS), rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda v: crps(MEAN, v, TARGETS).sum()))(0 * MEAN)
    assert np.isfinite(gradient).all()


def test_the_interval_score_is_least_at_the_quantiles_of_the_truth():
    y = np.random.default_rng(1).normal(size=20_000).astype("f")
    q = scipy.stats.norm.ppf(0.95)
    score = lambda a: dj.predict.interval_score(y * 0 - a, y * 0 + a, y, 0.1).mean()  # noqa: E731
    assert score(q) < min(score(0.8 * q), score(1.2 * q))
    low, high, y = np.zeros(3, "f"), np.ones(3, "f"), np.array([0.5, -1, 3], "f")
    scores = dj.predict.interval_score(low, high, y, 0.5)
    np.testing.assert_allclose(scores, [1, 1 + 4, 1 + 8])
    with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\), got 1"):
        dj.predict.interval_score(low, high, y, 1)


def test_three_rows_of_a_regression():
    draw = np.random.default_rng(3)
    y = draw.normal(size=400).astype("f")
    mean = (y + draw.normal(size=(S, 400))).astype("f")  # errors of variance 1, said to be 0.1
    rows = dj.predict.regression_summary(jax.random.key(0), mean, 0 * mean + 0.1, y)
    m, v = mean.mean(0), 0.1 + mean.var(0)
    density = scipy.stats.norm(m, np.sqrt(v)).logpdf(y)
    np.testing.assert_allclose(rows.ensemble["nll"], -density.mean(), rtol=1e-4)
    alone = -scipy.stats.norm(mean, np.sqrt(0.1)).logpdf(y).mean()
    np.testing.assert_allclose(rows.members["nll"], alone, rtol=1e-4)
    assert rows.calibrated["nll"] < rows.ensemble["nll"] < rows.members["nll"]
    assert rows.calibrated["rmse"] == rows.ensemble["rmse"] < rows.members["rmse"]


scores = arrays(np.float32, 30, elements=st.integers(-6, 6).map(float))  # many ties


@settings(max_examples=40, deadline=None)
@given(scores, scores)
def test_areas_under_curves_are_those_of_scikit_learn_with_ties(inside, outside):
    is_outside, both = np.repeat([0, 1], 30), np.concatenate([inside, outside])
    auroc = sklearn.metrics.roc_auc_score(is_outside, both)
    aupr = sklearn.metrics.average_precision_score(is_outside, both)
    np.testing.assert_allclose(COMPILED["auroc"](inside, outside), auroc, rtol=1e-5)
    np.testing.assert_allclose(COMPILED["aupr"](inside, outside), aupr, rtol=1e-5)
    np.testing.assert_allclose(COMPILED["auroc"](outside, inside), 1 - auroc, atol=1e-6)
    thresholds = np.unique(inside)
    least = next(t for t in thresholds if (inside <= t).mean() >= 0.95)
    np.testing.assert_allclose(COMPILED["fpr95"](inside, outside), (outside <= least).mean())
    measures = COMPILED["auroc"], COMPILED["aupr"], COMPILED["fpr95"]
    for measure in measures:  # under a monotone map they are the same
        assert measure(inside, outside) == measure(np.exp(inside / 4), np.exp(outside / 4))


def test_scores_that_are_not_finite_are_refused_and_traced_ones_give_nan():
    bad = np.array([0.1, np.nan], "f")
    good = np.array([0.1, 0.2, 0.3], "f")
    for measure in (dj.predict.auroc, dj.predict.aupr, dj.predict.fpr95):
        with pytest.raises(ValueError, match=r"outside must be finite, got nan at \[1\]"):
            measure(good, bad)
        with pytest.raises(ValueError, match="inside must have at least 1 row, got 0"):
            measure(good[:0], good)
        assert np.isnan(jax.jit(measure)(good, bad))
        assert np.isnan(jax.jit(measure)(bad, good))
    with pytest.raises(ValueError, match="loss must have 3 rows, got 2"):
        dj.predict.aurc(good, good[:2])
    assert np.isnan(jax.jit(dj.predict.aurc)(good, good * np.nan))


def test_risk_and_coverage_by_hand():
    confidence, loss = np.array([0.9, 0.5, 0.5, 0.7], "f"), np.array([0, 1, 0, 1], "f")
    curve = dj.predict.risk_coverage(confidence, loss)
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 1.5 / 3, 2 / 4])  # the tie is half an error
    np.testing.assert_allclose(dj.predict.aurc(confidence, loss), (0 + 0.5 + 0.5 + 0.5) / 4)


@settings(max_examples=30, deadline=None)
@given(arrays(np.float32, 12, elements=st.integers(0, 3).map(float)))
def test_no_order_has_less_risk_than_that_of_the_losses_themselves(confidence):
    loss = np.arange(12, dtype="f") % 5
    best, area = COMPILED["aurc"](-loss, loss), COMPILED["aurc"](confidence, loss)
    assert area >= best - 1e-6
    order = np.random.default_rng(0).permutation(12)  # ties have no order
    again = COMPILED["aurc"](confidence[order], loss[order])
    np.testing.assert_allclose(again, area, rtol=1e-5)
    if len(np.unique(confidence)) == 1:
        np.testing.assert_allclose(area, loss.mean(), rtol=1e-6)


def test_bad_numbers_are_one_clear_line():
    for says, bad in {
        r"variance must be in \[0, inf\), got -1": (MEAN, 0 * MEAN - 1, TARGETS),
        r"mean must be finite, got nan at \[0, 0\]": (MEAN * np.nan, VARIANCE, TARGETS),
        r"mean must be \[S, N\], got the shape \(7,\)": (MEAN[0], VARIANCE[0], TARGETS),
        r"variance must be \[S, N\], the same \[4, 7\], got": (MEAN, VARIANCE[:2], TARGETS),
        "targets must have 7 rows, got 3": (MEAN, VARIANCE, TARGETS[:3]),
    }.items():
        with pytest.raises(ValueError, match=says):
            dj.predict.crps(*bad)
    with pytest.raises(ValueError, match=r"variance must be in \(0, inf\), got 0"):
        dj.predict.log_likelihood(MEAN, np.zeros_like(MEAN), TARGETS)
    assert jnp.isnan(jax.jit(dj.predict.rmse)(MEAN[0] * np.nan, TARGETS))
