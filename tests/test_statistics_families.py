"""Many comparisons: hand-worked and published numbers, brute force, scipy, and invariances."""

from itertools import combinations, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dljax.comparison.statistics.aggregates import (
    aggregate,
    interquartile_mean,
    normalized_scores,
    optimality_gap,
    probability_of_improvement,
)
from dljax.comparison.statistics.families import (
    friedman,
    holm,
    iman_davenport,
    mean_ranks,
    nemenyi_distance,
    pairwise_wilcoxon,
    wilcoxon,
    win_rates,
)
from dljax.comparison.statistics.profiles import score_profile, time_profile

RUNS = np.random.default_rng(11)
SCORES = RUNS.uniform(0, 1.2, (3, 4, 6))
tables = arrays(np.float64, (7, 3), elements=st.integers(0, 4).map(float))


def test_holm_by_hand():
    # sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04, and no value may fall
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.4, 0.6]), [0.8, 0.8])
    np.testing.assert_allclose(holm([0.7, 0.6]), [1, 1])


@given(arrays(np.float64, st.integers(1, 6), elements=st.floats(0, 1)), st.floats(0.01, 0.2))
@settings(max_examples=40)
def test_holm_rejects_what_stepping_down_rejects(p, alpha):
    rejected = np.zeros(p.size, bool)
    for step, i in enumerate(np.argsort(p, kind="stable")):
        if p[i] * (p.size - step) > alpha:
            break
        rejected[i] = True
    np.testing.assert_array_equal(holm(p) <= alpha, rejected)
    assert (holm(p) >= p).all()


@given(arrays(np.float64, (2, 8), elements=st.integers(-3, 3).map(float)))
@settings(max_examples=40)
def test_wilcoxon_counts_all_sign_vectors_even_with_ties(pair):
    a, b = pair
    d = (a - b)[a != b]
    ranks = scipy.stats.rankdata(np.abs(d))
    total, w = ranks.sum(), ranks[d > 0].sum()
    sums = np.array(list(product([0, 1], repeat=d.size))).reshape(2**d.size, -1) @ ranks
    expected = np.mean(np.abs(sums - total / 2) >= abs(w - total / 2))
    assert wilcoxon(a, b) == pytest.approx(expected, rel=1e-12)
    assert wilcoxon(a, b) == wilcoxon(b, a)


def test_wilcoxon_without_ties_is_scipys_at_any_size():
    for size in (5, 20, 45):
        a, b = RUNS.standard_normal((2, size))
        expected = scipy.stats.wilcoxon(a, b, method="exact").pvalue
        assert wilcoxon(a, b) == pytest.approx(expected, rel=1e-9)
    assert wilcoxon([1, np.inf, np.inf], [np.inf, np.inf, 2]) == 1.0


def test_pairs_are_adjusted_over_their_family_and_too_few_problems_are_named():
    table = np.arange(6)[:, None] + np.array([0.0, 1.0])
    assert pairwise_wilcoxon(table).note == ""
    assert pairwise_wilcoxon(table).p == 2.0**-5
    few = pairwise_wilcoxon(table[:5])
    assert few.smallest == few.p == 0.0625
    assert few.note == "too few problems: with 5, and 1 pairs, no adjusted p can be below 0.0625"
    many = pairwise_wilcoxon(RUNS.standard_normal((9, 4)))
    np.testing.assert_array_equal(many.pairs, list(combinations(range(4), 2)))
    np.testing.assert_array_equal(many.adjusted, holm(many.p))


@given(tables)
@settings(max_examples=40)
def test_friedman_is_scipys_with_ties_too(table):
    found = friedman(table)
    if np.ptp(table, axis=1).any():
        expected = scipy.stats.friedmanchisquare(*table.T)
        np.testing.assert_allclose([found.chi2, found.p], expected, rtol=1e-9, atol=1e-12)
    else:
        assert (found.chi2, found.p) == (0, 1)
    np.testing.assert_array_equal(friedman(np.exp(table)).mean_ranks, found.mean_ranks)


def test_the_worked_example_of_demsar_is_met():
    # JMLR 7 (2006), section 3.2.2: four classifiers on 14 data sets, by their mean ranks
    R, P, A = np.array([3.143, 2.0, 2.893, 1.964]), 14, 4
    chi2 = 12 * P / (A * (A + 1)) * (np.sum(R**2) - A * (A + 1) ** 2 / 4)
    F, p = iman_davenport(chi2, P, A)
    assert (round(chi2, 2), round(F, 2)) == (9.28, 3.69)
    assert p == pytest.approx(scipy.stats.f.sf(F, 3, 39))
    assert round(nemenyi_distance(14, 4), 2) == 1.25


def test_the_critical_values_of_nemenyi_are_those_of_the_table():
    table = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 10: 3.164}  # Demsar's table 5
    for A, q in table.items():
        # the table is rounded up or down from older ones, by a unit of its last digit at most
        assert nemenyi_distance(100, A) / np.sqrt(A * (A + 1) / 600) == pytest.approx(q, abs=2e-3)


def test_problems_that_rank_alike_leave_no_doubt():
    found = friedman(np.arange(5)[:, None] + np.array([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(found.mean_ranks, [1, 2, 3])
    assert (found.F, found.p_F) == (np.inf, 0)


def test_ranks_share_ties_and_put_diverged_runs_last():
    x = np.array([[3, 1, 1, np.inf, np.inf], [5, 4, 3, 2, 1]])
    np.testing.assert_array_equal(mean_ranks(x), scipy.stats.rankdata(x, axis=1))


def test_the_win_rates_of_a_pair_add_up_in_the_mean_and_in_the_bounds():
    losses = -SCORES.copy()
    losses[0, 0, 0] = np.inf
    rate, low, high = win_rates(losses, num_draws=300)
    np.testing.assert_allclose(rate + rate.T, 1)
    np.testing.assert_allclose(low + high.T, 1)
    by_hand = [np.mean(losses[0, p] < losses[2, p]) for p in range(4)]
    assert rate[0, 2] == pytest.approx(np.mean(by_hand))
    assert (low <= rate).all() and (rate <= high).all()  # noqa: PT018


def test_the_interquartile_mean_is_the_trimmed_mean_of_scipy():
    for shape in ((4, 6), (3, 5), (1, 2)):
        x = RUNS.standard_normal(shape)
        expected = scipy.stats.trim_mean(x, 0.25, axis=None)
        assert interquartile_mean(x) == pytest.approx(expected)
    assert interquartile_mean(SCORES).shape == (3,)


def test_the_optimality_gap_counts_what_is_missing_only():
    assert optimality_gap(np.array([[0.5, 2.0], [1.0, 0.0]])) == pytest.approx(1.5 / 4)


def test_scores_run_from_the_start_to_the_target_and_a_diverged_run_has_none():
    losses = np.array([[[10.0, 6.0, 2.0, 0.0, 12.0, np.inf]]])
    expected = [[[0, 0.5, 1, 1.2, 0, 0]]]
    np.testing.assert_allclose(normalized_scores(losses, [10.0], [2.0]), expected)


def test_the_joint_bootstrap_sees_through_noise_that_optimizers_share():
    shared = RUNS.standard_normal((1, 4, 20))
    scores = shared + np.array([0.0, 0.2])[:, None, None] + 0.01 * RUNS.standard_normal((2, 4, 20))
    found = aggregate(scores, num_draws=300)
    assert found.high[0] - found.low[0] > 0.2
    assert 0.15 < found.difference_low[1, 0] < found.difference_high[1, 0] < 0.25
    np.testing.assert_allclose(found.difference, -found.difference.T)
    np.testing.assert_allclose(found.difference_low, -found.difference_high.T)


def test_the_stratified_bootstrap_knows_no_variance_between_problems():
    scores = np.broadcast_to(np.array([0.0, 1.0, 5.0])[:, None], (1, 3, 4))
    found = aggregate(scores, statistic=optimality_gap, num_draws=50)
    assert found.low == found.estimate == found.high


def test_the_bootstrap_of_one_problem_has_the_error_of_a_mean():
    x = RUNS.standard_normal((1, 1, 50))
    found = aggregate(x, statistic=lambda s: s.mean(axis=(-2, -1)), num_draws=4000)
    half = 1.96 * x.std(ddof=1) / np.sqrt(50)
    # quantiles of 4,000 draws are within some 4 % of the normal ones
    np.testing.assert_allclose(
        [found.low[0], found.high[0]], [x.mean() - half, x.mean() + half], atol=0.05
    )


def test_the_probability_of_improvement_is_mann_whitneys_over_problems():
    x, y = SCORES[0], SCORES[1, :, :5]
    u = [scipy.stats.mannwhitneyu(x[p], y[p]).statistic / 30 for p in range(4)]
    found = probability_of_improvement(x, y, num_draws=400)
    assert found.estimate == pytest.approx(np.mean(u))
    assert found.low < found.estimate < found.high
    assert probability_of_improvement(x, x, num_draws=1).estimate == pytest.approx(0.5)


def test_a_score_profile_falls_from_one_to_nothing():
    found = score_profile(SCORES, [-1, 0.3, 0.6, 2], num_draws=200)
    np.testing.assert_array_equal(found.share[:, [0, 3]], [[1, 0]] * 3)
    np.testing.assert_allclose(found.share[:, 1], (SCORES > 0.3).mean(axis=(1, 2)))
    assert (np.diff(found.share) <= 0).all()
    assert ((found.low <= found.share) & (found.share <= found.high)).all()


def test_a_time_profile_is_the_integral_of_its_steps():
    times = np.array([[10.0, 30.0, np.inf, 5.0], [10.0, 10.0, 10.0, 10.0]])
    taus = np.linspace(1, 4, 30_001)
    found = time_profile(times, [10, 10, 10, 10], taus)
    np.testing.assert_allclose(found.ratio[0], [1, 3, np.inf, 0.5])
    np.testing.assert_allclose(found.share[0, [0, 20_000, -1]], [0.5, 0.75, 0.75])
    # a Riemann sum of 30,000 steps
    np.testing.assert_allclose(found.mean_share, found.share.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(found.mean_share, [(3 + 1 + 0 + 3) / 12, 1])


def test_another_optimizer_does_not_rank_the_others_anew():
    times = np.array([[10.0, 30.0], [20.0, 15.0]])
    alone = time_profile(times, [10, 10], [1, 2])
    joined = time_profile(np.vstack([times, [[1.0, 1.0]]]), [10, 10], [1, 2])
    np.testing.assert_array_equal(joined.mean_share[:2], alone.mean_share)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: holm([0.1, 1.2]), r"p must be in \[0, 1\], got 1.2"),
        (lambda: holm([]), r"p must hold 1 or more numbers, got shape \(0,\)"),
        (lambda: friedman([[1, np.nan]]), "table must not hold NaN"),
        (lambda: friedman([[1, 2]]), "table must hold at least 2 problems, got 1"),
        (lambda: pairwise_wilcoxon([1, 2]), r"table must be of rank 2, got shape \(2,\)"),
        (lambda: wilcoxon([1, 2], [1]), "must share their problems, got 2 and 1"),
        (lambda: nemenyi_distance(1, 3), r"num_problems must be in \[2, inf\), got 1"),
        (lambda: win_rates(SCORES[..., :1]), "losses must hold 2 or more numbers"),
        (lambda: aggregate(SCORES / 0.0), "scores must be finite, got inf"),
        (
            lambda: normalized_scores(SCORES, [1] * 4, [1] * 4),
            "initial loss minus target must be in",
        ),
        (lambda: time_profile(SCORES[:, :, 0], [1, 1], [1]), "one number for each of 4, got 2"),
        (lambda: time_profile(-SCORES[0].T, [1] * 4, [1]), r"times must be in \(0, inf\]"),
    ],
)
def test_bad_input_is_named_in_a_line(call, message):
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
