"""Pictures of predictions: how reliable, how selective, how wide."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dljax.comparison.canvas import canvas, legend, look, styled
from dljax.predict import Reliability, RiskCoverage, Uncertainty

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW = 10  # rows of a bin whose accuracy is hardly known


def reliability_diagram(tables: Mapping[str, Reliability]) -> "Figure":
    """Draws accuracy against confidence, and below how many rows have which confidence.

    Bars are Wilson's 95 % intervals of the accuracy in a bin (Wilson 1927, J. Am. Stat. Assoc.
    22); points below the diagonal are too sure, hollow ones stand for fewer than 10 rows.

    Args:
      tables: Of each model by its name, such as "ensemble", see `dj.predict.reliability`.
    """
    with styled():
        figure = canvas("Reliability: how often the likeliest class is right", [4.6], [4.2, 1.3])
        above, below = figure.axes
        above.plot([0, 1], [0, 1], color="#AAAAAA", linewidth=1, zorder=1)
        for index, table in enumerate(tables.values()):
            confidence, accuracy, count = (np.asarray(column) for column in table)
            seen = count > 0
            x, n = confidence[seen], count[seen]
            low, high = _wilson(accuracy[seen], n)
            above.vlines(x, low, high, color=look(index)["color"], linewidth=1, alpha=0.6)
            sure = n >= min(_FEW, n.max())
            above.plot(x[sure], accuracy[seen][sure], **look(index), marker="o", markersize=4)
            hollow = {"marker": "o", "markersize": 4, "markerfacecolor": "white", "linestyle": ""}
            above.plot(x[~sure], accuracy[seen][~sure], color=look(index)["color"], **hollow)
            below.plot(x, 100 * n / n.sum(), **look(index), marker="o", markersize=3)
        above.set(ylabel="accuracy", ylim=(-0.02, 1.02), aspect="equal")
        below.set(xlabel="confidence", ylabel="rows, %", xlim=(-0.02, 1.02), ylim=(0, None))
        legend(figure, [*tables])
    return figure


def selective_risk(curves: Mapping[str, RiskCoverage], *, risk: str = "error rate") -> "Figure":
    """Draws the risk of the rows kept against their share; the least confident leave first.

    Args:
      curves: By the name of the confidence, see `dj.predict.risk_coverage`.
      risk: What the mean of the losses is, with its unit.
    """
    with styled():
        figure = canvas("Selective prediction: what leaving out the unsure rows gains", [5], [3.4])
        (axes,) = figure.axes
        for index, curve in enumerate(curves.values()):
            axes.plot(100 * np.asarray(curve.coverage), np.asarray(curve.risk), **look(index))
        axes.set(xlabel="rows kept, %", ylabel=risk, xlim=(0, 100), ylim=(0, None))
        legend(figure, [*curves])
    return figure


def bands(
    x: np.ndarray,
    mean: np.ndarray,
    parts: Uncertainty,
    data: tuple[np.ndarray, np.ndarray],
) -> "Figure":
    """Draws a prediction over one input, with two standard deviations of all and of its parts.

    Args:
      x: Inputs, float[M].
      mean: The ensemble's prediction there, float[M].
      parts: Variances there, see `dj.predict.variance_parts`.
      data: Inputs and targets that were learnt from, float[N] each.
    """
    x, mean = np.asarray(x), np.asarray(mean)
    order = np.argsort(x)
    x, mean = x[order], mean[order]
    total, _, epistemic = (2 * np.sqrt(np.asarray(part)[order]) for part in parts)
    with styled():
        figure = canvas("The mean and two standard deviations to either side", [6], [3.6])
        (axes,) = figure.axes
        axes.fill_between(x, mean - total, mean + total, color="#56B4E9", alpha=0.25, linewidth=0)
        axes.fill_between(
            x, mean - epistemic, mean + epistemic, color="#E69F00", alpha=0.45, linewidth=0
        )
        axes.plot(x, mean, color="#0072B2")
        axes.plot(*map(np.asarray, data), "o", color="#222222", markersize=3, alpha=0.6)
        axes.set(xlabel="input", ylabel="target", xlim=(x[0], x[-1]))
        axes.legend(["total", "epistemic", "mean", "data"], loc="best")
    return figure


def _wilson(share: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = 1.959964
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return middle - half, middle + half
