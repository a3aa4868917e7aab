"""Profiles over several problems: of scores, and of times against a frozen reference."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dljax.comparison.statistics.aggregates import per_problem
from dljax.comparison.statistics.intervals import draw_weights, percentiles
from dljax.comparison.statistics.samples import ranked
from dljax.errors import require


class Profile(NamedTuple):
    """A share of runs or problems at every threshold, with pointwise bounds."""

    share: np.ndarray  # float[A, T]
    low: np.ndarray
    high: np.ndarray


class TimeProfile(NamedTuple):
    """Ratios to the reference times, the share of problems within each tau, and its mean."""

    ratio: np.ndarray  # float[A, P], inf for a miss
    share: np.ndarray  # float[A, T]
    mean_share: np.ndarray  # float[A], over tau in [1, longest]


def score_profile(
    scores: ArrayLike,
    thresholds: ArrayLike,
    seed: int = 0,
    *,
    level: float = 0.95,
    num_draws: int = 2_000,
) -> Profile:
    """Returns the share of runs above each threshold; Agarwal et al. 2021, section 4.2.

        F_a(tau) = (1 / (P S)) sum_ps 1[x_aps > tau]

    Args:
      scores: float[A, P, S], S >= 2, -inf for a diverged run.
      thresholds: float[T], tau.
      seed: Of the stratified and joint bootstrap.
      level: Coverage of the bounds at each threshold, in (0, 1).
      num_draws: Number of bootstrap samples, >= 1.

    Raises:
      ValueError: If a shape is wrong, a score is NaN, or `level` is outside (0, 1).
    """
    scores = ranked("scores", scores, at_least=2, ndim=3)
    above = scores[..., None] > ranked("thresholds", thresholds)  # [A, P, S, T]
    require("level", level, "(0, 1)")
    weights = draw_weights(seed, scores.shape[1:], num_draws)
    draws = np.einsum("rps,apst->rat", weights, above.astype(float), optimize=True)
    draws /= scores.shape[1]
    return Profile(above.mean(axis=(1, 2)), *percentiles(draws, level))


def time_profile(
    times: ArrayLike, reference: ArrayLike, taus: ArrayLike, longest: float = 4.0
) -> TimeProfile:
    """Returns the share of problems solved within each multiple of a reference time.

        r_ap = t_ap / reference_p
        rho_a(tau) = (1 / P) #{p : r_ap <= tau}                  Dolan & More 2002, section 2
        B_a = 1 / (longest - 1) int_1^longest rho_a(tau) d tau    Dahl et al. 2023
            = (1 / P) sum_p max(0, longest - max(1, r_ap)) / (longest - 1)

    Dolan & More 2002, Math. Program. 91, 201-213, divide by the best of those compared, so that
    one more optimizer ranks the others anew; here the reference is the caller's, frozen.
    `np.min(pool, axis=0)` of a fixed pool is one.

    Args:
      times: float[A, P], > 0, steps or seconds to the target; inf for a miss.
      reference: float[P], > 0, finite, in the same unit.
      taus: float[T], multiples of the reference.
      longest: End of the integral, > 1; AlgoPerf (Dahl et al. 2023, arXiv:2306.07179) has 4.

    Raises:
      ValueError: If a shape is wrong, or a time, reference or `longest` outside its range.
    """
    times = ranked("times", times, ndim=2)
    reference = per_problem(reference, times.shape[1])
    require("times", times, "(0, inf]")
    require("reference", reference, "(0, inf)")
    require("longest", longest, "(1, inf)")
    r = times / reference
    share = (r[..., None] <= ranked("taus", taus)).mean(axis=1)
    left = np.maximum(0, longest - np.maximum(1, r)) / (longest - 1)
    return TimeProfile(r, share, left.mean(axis=1))
