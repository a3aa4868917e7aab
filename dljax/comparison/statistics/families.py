"""Many comparisons at once: error over a family of tests, and tests over several problems.

`table` is float[P, A]: one number (a median or mean over seeds, lower is better, +inf for a
diverged optimizer) for every problem p and optimizer a.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, fdtrc

from dljax.comparison.statistics.intervals import draw_weights, percentiles
from dljax.comparison.statistics.samples import beats, ranked
from dljax.errors import require, require_whole

USUAL_ALPHA = 0.05  # below which `Pairwise.note` asks for some p to be possible


class Pairwise(NamedTuple):
    """Wilcoxon's test of every pair of optimizers; the family is these M = A (A - 1) / 2 tests."""

    pairs: np.ndarray  # int[M, 2], optimizers a < b
    p: np.ndarray  # float[M], two-sided
    adjusted: np.ndarray  # float[M], by Holm over the M tests
    smallest: float  # the smallest adjusted p that so many problems and pairs can give
    note: str  # "" or why nothing can be found


class Friedman(NamedTuple):
    """Ranks over problems and the tests that all optimizers are alike."""

    mean_ranks: np.ndarray  # float[A], 1 is best
    chi2: float
    p: float  # of chi2
    F: float  # Iman and Davenport's
    p_F: float


class WinRates(NamedTuple):
    """Entry [a, b]: how often a beats b, averaged over problems; bounds of each entry."""

    rate: np.ndarray  # float[A, A]
    low: np.ndarray
    high: np.ndarray


def holm(p: ArrayLike) -> np.ndarray:
    """Returns p adjusted for all tests of a family; Holm 1979, Scand. J. Stat. 6(2), 65-70.

        adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)),    p_(1) <= ... <= p_(m)

    Rejecting where adjusted <= alpha makes any false rejection at all at most alpha likely,
    however the tests depend. The family is every comparison that is reported: state it.

    Args:
      p: float[m], m >= 1, in [0, 1].

    Returns:
      float[m], in the order of p, each at least p.

    Raises:
      ValueError: If p is empty or outside [0, 1].
    """
    p = ranked("p", p)
    require("p", p, "[0, 1]")
    order = np.argsort(p, kind="stable")
    steps = np.arange(p.size, 0, -1) * p[order]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def wilcoxon(a: ArrayLike, b: ArrayLike) -> float:
    """Returns the exact two-sided p of the signed-rank test; Wilcoxon 1945, Biometrics 1(6), 80-83.

        W = sum of the ranks of |a_p - b_p| where a_p > b_p
        p = 2^{-n} #{signs with |W - E W| at least as large},    E W = sum of all ranks / 2

    over the n problems on which a and b differ; ties share their mean rank. The distribution of
    W is built problem by problem, so p stays exact with ties.

    Args:
      a: float[P], P >= 1; +inf for a diverged run, two of which tie.
      b: float[P].

    Raises:
      ValueError: If the lengths differ or a value is NaN.
    """
    a, b = ranked("a", a), ranked("b", b)
    if a.size != b.size:
        raise ValueError(f"a and b must share their problems, got {a.size} and {b.size}.")
    differ = a != b
    d = a[differ] - b[differ]
    ranks = (2 * mean_ranks(np.abs(d))).astype(int)  # whole numbers even with ties
    counts = np.ones(1)  # counts[w]: share of sign vectors with W = w / 2
    for rank in ranks:
        wider = np.zeros(counts.size + rank)
        wider[: counts.size] += counts / 2
        wider[rank:] += counts / 2
        counts = wider
    w, total = ranks[d > 0].sum(), ranks.sum()
    far = np.abs(2 * np.arange(total + 1) - total) >= abs(2 * w - total)
    return float(min(1.0, counts[far].sum()))


def pairwise_wilcoxon(table: ArrayLike) -> Pairwise:
    """Tests every pair of optimizers over problems, adjusted by Holm over these pairs.

    Unlike a test on ranks among all optimizers, the p of a pair does not depend on who else takes
    part (Benavoli, Corani & Mangili 2016, JMLR 17(5)). With fewer than six problems,
    or more for many pairs, no p can reach 0.05, and `note` says so.

    Args:
      table: float[P, A], A >= 2.

    Raises:
      ValueError: If the table is not of this shape or holds NaN.
    """
    table = ranked("table", table, at_least=2, ndim=2)
    pairs = np.array(list(combinations(range(table.shape[1]), 2)))
    p = np.array([wilcoxon(table[:, a], table[:, b]) for a, b in pairs])
    P, m = len(table), len(pairs)
    smallest = min(1.0, m * 2.0 ** (1 - P))
    note = f"too few problems: with {P}, and {m} pairs, no adjusted p can be below {smallest:g}"
    return Pairwise(pairs, p, holm(p), smallest, note if smallest > USUAL_ALPHA else "")


def friedman(table: ArrayLike) -> Friedman:
    """Tests whether all optimizers are alike; Friedman 1937, JASA 32(200), 675-701.

        chi2 = (A - 1) sum_j (P R_j - P (A + 1) / 2)^2 / (sum_pj r_pj^2 - P A (A + 1)^2 / 4)
        F    = (P - 1) chi2 / (P (A - 1) - chi2)

    with r the ranks within a problem, ties sharing theirs, and R_j their means; without ties chi2
    is 12 P / (A (A + 1)) (sum_j R_j^2 - A (A + 1)^2 / 4). chi2 has A - 1 degrees of freedom, the
    better F of Iman & Davenport (1980, Commun. Stat. 9(6), 571-595) A - 1 and (A - 1)(P - 1).

    Args:
      table: float[P, A], P >= 2, A >= 2; three optimizers or more make it worth its name.

    Raises:
      ValueError: If the table is not of this shape or holds NaN.
    """
    table = ranked("table", table, at_least=2, ndim=2)
    P, A = table.shape
    if P < 2:
        raise ValueError("table must hold at least 2 problems, got 1.")
    r = mean_ranks(table)
    spread = np.sum(r**2) - P * A * (A + 1) ** 2 / 4
    R = r.mean(axis=0)
    chi2 = (A - 1) * np.sum((P * R - P * (A + 1) / 2) ** 2) / spread if spread else 0.0
    F, p_F = iman_davenport(chi2, P, A)
    return Friedman(R, float(chi2), float(chdtrc(A - 1, chi2)), F, p_F)


def iman_davenport(chi2: float, num_problems: int, num_optimizers: int) -> tuple[float, float]:
    """Returns F and its p from Friedman's chi2; F is inf if all problems rank alike."""
    P, A = num_problems, num_optimizers
    room = P * (A - 1) - chi2
    if room <= 1e-9 * P * A:
        return np.inf, 0.0
    F = (P - 1) * chi2 / room
    return float(F), float(fdtrc(A - 1, (A - 1) * (P - 1), F))


def nemenyi_distance(num_problems: int, num_optimizers: int, alpha: float = 0.05) -> float:
    """Returns how far apart two mean ranks must lie; Demsar 2006, JMLR 7, 1-30, section 3.2.2.

        CD = q sqrt(A (A + 1) / (6 P))

    with sqrt(2) q the 1 - alpha quantile of the range of A independent standard normals.

    Args:
      num_problems: P >= 2.
      num_optimizers: A >= 2.
      alpha: Error over all pairs, in (0, 1).

    Raises:
      ValueError: If an argument is outside its range.
    """
    from scipy.stats import studentized_range  # a second to import, and needed here only

    require_whole("num_problems", num_problems, "[2, inf)")
    require_whole("num_optimizers", num_optimizers, "[2, inf)")
    require("alpha", alpha, "(0, 1)")
    P, A = num_problems, num_optimizers
    q = studentized_range.ppf(1 - alpha, A, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(A * (A + 1) / (6 * P)))


def win_rates(
    losses: ArrayLike, seed: int = 0, *, level: float = 0.95, num_draws: int = 2_000
) -> WinRates:
    """Returns how often each optimizer beats each other at the same seed, over all problems.

        W_ab = (1 / P) sum_p (1 / S) sum_s (1[l_aps < l_bps] + 1[l_aps = l_bps] / 2)

    Bounds are bootstrap percentiles: seeds are drawn within each problem, the same for all
    optimizers, so W_ab + W_ba = 1 in every draw.

    Args:
      losses: float[A, P, S], A >= 2, S >= 2, +inf for a diverged run.
      seed: Of the bootstrap.
      level: Coverage of each entry's bounds, in (0, 1).
      num_draws: Number of bootstrap samples, >= 1.

    Raises:
      ValueError: If `losses` is not of this shape or holds NaN, or `level` is outside (0, 1).
    """
    require("level", level, "(0, 1)")
    losses = ranked("losses", losses, at_least=2, ndim=3)
    wins = beats(losses[:, None], losses[None, :])  # [A, A, P, S]
    weights = draw_weights(seed, wins.shape[2:], num_draws)
    draws = np.einsum("rps,abps->rab", weights, wins, optimize=True) / wins.shape[2]
    return WinRates(wins.mean(axis=(2, 3)), *percentiles(draws, level))


def mean_ranks(x: np.ndarray) -> np.ndarray:
    """Returns ranks from 1 along the last axis; equal numbers share the mean of their ranks."""
    return 0.5 + beats(x[..., None, :], x[..., :, None]).sum(axis=-1)
