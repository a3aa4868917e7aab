"""Steps to a target when some runs never get there: such a run is censored where it ended.

`steps` is float[n], the first step at which each run met the target, inf for a miss, as
`steps_to_target` returns it; `last` is the step at which each run ended, one number or float[n].
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from dljax.comparison.statistics.intervals import Interval
from dljax.comparison.statistics.samples import finite, ranked
from dljax.errors import require, require_whole


class Survival(NamedTuple):
    """Share of runs still short of the target after each step at which one met it."""

    step: np.ndarray  # float[k], increasing
    share: np.ndarray  # float[k], S just after the step; before the first it is 1
    at_risk: np.ndarray  # int[k], runs that had neither met the target nor ended before
    hits: np.ndarray  # int[k]
    greenwood: np.ndarray  # float[k], variance of ln S; inf where S is 0
    end: float  # the step after which nothing is known


def kaplan_meier(steps: ArrayLike, last: ArrayLike) -> Survival:
    """Returns the product-limit estimate; Kaplan & Meier 1958, JASA 53(282), 457-481.

        S(t) = prod_{t_i <= t} (1 - d_i / Y_i)
        Var ln S(t) = sum_{t_i <= t} d_i / (Y_i (Y_i - d_i))              Greenwood 1926

    with d_i runs that met the target at step t_i and Y_i at risk. Runs must be censored for
    reasons that say nothing of their steps, such as the end of the budget.

    Args:
      steps: float[n], n >= 1; see the module.
      last: float[] or float[n], >= 0, finite.

    Raises:
      ValueError: If there is no run, a step is NaN or beyond the end of its run, or the lengths
        differ.
    """
    steps, last = _runs(steps, last)
    seen, hit = np.minimum(steps, last), np.isfinite(steps)
    step = np.unique(seen[hit])
    Y = (seen >= step[:, None]).sum(axis=1)
    d = (hit & (seen == step[:, None])).sum(axis=1)
    left = Y - d
    terms = np.divide(d, Y * left, out=np.full(step.size, np.inf), where=left > 0)
    return Survival(step, np.cumprod(left / Y), Y, d, np.cumsum(terms), float(seen.max()))


def median_step(steps: ArrayLike, last: ArrayLike, level: float = 0.95) -> Interval:
    """Returns the step by which half of the runs meet the target; inf says beyond the end.

        median = first step with S <= 1/2, and half way along the stretch where S = 1/2
        low, high = first steps with S^exp(z v) <= 1/2 and S^exp(-z v) <= 1/2,
                    v = sqrt(Var ln S) / |ln S|,  z the (1 + level) / 2 normal quantile

    the log-log form of Brookmeyer & Crowley 1982, Biometrics 38(1), 29-41. If all runs end at one
    step the median is `censored_median`. Write inf as "> T".

    Args:
      steps: float[n], n >= 1; see the module.
      last: float[] or float[n], >= 0.
      level: Coverage of the interval, in (0, 1).

    Raises:
      ValueError: As `kaplan_meier`, or if `level` is outside (0, 1).
    """
    require("level", level, "(0, 1)")
    curve = kaplan_meier(steps, last)
    S = np.where(curve.share > 0, curve.share, 0.5)  # bounds at S = 0 are 0, set below
    v = np.sqrt(np.where(curve.share > 0, curve.greenwood, 0)) / -np.log(S)
    z = ndtri((1 + level) / 2)
    below, above = (np.where(curve.share > 0, S ** np.exp(side), 0) for side in (z * v, -z * v))
    first, flat = (_first(curve, curve.share <= 0.5 + sign * 1e-12) for sign in (1, -1))
    low, high = _first(curve, below <= 0.5), _first(curve, above <= 0.5)
    return Interval((first + flat) / 2, low, high)


def restricted_mean(
    steps: ArrayLike, last: ArrayLike, horizon: float, level: float = 0.95
) -> Interval:
    """Returns the mean of min(step, horizon), the area under `kaplan_meier` up to the horizon.

        RMST = int_0^T S(t) dt
        Var RMST = sum_{t_i <= T} (int_{t_i}^T S(t) dt)^2 d_i / (Y_i (Y_i - d_i))

    with the normal interval, cut at 0 and the horizon; Klein & Moeschberger 2003, Survival
    Analysis, section 4.5.

    Args:
      steps: float[n], n >= 1; see the module.
      last: float[] or float[n], >= 0.
      horizon: T, > 0, not beyond the longest run unless every run met the target.
      level: Coverage of the interval, in (0, 1).

    Raises:
      ValueError: As `kaplan_meier`, or if the horizon is beyond what was seen, or `level` outside
        (0, 1).
    """
    require("level", level, "(0, 1)")
    require("horizon", horizon, "(0, inf)")
    curve = kaplan_meier(steps, last)
    if horizon > curve.end and not (curve.share[-1:] == 0).any():
        raise ValueError(
            f"horizon must be in (0, {curve.end:g}], the longest run, got {horizon:g}."
        )
    edges = np.minimum(np.concatenate([[0.0], curve.step, [horizon]]), horizon)
    areas = np.diff(edges) * np.concatenate([[1.0], curve.share])
    beyond = np.cumsum(areas[::-1])[::-1][1:]  # from each step to the horizon
    Y, d = curve.at_risk, curve.hits
    variance = np.sum(beyond**2 * d / (Y * np.maximum(1, Y - d)))  # once all met it, beyond is 0
    half = ndtri((1 + level) / 2) * np.sqrt(variance)
    mean = areas.sum()
    return Interval(float(mean), float(max(0, mean - half)), float(min(horizon, mean + half)))


def hit_rate(hits: float, num_runs: int, level: float = 0.95) -> Interval:
    """Returns the share of runs that met the target; Wilson 1927, JASA 22(158), 209-212.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),    p = hits / n

    Args:
      hits: Number of runs that met it, in [0, num_runs]; a tie may count half.
      num_runs: n, >= 1.
      level: Coverage of the interval, in (0, 1).

    Raises:
      ValueError: If an argument is outside its range.
    """
    require_whole("num_runs", num_runs, "[1, inf)")
    require("hits", hits, f"[0, {num_runs}]")
    require("level", level, "(0, 1)")
    p, n, z = hits / num_runs, num_runs, ndtri((1 + level) / 2)
    middle = p + z**2 / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    return Interval(p, float(max(0.0, low)), float(min(1.0, high)))


def expected_running_time(steps: ArrayLike, last: ArrayLike) -> float:
    """Returns the steps that all runs spent, a hit; Hansen et al. 2016, arXiv:1605.03560.

        ERT = sum_i min(step_i, last_i) / number of hits

    the expected cost of starting over until the target is met. inf without a hit.

    Args:
      steps: float[n], n >= 1; see the module.
      last: float[] or float[n], >= 0.

    Raises:
      ValueError: As `kaplan_meier`.
    """
    steps, last = _runs(steps, last)
    hits = np.isfinite(steps).sum()
    return float(np.minimum(steps, last).sum() / hits) if hits else np.inf


def _runs(steps: ArrayLike, last: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and ends of equal length, every hit within its run."""
    steps = ranked("steps", steps)
    last = finite("last", np.atleast_1d(last))
    if last.size not in (1, steps.size):
        raise ValueError(f"last must hold 1 or {steps.size} numbers, got {last.size}.")
    require("steps", steps, "[0, inf]")
    require("last", last, "[0, inf)")
    late = np.isfinite(steps) & (steps > last)
    if late.any():
        raise ValueError(f"a step must not be after the end of its run, got {steps[late][0]:g}.")
    return steps, np.broadcast_to(last, steps.shape)


def _first(curve: Survival, reached: np.ndarray) -> float:
    """Returns the first step at which something is reached, inf if nowhere."""
    return float(curve.step[reached][0]) if reached.any() else np.inf
