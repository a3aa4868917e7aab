"""One problem's part of a report over several: costs, scores and times of its evaluation runs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dljax.comparison.design import EVALUATION
from dljax.comparison.statistics import Comparison, final_metric, goal_of, steps_to_target
from dljax.comparison.statistics.aggregates import normalized_scores
from dljax.comparison.statistics.survival import (
    expected_running_time,
    hit_rate,
    median_step,
    restricted_mean,
)

HIGHEST = 1.2  # where a score is cut


class Measured(NamedTuple):
    """The evaluation runs of all optimizers on one problem.

    Attributes:
      costs: float[A, S], lower is better, +inf for a diverged run: the final test metric less its
        start, in units of the way from the start to the target, or of the start where there is no
        target of that metric.
      scores: float[A, S], see `normalized_scores`, or `None`.
      why: Why there are no scores.
      told: Of the problem, ready for JSON.
    """

    costs: np.ndarray
    scores: np.ndarray | None
    why: str
    told: dict[str, Any]

    @property
    def num_seeds(self) -> int:
        """Seeds of each optimizer."""
        return self.costs.shape[1]

    def first(self, num_seeds: int) -> "Measured":
        """Returns the part of the first seeds."""
        scores = None if self.scores is None else self.scores[:, :num_seeds]
        return self._replace(costs=self.costs[:, :num_seeds], scores=scores)


def measured(comparison: Comparison, names: list[str]) -> Measured:
    """Returns what a report over several problems needs of one.

    Args:
      comparison: On one problem.
      names: The optimizers that take part.
    """
    summary = comparison.summary
    problem, rows = summary["problem"], comparison.results
    rows = rows[(rows["stage"] == EVALUATION) & rows["optimizer"].isin(names)]
    column, sign = f"test_{problem['metric']}", -1 if problem["goal"] == "max" else 1
    target, why = _scored(problem, rows)
    scores, told = None, {"name": problem["name"], "metric": column, "goal": problem["goal"]}
    start = sign * _start(rows, column)
    unit = abs(start) if np.isfinite(start) and start else 1.0
    if target is not None:
        scored, goal, value = target
        way = -1 if goal == "max" else 1
        begin, end = way * _start(rows, scored), way * value
        losses = way * _finals(rows, scored, names)
        losses = np.where(np.isfinite(losses), losses, np.inf)
        scores = normalized_scores(losses[:, None], [begin], [end], HIGHEST)[:, 0]
        told["score"] = {"metric": scored, "initial": way * begin, "target": value}
        if scored == column:
            unit = begin - end
    costs = (sign * _finals(rows, column, names) - np.nan_to_num(start)) / unit
    costs = np.where(np.isfinite(costs), costs, np.inf)
    told |= {"num_seeds": costs.shape[1], "evidence": summary["evidence"]}
    told["fingerprint"] = (summary.get("fingerprint") or {}).get("id")
    return Measured(costs, scores, why, told)


def to_target(comparisons: Mapping[str, Comparison], names: list[str]) -> list[dict[str, Any]]:
    """Returns a dict for each problem with a target and optimizer: when its runs met the target.

    Median and restricted mean of the steps with intervals, of runs that are censored where they
    end; the share of the runs that met it; and the steps that all runs spent, a run that met it.
    """
    found = []
    for problem, one in comparisons.items():
        target, last = one.summary["problem"]["target"], one.summary["settings"]["num_steps"]
        for name in names if target is not None else ():
            steps = _first_steps(one, name)
            met = np.isfinite(steps)
            found.append(
                {
                    "problem": problem,
                    "optimizer": name,
                    "last": last,
                    "median": dict(zip(BOUNDS, median_step(steps, last))),
                    "restricted_mean": dict(zip(BOUNDS, restricted_mean(steps, last, last))),
                    "hits": dict(zip(BOUNDS, hit_rate(int(met.sum()), met.size))),
                    "num_runs": met.size,
                    "expected_running_time": expected_running_time(steps, last),
                }
            )
    return found


BOUNDS = ("mean", "low", "high")


def _scored(
    problem: Mapping[str, Any], rows: pd.DataFrame
) -> tuple[tuple[str, str, float] | None, str]:
    """Returns the column, goal and value by which runs are scored, or why there is none."""
    target = problem["target"]
    if target is None:
        return None, "it has no target"
    column = "test_" + target["metric"].split("_", 1)[1]
    if column not in rows:
        return None, f"its target is of {target['metric']}, which was not measured on test rows"
    start, goal = _start(rows, column), goal_of(target["metric"], problem)
    if not np.isfinite(start):
        return None, "there is no evaluation before the first step"
    if (start >= target["value"]) if goal == "max" else (start <= target["value"]):
        return None, "its target is met before the first step"
    return (column, goal, target["value"]), ""


def _start(rows: pd.DataFrame, column: str) -> float:
    """Returns the mean of a metric before the first step, NaN if there is none."""
    begin = rows.loc[rows["step"] == 0, column]
    return float(begin[np.isfinite(begin)].mean())


def _finals(rows: pd.DataFrame, column: str, names: list[str]) -> np.ndarray:
    """Returns float[A, S]: the metric at the last step, of as many seeds as all have."""
    own = [
        final_metric(rows[rows["optimizer"] == name], column).to_numpy().ravel() for name in names
    ]
    least = min(map(len, own))
    return np.array([finals[:least] for finals in own])


def _first_steps(comparison: Comparison, name: str) -> np.ndarray:
    """Returns the first step at which each run met the target, inf for a miss."""
    problem, rows = comparison.summary["problem"], comparison.results
    rows = rows[(rows["stage"] == EVALUATION) & (rows["optimizer"] == name)]
    target = problem["target"]
    curves = rows.pivot(index="seed", columns="step", values=target["metric"])
    goal = goal_of(target["metric"], problem)
    return steps_to_target(curves.columns, curves.to_numpy(), target["value"], goal)
