"""Two optimizers whose runs share no seeds, as in published results; say "unpaired" beside it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from dljax.comparison.statistics.intervals import Interval
from dljax.comparison.statistics.samples import beats, finite, ranked
from dljax.errors import require


class Welch(NamedTuple):
    """A difference of means and its test."""

    difference: Interval
    p: float  # two-sided
    dof: float


class MannWhitney(NamedTuple):
    """How often a run of a beats a run of b, and its test."""

    probability: float
    p: float  # two-sided


def welch(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Welch:
    """Compares two means without pairs or equal variances; Welch 1947, Biometrika 34(1-2), 28-35.

        t = (mean a - mean b) / sqrt(v_a + v_b),    v = s^2 / S
        dof = (v_a + v_b)^2 / (v_a^2 / (S_a - 1) + v_b^2 / (S_b - 1))

    Args:
      a: float[S_a], S_a >= 2, finite.
      b: float[S_b], S_b >= 2, finite.
      level: Coverage of the interval, in (0, 1).

    Returns:
      mean a - mean b with its interval, p and degrees of freedom. Without any variance the
      interval has no width, and p is 0, or 1 if the means agree.

    Raises:
      ValueError: If a sample is too short or not finite, or `level` is outside (0, 1).
    """
    require("level", level, "(0, 1)")
    samples = finite("a", a, at_least=2), finite("b", b, at_least=2)
    difference = float(samples[0].mean() - samples[1].mean())
    v = np.array([x.var(ddof=1) / x.size for x in samples])
    if v.sum() == 0:
        return Welch(Interval(*[difference] * 3), float(difference == 0), np.inf)
    share = v / v.sum()  # the squares of v may underflow
    dof = 1 / np.sum(share**2 / np.array([x.size - 1 for x in samples]))
    se = np.sqrt(v.sum())
    half = stdtrit(dof, (1 + level) / 2) * se
    p = 2 * stdtr(dof, -abs(difference) / se)
    return Welch(
        Interval(difference, float(difference - half), float(difference + half)),
        float(p),
        float(dof),
    )


def mann_whitney(a: ArrayLike, b: ArrayLike) -> MannWhitney:
    """Compares two samples by their order; Mann & Whitney 1947, Ann. Math. Stat. 18(1), 50-60.

        U = sum_ij (1[a_i < b_j] + 1[a_i = b_j] / 2),    probability = U / (S_a S_b)

    p is exact for at most 8 runs of one optimizer and no ties, and else the normal one with the
    corrections for ties and continuity.

    Args:
      a: float[S_a], S_a >= 1, lower is better, +inf for a diverged run.
      b: float[S_b], S_b >= 1.

    Raises:
      ValueError: If a sample is empty or holds NaN.
    """
    from scipy.stats import mannwhitneyu  # a second to import, and needed here only

    a, b = ranked("a", a), ranked("b", b)
    wins = beats(a[:, None], b[None, :])
    return MannWhitney(float(wins.mean()), float(mannwhitneyu(a, b).pvalue))
