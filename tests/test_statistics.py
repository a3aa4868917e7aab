"""The numbers of a comparison agree with closed forms and with scipy, and drop no run."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dljax.comparison.statistics import (
    censored_median,
    edge,
    final_metric,
    grid,
    jsonable,
    mean_interval,
    select,
    steps_to_target,
    summarize_optimizer,
)

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
samples = st.lists(numbers, min_size=2, max_size=30)


def tidy(points, stage, argument="learning_rate"):
    """Rows of runs that jump from 1 to a final loss: `points` is {value: final loss per seed}."""
    rows = [
        {
            "optimizer": "sgd",
            "argument": argument,
            "value": value,
            "point": point,
            "stage": stage,
            "seed": seed,
            "step": step,
            "cost": 2.5 * step,
            "valid_loss": 1.0 if step == 0 else final if step == 20 else 0.75,
            "test_loss": 1.0 if step == 0 else final if step == 20 else 0.75,
            "diverged_at": 13 if np.isnan(final) else -1,
        }
        for point, (value, finals) in enumerate(points.items())
        for seed, final in enumerate(finals)
        for step in (0, 10, 20)
    ]
    return pd.DataFrame(rows)


PROBLEM = {"metric": "loss", "goal": "min", "target": {"metric": "valid_loss", "value": 0.5}}


@given(samples, st.floats(0.5, 0.999))
def test_the_interval_is_that_of_scipy(values, level):
    mean, low, high = mean_interval(values, level)
    sem = scipy.stats.sem(values)
    assert np.isclose(mean, np.mean(values))
    if sem > 0:
        expected = scipy.stats.t.interval(level, len(values) - 1, np.mean(values), sem)
        np.testing.assert_allclose([low, high], expected, rtol=1e-9, atol=1e-9 * sem)


@given(samples, st.floats(-5, 5), st.floats(0.01, 100))
def test_the_interval_moves_and_stretches_with_the_values(values, shift, scale):
    moved = mean_interval(shift + scale * np.array(values))
    expected = shift + scale * np.array(mean_interval(values))
    np.testing.assert_allclose(
        moved, expected, rtol=1e-7, atol=1e-7 * scale * np.ptp(values) + 1e-6
    )


def test_the_interval_of_two_runs_is_known_in_closed_form():
    # t with one degree of freedom is Cauchy: its 0.75 quantile is tan(pi / 4) = 1
    np.testing.assert_allclose(mean_interval([1.0, 3.0], level=0.5), (2.0, 1.0, 3.0), rtol=1e-12)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).standard_normal((4000, 5))
    covered = [low <= 0 <= high for _, low, high in map(mean_interval, draws)]
    assert abs(np.mean(covered) - 0.95) < 0.011  # 3.2 binomial standard deviations


def test_one_run_has_a_mean_and_no_interval():
    mean, low, high = mean_interval([3.0])
    assert mean == 3.0
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_lost_run_leaves_no_mean(lost):
    assert np.isnan(mean_interval([1.0, lost, 2.0])).all()


def test_an_interval_needs_a_run_and_a_level_inside_the_unit_interval():
    with pytest.raises(ValueError, match="at least one run, got none"):
        mean_interval([])
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\), got 95"):
        mean_interval([1.0, 2.0], level=95)


def test_the_first_step_at_the_target_is_found_for_either_goal():
    curves = np.array([[0.1, 0.5, 0.4, 0.9], [0.5, np.nan, np.nan, np.nan], [0.1, 0.2, 0.3, 0.4]])
    steps = [0, 50, 100, 150]
    np.testing.assert_array_equal(steps_to_target(steps, curves, 0.5, "max"), [50, 0, np.inf])
    np.testing.assert_array_equal(steps_to_target(steps, -curves, -0.5, "min"), [50, 0, np.inf])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=15).filter(lambda runs: len(runs) % 2))
def test_the_median_of_an_odd_number_of_runs_is_that_of_kaplan_and_meier(first):
    first, last = np.array(first, dtype=float), 6.0
    hit = first[first <= last]
    censored = scipy.stats.CensoredData(hit, right=np.full(first.size - hit.size, last))
    survival = scipy.stats.ecdf(censored).sf
    reached = survival.quantiles[survival.probabilities <= 0.5 + 1e-12]
    expected = reached[0] if reached.size else None
    assert censored_median(np.where(first <= last, first, np.inf)) == expected


def test_the_median_step_is_none_once_half_of_the_runs_miss():
    assert censored_median([100, 200, np.inf]) == 200
    assert censored_median([100, 200, np.inf, np.inf]) is None
    assert censored_median([100, 200]) == 150


metric_tables = arrays(np.float64, (5, 3), elements=st.floats(-10, 10) | st.just(np.nan))


@given(metric_tables)
def test_the_highest_metric_is_the_lowest_of_its_negative(metric):
    assert select(metric, "max") == select(-metric, "min")


@given(metric_tables, st.permutations(range(5)))
def test_the_choice_does_not_depend_on_the_order_of_the_seeds_or_points(metric, order):
    order = np.array(order)
    finite = np.median(np.where(np.isnan(metric), np.inf, metric), axis=1)
    assert finite[select(metric, "min")] == finite.min()
    assert select(metric[:, [2, 0, 1]], "min") == select(metric, "min")
    if np.unique(finite).size == 5:
        assert order[select(metric[order], "min")] == select(metric, "min")


def test_a_diverged_run_counts_as_the_worst_possible():
    metric = [[0.9, np.nan, np.nan], [0.5, 0.5, np.inf], [0.4, 0.4, 0.4]]
    assert select(metric, "max") == 1
    assert select(np.full((3, 2), np.nan), "max", np.zeros((3, 2))) == 0
    assert select([[np.nan], [1e9]], "min") == 1


def test_ties_are_broken_by_the_lower_loss_and_then_by_the_smaller_index():
    accuracy = [[0.5, 0.5], [0.9, 0.9], [0.9, 0.9], [0.9, 0.9]]
    assert select(accuracy, "max") == 1
    assert select(accuracy, "max", [[0.0, 0.0], [0.3, 0.3], [0.2, 0.2], [0.2, 0.2]]) == 2
    assert select(accuracy, "max", [[0, 0], [np.nan, 0.1], [0.2, 0.2], [np.nan, 0]]) == 2


@pytest.mark.parametrize(
    ("index", "lengths", "expected"),
    [
        ((0,), (13,), "low"),
        ((12,), (13,), "high"),
        ((6,), (13,), ""),
        ((0,), (2,), ""),
        ((0,), (1,), ""),
        ((3, 4), (13, 5), "high"),
        ((3, 1), (13, 2), ""),
        ((), (), ""),
    ],
)
def test_an_edge_is_the_first_or_last_of_more_than_two_values(index, lengths, expected):
    assert edge(index, lengths) == expected


def test_the_grid_of_several_arguments_is_read_back():
    rows = pd.DataFrame(
        {"argument": "learning_rate, beta", "value": ["0.1, 0.9", "1e-05, 0.5"], "point": [1, 0]}
    )
    assert grid(rows) == (["learning_rate", "beta"], {0: [1e-5, 0.5], 1: [0.1, 0.9]})
    assert grid(rows.assign(argument="", value="")) == ([], {0: [], 1: []})


def test_the_final_metric_of_a_diverged_run_is_nan_even_if_a_number_was_recorded():
    rows = tidy({0.1: [0.2, 0.3], 0.2: [0.4, 0.5]}, "tuning")
    rows.loc[(rows["point"] == 1) & (rows["seed"] == 0), "diverged_at"] = 20
    table = final_metric(rows.sample(frac=1, random_state=0), "valid_loss")
    np.testing.assert_array_equal(table, [[0.2, 0.3], [np.nan, 0.5]])


def test_the_summary_of_an_optimizer_is_that_of_its_runs():
    lost = np.nan
    tuning = tidy({0.1: [0.5, 0.6, 0.7], 1.0: [0.1, 0.2, lost], 10.0: [lost, lost, 0.0]}, "tuning")
    runs = tidy({1.0: [0.2, 0.4, 0.9]}, "evaluation").assign(point=1)
    entry = summarize_optimizer(pd.concat([tuning, runs], ignore_index=True), 1, PROBLEM)
    assert entry["tuning"] == {
        "points": [[0.1], [1.0], [10.0]],
        "metric": "valid_loss",
        "median": [0.6, 0.2, None],
        "diverged": [0, 1, 2],
    }
    reached = {"median": 20.0, "median_cost": 50.0, "hits": 2, "num_runs": 3}
    found = entry["steps_to_target"]
    assert {name: found[name] for name in reached} == reached
    assert found["restricted_mean"]["estimate"] == 20.0  # two hits at the last step
    assert found["expected_running_time"] == 3 * 20 / 2
    # medians 0.6, 0.2 and diverged at rates 0.1, 1, 10, which count as the initial 1 at most
    assert entry["sensitivity"]["rate_sensitivity"] == pytest.approx((0.4 + 0.6) / 2 - 0.2)
    assert (entry["sensitivity"]["stable"], entry["sensitivity"]["diverges_from"]) == (0.1, 1.0)
    assert entry["gradients_per_step"] == 2.5
    assert (entry["argument"], entry["value"], entry["edge"]) == (["learning_rate"], [1.0], "")
    assert (entry["diverged"], entry["num_runs"]) == (0, 3)
    loss = entry["test"]["loss"]
    expected = scipy.stats.t.interval(0.95, 2, 0.5, scipy.stats.sem([0.2, 0.4, 0.9]))
    np.testing.assert_allclose([loss["mean"], loss["low"], loss["high"]], [0.5, *expected])
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry


def test_the_summary_of_a_diverged_optimizer_has_no_mean_and_says_so():
    tuning = tidy({0.1: [0.5], 1.0: [0.6], 10.0: [0.7]}, "tuning")
    runs = tidy({0.1: [0.2, np.nan, np.nan]}, "evaluation")
    entry = summarize_optimizer(pd.concat([tuning, runs], ignore_index=True), 0, PROBLEM)
    assert entry["test"]["loss"] == {"mean": None, "low": None, "high": None, "num_runs": 3}
    missed = {"median": None, "median_cost": None, "hits": 1, "num_runs": 3}
    assert {name: entry["steps_to_target"][name] for name in missed} == missed
    assert (entry["diverged"], entry["edge"]) == (2, "low")


def test_an_optimizer_without_tuning_or_target_is_summarized():
    runs = tidy({"": [0.2, 0.4]}, "evaluation", argument="")
    entry = summarize_optimizer(runs, 0, {**PROBLEM, "target": None})
    assert (entry["argument"], entry["value"], entry["edge"]) == ([], [], "")
    assert entry["steps_to_target"] is None
    assert entry["tuning"]["points"] == []


def test_what_json_cannot_hold_becomes_none():
    tree = {"a": np.float64(np.nan), 1: (np.int64(3), [np.inf]), "b": np.array([[1.5, -np.inf]])}
    assert jsonable(tree) == {"a": None, "1": [3, [None]], "b": [[1.5, None]]}
