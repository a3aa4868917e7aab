"""The numbers of the runs of one optimizer: interval, steps to a target, the choice of a point."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from dljax.errors import require


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
    costs = costs_of(metric, goal)
    ties = np.zeros_like(costs) if tie_break is None else costs_of(tie_break, "min")
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


def costs_of(metric: ArrayLike, goal: str) -> np.ndarray:
    """Turns a metric into a cost, lower is better, with +inf for a diverged run."""
    metric = np.asarray(metric, dtype=np.float64)
    return np.where(np.isfinite(metric), -metric if goal == "max" else metric, np.inf)
