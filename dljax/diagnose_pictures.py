"""Pictures of diagnoses: parts of an error, learning curves over rows, the curves of a run."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jax.typing import ArrayLike

from dljax.comparison.canvas import canvas, legend, look, styled
from dljax.diagnose import Parts, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def parts_picture(values: ArrayLike, parts: Sequence[Parts], *, varied: str) -> "Figure":
    """Draws the parts of an error, means over rows, against what was varied.

    Args:
      values: What was varied, such as widths, > 0, float[n].
      parts: The parts of each value.
      varied: What it is called.
    """
    with styled():
        figure = canvas("Error = bias + variance + noise", [5.2], [3.6])
        (axes,) = figure.axes
        for index, name in enumerate(Parts._fields):
            axes.plot(values, [getattr(p, name).mean() for p in parts], **look(index), marker=".")
        axes.set(xlabel=varied, ylabel="mean over rows", xscale="log", ylim=(0, None))
        legend(figure, Parts._fields)
    return figure


def size_curves(
    count: np.ndarray, train: np.ndarray, valid: np.ndarray, *, measure: str
) -> "Figure":
    """Draws scores of the rows that trained and of those held out against how many trained.

    Bands are one standard deviation of the runs to either side.

    Args:
      count: Rows that trained, int[..., n, K] of a `dj.LearningCurve`, of R = ... K runs a size.
      train: Score of them, float[..., n, K].
      valid: Score of those held out, float[..., n, K].
      measure: What the score is, with its unit.
    """
    with styled():
        figure = canvas("Learning curve", [5.2], [3.6])
        (axes,) = figure.axes
        by_size = lambda x: np.moveaxis(np.asarray(x), -2, 0).reshape(np.shape(x)[-2], -1)  # noqa: E731
        rows = by_size(count).mean(axis=1)
        for index, score in enumerate((by_size(train), by_size(valid))):
            mean, sd = score.mean(axis=1), score.std(axis=1)
            axes.plot(rows, mean, **look(index), marker=".")
            band = {"color": look(index)["color"], "alpha": 0.2, "linewidth": 0}
            axes.fill_between(rows, mean - sd, mean + sd, **band)
        axes.set(xlabel="training rows", ylabel=measure, xscale="log")
        legend(figure, ["train", "held out"])
    return figure


def run_curves(
    step: ArrayLike, train_loss: ArrayLike, valid_loss: ArrayLike, found: Verdict
) -> "Figure":
    """Draws both losses of a run, the mean over seeds, and where the lowest validation loss is.

    Args:
      step: Of each evaluation, [E].
      train_loss: As `dj.diagnose.verdict` was given, float[E] or float[S, E].
      valid_loss: Likewise.
      found: What it said.
    """
    with styled():
        figure = canvas(f"{found.word}: {found.why}", [6.4], [3.4])
        (axes,) = figure.axes
        for index, loss in enumerate((train_loss, valid_loss)):
            loss = np.atleast_2d(loss)
            axes.plot(step, loss.T, color=look(index)["color"], linewidth=0.6, alpha=0.4)
            axes.plot(step, loss.mean(axis=0), **look(index))
        axes.axvline(np.asarray(step)[found.best], color="#777777", linestyle=":", zorder=1)
        axes.set(xlabel="step", ylabel="loss")
        legend(figure, ["train", "held out"])
    return figure


def descent(
    widths: ArrayLike, errors: Mapping[str, np.ndarray], num_rows: int, *, measure: str
) -> "Figure":
    """Draws an error against the width, both on logarithmic axes, and where it meets the rows.

    Args:
      widths: int[n].
      errors: By name, such as a ridge, of several runs, float[n, S]; bands go from the least to the
        most of them.
      num_rows: Rows that trained.
      measure: What the error is.
    """
    with styled():
        figure = canvas("Double descent: the dotted line is width = rows", [5.6], [3.6])
        (axes,) = figure.axes
        for index, error in enumerate(errors.values()):
            axes.plot(widths, error.mean(axis=1), **look(index), marker=".")
            band = {"color": look(index)["color"], "alpha": 0.2, "linewidth": 0}
            axes.fill_between(widths, error.min(axis=1), error.max(axis=1), **band)
        axes.axvline(num_rows, color="#777777", linestyle=":", zorder=1)
        axes.set(xlabel="width", ylabel=measure, xscale="log", yscale="log")
        legend(figure, [*errors])
    return figure
