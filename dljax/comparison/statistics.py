"""The numbers of a comparison: intervals, censored medians, the choice of a point, one summary.

All functions are pure, and none of them drops a run: a diverged run is counted as the worst
possible where an order is enough (medians, choices) and makes the result undefined where it is
not (means).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from dljax.errors import require


class Comparison(NamedTuple):
    """What `compare` returns: the summary of every optimizer, and the curves of every run."""

    summary: dict[str, Any]  # nested dicts, lists, strings and numbers; ready for JSON
    results: pd.DataFrame  # one row per optimizer, point, stage, seed and evaluation


def summarize_optimizer(
    rows: pd.DataFrame, point: int, problem: Mapping[str, Any]
) -> dict[str, Any]:
    """Makes one entry of `summary["optimizers"]` from the tidy results of one optimizer.

    Args:
      rows: The rows of `Comparison.results` of one optimizer, both stages.
      point: Index of the chosen point of the grid.
      problem: `summary["problem"]`; `metric`, `goal` and `target` are read.

    Returns:
      Name, tuned arguments and their chosen values, the edge they lie on, test metrics at the
      last step over the evaluation seeds, what a step costs in gradients, steps to the target and
      their cost, diverged runs and the tuning medians of every point; what is undefined is None.
    """
    metric = f"valid_{problem['metric']}"
    arguments, values = grid(rows)
    tuning = final_metric(rows[rows["stage"] == "tuning"], metric)
    runs = rows[(rows["stage"] == "evaluation") & (rows["point"] == point)]
    final = final_metric(runs, metric).to_numpy()
    medians = np.array([np.median(costs) for costs in _costs(tuning, problem["goal"])])
    entry = {
        "name": rows["optimizer"].iloc[0],
        "argument": arguments,
        "value": values[point],
        "edge": _edge_of(values[point], list(values.values())),
        "test": _test_metrics(runs),
        "gradients_per_step": _gradients_per_step(runs),
        "steps_to_target": _target_summary(runs, problem),
        "diverged": np.sum(~np.isfinite(final)),
        "num_runs": final.size,
        "tuning": {
            "points": [values[index] for index in tuning.index],
            "metric": metric,
            "median": medians if problem["goal"] == "min" else 0.0 - medians,
            "diverged": np.sum(~np.isfinite(tuning.to_numpy()), axis=1),
        },
    }
    return jsonable(entry)


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Returns a mean and its interval by Student's t; Student 1908, Biometrika 6(1), 1-25.

        low, high = mean -+ t s / sqrt(n)      with s^2 = sum_i (x_i - mean)^2 / (n - 1)

    and t the (1 + level) / 2 quantile of Student's distribution with n - 1 degrees of freedom.

    Args:
      values: float[n], n >= 1, one number per run.
      level: Coverage of the interval, in (0, 1).

    Returns:
      `(mean, low, high)`. One run has no interval: `low` and `high` are NaN. If any run is NaN
      or infinite all three are NaN, as no mean drops a run silently.

    Raises:
      ValueError: If there is no value, or if `level` is outside (0, 1).
    """
    require("level", level, "(0, 1)")
    values = np.asarray(values, dtype=np.float64).ravel()
    if values.size == 0:
        raise ValueError("values must hold at least one run, got none.")
    if not np.isfinite(values).all():
        return np.nan, np.nan, np.nan
    mean = float(values.mean())
    if values.size == 1:
        return mean, np.nan, np.nan
    half = stdtrit(values.size - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(values.size)
    return mean, float(mean - half), float(mean + half)


def steps_to_target(steps: ArrayLike, curves: ArrayLike, target: float, goal: str) -> np.ndarray:
    """Returns the first evaluated step at which each run meets the target.

    Args:
      steps: int[E], increasing; step 0 counts.
      curves: float[P, E], a metric of P runs; NaN meets no target.
      target: What must be reached, in units of the metric.
      goal: `"max"` if a run must reach `target` or more, `"min"` if `target` or less.

    Returns:
      float[P]; inf for a run that never meets the target, which is censored at the last step.
    """
    curves = np.asarray(curves, dtype=np.float64)
    met = curves >= target if goal == "max" else curves <= target
    first = np.asarray(steps, dtype=np.float64)[np.argmax(met, axis=1)]
    return np.where(met.any(axis=1), first, np.inf)


def censored_median(first_steps: ArrayLike) -> float | None:
    """Returns the median over all runs, misses counted as later than any step.

    All runs are censored at one step, the last; the Kaplan-Meier estimate (1958, JASA 53(282),
    457-481) is then the plain distribution of the first steps, whose median this is.

    Args:
      first_steps: float[P] as `steps_to_target` returns it, inf for a miss.

    Returns:
      The median step, or None if it lies beyond the last step.
    """
    median = float(np.median(np.asarray(first_steps, dtype=np.float64)))
    return median if np.isfinite(median) else None


def select(metric: ArrayLike, goal: str, tie_break: ArrayLike | None = None) -> int:
    """Returns the index of the point whose median over the tuning seeds is best.

    A diverged run (NaN or infinite) counts as the worst possible. Equal medians are decided by
    the lower median of `tie_break`, then by the smaller index; so if no point has a finite
    median the smallest index wins.

    Args:
      metric: float[num_points, num_seeds].
      goal: `"max"` or `"min"`.
      tie_break: float[num_points, num_seeds], lower is better; a loss behind an accuracy.

    Returns:
      The index, in [0, num_points).
    """
    costs = _costs(metric, goal)
    ties = np.zeros_like(costs) if tie_break is None else _costs(tie_break, "min")
    ties = np.where(np.isfinite(costs), ties, np.inf)
    return int(np.lexsort((np.median(ties, axis=1), np.median(costs, axis=1)))[0])


def edge(index: Sequence[int], lengths: Sequence[int]) -> str:
    """Says whether a point lies on the edge of its grid, so that the best may lie outside.

    Args:
      index: Position of the point along every axis, ascending values.
      lengths: Number of values of every axis; an axis of one or two values has no inside and
        is left out.

    Returns:
      `"low"` or `"high"` for the first axis on whose edge the point lies, or `""`.
    """
    for position, length in zip(index, lengths, strict=True):
        if length > 2 and position in (0, length - 1):
            return "high" if position else "low"
    return ""


def grid(rows: pd.DataFrame) -> tuple[list[str], dict[int, list[float]]]:
    """Returns the names of the tuned arguments of one optimizer, and the values of every point."""
    points = rows.drop_duplicates("point").sort_values("point")
    arguments = [name for name in points["argument"].iloc[0].split(", ") if name]
    values = [
        [float(number) for number in str(value).split(",")] if arguments else []
        for value in points["value"]
    ]
    return arguments, dict(zip(points["point"].tolist(), values, strict=True))


def final_metric(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Returns a metric at the last step: one row per point, one column per seed.

    A run that diverged at any step is NaN, and so is a run that is missing.
    """
    last = rows[rows["step"] == rows["step"].max()]
    kept = last.assign(final=last[metric].where(last["diverged_at"] < 0))
    return kept.pivot(index="point", columns="seed", values="final").astype(np.float64)


def goal_of(metric: str, problem: Mapping[str, Any]) -> str:
    """Returns the goal of the target where `metric` is its, `"min"` for any other loss."""
    target = problem["target"]
    if target is not None and target["metric"] == metric and target.get("goal"):
        return target["goal"]
    return "min" if metric.endswith("loss") else problem["goal"]


def jsonable(tree: Any) -> Any:
    """Returns nested lists and dicts of plain numbers, with None for what JSON cannot hold."""
    if isinstance(tree, Mapping):
        return {str(name): jsonable(branch) for name, branch in tree.items()}
    if isinstance(tree, np.ndarray | np.generic):
        return jsonable(tree.tolist())
    if isinstance(tree, list | tuple):
        return [jsonable(branch) for branch in tree]
    return None if isinstance(tree, float) and not np.isfinite(tree) else tree


def _costs(metric: ArrayLike, goal: str) -> np.ndarray:
    """Turns a metric into a cost, lower is better, with +inf for a diverged run."""
    metric = np.asarray(metric, dtype=np.float64)
    return np.where(np.isfinite(metric), -metric if goal == "max" else metric, np.inf)


def _edge_of(chosen: list[float], points: list[list[float]]) -> str:
    """Places the chosen values on the sorted values of every argument and asks `edge`."""
    axes = [sorted(set(column)) for column in zip(*points, strict=True)]
    index = [axis.index(value) for axis, value in zip(axes, chosen, strict=True)]
    return edge(index, [len(axis) for axis in axes])


def _test_metrics(runs: pd.DataFrame) -> dict[str, Any]:
    """Returns mean and 95 % interval at the last step of every column `test_*`."""
    columns = [name for name in runs.columns if name.startswith("test_")]
    finals = {name: final_metric(runs, name).to_numpy().ravel() for name in columns}
    return {
        name.removeprefix("test_"): {
            **dict(zip(("mean", "low", "high"), mean_interval(final), strict=True)),
            "num_runs": final.size,
        }
        for name, final in finals.items()
    }


def _gradients_per_step(runs: pd.DataFrame) -> float:
    """Returns the mean cost of a step in gradient equivalents, over the runs that went through."""
    last = runs[runs["step"] == runs["step"].max()]
    through = last["diverged_at"] < 0
    last = last[through] if through.any() else last
    return float(np.round((last["cost"] / last["step"]).mean(), 4))


def _target_summary(runs: pd.DataFrame, problem: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns median, hits and number of runs of `steps_to_target`, or None without a target."""
    target = problem["target"]
    if target is None:
        return None
    curves, costs = (
        runs.pivot(index="seed", columns="step", values=name) for name in (target["metric"], "cost")
    )
    goal = goal_of(target["metric"], problem)
    first = steps_to_target(curves.columns, curves.to_numpy(), target["value"], goal)
    hits = np.isfinite(first)
    # the cost at that step; a miss costs more than any
    cost = [
        costs.loc[seed, step] if hit else np.inf
        for seed, step, hit in zip(curves.index, first, hits, strict=True)
    ]
    return {
        "median": censored_median(first),
        "median_cost": censored_median(cost),
        "hits": np.sum(hits),
        "num_runs": first.size,
    }
