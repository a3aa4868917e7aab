"""How much a loss depends on the learning rate, how wide the good region is, where it ends.

`rates` is float[L], increasing, > 0; `losses` is float[L], the loss at each (a median over seeds,
say), lower is better, +inf where it diverged.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dljax.comparison.statistics.samples import finite, ranked
from dljax.errors import require


class Basin(NamedTuple):
    """The stretch of learning rates around the best that lose no more than a margin."""

    decades: float  # log10(high / low)
    low: float
    high: float
    open: str  # "", "low", "high" or "low, high": ends that lie on the edge of the rates


class Edge(NamedTuple):
    """The learning rates between which training begins to diverge."""

    stable: float  # the largest rate below every diverged one; 0 if there is none
    diverged: float  # the smallest diverged rate; inf if there is none


def rate_sensitivity(rates: ArrayLike, losses: ArrayLike, initial: float) -> float:
    """Returns how far the loss lies above its best, averaged over learning rates.

        E_eta[min(l(eta), initial)] - min_eta l(eta)

    over eta log-uniform from the first rate to the last, the loss being linear in log eta between
    rates; Wortsman et al. 2023, arXiv:2309.14322, who average over the rates they tried.

    Args:
      rates: float[L], L >= 2, increasing, > 0.
      losses: float[L], +inf where it diverged.
      initial: Loss at the initial parameters, which no loss counts above; finite.

    Raises:
      ValueError: If a shape or range is wrong, a loss is NaN, or `initial` is not finite.
    """
    rates, losses = _curve(rates, losses)
    require("initial", initial, "(-inf, inf)")
    capped = np.minimum(losses, initial)
    eta = np.log(rates)
    return float(np.trapezoid(capped, eta) / (eta[-1] - eta[0]) - capped.min())


def basin(rates: ArrayLike, losses: ArrayLike, margin: float) -> Basin:
    """Returns the connected learning rates around the best whose loss is within a margin of it.

        {eta : l(eta) <= min l + margin},    l linear in log eta between rates

    An end beside a diverged rate is put at the last rate that did not diverge.

    Args:
      rates: float[L], L >= 2, increasing, > 0.
      losses: float[L], +inf where it diverged; at least one finite.
      margin: What may be lost, > 0, in the unit of the loss: 0.01 |min l|, or a pooled standard
        deviation over seeds.

    Returns:
      Width in decades, its ends, and which of them the rates tried do not enclose.

    Raises:
      ValueError: If a shape or range is wrong, a loss is NaN, or all diverged.
    """
    rates, losses = _curve(rates, losses)
    require("margin", margin, "(0, inf)")
    if not np.isfinite(losses).any():
        raise ValueError("losses must be finite at some learning rate, got none.")
    best, eta = int(np.argmin(losses)), np.log10(rates)
    level = losses[best] + margin
    low = _walk(eta[best::-1], losses[best::-1], level)
    high = _walk(eta[best:], losses[best:], level)
    ends = [
        name for name, end, rim in (("low", low, eta[0]), ("high", high, eta[-1])) if end == rim
    ]
    return Basin(high - low, 10.0**low, 10.0**high, ", ".join(ends))


def stability_edge(rates: ArrayLike, losses: ArrayLike, bound: float = np.inf) -> Edge:
    """Returns between which learning rates training begins to diverge.

    Args:
      rates: float[L], L >= 2, increasing, > 0.
      losses: float[L], or the largest over seeds; +inf where it diverged.
      bound: A loss at or above it counts as diverged too, such as the initial one.

    Raises:
      ValueError: If a shape or range is wrong, or a loss is NaN.
    """
    rates, losses = _curve(rates, losses)
    diverged = losses >= bound
    first = int(np.argmax(diverged)) if diverged.any() else rates.size
    return Edge(
        float(rates[first - 1]) if first else 0.0,
        float(rates[first]) if first < rates.size else np.inf,
    )


def stability_ratio(
    rate: ArrayLike, largest_eigenvalue: float, momentum: float = 0.0
) -> np.ndarray:
    """Returns a learning rate as a share of the largest that is stable on a quadratic.

        rate / (2 (1 + momentum) / largest_eigenvalue)

    of gradient descent, or of the heavy ball x' = x - rate m, m' = momentum m + g (Polyak 1964,
    USSR Comput. Math. 4(5), 1-17): below 1 it converges, above 1 it diverges. `stability_edge`
    of a quadratic must enclose 1.

    Args:
      rate: float[...], > 0, or both of an `Edge`.
      largest_eigenvalue: Of the Hessian, > 0, in loss per squared unit of the parameters.
      momentum: In [0, 1).

    Raises:
      ValueError: If an argument is outside its range.
    """
    require("rate", rate, "[0, inf]")
    require("largest_eigenvalue", largest_eigenvalue, "(0, inf)")
    require("momentum", momentum, "[0, 1)")
    return np.asarray(rate) * largest_eigenvalue / (2 * (1 + momentum))


def _curve(rates: ArrayLike, losses: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns rates and losses of equal length, the rates increasing and positive."""
    rates = finite("rates", rates, at_least=2)
    losses = ranked("losses", losses, at_least=2)
    if rates.size != losses.size:
        raise ValueError(f"each rate needs its loss, got {rates.size} rates, {losses.size} losses.")
    require("rates", rates, "(0, inf)")
    require("steps between rates", np.diff(rates), "(0, inf)")
    return rates, losses


def _walk(eta: np.ndarray, losses: np.ndarray, level: float) -> float:
    """Returns where the loss first rises above the level, walking from the best rate outward."""
    above = losses > level
    if not above.any():
        return float(eta[-1])
    i = int(np.argmax(above))
    if np.isinf(losses[i]):
        return float(eta[i - 1])
    share = (level - losses[i - 1]) / (losses[i] - losses[i - 1])
    return float(eta[i - 1] + share * (eta[i] - eta[i - 1]))
