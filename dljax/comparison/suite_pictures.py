"""The pictures of a report over several problems."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dljax.comparison.canvas import canvas, legend, look, styled
from dljax.comparison.claim_pictures import win_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Summary = Mapping[str, Any]

CAPTIONS = {
    "iqm": (
        "Interquartile means of the scores.",
        "A dot is the mean of the middle half of all runs; its line the interval, over the seeds "
        "of these problems. Lines that overlap do not show that two optimizers are alike: the "
        "table of claims has their differences.",
    ),
    "score_profile": (
        "All runs on all problems.",
        "The share of the runs that score more than the axis says, with its interval at each "
        "score. Where one line is above another throughout, its optimizer is better in every "
        "quantile.",
    ),
    "ranks": (
        "Mean ranks over the problems.",
        "1 is best. A bar joins optimizers of which no pair is found different by Wilcoxon's test, "
        "adjusted by Holm's method; that does not mean that they are alike.",
    ),
    "win_rates": (
        "How often one beats the other.",
        "The share of the seeds, in percent and averaged over the problems, at which the optimizer "
        "of the row ends better than that of the column. Bold: the adjusted test finds a "
        "difference. A blank pair was not asked about.",
    ),
    "time_profile": (
        "How soon targets are met.",
        "The share of the problems whose target half of the runs meet within so many times the "
        "frozen reference time.",
    ),
}


def drawn(summary: Summary) -> dict[str, "Figure"]:
    """Returns the pictures that there is something to draw in, by name, in their order."""
    found = {}
    if summary["scores"] is not None:
        found |= {"iqm": iqm(summary), "score_profile": score_profile(summary)}
    found |= {"ranks": ranks(summary), "win_rates": win_rates(summary)}
    return found | ({} if summary["times"] is None else {"time_profile": time_profile(summary)})


def iqm(summary: Summary) -> "Figure":
    """Draws the interquartile mean of the scores of every optimizer with its interval."""
    names, stats = summary["optimizers"], summary["scores"]["iqm"]
    with styled():
        figure = canvas(_title(summary, "scores"), [5.6], [0.3 * len(names) + 0.7])
        (axes,) = figure.axes
        for row, x in enumerate(stats):
            color = look(row)["color"]
            axes.plot([x["low"], x["high"]], [row, row], color=color, linewidth=2)
            axes.plot(x["mean"], row, "o", color=color, markersize=7)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("interquartile mean of the scores (0: the start, 1: the target)")
    return figure


def score_profile(summary: Summary) -> "Figure":
    """Draws the share of the runs above each score, with its band."""
    profile = summary["scores"]["profile"]
    with styled():
        figure = canvas(_title(summary, "all runs"), [5.6], [3.4])
        (axes,) = figure.axes
        for index in range(len(summary["optimizers"])):
            share, low, high = (100 * np.array(profile[k][index]) for k in ("share", "low", "high"))
            axes.fill_between(
                profile["threshold"], low, high, color=look(index)["color"], alpha=0.14, linewidth=0
            )
            axes.plot(profile["threshold"], share, **look(index))
        axes.set(xlabel="score (0: the start, 1: the target)", ylabel="runs above, %")
        tau = np.array(profile["threshold"])
        moves = tau[(np.min(profile["low"], axis=0) < 1) & (np.max(profile["high"], axis=0) > 0)]
        ends = (moves.min() - 0.04, moves.max() + 0.04) if moves.size else (0, tau[-1])
        axes.set(xlim=ends, ylim=(-2, 102))
        legend(figure, summary["optimizers"])
    return figure


def time_profile(summary: Summary) -> "Figure":
    """Draws the share of the problems that are solved within multiples of the reference times."""
    times = summary["times"]
    with styled():
        what = f"targets of {len(times['problems'])} problems"
        figure = canvas(_title(summary, what), [5.6], [3.4])
        (axes,) = figure.axes
        for index, share in enumerate(times["share"]):
            axes.step(times["tau"], 100 * np.array(share), where="post", **look(index))
        axes.set(xlabel="multiple of the reference time", ylabel="problems whose target is met, %")
        axes.set(xlim=(1, times["longest"]), ylim=(-2, 102))
        legend(figure, summary["optimizers"])
    return figure


def ranks(summary: Summary) -> "Figure":
    """Draws the mean rank of every optimizer, and bars over those of which no pair differs."""
    names, means = summary["optimizers"], np.array(summary["friedman"]["mean_ranks"])
    order, groups = np.argsort(means, kind="stable"), summary["groups"]
    with styled():
        height = 0.26 * len(names) + 0.12 * len(groups) + 0.7
        figure = canvas(_title(summary, "ranks"), [5.6], [height])
        (axes,) = figure.axes
        for row, index in enumerate(order):
            axes.plot(means[index], row, "o", color=look(index)["color"], markersize=7)
        rank = dict(zip(names, means, strict=True))
        for number, group in enumerate(groups):
            ends = [min(rank[n] for n in group) - 0.04, max(rank[n] for n in group) + 0.04]
            axes.plot(ends, [-0.7 - 0.35 * number] * 2, color="#333333", linewidth=3.5)
        axes.set_yticks(range(len(names)), [names[index] for index in order])
        axes.set_ylim(len(names) - 0.5, -0.8 - 0.35 * len(groups))
        axes.set_xlim(0.8, len(names) + 0.2)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("mean rank of the median (1 is best)")
    return figure


def win_rates(summary: Summary) -> "Figure":
    """Draws how often the optimizer of a row ends better than that of a column, in percent."""
    claims = [{**c, "wins": c["wins"] or c["improvement"]} for c in summary["claims"]]
    claims = [claim for claim in claims if claim["wins"]]
    title = _title(summary, "row beats column, % of the runs")
    return win_matrix(title, summary["optimizers"], claims)


def _title(summary: Summary, what: str) -> str:
    return f"{len(summary['problems'])} problems: {what}"
