"""The pictures of what single runs and trials gave: all finals, and budgets of tuning."""

from typing import TYPE_CHECKING

import numpy as np

from dljax.comparison.canvas import canvas, legend, look, styled
from dljax.comparison.pictures import axis_name, metric_axis, rows_of
from dljax.comparison.statistics import Comparison, final_metric
from dljax.comparison.statistics.budget import expected_best
from dljax.comparison.wording import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def has_budget(comparison: Comparison) -> bool:
    """Says whether any optimizer had more than one trial, so that there is a curve to draw."""
    return any(len(entry["tuning"]["points"]) > 1 for entry in comparison.summary["optimizers"])


def budget(comparison: Comparison) -> "Figure":
    """Draws the expected best validation metric against the number of trials, up to all of them.

    The trials are the points that were tried, each with its median over the tuning seeds. The
    second half of a curve rests on few of them and is faint.
    """
    summary = comparison.summary
    problem = summary["problem"]
    metric = f"valid_{problem['metric']}"
    curves = {}
    for index, entry in enumerate(summary["optimizers"]):
        medians = [np.inf if value is None else value for value in entry["tuning"]["median"]]
        if medians:
            best = expected_best(medians, problem["goal"]) * (100 if percent(metric) else 1)
            curves[index] = np.where(np.isfinite(best), best, np.nan)
    with styled():
        figure = canvas(f"{problem['name']}: the best of fewer trials", [5.6], [3.4])
        (axes,) = figure.axes
        for index, best in curves.items():
            n, half = np.arange(1, best.size + 1), max(1, best.size // 2)
            axes.plot(n[:half], best[:half], **look(index), marker="o", markersize=2.5)
            faint = {**look(index), "linestyle": (0, (2, 2)), "alpha": 0.5}
            axes.plot(n[half - 1 :], best[half - 1 :], **faint)
        metric_axis(axes, comparison, metric, np.concatenate([*curves.values(), [np.nan]]))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="number of trials", ylabel=f"expected best {axis_name(metric)}")
        legend(figure, [entry["name"] for entry in summary["optimizers"]])
    return figure


def profile(comparison: Comparison) -> "Figure":
    """Draws the share of the evaluation runs that ended as good as the axis says, or better.

    These are score profiles, Agarwal et al. 2021, arXiv:2108.13264, section 4.2, of one problem.
    """
    problem = comparison.summary["problem"]
    metric = f"test_{problem['metric']}"
    scale, goal = 100 if percent(metric) else 1, problem["goal"]
    finals = {
        index: scale * final_metric(rows, metric).to_numpy().ravel()
        for index, rows in rows_of(comparison, "evaluation")
    }
    with styled():
        figure = canvas(f"{problem['name']}: the final runs one by one", [5.6], [3.4])
        (axes,) = figure.axes
        worst = _value_axis(axes, np.concatenate([*finals.values()]), goal)
        for index, runs in finals.items():
            seen = np.sort(runs[np.isfinite(runs)])[:: 1 if goal == "min" else -1]  # best first
            if seen.size:
                shares = 100 * np.arange(seen.size + 1) / runs.size
                x = np.concatenate([seen[:1], seen, [worst]])
                axes.step(x, np.append(shares, shares[-1]), where="post", **look(index))
        ends = "or more" if goal == "max" else "or less"
        axes.set(xlabel=f"final {axis_name(metric)}, {ends}", ylabel="share of the runs, %")
        axes.set_ylim(-2, 102)
        legend(figure, [entry["name"] for entry in comparison.summary["optimizers"]])
    return figure


def _value_axis(axes: "Axes", finals: np.ndarray, goal: str) -> float:
    """Scales the axis of the finals so that all are seen, and returns its worse end."""
    seen = finals[np.isfinite(finals)]
    low, high = (seen.min(), seen.max()) if seen.size else (0.0, 1.0)
    if low > 0 and high / low > 20:
        axes.set_xscale("log")
        margin = (high / low) ** 0.04
        low, high = low / margin, high * margin
    else:
        margin = 0.04 * (high - low) or 1e-3 * (abs(high) or 1.0)
        low, high = low - margin, high + margin
    axes.set_xlim(low, high)
    return high if goal == "min" else low
