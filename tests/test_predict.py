"""Scores, calibration and summaries of class probabilities against scikit-learn and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import dljax as dj
from dljax.predict import Reliability

KEY = jax.random.key(0)
S, N, C = 5, 60, 3
DRAW = np.random.default_rng(0)
LABELS = DRAW.integers(0, C, N)
LOGITS = 2 * DRAW.normal(size=(S, N, C)) + 2 * np.eye(C)[LABELS]
LOG_P = np.asarray(dj.predict.log_probabilities(LOGITS.astype(np.float32)))
P = np.exp(LOG_P.astype(np.float64))


def log(*rows):
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, np.float32))


def test_scores_are_those_of_scikit_learn():
    log_p, p = LOG_P[0], P[0] / P[0].sum(1, keepdims=True)
    brier = sklearn.metrics.brier_score_loss(LABELS, p, scale_by_half=False)
    accuracy = sklearn.metrics.accuracy_score(LABELS, p.argmax(1))
    # float32 means of 60 rows
    nll = sklearn.metrics.log_loss(LABELS, p)
    np.testing.assert_allclose(dj.predict.nll(log_p, LABELS).mean(), nll, rtol=1e-5)
    np.testing.assert_allclose(dj.predict.brier(log_p, LABELS).mean(), brier, rtol=1e-5)
    np.testing.assert_allclose(dj.predict.accuracy(log_p, LABELS).mean(), accuracy, rtol=1e-6)


def test_a_class_of_probability_zero_is_no_nan():
    sure, y = log([1, 0], [1, 0]), np.array([0, 1])
    np.testing.assert_array_equal(dj.predict.nll(sure, y), [0, np.inf])
    np.testing.assert_array_equal(dj.predict.brier(sure, y), [0, 2])
    np.testing.assert_array_equal(dj.predict.entropy(sure), [0, 0])
    both = np.stack([sure, sure])
    np.testing.assert_array_equal(dj.predict.mixture(both), sure)
    np.testing.assert_array_equal(dj.predict.class_uncertainty(both).epistemic, [0, 0])
    assert np.isfinite(dj.predict.temperature(log([1, 0], [0, 1], [1, 0]), np.array([0, 1, 1])))


def test_one_logit_is_two_classes():
    z = np.array([[-200.0], [0.5]], np.float32)
    log_p = dj.predict.log_probabilities(z)
    np.testing.assert_allclose(log_p[0], [0, -200])
    np.testing.assert_allclose(log_p[1, 1], -np.log1p(np.exp(-0.5)), rtol=1e-6)


@pytest.mark.parametrize(
    ("log_p", "labels", "says"),
    [
        (np.exp(LOG_P[0]), LABELS, "must have exponentials that sum to 1 in every row, got 4"),
        (LOG_P[0] + np.nan, LABELS, "sum to 1 in every row, got nan at .0."),
        (LOG_P, LABELS, r"must be \[N, C\], got the shape \(5, 60, 3\)"),
        (LOG_P[0], LABELS[:5], "labels must have 60 rows, got 5"),
        (LOG_P[0], LABELS + 1, r"labels must be in \[0, 3\), got 3"),
        (LOG_P[0], LABELS + 0.0, "labels must be whole numbers, got float"),
        (LOG_P[0], LABELS[:, None], r"labels must be \[N\], got the shape \(60, 1\)"),
    ],
    ids=["probabilities", "NaN", "members", "rows", "classes", "floats", "columns"],
)
def test_bad_predictions_are_one_clear_line(log_p, labels, says):
    measures = (dj.predict.nll, dj.predict.accuracy, dj.predict.reliability, dj.predict.temperature)
    for measure in measures:
        with pytest.raises(ValueError, match=says) as error:
            measure(log_p, labels)
        assert "\n" not in str(error.value)


def test_a_diverged_member_of_a_population_has_nan_scores_and_the_others_have_theirs():
    log_p = jnp.asarray(LOG_P[:3]).at[1].set(jnp.nan)

    def scores(log_p):
        ece = dj.predict.ece(dj.predict.reliability(log_p, LABELS))
        T = dj.predict.temperature(log_p, LABELS)
        rows = (measure(log_p, LABELS).mean() for measure in (dj.predict.accuracy, dj.predict.nll))
        return jnp.stack([ece, T, *rows])

    table = jax.jit(jax.vmap(scores))(log_p)
    np.testing.assert_array_equal(np.isnan(table), [[False] * 4, [True] * 4, [False] * 4])


def test_calibration_error_by_hand():
    # confidences .55 and .65 in one bin of a fifth: half right, .6 on average; .95 is always right
    log_p = log([0.55, 0.45], [0.65, 0.35], [0.95, 0.05], [0.05, 0.95])
    table = dj.predict.reliability(log_p, np.array([0, 1, 0, 1]), num_bins=4)
    np.testing.assert_array_equal(table.count, [0, 0, 2, 2])
    np.testing.assert_array_equal(table.accuracy[2:], [0.5, 1])
    np.testing.assert_allclose(table.confidence[2:], [0.6, 0.95], rtol=1e-6)
    np.testing.assert_allclose(dj.predict.ece(table), 0.5 * 0.1 + 0.5 * 0.05, rtol=1e-5)
    expected = 0.5 * (0.1**2 - 0.25) + 0.5 * 0.05**2
    np.testing.assert_allclose(dj.predict.debiased_squared_error(table), expected, rtol=1e-5)
    mass = dj.predict.reliability(log_p, np.array([0, 1, 0, 1]), num_bins=2, bins="mass")
    np.testing.assert_array_equal(mass.count, [2, 2])
    with pytest.raises(ValueError, match="unknown kind of bins 'mas'; did you mean 'mass'"):
        dj.predict.reliability(log_p, np.array([0, 1, 0, 1]), bins="mas")


def test_bins_of_equal_mass_are_even_and_do_not_depend_on_the_order_of_rows():
    log_p = np.repeat(LOG_P[0][:20], 3, axis=0)  # every confidence three times
    labels = LABELS
    order = np.random.default_rng(1).permutation(N)
    reliability = jax.jit(dj.predict.reliability, static_argnames=("num_bins", "bins"))
    for num_bins, kinds in ((10, {6}), (15, {3, 6})):
        tables = [
            reliability(log_p[i], labels[i], num_bins=num_bins, bins="mass")
            for i in (np.arange(N), order)
        ]
        assert set(tables[0].count.tolist()) <= kinds
        for one, other in zip(*tables, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_folded_normal_correction_is_the_mean_of_the_parametric_bootstrap():
    table = Reliability(
        np.array([0.5, 0.7, 0.9]), np.array([0.55, 0.6, 1.0]), np.array([20, 50, 30])
    )
    spread = np.sqrt(table.accuracy * (1 - table.accuracy) / table.count)
    redrawn = table.accuracy + spread * np.random.default_rng(0).normal(size=(200_000, 3))
    share = table.count / 100
    seen = (share * np.abs(table.accuracy - table.confidence)).sum()
    expected = 2 * seen - (share * np.abs(redrawn - table.confidence)).sum(1).mean()
    # the error of the draws is 1e-4
    np.testing.assert_allclose(dj.predict.debiased_ece(table), expected, atol=5e-4)


def calibrated_rows(key, num_rows, num_classes=4):
    log_p = jax.nn.log_softmax(2 * jax.random.normal(key, (num_rows, num_classes)))
    return log_p, jax.random.categorical(dj.stream(key, "labels"), log_p)


def test_debiasing_takes_the_bias_away_of_a_calibrated_model():
    def errors(key):
        table = dj.predict.reliability(*calibrated_rows(key, 300), num_bins=10, bins="mass")
        measures = dj.predict.ece, dj.predict.debiased_ece, dj.predict.debiased_squared_error
        return jnp.stack([measure(table) for measure in measures])

    errors = np.asarray(jax.jit(jax.vmap(errors))(jax.random.split(KEY, 400)))
    ece, debiased, squared = errors.mean(0)
    assert 0.05 < ece < 0.08  # the truth is 0
    assert debiased < 0.6 * ece
    assert abs(squared) < 4 * errors[:, 2].std() / np.sqrt(400)  # unbiased


def test_the_temperature_is_the_minimum_and_undoes_the_one_that_was_put_in():
    log_p, labels = calibrated_rows(KEY, 4000)
    tempered, temperature = jax.jit(dj.predict.tempered), jax.jit(dj.predict.temperature)
    hot = tempered(log_p, 0.4)  # too sure
    T = temperature(hot, labels)
    assert abs(T - 2.5) < 0.15  # about three standard errors of 4,000 rows
    nll = lambda T: dj.predict.nll(tempered(hot, T), labels).mean()  # noqa: E731
    assert nll(T) < min(nll(0.97 * T), nll(1.03 * T), nll(1.0))
    np.testing.assert_allclose(temperature(log_p, labels), 0.4 * T, rtol=1e-4)


def test_temperatures_that_have_no_minimum_end_at_an_end():
    right = log([0.6, 0.4], [0.3, 0.7])
    # 40 halvings of a float32 logarithm
    np.testing.assert_allclose(dj.predict.temperature(right, np.array([0, 1])), 1e-3, rtol=1e-4)
    np.testing.assert_allclose(dj.predict.temperature(right, np.array([1, 0])), 1e3, rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32, (6, C), elements=st.sampled_from([-1.0, 0.1, 0.10000001, 0.3, 0.5, 0.50000006])
    ),
    st.floats(0.015625, 900, width=32),
)
def test_the_likeliest_class_stays_exactly_at_every_temperature(logits, T):
    log_p = jax.nn.log_softmax(logits)
    tempered = dj.predict.tempered(log_p, T)
    np.testing.assert_array_equal(jnp.argmax(tempered, 1), jnp.argmax(log_p, 1))
    np.testing.assert_allclose(jnp.exp(tempered).sum(1), 1, rtol=1e-5)


def test_cross_fitting_calibrates_no_row_by_itself():
    log_p, labels = LOG_P[0], LABELS
    cross_fitted = jax.jit(dj.predict.cross_fitted, static_argnames="num_parts")
    temperature, tempered = jax.jit(dj.predict.temperature), jax.jit(dj.predict.tempered)
    fitted, temperatures = cross_fitted(KEY, log_p, labels, num_parts=3)
    assert temperatures.shape == (3,)
    part = dj.predict.calibration.parts(KEY, N, 3)
    assert np.bincount(part).tolist() == [20, 20, 20]
    for k in range(3):
        T = temperature(log_p[part != k], labels[part != k])
        np.testing.assert_allclose(temperatures[k], T, rtol=1e-5)  # sums in another order
        rows = tempered(log_p[part == k], T)
        np.testing.assert_allclose(fitted[part == k], rows, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"num_parts must be in \[2, 60\], got 61"):
        dj.predict.cross_fitted(KEY, log_p, labels, num_parts=61)


def test_a_summary_has_three_rows_and_an_ensemble_is_no_mean_of_scores():
    rows = dj.predict.summary(KEY, LOG_P, LABELS)
    assert rows._fields == ("members", "ensemble", "calibrated")
    mean = P.mean(0) / P.mean(0).sum(1, keepdims=True)
    nll = [sklearn.metrics.log_loss(LABELS, p / p.sum(1, keepdims=True)) for p in P]
    np.testing.assert_allclose(rows.members["nll"], np.mean(nll), rtol=1e-5)
    log_loss = sklearn.metrics.log_loss(LABELS, mean)
    np.testing.assert_allclose(rows.ensemble["nll"], log_loss, rtol=1e-5)
    assert rows.ensemble["nll"] < rows.members["nll"]
    assert rows.calibrated["accuracy"] == rows.ensemble["accuracy"]
    assert rows.calibrated["nll"] != rows.ensemble["nll"]
    assert all(set(row) == {"accuracy", "nll", "brier", "ece"} for row in rows)


def test_the_curve_begins_at_the_members_and_ends_at_the_ensemble():
    curve = dj.predict.member_curve(LOG_P, LABELS)
    rows = dj.predict.summary(KEY, LOG_P, LABELS)
    pairs = [[P[i], P[(i + 1) % S]] for i in range(S)]
    nll_of_pairs = [-np.log(np.mean(pair, 0)[np.arange(N), LABELS]).mean() for pair in pairs]
    np.testing.assert_allclose(curve["nll"][1], np.mean(nll_of_pairs), rtol=1e-5)
    for name, scores in curve.items():
        assert scores.shape == (S,)
        np.testing.assert_allclose(scores[0], rows.members[name], rtol=1e-5)
        np.testing.assert_allclose(scores[-1], rows.ensemble[name], rtol=1e-5)


def test_summaries_are_the_same_inside_a_compiled_program():
    rows = dj.predict.summary(KEY, LOG_P, LABELS)
    compiled = jax.jit(dj.predict.summary)(KEY, LOG_P, LABELS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), compiled, rows)
