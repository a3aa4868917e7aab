"""The tests behind one claim: of two optimizers by their final metric, paired by seeds or not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from dljax.comparison.statistics.paired import equivalence, sign_flip_test
from dljax.comparison.statistics.power import further_seeds
from dljax.comparison.statistics.runs import mean_interval
from dljax.comparison.statistics.samples import beats
from dljax.comparison.statistics.sequential import (
    confidence_sequence,
    e_values,
    equivalence_e_values,
    sign_e_values,
)
from dljax.comparison.statistics.survival import hit_rate
from dljax.comparison.statistics.unpaired import mann_whitney, welch

NOTHING = {"effect": None, "margin": None, "p_equivalent": None, "further_seeds": None}


def paired_tests(
    a: np.ndarray,
    b: np.ndarray,
    *,
    goal: str,
    question: Any,
    optimum: float | None,
    looks: Sequence[int] | None,
) -> dict[str, Any]:
    """Compares finals float[S] at the same seeds, NaN where a run diverged; see `claims`.

    Returns:
      The fields of a claim, before adjusting, and "leaning": 1 where a is better on average, -1
      where b is, 0 if neither.

    Raises:
      ValueError: If the lengths differ.
    """
    if a.size != b.size:
        raise ValueError(f"paired runs must share their seeds, got {a.size} and {b.size} runs.")
    costs = _costs(a, goal), _costs(b, goal)
    signs = beats(*costs) - beats(costs[1], costs[0])
    told = {**_counts(a, b), "wins": _told(*hit_rate(beats(*costs).sum(), a.size))}
    told |= {**NOTHING, "scale": "sign", "leaning": np.sign(signs.sum())}
    is_log = optimum is not None and goal == "min" and question.margin is None
    a, b = (_above(x, optimum) if is_log else x for x in (a, b))
    d = np.where(np.isfinite(a) & np.isfinite(b), a, np.nan) - b
    if np.isfinite(d).all() and d.size > 1:
        told |= {"scale": "log ratio" if is_log else "difference"}
        told |= {"leaning": np.sign(d.mean()) * (1 if goal == "max" else -1)}
        if looks is None:
            return told | _tests(a, b, question)
        return told | _looked_at(d, signs, looks) | _at_looks(d, question, looks)
    if looks is not None:
        return told | _looked_at(d, signs, looks)
    test = sign_flip_test(signs)
    return told | {"test": "sign test", "p": test.p, "smallest_p": test.smallest}


def unpaired_tests(a: np.ndarray, b: np.ndarray, *, goal: str, question: Any) -> dict[str, Any]:
    """Compares finals float[S_a] and float[S_b] that share no seeds; returns as `paired_tests`."""
    order = mann_whitney(_costs(a, goal), _costs(b, goal))
    told = {**_counts(a, b), **NOTHING, "wins": _told(order.probability, None, None)}
    told |= {"smallest_p": None}
    if sum(told["diverged"]) or min(a.size, b.size) < 2:
        leaning = np.sign(order.probability - 0.5)
        how = {"scale": "sign", "leaning": leaning, "test": "Mann-Whitney test", "p": order.p}
        return told | how
    found = welch(a, b, 1 - question.alpha)
    difference, low, high = found.difference
    margin, error = margin_of(a, b, question.margin, correlation=0.0)
    se = np.hypot((high - low) / 2 / stdtrit(found.dof, 1 - question.alpha / 2), error)
    told |= {"scale": "difference", "effect": _told(difference, low, high), "margin": margin}
    told |= {"leaning": np.sign(difference) * (1 if goal == "max" else -1)}
    if margin and se > 0:
        told["p_equivalent"] = float(stdtr(found.dof, (abs(difference) - margin) / se))
    return told | {"test": "Welch's test", "p": found.p}


def margin_of(
    a: np.ndarray, b: np.ndarray, declared: float | None = None, correlation: float | None = None
) -> tuple[float | None, float]:
    """Returns a margin and its standard error: what was declared, or a pooled standard deviation.

    That of s^2 = (s_a^2 + s_b^2) / 2 of normal runs with correlation r is, of S seeds each, s^2
    sqrt((1 + r^2) / (S - 1)), and that of s is half as much, relative to it. The margin is `None`
    where all runs of both are equal.
    """
    if declared is not None:
        return declared, 0.0
    pooled = float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    if not pooled:
        return None, 0.0
    r = correlation
    if r is None:
        r = np.corrcoef(a, b)[0, 1] if a.std() > 0 and b.std() > 0 else 0.0
    return pooled, pooled * float(np.sqrt((1 + r**2) / (min(a.size, b.size) - 1))) / 2


def _tests(a: np.ndarray, b: np.ndarray, question: Any) -> dict[str, Any]:
    """Tests once, at the end."""
    d, (margin, error) = a - b, margin_of(a, b, question.margin)
    test = sign_flip_test(d)
    return {
        "effect": _told(*mean_interval(d, 1 - question.alpha)),
        "test": "sign-flip test",
        "p": test.p,
        "smallest_p": test.smallest,
        "margin": margin,
        "p_equivalent": equivalence(d, margin, error) if margin else None,
        "further_seeds": _further(d, margin, question),
    }


def _at_looks(d: np.ndarray, question: Any, looks: Sequence[int]) -> dict[str, Any]:
    """Returns what holds at all looks together of an effect, if no run diverged."""
    margin = question.margin
    low, high = (float(bounds[-1]) for bounds in confidence_sequence(d, alpha=question.alpha))
    equal = margin and _anytime(equivalence_e_values(d, margin), looks)
    return {"effect": _told(float(d.mean()), low, high), "margin": margin, "p_equivalent": equal}


def _looked_at(d: np.ndarray, signs: np.ndarray, looks: Sequence[int]) -> dict[str, Any]:
    """Tests at looks by the mean of two e-values; that of t stays where it was at a divergence."""
    whole = int(np.argmin(np.isfinite(d))) if not np.isfinite(d).all() else d.size
    e = np.ones(d.size)
    if whole > 1:
        e[:whole] = e_values(d[:whole])
        e[whole:] = e[whole - 1]
    p = _anytime((e + sign_e_values(signs)) / 2, looks)
    return {"test": "e-values of t and signs", "p": p, "smallest_p": None}


def _anytime(e: np.ndarray, looks: Sequence[int]) -> float:
    """Returns 1 / max e over the looks, a p that may be looked at whenever one likes."""
    return float(min(1.0, 1 / e[np.asarray(looks) - 1].max()))


def _above(x: np.ndarray, optimum: float) -> np.ndarray:
    """Returns ln(x - optimum), NaN where nothing is left of it."""
    left = x - optimum
    return np.log(left, where=left > 0, out=np.full(x.shape, np.nan))


def _counts(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    lost = [int(np.sum(~np.isfinite(x))) for x in (a, b)]
    return {"num_seeds": [a.size, b.size], "diverged": lost}


def _costs(x: np.ndarray, goal: str) -> np.ndarray:
    """Returns lower-is-better numbers, +inf for a run that diverged."""
    return np.where(np.isfinite(x), x if goal == "min" else -x, np.inf)


def _further(d: np.ndarray, margin: float | None, question: Any) -> int | None:
    try:
        return margin and further_seeds(d, margin, power=question.power, alpha=question.alpha)
    except ValueError:  # more than a million
        return None


def _told(mean: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"mean": mean, "low": low, "high": high}
