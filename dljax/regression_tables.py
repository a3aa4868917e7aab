"""Published results on the UCI regression splits, and ours beside them: lines and a dot plot."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dljax.comparison.canvas import canvas, look, picture, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Row(NamedTuple):
    """Means over splits with their standard errors; RMSE and nats, in units of the target.

    Attributes:
      rmse: Root mean squared error of a split, its mean over splits.
      rmse_se: Standard deviation over splits / sqrt(number of splits).
      nll: Negative log-likelihood of a row, its mean over rows and splits.
      nll_se: Its standard error over splits.
    """

    rmse: float
    rmse_se: float
    nll: float
    nll_se: float


# The tables of 2017 state standard deviations over 20 splits for deep ensembles; these are
# divided by sqrt(20). Of MC-dropout the code's README calls one column standard errors, where
# energy has a standard deviation; the per-split files give the numbers below.
_ROOT = math.sqrt(20)

MC_DROPOUT_2018 = {  # 4,000 epochs, rate and tau chosen inside each split; Gal & Ghahramani's code
    "bostonHousing": Row(2.904, 0.177, 2.402, 0.042),
    "concrete": Row(4.827, 0.161, 2.937, 0.025),
    "energy": Row(0.539, 0.0135, 1.212, 0.005),
    "kin8nm": Row(0.0789, 0.0006, -1.136, 0.007),
    "power-plant": Row(4.014, 0.037, 2.808, 0.009),
    "wine-quality-red": Row(0.622, 0.008, 0.928, 0.013),
    "yacht": Row(0.666, 0.049, 1.250, 0.015),
}
MC_DROPOUT_GRIDS = {  # tau to choose from, then rate and tau that most published splits chose
    "bostonHousing": ([0.1, 0.15, 0.2], (0.05, 0.2)),
    "concrete": ([0.025, 0.05, 0.075], (0.005, 0.075)),
    "energy": ([0.25, 0.5, 0.75], (0.005, 0.75)),
    "kin8nm": ([150.0, 200.0, 250.0], (0.005, 250.0)),
    "power-plant": ([0.05, 0.1, 0.15], (0.005, 0.1)),
    "wine-quality-red": ([2.5, 3.0, 3.5], (0.05, 3.0)),
    "yacht": ([0.25, 0.5, 0.75], (0.005, 0.75)),
}
DEEP_ENSEMBLES_2017 = {  # 40 epochs, 5 members; arXiv:1612.01474, table 1
    "bostonHousing": Row(3.28, 1.00 / _ROOT, 2.41, 0.25 / _ROOT),
    "concrete": Row(6.03, 0.58 / _ROOT, 3.06, 0.18 / _ROOT),
    "energy": Row(2.09, 0.29 / _ROOT, 1.38, 0.22 / _ROOT),
    "kin8nm": Row(0.09, 0.00, -1.20, 0.02 / _ROOT),
    "power-plant": Row(4.11, 0.17 / _ROOT, 2.79, 0.04 / _ROOT),
    "wine-quality-red": Row(0.64, 0.04 / _ROOT, 0.94, 0.12 / _ROOT),
    "yacht": Row(1.58, 0.48 / _ROOT, 1.18, 0.21 / _ROOT),
}


def reported(name: str, rmse: np.ndarray, nll: np.ndarray, published: Row, note: str = "") -> Row:
    """Prints what was published and ours, and how many published standard errors lie between.

    Args:
      name: Of the data set.
      rmse: Of each split, float[S].
      nll: Of each split, the mean over its test rows, float[S].
      published: Of the same splits.
      note: Written behind ours.
    """
    ours = row(rmse, nll)
    away = lambda x, y, se: f"{(x - y) / se:+5.1f}" if se else "    -"  # noqa: E731
    differences = away(ours.rmse, published.rmse, published.rmse_se)
    differences += " " + away(ours.nll, published.nll, published.nll_se)
    print(line(f"{name}, published", published))
    print(f"{line(f'{name}, dljax', ours)}   {differences} published se  {note}")
    return ours


def row(rmse: np.ndarray, nll: np.ndarray) -> Row:
    """Averages over splits, float[S] each."""
    se = lambda x: float(np.std(x, ddof=1) / math.sqrt(len(x)))  # noqa: E731
    return Row(float(np.mean(rmse)), se(rmse), float(np.mean(nll)), se(nll))


def line(label: str, row: Row) -> str:
    """Returns one line of a table."""
    return f"{label:26} {row.rmse:8.4f} ± {row.rmse_se:.4f}  {row.nll:8.4f} ± {row.nll_se:.4f}"


def draw(path: str, title: str, published: Mapping[str, Row], ours: Mapping[str, Row]) -> None:
    """Writes the dot plot of our rows beside those published, a PNG file."""
    tables = {"published": {name: published[name] for name in ours}, "dljax": ours}
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(picture(dot_plot(title, tables), "png"))


def dot_plot(title: str, tables: Mapping[str, Mapping[str, Row]]) -> "Figure":
    """Draws RMSE and negative log-likelihood of every method, a line a data set.

    Bars are two standard errors of the mean over splits to either side. Methods on the same
    splits are paired, so bars that overlap do not say that two are alike.

    Args:
      title: One line over all.
      tables: `Row`s by data set, by method; all have the same data sets.
    """
    sets = list(next(iter(tables.values())))
    with styled():
        height = 0.5 + 0.2 * len(tables)
        figure = canvas(title, [2.6, 2.6], [height] * len(sets), sharex="none")
        panels = np.array(figure.axes).reshape(len(sets), 2)
        for axes, name in zip(panels, sets, strict=True):
            for panel, (value, se) in zip(
                axes, (("rmse", "rmse_se"), ("nll", "nll_se")), strict=True
            ):
                for index, rows in enumerate(tables.values()):
                    middle, half = getattr(rows[name], value), 2 * getattr(rows[name], se)
                    mark = {"color": look(index)["color"], "marker": "o", "markersize": 5}
                    panel.errorbar(middle, -index, xerr=half, **mark, capsize=2.5)
                panel.set(yticks=[], ylim=(0.4 - len(tables), 0.6))
                panel.margins(x=0.15)
                panel.locator_params(axis="x", nbins=5)
            axes[0].set_ylabel(name, rotation=0, horizontalalignment="right", va="center")
        panels[-1, 0].set_xlabel("RMSE, units of the target")
        panels[-1, 1].set_xlabel("negative log-likelihood, nats a row")
        handles = [panels[0, 0].containers[i] for i in range(len(tables))]
        figure.legend(handles, [*tables], loc="outside lower center", ncols=len(tables))
    return figure
