"""How many seeds a comparison needs, before the first run or after some of them."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri, ndtr, ndtri, stdtrit

from dljax.comparison.statistics.samples import finite
from dljax.errors import require

MOST_SEEDS = 1_000_000
FEWEST_SEEDS = 8
NUM_QUANTILES = 2_000
NOETHER = {"mann-whitney": 6, "sign": 4}  # seeds of each optimizer times (p - 1/2)^2 / z^2


def noether_seeds(
    probability: float = 0.75,
    *,
    power: float = 0.95,
    alpha: float = 0.05,
    test: str = "mann-whitney",
) -> int:
    """Returns the seeds at which "a beats b with `probability`" is found; one-sided tests.

        S >= ((z_{1-alpha} + z_power) / (sqrt(c) (probability - 1/2)))^2

    with c = 6 for two samples of S runs under the Mann-Whitney test and c = 4 for S pairs under
    the sign test; Noether 1987, JASA 82(398), 645-647. With the defaults S = 29, the number of
    Bouthillier et al. 2021, arXiv:2103.03098, who use the first form.

    Args:
      probability: Of a beating b, in (0.5, 1).
      power: Probability of finding it, in (0, 1).
      alpha: Error of the one-sided test, in (0, 1).
      test: `"mann-whitney"` or `"sign"`.

    Raises:
      ValueError: If an argument is outside its range.
    """
    require("probability", probability, "(0.5, 1)")
    require("power", power, "(0, 1)")
    require("alpha", alpha, "(0, 1)")
    if test not in NOETHER:
        raise ValueError(f"test must be one of {', '.join(NOETHER)}, got {test!r}.")
    z = max(ndtri(1 - alpha) + ndtri(power), 0.0)
    return max(1, int(np.ceil(z**2 / (NOETHER[test] * (probability - 0.5) ** 2))))


def power_of(num_seeds: ArrayLike, effect: float, sd: float, alpha: float = 0.05) -> np.ndarray:
    """Returns the power of the two-sided paired t test; Cohen 1988, Power Analysis, chapter 2.

        E_s[Phi(delta - t s) + Phi(-delta - t s)],    delta = sqrt(S) effect / sd

    with t the 1 - alpha / 2 quantile of Student's t and (S - 1) s^2 of chi^2, both with S - 1
    degrees of freedom: the tails of the noncentral t. The mean over s is taken at 2,000 even
    quantiles, right to 1e-4. `paired.sign_flip_test` measured the same within 0.02 from S = 8
    on (for normal differences).

    Args:
      num_seeds: int[...], S >= 2.
      effect: True mean of the paired differences, any sign, in their unit.
      sd: Standard deviation of the paired differences, > 0.
      alpha: Error of the two-sided test, in (0, 1).

    Raises:
      ValueError: If an argument is outside its range.
    """
    require("num_seeds", num_seeds, "[2, inf)")
    require("sd", sd, "(0, inf)")
    require("alpha", alpha, "(0, 1)")
    S = np.asarray(num_seeds, dtype=np.float64)
    t, delta = stdtrit(S - 1, 1 - alpha / 2), np.sqrt(S) * abs(effect) / sd
    tails = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    s = np.sqrt(chdtri(S[..., None] - 1, tails) / (S[..., None] - 1))
    t, delta = t[..., None] * s, delta[..., None]
    return (ndtr(delta - t) + ndtr(-delta - t)).mean(axis=-1)


def further_seeds(d: ArrayLike, effect: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Returns how many seeds to add to those of d so that a true `effect` is found with `power`.

    The smallest S >= 8 of `power_of` at the observed standard deviation of d, less the seeds
    there are; below 8 the few values of p leave the sign-flip test short of that power. Name the
    smallest effect worth finding: with the observed effect in its place the answer says no more
    than the p of the test. Seeds added because of a look at the p break its error; `sequential`
    does not.

    Args:
      d: float[S], S >= 2, paired differences, finite.
      effect: Smallest effect worth finding, in the unit of d, not 0.
      power: Probability of finding it, in (0, 1).
      alpha: Error of the two-sided test, in (0, 1).

    Returns:
      The number of further seeds, >= 0.

    Raises:
      ValueError: If d is too short or not finite, an argument is outside its range, or more than
        a million seeds are needed.
    """
    d = finite("d", d, at_least=2)
    require("size of the effect", abs(effect), "(0, inf)")
    require("power", power, "(0, 1)")
    sd = d.std(ddof=1)
    if sd == 0:
        return max(0, FEWEST_SEEDS - d.size)
    low, high = 1, 2  # power rises with the seeds, so the least is bracketed and halved
    while power_of(high, effect, sd, alpha) < power:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            raise ValueError(f"seeds must stay below {MOST_SEEDS:,}; got an effect of {effect:g}.")
    while high - low > 1:
        middle = (low + high) // 2
        enough = power_of(middle, effect, sd, alpha) >= power
        low, high = (low, middle) if enough else (middle, high)
    return max(0, max(high, FEWEST_SEEDS) - d.size)
