"""What a budget of trials buys: the best of n random trials, and where two optimizers cross."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from dljax.comparison.statistics.intervals import Interval
from dljax.comparison.statistics.samples import ranked
from dljax.errors import require, require_whole


def expected_best(values: ArrayLike, goal: str = "min") -> np.ndarray:
    """Returns the expected best of n trials for n = 1 .. B, without bias.

        E_n = sum_{i >= n} v_(i) C(i - 1, n - 1) / C(B, n),    v_(1) worst, ..., v_(B) best

    the mean of the best over all subsets of n of the B trials; a U-statistic, Tang et al. 2020,
    arXiv:2004.13705. It holds for trials drawn independently (random search), not for a grid or
    a search that learns. Beyond n = B / 2 it rests on a few of the trials: draw that part dashed.

    Args:
      values: float[B], B >= 1, one result a trial; an infinite one of either sign diverged, and
        is the worst.
      goal: `"min"` or `"max"`.

    Returns:
      float[B]; entry n - 1 is E_n, infinite if some n trials all diverged.

    Raises:
      ValueError: If `values` is empty or holds NaN, or the goal is another word.
    """
    sign, values = _ascending("values", values, goal)
    return sign * _expected(values, _subsets(values.size, values.size))


def expected_best_biased(values: ArrayLike, goal: str = "min") -> np.ndarray:
    """Returns the expected best of n draws with replacement from the trials, n = 1 .. B.

        E_n = sum_i v_(i) ((i / B)^n - ((i - 1) / B)^n),    v_(1) worst, ..., v_(B) best

    A V-statistic, Dodge et al. 2019, arXiv:1909.03004; it is too pessimistic (Tang et al. 2020)
    and is here to be laid beside published curves. Arguments, results and errors as
    `expected_best`, but one diverged trial makes every entry infinite.
    """
    sign, values = _ascending("values", values, goal)
    B = values.size
    n, i = np.arange(1, B + 1)[:, None], np.arange(1, B + 1)
    return sign * _expected(values, (i / B) ** n - ((i - 1) / B) ** n)


def overtaking(
    a: ArrayLike,
    b: ArrayLike,
    seed: int = 0,
    *,
    goal: str = "min",
    longest: int | None = None,
    level: float = 0.95,
    num_draws: int = 2_000,
) -> Interval:
    """Returns after how many trials b is ahead of a for good.

    The least n such that `expected_best` of b is better than that of a for every budget from n to
    `longest`; 1 if b always leads, inf if it does not lead at the end. Its interval is that of
    the percentile bootstrap over trials, read without interpolation.

    Args:
      a: float[B_a], results of the trials of the first optimizer, as `expected_best` takes them.
      b: float[B_b], those of the second.
      seed: Of the bootstrap.
      goal: `"min"` or `"max"`.
      longest: Largest budget looked at, in [1, min(B_a, B_b)]; half of that if None.
      level: Coverage of the interval, in (0, 1).
      num_draws: Number of bootstrap samples, >= 1.

    Returns:
      Number of trials with bounds; inf stands for "not within `longest`".

    Raises:
      ValueError: If a sample is empty or holds NaN, or an argument is outside its range.
    """
    samples = [_ascending(name, x, goal)[1] for name, x in (("a", a), ("b", b))]
    fewest = min(x.size for x in samples)
    longest = max(1, fewest // 2) if longest is None else longest
    require_whole("longest", longest, f"[1, {fewest}]")
    require("level", level, "(0, 1)")
    rng = np.random.default_rng(seed)
    found, drawn = [], []
    for x in samples:
        weights = _subsets(x.size, longest)
        found.append(_expected(x, weights))
        draws = np.sort(rng.choice(x, (num_draws, x.size)), axis=1)
        drawn.append(_expected(draws, weights))
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(_lead_from(*drawn), ends, method="inverted_cdf")
    return Interval(float(_lead_from(*found)), float(low), float(high))


def _ascending(name: str, values: ArrayLike, goal: str) -> tuple[float, np.ndarray]:
    """Returns the sign that makes higher better, and the values from worst to best with it."""
    if goal not in ("min", "max"):
        raise ValueError(f"goal must be 'min' or 'max', got {goal!r}.")
    sign = 1.0 if goal == "max" else -1.0
    values = ranked(name, values)
    return sign, np.sort(np.where(np.isfinite(values), sign * values, -np.inf))


def _subsets(B: int, longest: int) -> np.ndarray:
    """Returns float[longest, B]: the share of subsets of size n whose best is the ith of B."""
    n, i = np.arange(1, longest + 1)[:, None], np.arange(1, B + 1)
    reach = np.maximum(i, n)  # the logarithms of factorials below 0 are not asked for
    share = np.exp(
        (gammaln(reach) - gammaln(n) - gammaln(reach - n + 1))
        - (gammaln(B + 1) - gammaln(n + 1) - gammaln(B - n + 1))
    )
    return np.where(i >= n, share, 0.0)


def _expected(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns sums [..., n] of weights [n, i] and ascending values [..., i]; -inf is diverged."""
    lost = np.isinf(values)
    total = np.where(lost, 0.0, values) @ weights.T
    return np.where(lost @ (weights > 0).T, -np.inf, total)


def _lead_from(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the least n from which on b > a along the last axis, inf if not at its end."""
    longest = a.shape[-1]
    behind = ~(b > a)
    last_behind = np.where(behind, np.arange(1, longest + 1), 0).max(axis=-1)
    return np.where(last_behind == longest, np.inf, last_behind + 1.0)
