"""Two optimizers compared on the parts of one data set, which share rows: folds, 5x2, test rows.

Differences `d` are of a lower-is-better metric, a minus b, on the same held-out rows. Folds share
training rows and repeats share test rows, so a plain t test claims far too much. Of 100 rows on
which two fixed models do equally well in the mean, in per cent of 2,000 data sets, 5 asked for:

    parts                     15 hold-outs of 20    10 x 10 folds    5 x 2 folds
    plain t                           34                  54              48
    corrected t, 5x2 t, F              5                   3            3, 4

What models share through their training rows comes on top and is not known in general: there is
no unbiased estimate of the variance of k-fold (Bengio & Grandvalet 2004, JMLR 5, 1089-1105). So
seeds with their own test rows, where there are enough, come before all of these.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, fdtrc, ndtri, stdtr, stdtrit

from dljax.comparison.statistics.intervals import Interval
from dljax.comparison.statistics.samples import finite
from dljax.errors import require


class CorrectedT(NamedTuple):
    """What `corrected_t` says of a mean difference."""

    effect: Interval  # mean of d
    t: float
    p: float  # two-sided
    df: int


class FiveByTwo(NamedTuple):
    """What two tests say of five repeats of two halves."""

    effect: Interval  # of Dietterich's t: the first difference and its interval
    t: float
    p_t: float  # two-sided, 5 degrees of freedom
    f: float
    p: float  # of F, which uses all ten differences


class McNemar(NamedTuple):
    """What the test rows say on which just one of two classifiers is right."""

    effect: Interval  # error rate of a minus that of b
    only_a: int  # rows that only a gets right
    only_b: int
    p: float  # mid-p, two-sided
    p_exact: float  # never above its level, and so too careful


def corrected_t(d: ArrayLike, num_train: int, num_test: int, *, level: float = 0.95) -> CorrectedT:
    """Tests the mean difference of resampled parts; Nadeau & Bengio 2003, Mach. Learn. 52, 239-281.

        t    = mean d / sqrt((1 / n + num_test / num_train) s^2)
        s^2  = sum_i (d_i - mean d)^2 / (n - 1)

    with n - 1 degrees of freedom. For random hold-outs, k-fold (num_test / num_train = 1 / (K - 1))
    and repeated k-fold, where n = R K: Bouckaert & Frank 2004, PAKDD, LNAI 3056, 3-12. It takes the
    correlation of two parts to be num_test / (num_train + num_test), which is a rule of thumb.

    Args:
      d: float[n] or float[R, K], 2 or more differences, finite.
      num_train: Rows that train in each part, >= 1.
      num_test: Rows held out in each part, >= 1.
      level: Coverage of the interval, in (0, 1).

    Returns:
      The mean, its interval in the unit of d, t, p, and the degrees of freedom.

    Raises:
      ValueError: If `d` has fewer than two numbers or one that is not finite, or an argument is
        outside its range.
    """
    d = finite("d", np.ravel(d), at_least=2)
    require("num_train", num_train, "[1, inf)")
    require("num_test", num_test, "[1, inf)")
    require("level", level, "(0, 1)")
    se = np.sqrt((1 / d.size + num_test / num_train) * d.var(ddof=1))
    return CorrectedT(*_student(float(d.mean()), float(se), d.size - 1, level), d.size - 1)


def five_by_two_cv(d: ArrayLike, *, level: float = 0.95) -> FiveByTwo:
    """Tests five repeats of two-fold cross-validation; Dietterich 1998, Neural Comput. 10(7), 1895.

        t      = d_11 / sqrt(sum_i s_i^2 / 5)
        s_i^2  = (d_i1 - m_i)^2 + (d_i2 - m_i)^2,   m_i = (d_i1 + d_i2) / 2

    with 5 degrees of freedom, and with all differences Alpaydin 1999, Neural Comput. 11(8), 1885:

        F = sum_i sum_j d_ij^2 / (2 sum_i s_i^2)

    with 10 and 5. Report F: t depends on which half comes first.

    Args:
      d: float[5, 2], repeat and half, finite.
      level: Coverage of the interval, in (0, 1).

    Raises:
      ValueError: If `d` is not of that shape and finite, or `level` is outside (0, 1).
    """
    d = finite("d", d, at_least=2, ndim=2)
    if d.shape != (5, 2):
        raise ValueError(f"d must be of shape (5, 2), got {d.shape}.")
    require("level", level, "(0, 1)")
    s2 = ((d - d.mean(axis=1, keepdims=True)) ** 2).sum()
    effect, t, p_t = _student(float(d[0, 0]), float(np.sqrt(s2 / 5)), 5, level)
    f = _ratio(float((d**2).sum()), float(2 * s2))
    return FiveByTwo(effect, t, p_t, f, float(fdtrc(10, 5, f)))


def mcnemar(a_right: ArrayLike, b_right: ArrayLike, *, level: float = 0.95) -> McNemar:
    """Tests two classifiers on the same test rows; McNemar 1947, Psychometrika 12(2), 153-157.

        p_exact = min(1, 2 P(X <= k)),    p = 2 P(X < k) + P(X = k),    X binomial(n, 1/2)

    n rows are got right by one only, k = min(only a, only b) of them by the rarer. p is the mid-p
    (Lancaster 1961, JASA 56(294)), which Fagerland, Lydersen & Laake 2013 (BMC Med. Res.
    Methodol. 13, 91) recommend; it may pass its level a little, the exact p never. The interval is
    that of Bonett & Price 2012 (J. Educ. Behav. Stat. 37(4)), Wald's with a row added to each of
    only a and only b. It tells of these two trained models, not of their optimizers: another
    seed may turn the sign.

    Args:
      a_right: bool[N], whether the first classifier is right on each test row.
      b_right: bool[N], whether the second is.
      level: Coverage of the interval, in (0, 1).

    Raises:
      ValueError: If the lengths differ, a value is not 0 or 1, or `level` is outside (0, 1).
    """
    a, b = finite("a_right", a_right), finite("b_right", b_right)
    if a.size != b.size:
        raise ValueError(f"both must be of the same rows, got {a.size} and {b.size}.")
    for name, right in (("a_right", a), ("b_right", b)):
        if not np.isin(right, (0, 1)).all():
            raise ValueError(
                f"{name} must hold 0 and 1 only, got {right[~np.isin(right, (0, 1))][0]:g}."
            )
    require("level", level, "(0, 1)")
    only_a, only_b = int(np.sum(a > b)), int(np.sum(b > a))
    n, k = only_a + only_b, min(only_a, only_b)
    at_most = float(bdtr(k, n, 0.5))
    below = float(bdtr(k - 1, n, 0.5)) if k else 0.0
    more_a, more_b = (only_a + 1) / (a.size + 2), (only_b + 1) / (a.size + 2)
    centre = more_b - more_a
    half = ndtri((1 + level) / 2) * np.sqrt((more_a + more_b - centre**2) / (a.size + 2))
    effect = Interval((only_b - only_a) / a.size, *map(float, _within(centre, half)))
    return McNemar(effect, only_a, only_b, min(1.0, below + at_most), min(1.0, 2 * at_most))


def _student(mean: float, se: float, df: int, level: float) -> tuple[Interval, float, float]:
    """Returns the interval, t and two-sided p of an estimate with Student's distribution."""
    t = _ratio(mean, se)
    half = float(stdtrit(df, (1 + level) / 2)) * se
    return Interval(mean, mean - half, mean + half), t, float(2 * stdtr(df, -abs(t)))


def _ratio(x: float, scale: float) -> float:
    """Returns x / scale, 0 of 0 / 0: no difference anywhere is no evidence of one."""
    if scale > 0:
        return x / scale
    return float(np.copysign(np.inf, x)) if x else 0.0


def _within(centre: float, half: float) -> tuple[float, float]:
    return max(-1.0, centre - half), min(1.0, centre + half)
