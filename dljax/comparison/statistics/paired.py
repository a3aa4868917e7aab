"""Two optimizers on one problem, run at the same seeds: effect, test, and what may be claimed.

`d` is float[S], the difference of a lower-is-better metric between optimizers a and b at each of
S seeds; a is better where it is negative. Seed s must give both the same initial parameters,
batches and dropout. "No difference" is never a verdict: an unresolved question stays one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from dljax.comparison.statistics.intervals import Interval, draw_rows, interval, percentiles
from dljax.comparison.statistics.samples import beats, finite, pairs
from dljax.errors import require

MOST_EXACT = 32  # seeds; two halves of 2^16 sums each


class SignFlip(NamedTuple):
    """A test of "the sign of every difference is a coin's"."""

    p: float  # two-sided
    smallest: float  # the smallest p that so many seeds can give
    exact: bool  # False if sign vectors were drawn


class Claim(NamedTuple):
    """What may be said of a against b, and by which evidence."""

    verdict: str  # of a: "better", "worse", "equivalent" or "unresolved"
    effect: Interval  # mean of d
    test: SignFlip
    p_equivalent: float  # of `equivalence`; NaN without a margin
    num_seeds: int


class Win(NamedTuple):
    """What Bouthillier's rule says of a against b."""

    verdict: str  # "better", "worse" or "unresolved"
    rate: Interval  # of `win_rate`


def paired_effect(a: ArrayLike, b: ArrayLike, optimum: float | None = None) -> np.ndarray:
    """Returns the difference at every seed, on a log scale where the optimum is known.

        d_s = a_s - b_s      or      d_s = ln(a_s - optimum) - ln(b_s - optimum)

    Args:
      a: float[S], S >= 1, final losses of the first optimizer, finite.
      b: float[S], those of the second at the same seeds.
      optimum: The smallest loss there is, below every loss; the effect is then a log ratio.

    Raises:
      ValueError: If the lengths differ, a loss is not finite, or one is not above `optimum`.
    """
    pairs(a, b)
    a, b = finite("a", a), finite("b", b)
    if optimum is None:
        return a - b
    require("a and b minus the optimum", np.minimum(a, b) - optimum, "(0, inf)")
    return np.log(a - optimum) - np.log(b - optimum)


def sign_flip_test(d: ArrayLike, seed: int = 0, num_draws: int = 100_000) -> SignFlip:
    """Tests by flipping signs whether a and b can be exchanged; Fisher 1935, Design, section 21.

        p = 2^{-S} #{e in {-1, 1}^S : |sum_s e_s d_s| >= |sum_s d_s|}

    over all e for S <= 32, and above over `num_draws` e drawn by coin, with p = (1 + #) / (1 +
    num_draws), which never claims too much (Phipson & Smyth 2010, SAGMB 9(1), 39). The smallest
    p there is, 2^{1 - S} for S differences other than 0, is returned with it: five seeds give
    0.0625 at best, whatever the effect. No distribution is assumed.

    Args:
      d: float[S], S >= 1, finite.
      seed: Of the drawn signs, S > 32.
      num_draws: Number of drawn sign vectors, >= 1, S > 32.

    Raises:
      ValueError: If `d` is empty or not finite.
    """
    d = finite("d", d)
    require("num_draws", num_draws, "[1, inf)")
    d = d[d != 0]  # a zero has no sign to flip
    least = np.abs(d.sum()) - 1e-12 * np.abs(d).sum()  # equal sums may round apart
    if d.size <= MOST_EXACT:
        return SignFlip(_share_as_far(d, least), min(1.0, 2.0 ** (1 - d.size)), True)
    signs = np.random.default_rng(seed).integers(0, 2, (num_draws, d.size), dtype=np.int8)
    sums = np.abs(signs @ (2 * d) - d.sum())
    smallest = max(2.0 ** (1 - d.size), 1 / (1 + num_draws))
    return SignFlip(float((1 + np.sum(sums >= least)) / (1 + num_draws)), smallest, False)


def equivalence(d: ArrayLike, margin: float, margin_error: float = 0.0) -> float:
    """Tests whether the mean of d lies within the margin: two one-sided t tests.

        p = 1 - F((margin - |mean d|) / sqrt(s^2 / S + margin_error^2))

    with F Student's distribution of S - 1 degrees of freedom; without an error of the margin p <=
    alpha just where the 1 - 2 alpha interval lies in (-margin, margin). Schuirmann 1987, J.
    Pharmacokin. Biopharm. 15(6).

    Args:
      d: float[S], S >= 2, finite.
      margin: The smallest difference that matters, > 0, in the unit of d.
      margin_error: Its standard error, >= 0, where it is estimated from the same runs; 0 if it was
        declared.

    Returns:
      The p of "the difference is at least the margin".

    Raises:
      ValueError: If `d` has fewer than two numbers or one that is not finite, or margin <= 0.
    """
    d = finite("d", d, at_least=2)
    require("margin", margin, "(0, inf)")
    require("margin_error", margin_error, "[0, inf)")
    room, se = margin - abs(d.mean()), np.hypot(d.std(ddof=1) / np.sqrt(d.size), margin_error)
    if se == 0:
        return float(room <= 0)
    return float(stdtr(d.size - 1, -room / se))


def claim(d: ArrayLike, margin: float | None = None, seed: int = 0, alpha: float = 0.05) -> Claim:
    """Says whether a is better, worse or equivalent at error alpha, or that it is unresolved.

    Equivalent if `equivalence` gives p <= alpha: a difference below the margin was declared not
    to matter, so this comes first. Else better or worse by the sign of the mean of d if
    `sign_flip_test` gives p <= alpha. Else unresolved. Each verdict but the last is false with
    probability at most alpha, per comparison; for several see `families.holm`.

    Args:
      d: float[S], S >= 2, finite.
      margin: The smallest difference that matters, > 0, in the unit of d; None declares none,
        and then nothing is called equivalent.
      seed: Of the sign vectors where they are drawn.
      alpha: Error, in (0, 1).

    Raises:
      ValueError: If `d` has fewer than two numbers or one that is not finite, or an argument is
        outside its range.
    """
    require("alpha", alpha, "(0, 1)")
    effect = interval(d, level=1 - alpha)
    test = sign_flip_test(d, seed)
    p_equivalent = np.nan if margin is None else equivalence(d, margin)
    verdict = "unresolved"
    if p_equivalent <= alpha:
        verdict = "equivalent"
    elif test.p <= alpha:
        verdict = "better" if effect.estimate < 0 else "worse"
    return Claim(verdict, effect, test, p_equivalent, np.size(d))


def win_rate(a: ArrayLike, b: ArrayLike) -> float:
    """Returns (1 / S) sum_s (1[a_s < b_s] + 1[a_s = b_s] / 2), the seeds at which a beats b.

    Args:
      a: float[S], S >= 1, +inf for a diverged run; two diverged runs tie.
      b: float[S], at the same seeds.

    Raises:
      ValueError: If the lengths differ or a value is NaN.
    """
    return float(beats(*pairs(a, b)).mean())


def meaningful_win(
    a: ArrayLike,
    b: ArrayLike,
    seed: int = 0,
    *,
    gamma: float = 0.75,
    level: float = 0.95,
    num_draws: int = 10_000,
) -> Win:
    """Says by Bouthillier's rule whether a beats b often enough to matter.

        better  if  low > 1/2  and  high > gamma

    with low, high the percentile bootstrap interval of `win_rate` over pairs; worse if the same
    holds of b against a. Bouthillier et al. 2021, arXiv:2103.03098, whose recommendation this
    is; `power.noether_seeds` says how many seeds it needs. At their 29 seeds, two optimizers that
    are alike are told apart in 6 % of all cases, 20 wins being enough: `claim` keeps its error.

    Args:
      a: float[S], S >= 2, +inf for a diverged run.
      b: float[S], at the same seeds.
      seed: Of the bootstrap.
      gamma: How often a must win to matter, in (0.5, 1).
      level: Coverage of the interval, in (0, 1).
      num_draws: Number of bootstrap samples, >= 1.

    Raises:
      ValueError: If the lengths differ, a value is NaN, or an argument is outside its range.
    """
    require("gamma", gamma, "(0.5, 1)")
    require("level", level, "(0, 1)")
    wins = finite("a and b", beats(*pairs(a, b)), at_least=2)
    rates = wins[draw_rows(seed, wins.size, num_draws)].mean(axis=1)
    low, high = (float(bound) for bound in percentiles(rates, level))
    better = low > 0.5 and high > gamma
    worse = high < 0.5 and low < 1 - gamma
    verdict = "better" if better else "worse" if worse else "unresolved"
    return Win(verdict, Interval(float(wins.mean()), low, high))


def _share_as_far(d: np.ndarray, least: float) -> float:
    """Returns the share of sign vectors whose sum is at least so far from 0.

    Every sum is one of the left half plus one of the right, so counting takes 2^{S/2} searches.
    """
    if least <= 0:
        return 1.0
    left, right = _signed_sums(d[: d.size // 2]), np.sort(_signed_sums(d[d.size // 2 :]))
    above = right.size - np.searchsorted(right, least - left)
    return float(2 * above.sum() / (left.size * right.size))


def _signed_sums(d: np.ndarray) -> np.ndarray:
    """Returns the sums of d under all sign vectors, 2^S of them."""
    sums = np.zeros(1)
    for x in d:
        sums = np.concatenate([sums + x, sums - x])
    return sums
