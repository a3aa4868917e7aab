"""The first pictures of a comparison: how the chosen runs learn, and what the choice matters."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from dljax.comparison.canvas import accuracy_axis, canvas, legend, look, loss_axis, styled
from dljax.comparison.statistics import (
    Comparison,
    final_metric,
    goal_of,
    grid,
    mean_interval,
    select,
)
from dljax.comparison.wording import metrics, units, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Profile(NamedTuple):
    """Final metric of one optimizer over the values of its first tuned argument, [num_values]."""

    values: np.ndarray  # ascending
    median: np.ndarray  # over all seeds; infinite where half of them diverged
    worst: np.ndarray  # infinite where one diverged
    best: np.ndarray  # infinite where all diverged
    diverged: np.ndarray  # number of seeds
    chosen: int  # index of the value that was evaluated


def learning_curves(comparison: Comparison, against: str = "step") -> "Figure":
    """Draws the test metrics of the evaluation runs, one panel per metric.

    A line is the mean over the seeds with its 95 % t band; it ends in a cross at the last
    evaluation before any of its runs diverged. Losses are cut at 1.5 times the initial loss.

    Args:
      comparison: What `compare` returned.
      against: "step", or "cost" for the mean of what the runs spent until then, in gradients.
    """
    summary = comparison.summary
    columns = [f"test_{name}" for name in metrics(summary)]
    num_runs = len(summary["settings"]["evaluation_seeds"])
    names = {"step": units(summary).removesuffix("s"), "cost": "cost, gradients of a batch"}
    title = f"{summary['problem']['name']}: mean of {num_runs} runs and its 95 % interval"
    with styled():
        figure = canvas(title, [4.0 if len(columns) > 1 else 5.6] * len(columns), [3.4])
        for axes, column in zip(figure.axes, columns, strict=True):
            curves = [
                _mean_curve(rows, column, against) for _, rows in rows_of(comparison, "evaluation")
            ]
            _draw_curves(axes, curves)
            means = np.concatenate([mean for _, (mean, _, _) in curves])
            metric_axis(axes, comparison, column, means)
            axes.set(xlabel=names[against], ylabel=axis_name(column))
            if against == "cost":
                axes.set_xscale("symlog", linthresh=summary["settings"]["eval_every"])
            axes.margins(x=0.02)
        legend(figure, [_label(entry) for entry in summary["optimizers"]])
    return figure


def sensitivity(comparison: Comparison) -> "Figure":
    """Draws the final validation metric of the tuning runs against the tuned value.

    One panel per tuned argument; of several the first is drawn, at the best of the others. A
    line joins the medians over the tuning seeds, whiskers reach to the worst and the best seed,
    and a ring is the chosen value. Rows of crosses are the values at which a seed diverged.
    """
    summary = comparison.summary
    metric = f"valid_{summary['problem']['metric']}"
    panels = _panels(comparison, metric)
    lost = max((len(_lossy(group)) for group in panels.values()), default=0)
    widths = [5.6 if len(group) > 1 else 2.4 for group in panels.values()] or [5.6]
    medians = np.concatenate(
        [p.median for group in panels.values() for p in group.values()] or [[]]
    )
    num_runs = len(summary["settings"]["tuning_seeds"])
    title = f"{summary['problem']['name']}: median and range of {num_runs} tuning runs"
    with styled():
        figure = canvas(title, widths, [3.4, 0.15 * lost] if lost else [3.4])
        rows = np.reshape(figure.axes, (-1, len(widths)))
        for column, (argument, group) in enumerate(panels.items()):
            _value_axis(rows[0, column], [profile.values for profile in group.values()])
            metric_axis(rows[0, column], comparison, metric, medians)
            _draw_profiles(rows[0, column], group, summary["problem"]["goal"])
            if lost:
                _draw_diverged(rows[1, column], group, lost, summary)
            rows[-1, column].set_xlabel(argument)
        rows[0, 0].set_ylabel(f"final {axis_name(metric)}")
        legend(figure, [entry["name"] for entry in summary["optimizers"]], chosen="o", diverged="x")
    return figure


def rows_of(comparison: Comparison, stage: str) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yields the index of every optimizer of the summary and its rows of one stage."""
    results = comparison.results[comparison.results["stage"] == stage]
    for index, entry in enumerate(comparison.summary["optimizers"]):
        yield index, results[results["optimizer"] == entry["name"]]


def _mean_curve(
    rows: pd.DataFrame, column: str, against: str = "step"
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps or costs [E], and mean, low and high of a metric over the seeds [3, E]."""
    curves = rows.pivot(index="step", columns="seed", values=column)
    scale = 100 if column.endswith("accuracy") else 1
    where = rows.groupby("step")[against].mean().to_numpy()
    return where, scale * np.array([mean_interval(c) for c in curves.values]).T


def _panels(comparison: Comparison, metric: str) -> dict[str, dict[int, Profile]]:
    """Returns the profile of every optimizer by its index, grouped by the argument it tuned."""
    summary, panels = comparison.summary, {}
    for index, rows in rows_of(comparison, "tuning"):
        entry = summary["optimizers"][index]
        if entry["argument"]:
            profile = _profile(rows, metric, summary["problem"]["goal"], entry["value"][0])
            panels.setdefault(entry["argument"][0], {})[index] = profile
    return panels


def _profile(rows: pd.DataFrame, metric: str, goal: str, chosen: float) -> Profile:
    """Returns the final metric over the first tuned argument, at the best of the others."""
    _, points = grid(rows)
    finals = final_metric(rows, metric) * (100 if metric.endswith("accuracy") else 1)
    values = sorted({point[0] for point in points.values()})
    runs = []
    for value in values:
        same = finals.loc[[index for index, point in points.items() if point[0] == value]]
        runs.append(same.iloc[select(same, goal)].to_numpy())
    table = np.array(runs)
    lost = ~np.isfinite(table)
    # a diverged run is worse than any other: the median is that of all runs
    costs = np.sort(np.where(lost, np.inf, -table if goal == "max" else table), axis=1)
    sign = -1 if goal == "max" else 1
    return Profile(
        np.array(values),
        sign * np.median(costs, axis=1),
        sign * costs[:, -1],
        sign * costs[:, 0],
        lost.sum(axis=1),
        values.index(chosen),
    )


def _draw_curves(axes: "Axes", curves: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Draws the mean and the band of every optimizer, and a cross where a run was lost."""
    for index, (steps, (mean, low, high)) in enumerate(curves):
        axes.fill_between(steps, low, high, color=look(index)["color"], alpha=0.16, linewidth=0)
        axes.plot(steps, mean, **look(index))
        seen = np.flatnonzero(np.isfinite(mean))
        if 0 < seen.size < mean.size:
            axes.plot(steps[seen[-1]], mean[seen[-1]], "x", color=look(index)["color"], mew=2)


def _draw_profiles(axes: "Axes", group: dict[int, Profile], goal: str) -> None:
    """Draws the medians and ranges of the optimizers that tuned one argument."""
    worst = axes.get_ylim()[goal == "min"]
    for index, profile in group.items():
        style, chosen = look(index), profile.chosen
        seen = np.isfinite(profile.median)
        ends = np.where(np.isfinite(profile.worst), profile.worst, worst)[seen]
        axes.vlines(
            profile.values[seen], profile.best[seen], ends, color=style["color"], lw=1, alpha=0.45
        )
        median = np.where(np.isfinite(profile.median), profile.median, np.nan)
        axes.plot(profile.values, median, **style, marker="o", markersize=3)
        ring = {"color": style["color"], "markerfacecolor": "white", "markeredgewidth": 2.2}
        axes.plot(profile.values[chosen], median[chosen], "o", **ring, markersize=8.5, zorder=5)


def _draw_diverged(
    axes: "Axes", group: dict[int, Profile], num_rows: int, summary: Mapping[str, Any]
) -> None:
    """Draws one row of crosses per optimizer with diverged runs, under its panel."""
    axes.set_ylim(num_rows - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0, labelsize=7.5)
    lossy = _lossy(group)
    names = [summary["optimizers"][index]["name"] for index in lossy]
    axes.set_yticks(range(len(lossy)), names)
    for row, index in enumerate(lossy):
        values = group[index].values[group[index].diverged > 0]
        axes.plot(values, np.full(values.size, row), "x", ms=4, mew=1.5, color=look(index)["color"])
    if lossy:
        axes.set_title("diverged", loc="left", fontsize=8, color="#555555", pad=2)


def _lossy(group: dict[int, Profile]) -> list[int]:
    """Returns the optimizers of which a tuning run diverged."""
    return [index for index, profile in group.items() if profile.diverged.any()]


def _value_axis(axes: "Axes", tried: list[np.ndarray]) -> None:
    """Scales the axis of a tuned value: logarithmic, with a linear part if one is not positive."""
    values = np.concatenate(tried)
    positive = values[values > 0]
    if positive.size == values.size:
        axes.set_xscale("log")
        axes.xaxis.minorticks_off()
        if np.ptp(values) == 0:  # one value has no range of its own
            axes.set_xlim(values[0] / 10, values[0] * 10)
    elif positive.size:
        axes.set_xscale("symlog", linthresh=positive.min())


def metric_axis(axes: "Axes", comparison: Comparison, metric: str, values: np.ndarray) -> None:
    """Scales the axis of a metric so that `values` are seen and explosions are not."""
    results = comparison.results
    if metric.endswith("accuracy"):
        accuracy_axis(axes, values)
    elif goal_of(metric, comparison.summary["problem"]) == "min":
        first = results.loc[results["step"] == results["step"].min(), metric]
        loss_axis(axes, values, first[np.isfinite(first)].mean() if first.notna().any() else 1.0)
    elif (seen := values[np.isfinite(values)]).size:
        margin = 0.05 * np.ptp(seen) or 1.0
        axes.set_ylim(seen.min() - margin, seen.max() + margin)


def axis_name(metric: str) -> str:
    """Returns the name of a metric with its unit."""
    return words(metric) + (", %" if metric.endswith("accuracy") else "")


def _label(entry: Mapping[str, Any]) -> str:
    """Returns the name of an optimizer, with the runs that diverged if there are any."""
    lost = f"\n{entry['diverged']}/{entry['num_runs']} diverged" if entry["diverged"] else ""
    return entry["name"] + lost
