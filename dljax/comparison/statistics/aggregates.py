"""Optimizers over several problems: scores and their means.

`scores` is float[A, P, S], higher is better, of A optimizers on P problems at S seeds. Bootstrap
samples draw seeds within each problem (stratified) and the same seeds for every optimizer
(joint), so that differences between optimizers keep their pairs. They draw S - 1 of S seeds: of S,
a mean would vary by (S - 1) / S of what it does, and ten seeds would cover 92 % for 95 (Rao & Wu
1988, JASA 83(401), 231-241).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dljax.comparison.statistics.intervals import Interval, draw_weights, percentiles
from dljax.comparison.statistics.samples import beats, finite, ranked
from dljax.errors import require


class Aggregates(NamedTuple):
    """One number an optimizer with bounds, and the differences [a, b] between them with theirs."""

    estimate: np.ndarray  # float[A]
    low: np.ndarray
    high: np.ndarray
    difference: np.ndarray  # float[A, A], estimate[a] - estimate[b]
    difference_low: np.ndarray
    difference_high: np.ndarray


def normalized_scores(
    losses: ArrayLike, initial: ArrayLike, target: ArrayLike, highest: float = 1.2
) -> np.ndarray:
    """Returns the share of the way from the initial loss to the target that each run went.

        x_aps = clip((initial_p - l_aps) / (initial_p - target_p), 0, highest)

    Args:
      losses: float[A, P, S], lower is better; +inf, a diverged run, scores 0.
      initial: float[P], the loss at the initial parameters.
      target: float[P], below `initial`; frozen, never the best of those compared.
      highest: Where a score is cut, >= 1.

    Raises:
      ValueError: If a shape is wrong, a loss NaN, a target not below its start or `highest` < 1.
    """
    losses = ranked("losses", losses, ndim=3)
    initial, target = (per_problem(x, losses.shape[1]) for x in (initial, target))
    require("highest", highest, "[1, inf)")
    require("initial loss minus target", initial - target, "(0, inf)")
    way = (initial - target)[:, None]
    return np.clip((initial[:, None] - losses) / way, 0, highest)


def interquartile_mean(x: ArrayLike) -> np.ndarray:
    """Returns the mean of the middle half of all problems and seeds together.

        IQM = mean of x_(k + 1), ..., x_(n - k),    k = floor(n / 4),  n = P S

    Agarwal et al. 2021, arXiv:2108.13264, section 4.3.

    Args:
      x: float[..., P, S].
    """
    x = np.asarray(x, dtype=np.float64)
    flat = np.sort(x.reshape(*x.shape[:-2], -1), axis=-1)
    k = flat.shape[-1] // 4
    return flat[..., k : flat.shape[-1] - k].mean(axis=-1)


def optimality_gap(x: ArrayLike, gamma: float = 1.0) -> np.ndarray:
    """Returns how far short of gamma the runs fall on average; lower is better.

        gamma - mean_ps min(x_ps, gamma)

    Agarwal et al. 2021, arXiv:2108.13264, section 4.3.

    Args:
      x: float[..., P, S].
      gamma: The score beyond which more does not count.
    """
    return gamma - np.minimum(x, gamma).mean(axis=(-2, -1))


def aggregate(
    scores: ArrayLike,
    seed: int = 0,
    *,
    statistic: Callable[[np.ndarray], np.ndarray] = interquartile_mean,
    level: float = 0.95,
    num_draws: int = 2_000,
) -> Aggregates:
    """Returns one number of all runs of each optimizer, and what optimizers differ by.

    Bounds are percentiles of the stratified and joint bootstrap (see the module); they say what
    other seeds would have given on these problems, not what other problems would.

    Args:
      scores: float[A, P, S], S >= 2, finite.
      seed: Of the bootstrap.
      statistic: From float[..., P, S] to float[...]; `optimality_gap` is another.
      level: Coverage of each interval, in (0, 1).
      num_draws: Number of bootstrap samples, >= 1.

    Raises:
      ValueError: If `scores` is not of this shape or not finite, or `level` is outside (0, 1).
    """
    scores = finite("scores", scores, at_least=2, ndim=3)
    require("level", level, "(0, 1)")
    P, S = scores.shape[1:]
    rows = np.random.default_rng(seed).integers(0, S, (num_draws, 1, P, S - 1))
    draws = statistic(np.take_along_axis(scores[None], rows, axis=3))  # [R, A]
    estimate = statistic(scores)
    return Aggregates(
        estimate,
        *percentiles(draws, level),
        estimate[:, None] - estimate[None],
        *percentiles(draws[:, :, None] - draws[:, None, :], level),
    )


def probability_of_improvement(
    x: ArrayLike, y: ArrayLike, seed: int = 0, *, level: float = 0.95, num_draws: int = 2_000
) -> Interval:
    """Returns how often a run of x scores above a run of y, averaged over problems.

        (1 / P) sum_p U_p / (S_x S_y),    U_p = sum_ij (1[x_pi > y_pj] + 1[x_pi = y_pj] / 2)

    Agarwal et al. 2021, arXiv:2108.13264, section 4.3, where seeds are drawn within problems.
    Runs need no pairs here; `families.win_rates` uses them.

    Args:
      x: float[P, S_x], S_x >= 2, scores, -inf for a diverged run.
      y: float[P, S_y], S_y >= 2.
      seed: Of the bootstrap.
      level: Coverage of the interval, in (0, 1).
      num_draws: Number of bootstrap samples, >= 1.

    Raises:
      ValueError: If a shape is wrong, the problems differ in number, or a score is NaN.
    """
    x, y = (ranked(name, scores, 2, 2) for name, scores in (("x", x), ("y", y)))
    require("level", level, "(0, 1)")
    P = len(x)
    y = y if len(y) == P else per_problem(y, P)
    wins = beats(y[:, None, :], x[:, :, None])  # [P, S_x, S_y]
    u, v = (draw_weights(seed + i, (P, z.shape[1]), num_draws) for i, z in enumerate((x, y)))
    draws = np.einsum("rpi,rpj,pij->r", u, v, wins, optimize=True) / P
    return Interval(float(wins.mean()), *map(float, percentiles(draws, level)))


def per_problem(x: ArrayLike, num_problems: int) -> np.ndarray:
    """Returns finite numbers, one a problem."""
    x = finite("numbers per problem", x)
    if x.size != num_problems:
        raise ValueError(f"there must be one number for each of {num_problems}, got {x.size}.")
    return x
