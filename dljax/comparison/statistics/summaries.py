"""One summary of each optimizer, from the tidy results of a comparison."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dljax.comparison.statistics.runs import (
    censored_median,
    costs_of,
    edge,
    mean_interval,
    steps_to_target,
)
from dljax.comparison.statistics.survival import (
    expected_running_time,
    hit_rate,
    median_step,
    restricted_mean,
)
from dljax.comparison.statistics.tuning import curvature_summary, tuning_summary

# of a step, beside what they cost together in gradients
OPERATIONS = ("losses", "gradients", "backwards", "products", "solves", "solve_flops")


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
      last step over the evaluation seeds, what a step costs in gradients and of which operations,
      steps to the target and their cost, diverged runs, how much the tuned value matters, the
      curvature where it was measured, and the tuning medians of every point; what is undefined is
      None.
    """
    metric = f"valid_{problem['metric']}"
    arguments, values = grid(rows)
    tuning = final_metric(rows[rows["stage"] == "tuning"], metric)
    runs = rows[(rows["stage"] == "evaluation") & (rows["point"] == point)]
    final = final_metric(runs, metric).to_numpy()
    medians = np.array([np.median(costs) for costs in costs_of(tuning, problem["goal"])])
    entry = {
        "name": rows["optimizer"].iloc[0],
        "argument": arguments,
        "value": values[point],
        "edge": _edge_of(values[point], list(values.values())),
        "test": _test_metrics(runs),
        "gradients_per_step": _per_step(runs, "cost"),
        "operations_per_step": {name: _per_step(runs, name) for name in OPERATIONS if name in runs},
        "steps_to_target": _target_summary(runs, problem),
        "diverged": np.sum(~np.isfinite(final)),
        "num_runs": final.size,
        "sensitivity": _sensitivity(rows, tuning, final, values, problem),
        "curvature": curvature_summary(
            runs, values[point][0] if arguments == ["learning_rate"] else None
        ),
        "tuning": {
            "points": [values[index] for index in tuning.index],
            "metric": metric,
            "median": medians if problem["goal"] == "min" else 0.0 - medians,
            "diverged": np.sum(~np.isfinite(tuning.to_numpy()), axis=1),
        },
    }
    return jsonable(entry)


def _sensitivity(rows, tuning, final, values, problem) -> dict[str, Any] | None:
    sign = 1.0 if problem["goal"] == "min" else -1.0
    start = rows.loc[rows["step"] == rows["step"].min(), f"valid_{problem['metric']}"]
    sd = np.std(final, ddof=1) if np.isfinite(final).all() and final.size > 1 else np.nan
    costs = costs_of(tuning, problem["goal"])
    points = [values[index] for index in tuning.index]
    return tuning_summary(points, costs, sign * float(start.mean()), float(sd))


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


def _per_step(runs: pd.DataFrame, name: str) -> float:
    """Returns the mean of what a step takes, over the runs that went through."""
    last = runs[runs["step"] == runs["step"].max()]
    through = last["diverged_at"] < 0
    last = last[through] if through.any() else last
    return float(np.round((last[name] / last["step"]).mean(), 4))


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
    last = curves.columns.max()
    mean = restricted_mean(first, last, last) if last > 0 else None
    return {
        "median": censored_median(first),
        "median_cost": censored_median(cost),
        "median_interval": median_step(first, last)[1:],
        "restricted_mean": mean and mean._asdict(),
        "hit_rate": hit_rate(int(np.sum(hits)), first.size)._asdict(),
        "expected_running_time": expected_running_time(first, last),
        "hits": np.sum(hits),
        "num_runs": first.size,
    }
