"""Intervals for a mean: the bootstrap in three forms, and Student's.

What they cover, in per cent, where 95 is asked for (10,000 samples each, so -+ 0.4):

    runs                      normal, S =        Student's t3         exp(normal / 2)
                             5   10   20   30    5   10   20   30    5   10   20   30
    student                 95   95   95   95   96   96   95   96   92   92   93   94
    studentised             95   95   95   95   94   92   92   92   93   94   95   94
    bca                     84   90   93   93   80   86   89   90   81   88   92   92
    percentile              84   90   93   93   82   89   92   93   80   88   91   92

Differences between paired runs are symmetric if nothing distinguishes the optimizers, which is
where Student's is right; BCa and percentiles need more seeds than one has, and are not the default.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from dljax.comparison.statistics.runs import mean_interval
from dljax.comparison.statistics.samples import finite
from dljax.errors import require, require_whole


class Interval(NamedTuple):
    """An estimate and its interval, in the unit of the estimate."""

    estimate: float
    low: float
    high: float


def interval(
    x: ArrayLike,
    seed: int = 0,
    *,
    level: float = 0.95,
    method: str = "student",
    num_draws: int = 10_000,
) -> Interval:
    """Returns the mean of independent runs and its interval.

    With R bootstrap samples x* of size S, drawn from x with replacement, and quantiles q_c:

        percentile   q_c(mean x*), c = (1 -+ level) / 2                  Efron 1979, Ann. Stat. 7(1)
        bca          the same at levels c that `bca_levels` corrects   Efron 1987, JASA 82(397)
        studentised  mean x - q_{1-c}(t*) s / sqrt(S), t* = sqrt(S) (mean x* - mean x) / s*
                                         Efron & Tibshirani 1993, An Introduction, section 12.5
        student      `mean_interval`; exact for normal runs, and needs no draws

    Args:
      x: float[S], S >= 2, one number per seed, finite.
      seed: Of the draws; the same seed gives the same interval.
      level: Coverage asked for, in (0, 1).
      method: `"student"`, `"bca"`, `"studentised"` or `"percentile"`.
      num_draws: Number of draws R, >= 100.

    Returns:
      Estimate and bounds, in the unit of `x`. Equal runs give an interval of no width.

    Raises:
      ValueError: If `x` holds fewer than two numbers or one that is not finite, or if an
        argument is outside its range.
    """
    x = finite("x", x, at_least=2)
    require("level", level, "(0, 1)")
    require_whole("num_draws", num_draws, "[100, inf)")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    if np.ptp(x) == 0:
        return Interval(*[float(x[0])] * 3)
    if method == "student":
        return Interval(*mean_interval(x, level))
    draws = x[draw_rows(seed, x.size, num_draws)]
    low, high = METHODS[method](x, draws, level)
    return Interval(float(x.mean()), float(low), float(high))


def draw_rows(seed: int, size: int, num_draws: int) -> np.ndarray:
    """Returns int[R, S]: R samples with replacement of the numbers 0 .. S - 1."""
    return np.random.default_rng(seed).integers(0, size, (num_draws, size))


def draw_weights(seed: int, shape: tuple[int, int], num_draws: int) -> np.ndarray:
    """Returns float[R, P, S]: weights that sum to 1 over the S seeds, of S - 1 draws of them each.

    S - 1, so that a weighted mean varies as the mean of S seeds does; see `aggregates`.
    """
    P, S = shape
    rng = np.random.default_rng(seed)
    return rng.multinomial(S - 1, np.full(S, 1 / S), (num_draws, P)) / (S - 1)


def percentiles(draws: np.ndarray, level: float) -> np.ndarray:
    """Returns the (1 - level) / 2 and (1 + level) / 2 quantiles over the first axis."""
    return np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)


def bca_levels(
    draws: np.ndarray, estimate: float, jackknife: np.ndarray, level: float
) -> np.ndarray:
    """Returns the levels at which BCa reads the quantiles of the draws.

        c'  = Phi(z0 + (z0 + z_c) / (1 - a (z0 + z_c)))                             (14.10)
        z0  = Phi^{-1}(share of draws below the estimate)                           (14.14)
        a   = sum_i (m - x_(i))^3 / (6 (sum_i (m - x_(i))^2)^{3/2}),  m = mean x_(i)   (14.15)

    with x_(i) the estimate without run i; Efron & Tibshirani 1993, An Introduction to the
    Bootstrap. A draw equal to the estimate counts as half below it.
    """
    below = np.mean(draws < estimate) / 2 + np.mean(draws <= estimate) / 2
    z0 = ndtri(below)
    away = jackknife.mean() - jackknife
    a = np.sum(away**3) / (6 * np.sum(away**2) ** 1.5)
    z = z0 + ndtri([(1 - level) / 2, (1 + level) / 2])
    return ndtr(z0 + z / (1 - a * z))


def _percentile(x: np.ndarray, draws: np.ndarray, level: float) -> np.ndarray:
    return percentiles(draws.mean(axis=1), level)


def _bca(x: np.ndarray, draws: np.ndarray, level: float) -> np.ndarray:
    means = draws.mean(axis=1)
    jackknife = (x.sum() - x) / (x.size - 1)
    return np.quantile(means, bca_levels(means, x.mean(), jackknife, level))


def _studentised(x: np.ndarray, draws: np.ndarray, level: float) -> np.ndarray:
    means, s = draws.mean(axis=1), draws.std(axis=1, ddof=1)
    kept = s > 0  # a draw of one run only has no t
    t = (means[kept] - x.mean()) / s[kept]
    return x.mean() - percentiles(t, level)[::-1] * x.std(ddof=1)


METHODS = {
    "student": mean_interval,
    "bca": _bca,
    "studentised": _studentised,
    "percentile": _percentile,
}
