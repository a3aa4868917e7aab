"""Budgets, steps to a target and learning rates: all subsets, published and hand-worked cases."""

from itertools import combinations, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dljax.comparison.statistics import censored_median
from dljax.comparison.statistics.budget import expected_best, expected_best_biased, overtaking
from dljax.comparison.statistics.sensitivity import (
    basin,
    rate_sensitivity,
    stability_edge,
    stability_ratio,
)
from dljax.comparison.statistics.survival import (
    expected_running_time,
    hit_rate,
    kaplan_meier,
    median_step,
    restricted_mean,
)

trials = arrays(np.float64, st.integers(1, 6), elements=st.integers(-9, 9).map(float))
first_steps = st.lists(st.integers(1, 9).map(float), min_size=1, max_size=12)


@given(trials)
@settings(max_examples=40)
def test_the_unbiased_budget_curve_is_the_mean_over_all_subsets(values):
    expected = [
        np.mean([min(chosen) for chosen in combinations(values, n)])
        for n in range(1, values.size + 1)
    ]
    np.testing.assert_allclose(expected_best(values), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(expected_best(-values, "max"), -expected_best(values))


@given(trials.filter(lambda values: values.size < 6))
@settings(max_examples=40)
def test_the_biased_budget_curve_is_the_mean_over_all_draws_with_replacement(values):
    expected = [
        np.mean([min(drawn) for drawn in product(values, repeat=n)])
        for n in range(1, values.size + 1)
    ]
    np.testing.assert_allclose(expected_best_biased(values), expected, rtol=1e-9, atol=1e-9)


def test_a_budget_curve_of_many_trials_keeps_its_ends():
    values = np.random.default_rng(0).standard_normal(2000)
    curve = expected_best(values)
    # logarithms of factorials of 2,000 lose some four digits
    np.testing.assert_allclose(curve[[0, -1]], [values.mean(), values.min()], atol=1e-9)
    assert (np.diff(curve) <= 1e-9).all()


def test_budgets_are_infinite_while_all_trials_of_one_may_diverge():
    np.testing.assert_allclose(expected_best([np.inf, 1, np.inf, 2]), [np.inf, np.inf, 1.25, 1])
    np.testing.assert_array_equal(expected_best_biased([1, np.inf]), np.inf)
    np.testing.assert_array_equal(expected_best([-np.inf, 3], "max"), [-np.inf, 3])


def test_the_unbiased_curve_is_unbiased_and_the_other_is_not():
    draws = np.random.default_rng(1).uniform(size=(2000, 5))
    expected = np.arange(1, 6) / np.arange(2, 7)  # mean of the largest of n uniform numbers
    found = np.mean([expected_best(x, "max") for x in draws], axis=0)
    np.testing.assert_allclose(found, expected, atol=0.02)  # 3 standard errors of 0.29
    biased = np.mean([expected_best_biased(x, "max") for x in draws], axis=0)
    assert (biased[1:] < expected[1:] - 0.02).all()


def test_the_one_with_the_better_tail_overtakes():
    steady = np.linspace(0.5, 0.6, 40)  # good at once
    gamble = np.concatenate([np.full(35, 1.0), np.full(5, 0.1)])  # one in eight is better
    n, low, high = overtaking(steady, gamble, num_draws=500)
    curves = expected_best(steady)[:20], expected_best(gamble)[:20]
    assert curves[1][int(n) - 1] < curves[0][int(n) - 1]
    assert curves[1][int(n) - 2] >= curves[0][int(n) - 2]
    assert 1 < low <= n <= high
    assert overtaking(gamble, steady).estimate == np.inf
    assert overtaking(steady, steady - 1, num_draws=50) == (1, 1, 1)
    assert overtaking(-steady, 1 - steady, goal="max", num_draws=50) == (1, 1, 1)


@given(first_steps, st.data())
@settings(max_examples=40)
def test_the_survival_curve_is_scipys(first, data):
    last = np.array(
        data.draw(st.lists(st.integers(1, 9), min_size=len(first), max_size=len(first)))
    )
    steps = np.where(np.array(first) <= last, first, np.inf)
    hit = np.isfinite(steps)
    curve = kaplan_meier(steps, last)
    theirs = scipy.stats.ecdf(scipy.stats.CensoredData(steps[hit], right=last[~hit])).sf
    np.testing.assert_allclose(theirs.evaluate(curve.step), curve.share, atol=1e-12)
    np.testing.assert_array_equal(curve.step, np.unique(steps[hit]))
    share, low, high = median_step(steps, last)
    assert low <= share <= high


def test_kaplan_meier_by_hand():
    # steps 3, 5+, 6, 6, 8+, 10: at risk 6, 4, 1
    curve = kaplan_meier([3, np.inf, 6, 6, np.inf, 10], [99, 5, 99, 99, 8, 99])
    np.testing.assert_array_equal(curve.step, [3, 6, 10])
    np.testing.assert_array_equal(curve.at_risk, [6, 4, 1])
    np.testing.assert_array_equal(curve.hits, [1, 2, 1])
    np.testing.assert_allclose(curve.share, [5 / 6, 5 / 12, 0])
    np.testing.assert_allclose(curve.greenwood, [1 / 30, 1 / 30 + 2 / 8, np.inf])
    assert median_step([3, np.inf, 6, 6, np.inf, 10], [99, 5, 99, 99, 8, 99]).estimate == 6


def test_the_median_and_the_restricted_mean_are_those_that_r_prints():
    # survfit(Surv(c(10, 15, 23, 30, 35, 52, 100), c(1, 1, 1, 1, 1, 1, 0)) ~ 1), print.rmean
    steps, last = [10, 15, 23, 30, 35, 52, np.inf], 100
    mean, low, high = restricted_mean(steps, last, 100)
    np.testing.assert_allclose([mean, low, high], [37.85714, 16.80932, 58.90497], atol=5e-5)
    assert median_step(steps, last).estimate == 30


@given(first_steps)
def test_the_median_of_runs_that_end_together_is_the_plain_one(first):
    steps = np.where(np.array(first) <= 6, first, np.inf)
    expected = censored_median(steps)
    found = median_step(steps, 6).estimate
    assert found == (np.inf if expected is None else expected)


@given(first_steps, st.floats(0.5, 9))
@settings(max_examples=40)
def test_without_censoring_the_restricted_mean_is_the_mean_of_the_cut_steps(first, horizon):
    expected = np.minimum(first, horizon)
    mean, low, high = restricted_mean(first, 9, horizon)
    assert mean == pytest.approx(expected.mean())
    half = 1.959964 * expected.std() / np.sqrt(len(first))  # Greenwood's is the variance over n
    np.testing.assert_allclose(
        [low, high], np.clip([mean - half, mean + half], 0, horizon), atol=1e-6
    )


def test_bounds_of_the_median_cover_it_as_often_as_they_say():
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(1000):
        steps, last = rng.exponential(1, 20), rng.uniform(1, 4, 20)
        _, low, high = median_step(np.where(steps <= last, steps, np.inf), last)
        covered.append(low <= np.log(2) <= high)
    # steps make it conservative; 3 binomial standard deviations are 0.02
    assert 0.935 < np.mean(covered) < 0.985


@given(st.integers(1, 40), st.data(), st.floats(0.5, 0.99))
def test_the_hit_rate_has_wilsons_interval(num_runs, data, level):
    hits = data.draw(st.integers(0, num_runs))
    expected = scipy.stats.binomtest(hits, num_runs).proportion_ci(level, method="wilson")
    found = hit_rate(hits, num_runs, level)
    np.testing.assert_allclose(found, [hits / num_runs, *expected], rtol=1e-9, atol=1e-12)


def test_the_expected_running_time_shares_all_steps_among_the_hits():
    assert expected_running_time([10, np.inf, 30], 100) == 70
    assert expected_running_time([np.inf, np.inf], 100) == np.inf
    assert expected_running_time([10, np.inf], [50, 20]) == 30


RATES = 10.0 ** np.arange(-4, 2)


def test_the_sensitivity_is_the_mean_height_above_the_best():
    losses = [1.0, 0.5, 0.0, 0.5, 1.0, np.inf]
    # five trapezoids, the last from 1 up to the cap of 2
    assert rate_sensitivity(RATES, losses, 2.0) == pytest.approx((0.75 * 2 + 0.25 * 2 + 1.5) / 5)
    assert rate_sensitivity(RATES, np.zeros(6), 2.0) == 0
    fine = np.interp(np.arange(-4, 1.01, 0.5), np.arange(-4, 2), np.minimum(losses, 2.0))
    finer = rate_sensitivity(10.0 ** np.arange(-4, 1.01, 0.5), fine, 2.0)
    assert finer == pytest.approx(rate_sensitivity(RATES, losses, 2.0))


def test_the_basin_is_interpolated_and_says_where_it_is_open():
    losses = [1.0, 0.5, 0.0, 0.5, np.inf, 0.0]
    found = basin(RATES, losses, 0.25)
    np.testing.assert_allclose(found[:3], [1.0, 10**-2.5, 10**-1.5])
    assert found.open == ""
    wide = basin(RATES, losses, 0.75)
    np.testing.assert_allclose(wide[:3], [2.5, 10**-3.5, 10**-1])  # the diverged rate ends it
    assert basin(RATES, losses, 5.0).open == "low"
    assert basin(RATES, np.zeros(6), 0.1).open == "low, high"
    assert basin(RATES, -np.arange(6.0), 0.5).open == "high"


@given(st.floats(0.1, 10), st.floats(0.01, 5))
def test_the_basin_of_a_parabola_has_its_closed_form(curvature, margin):
    eta = np.linspace(-8, 8, 3201)
    found = basin(10.0**eta, curvature * eta**2, margin)
    expected = 2 * min(8, np.sqrt(margin / curvature))
    assert found.decades == pytest.approx(expected, abs=0.005)  # a grid step


def test_the_edge_of_stability_of_a_quadratic_encloses_the_theory():
    h, x0 = np.array([0.5, 3.0, 10.0]), 1.0
    rates = np.geomspace(1e-3, 10, 200)[:, None]
    for momentum in (0.0, 0.9):
        x, m = np.full((200, 3), x0), np.zeros((200, 3))
        for _ in range(2000):
            m = momentum * m + h * x
            x = np.clip(x - rates * m, -1e9, 1e9)
        losses = np.where((np.abs(x) > 1e6).any(axis=1), np.inf, 0.5 * np.sum(h * x**2, axis=1))
        edge = stability_edge(rates[:, 0], losses)
        below, above = stability_ratio(edge, 10.0, momentum)
        assert below < 1 < above < 1.06 * below


def test_an_edge_may_be_missing_on_either_side():
    assert stability_edge([1, 2, 3], [0, 0, 0]) == (3, np.inf)
    assert stability_edge([1, 2, 3], [np.inf, 0, 0]) == (0, 1)
    assert stability_edge([1, 2, 3], [1, 5, 0], bound=5) == (1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expected_best([]), "values must hold 1 or more numbers"),
        (lambda: expected_best([1, np.nan]), "values must not hold NaN"),
        (lambda: expected_best([1], "best"), "goal must be 'min' or 'max', got 'best'"),
        (lambda: overtaking([1, 2], [1, 2], longest=3), r"longest must be in \[1, 2\], got 3"),
        (lambda: kaplan_meier([5], 3), "not be after the end of its run, got 5"),
        (lambda: kaplan_meier([5, 6], [7, 8, 9]), "last must hold 1 or 2 numbers, got 3"),
        (lambda: restricted_mean([5, np.inf], 9, 10), r"horizon must be in \(0, 9\].* got 10"),
        (lambda: hit_rate(3, 2), r"hits must be in \[0, 2\], got 3"),
        (lambda: basin([1, 2], [np.inf, np.inf], 1), "finite at some learning rate, got none"),
        (lambda: basin([2, 1], [0, 0], 1), r"steps between rates must be in \(0, inf\)"),
        (lambda: rate_sensitivity([1, 2], [1], 1), "losses must hold 2 or more"),
        (lambda: rate_sensitivity([1, 2], [1, 2, 3], 1), "got 2 rates, 3 losses"),
        (lambda: stability_ratio(1.0, 0.0), r"largest_eigenvalue must be in \(0, inf\)"),
    ],
)
def test_bad_input_is_named_in_a_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
