"""Resampled differences: formulas by hand, scipy, and studies in which nothing differs."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from dljax.comparison.statistics.resampled import corrected_t, five_by_two_cv, mcnemar

RUNS = np.random.default_rng(11)
D = RUNS.standard_normal((10, 10)) + 0.3
ALPHA = 0.05


def at_most(share, num_studies):
    """What a share of that size stays below in 999 of 1,000 repetitions."""
    return scipy.stats.binom(num_studies, share).ppf(0.999) / num_studies


def plain_p(d):
    """The t test that takes parts for independent, over the last axis."""
    return scipy.stats.ttest_1samp(d, 0, axis=-1).pvalue


def test_the_corrected_t_is_its_formula_by_hand():
    found = corrected_t([1.0, 2, 3, 6], 90, 10)
    # mean 3, s^2 = (4 + 1 + 0 + 9) / 3, variance s^2 (1 / 4 + 1 / 9)
    se = np.sqrt(14 / 3 * 13 / 36)
    assert found.df == 3
    np.testing.assert_allclose(found.t, 3 / se, rtol=1e-14)
    np.testing.assert_allclose(found.p, 2 * scipy.stats.t(3).sf(3 / se), rtol=1e-12)
    expected = scipy.stats.t(3, loc=3, scale=se).interval(0.95)
    np.testing.assert_allclose(found.effect, [3, *expected], rtol=1e-12)


def test_without_test_rows_to_speak_of_the_corrected_t_is_that_of_scipy():
    found = corrected_t(D, 1e18, 1)
    theirs = scipy.stats.ttest_1samp(D.ravel(), 0)
    assert found.df == theirs.df == 99
    np.testing.assert_allclose([found.t, found.p], [theirs.statistic, theirs.pvalue], rtol=1e-12)
    interval = theirs.confidence_interval()
    np.testing.assert_allclose(found.effect[1:], [interval.low, interval.high], rtol=1e-12)


def test_the_interval_excludes_zero_just_where_p_is_below_its_error():
    for shift in np.linspace(0, 1, 21):
        found = corrected_t(D[:, 0] + shift, 9, 1, level=0.9)
        assert (found.p < 0.1) == (found.effect.low > 0 or found.effect.high < 0)
    five = five_by_two_cv(D[:5, :2] + 3, level=0.9)
    assert (five.p_t < 0.1) == (five.effect.low > 0)


def test_equal_differences_have_no_width_and_no_difference_is_no_evidence():
    assert corrected_t(np.zeros(5), 4, 1) == ((0, 0, 0), 0, 1, 4)
    assert corrected_t(np.full(5, 0.5), 4, 1) == ((0.5, 0.5, 0.5), np.inf, 0, 4)
    nothing, same = five_by_two_cv(np.zeros((5, 2))), five_by_two_cv(-np.ones((5, 2)))
    assert (nothing.t, nothing.p_t, nothing.f, nothing.p) == (0, 1, 0, 1)
    assert (same.t, same.p_t, same.f, same.p) == (-np.inf, 0, np.inf, 0)


def test_five_by_two_is_its_formulas_by_hand():
    d = np.array([[2.0, 0], [1, 3], [0, 4], [2, 2], [-1, 1]])
    # s_i^2 = 2, 2, 8, 0, 2: 14 in all; the squares of d sum to 4 + 10 + 16 + 8 + 2 = 40
    found = five_by_two_cv(d)
    t, f = 2 / np.sqrt(14 / 5), 40 / 28
    np.testing.assert_allclose([found.t, found.f], [t, f], rtol=1e-14)
    p = [2 * scipy.stats.t(5).sf(t), scipy.stats.f(10, 5).sf(f)]
    np.testing.assert_allclose([found.p_t, found.p], p, rtol=1e-12)
    expected = scipy.stats.t(5, loc=2, scale=np.sqrt(14 / 5)).interval(0.95)
    np.testing.assert_allclose(found.effect, [2, *expected], rtol=1e-12)


def rights(only_a, only_b, both=3, neither=2):
    a = np.repeat([1, 0, 1, 0], [only_a, only_b, both, neither])
    return a, np.repeat([0, 1, 1, 0], [only_a, only_b, both, neither])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_test_of_scipy_and_mid_p_half_a_step_below(only_a, only_b):
    found = mcnemar(*rights(only_a, only_b))
    n = only_a + only_b
    assert (found.only_a, found.only_b) == (only_a, only_b)
    exact = scipy.stats.binomtest(only_a, n).pvalue if n else 1.0
    np.testing.assert_allclose(found.p_exact, exact, rtol=1e-12)
    step = scipy.stats.binom(n, 0.5).pmf(only_a)
    # at only_a = only_b the exact p is 1 where its formula passes 1
    expected = 1.0 if only_a == only_b else exact - step
    np.testing.assert_allclose(found.p, expected, rtol=1e-9)


def test_mcnemar_by_hand():
    found = mcnemar(*rights(8, 2, both=60, neither=30))
    # of ten coins two or fewer heads: 56 of 1,024 cases, one or none 11
    np.testing.assert_allclose(found.p_exact, 2 * 56 / 1024, rtol=1e-14)
    np.testing.assert_allclose(found.p, (11 + 56) / 1024, rtol=1e-14)
    assert found.effect.estimate == -0.06
    more_a, more_b = 9 / 102, 3 / 102
    half = 1.959963984540054 * np.sqrt((more_a + more_b - (more_a - more_b) ** 2) / 102)
    centre = more_b - more_a
    np.testing.assert_allclose(found.effect[1:], [centre - half, centre + half], rtol=1e-12)
    assert mcnemar([1], [0]).effect.low == -1


def test_the_interval_of_mcnemar_covers_the_difference_of_error_rates():
    covered = []
    for only_a, only_b, _ in RUNS.multinomial(60, [0.2, 0.08, 0.72], 2000):
        _, low, high = mcnemar(*rights(only_a, only_b, 60 - only_a - only_b, 0)).effect
        covered.append(low <= -0.12 <= high)
    # 95 asked for; Bonett & Price's is approximate, and 2,000 draws are known to -+ 1.5
    assert 0.93 < np.mean(covered) < 0.975


def parts_of_null_studies(kind, num_studies=2000, num_rows=100):
    """Mean differences on held-out parts, [studies, parts], of rows whose differences have mean 0.

    Both models are fixed, so only the test rows are shared: the least overlap that there is.
    """
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((num_studies, num_rows))
    orders = [rng.permutation(num_rows) for _ in range(15 if kind == "hold-outs" else 10)]
    if kind == "hold-outs":
        return rows[:, np.stack(orders)[:, :20]].mean(axis=2), 80, 20
    folds = rows[:, np.stack(orders)].reshape(num_studies, -1, num_rows // 10)
    return folds.mean(axis=2), 90, 10


@pytest.mark.parametrize("kind", ["hold-outs", "repeated folds"])
def test_the_corrected_t_keeps_its_error_where_the_plain_one_does_not(kind):
    d, num_train, num_test = parts_of_null_studies(kind)
    claimed = np.mean([corrected_t(x, num_train, num_test).p <= ALPHA for x in d])
    assert claimed <= at_most(ALPHA, len(d))
    assert np.mean(plain_p(d) <= ALPHA) > 0.25


def test_five_by_two_keeps_its_error_where_a_plain_t_of_its_ten_differences_does_not():
    rng = np.random.default_rng(6)
    rows = rng.standard_normal((2000, 100))
    orders = np.stack([rng.permutation(100) for _ in range(5)])
    d = rows[:, orders].reshape(2000, 5, 2, 50).mean(axis=3)
    claims = np.array([[found.p_t, found.p] for found in map(five_by_two_cv, d)]) <= ALPHA
    assert (claims.mean(axis=0) <= at_most(ALPHA, 2000)).all()
    assert np.mean(plain_p(d.reshape(2000, 10)) <= ALPHA) > 0.25


def test_mcnemar_keeps_its_error():
    wins = np.random.default_rng(7).binomial(25, 0.5, 2000)
    found = [mcnemar(*rights(k, 25 - k)) for k in wins]
    assert np.mean([x.p <= ALPHA for x in found]) <= at_most(ALPHA, 2000)
    assert np.mean([x.p_exact <= ALPHA for x in found]) <= at_most(ALPHA, 2000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: corrected_t([1.0], 9, 1), "d must hold 2 or more numbers"),
        (lambda: corrected_t([1.0, np.nan], 9, 1), "d must not hold NaN"),
        (lambda: corrected_t([1.0, np.inf], 9, 1), "d must be finite, got inf"),
        (lambda: corrected_t([1.0, 2], 0, 1), r"num_train must be in \[1, inf\), got 0"),
        (lambda: corrected_t([1.0, 2], 9, 0), r"num_test must be in \[1, inf\), got 0"),
        (lambda: corrected_t([1.0, 2], 9, 1, level=1), r"level must be in \(0, 1\), got 1"),
        (lambda: five_by_two_cv(np.ones((2, 5))), r"d must be of shape \(5, 2\), got \(2, 5\)"),
        (lambda: five_by_two_cv(np.ones(10)), r"d must be of rank 2, got shape \(10,\)"),
        (lambda: mcnemar([1, 0], [1]), "both must be of the same rows, got 2 and 1"),
        (lambda: mcnemar([1, 0.5], [1, 0]), "a_right must hold 0 and 1 only, got 0.5"),
        (lambda: mcnemar([], []), "a_right must hold 1 or more numbers"),
    ],
)
def test_wrong_numbers_say_the_rule_and_what_came(call, message):
    with pytest.raises(ValueError, match=message):
        call()
