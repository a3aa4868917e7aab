"""What may be said of each pair of optimizers, with the evidence beside it.

The question is put before the first run (`Question`); the answer to it is a family of claims: every
pair of optimizers, or every optimizer against a baseline, on one problem. The final metric of the
evaluation runs decides. Runs at one seed are pairs; a run that diverged loses against any other.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from dljax.comparison.statistics.families import holm
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
from dljax.comparison.statistics.summaries import jsonable
from dljax.comparison.statistics.survival import hit_rate
from dljax.comparison.statistics.unpaired import mann_whitney, welch
from dljax.errors import require, unknown


class Question(NamedTuple):
    """What a comparison is to answer; a part of its declaration.

    Attributes:
      baseline: The optimizer that all others are compared with; `None` compares every pair.
      margin: The smallest effect that matters, > 0, in the unit of the effect; `None` takes the
        standard deviation over seeds, pooled over the two optimizers of a pair.
      alpha: Error over the whole family, in (0, 1).
      power: Probability with which `further_seeds` would find a difference of the margin.
    """

    baseline: str | None = None
    margin: float | None = None
    alpha: float = 0.05
    power: float = 0.8


def checked_question(question: Question, names: Any) -> Question:
    """Returns the question, or raises a `ValueError` if an argument is outside its range."""
    if question.baseline is not None and question.baseline not in names:
        raise unknown("baseline", question.baseline, names)
    if question.margin is not None:
        require("margin", question.margin, "(0, inf)")
    require("alpha", question.alpha, "(0, 1)")
    require("power", question.power, "(0, 1)")
    return question


def pairs_of(names: list[str], baseline: str | None) -> list[tuple[str, str]]:
    """Returns the pairs (a, b) that are compared, in the order of the names."""
    if baseline is None:
        return list(combinations(names, 2))
    return [(name, baseline) for name in names if name != baseline]


def claims(
    finals: Mapping[str, np.ndarray],
    goal: str,
    question: Question,
    *,
    paired: bool = True,
    optimum: float | None = None,
    looks: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Compares optimizers by their final metric on one problem.

    Of a pair (a, b) with finals of S seeds, d = a - b, or ln(a - optimum) - ln(b - optimum):

        effect      mean d with Student's interval
        p           exact sign-flip test of d; of the signs of d where a run diverged
        adjusted p  Holm's, over all pairs
        equivalent  two one-sided t tests of |mean d| < margin, adjusted over all pairs
        wins        share of the seeds at which a is better, with Wilson's interval

    The verdict is "equivalent" where that adjusted p is at most alpha, else "better" or "worse" (of
    a) where the adjusted p of the difference is, else "unresolved". Runs that share no seeds are
    compared by Welch's test, or by Mann and Whitney's where one diverged. Where seeds are added
    until claims are resolved, p is 1 / max e over the looks so far with `sequential.e_values`, and
    the effect's interval holds at all looks together; equivalence then asks for a declared margin.

    Args:
      finals: Of each optimizer float[S], at the same seeds if `paired`; NaN where a run diverged.
      goal: "min" or "max" of the metric.
      question: What was asked.
      paired: Whether equal places are equal seeds.
      optimum: The best value there is, where it is known and every final is beyond it.
      looks: After how many seeds the claims were looked at; `None` is once, at the end.

    Returns:
      A dict for each pair, ready for JSON: a, b, verdict, effect {mean, low, high} or None where a
      run diverged, scale ("difference", "log ratio" or "sign"), p, smallest_p, adjusted_p, margin,
      p_equivalent, wins {mean, low, high}, num_seeds [of a, of b], diverged [of a, of b],
      further_seeds, test and paired.
    """
    measure = partial(_paired if paired else _unpaired, goal=goal, question=question)
    if paired:
        measure = partial(measure, optimum=optimum, looks=looks)
    found = [
        {"a": a, "b": b, "paired": paired, **measure(finals[a], finals[b])}
        for a, b in pairs_of(list(finals), question.baseline)
    ]
    if not found:
        return []
    adjusted = holm([one["p"] for one in found])
    p = [1.0 if one["p_equivalent"] is None else one["p_equivalent"] for one in found]
    for one, p_differ, p_equal in zip(found, adjusted, holm(p), strict=True):
        one["adjusted_p"] = float(p_differ)
        one["p_equivalent"] = None if one["p_equivalent"] is None else float(p_equal)
        one["verdict"] = "unresolved"
        if one["p_equivalent"] is not None and p_equal <= question.alpha:
            one["verdict"] = "equivalent"
        elif p_differ <= question.alpha and one["leaning"]:
            one["verdict"] = "better" if one["leaning"] > 0 else "worse"
        del one["leaning"]
    return [jsonable(one) for one in found]


def family(names: list[str], question: Question) -> dict[str, Any]:
    """Returns what the claims are together: how many, over what their error is held, and how."""
    what = f"every optimizer against {question.baseline}" if question.baseline else "every pair"
    size = len(pairs_of(names, question.baseline))
    return {"what": what, "size": size, "correction": "Holm", "alpha": question.alpha}


def _paired(a, b, *, goal, question, optimum, looks) -> dict[str, Any]:
    if a.size != b.size:
        raise ValueError(f"paired runs must share their seeds, got {a.size} and {b.size} runs.")
    costs = _costs(a, goal), _costs(b, goal)
    told = {**_counts(a, b), "wins": _told(*hit_rate(beats(*costs).sum(), a.size))}
    if sum(told["diverged"]) or a.size < 2:
        signs = beats(*costs) - beats(costs[1], costs[0])
        how = {"effect": None, "scale": "sign", "margin": None, "further_seeds": None}
        how |= {"leaning": np.sign(signs.sum()), "p_equivalent": None}
        return {**told, **how, **_sign_test(signs, looks)}
    d, scale = _differences(a, b, goal, optimum)
    margin, error = _margin(question, *_scaled(a, b, scale, optimum))
    how = {"scale": scale, "further_seeds": _further(d, margin, question)}
    how["leaning"] = np.sign(d.mean()) * (1 if goal == "max" else -1)
    if looks is None:
        return {**told, **how, "margin": margin, **_tests(d, margin, error, question.alpha)}
    # a margin that is estimated on the way has no error that holds at all looks
    return {**told, **how, **_tests_at_looks(d, question, looks)}


def _tests(d: np.ndarray, margin: float | None, error: float, alpha: float) -> dict[str, Any]:
    test = sign_flip_test(d)
    return {
        "effect": _told(*mean_interval(d, 1 - alpha)),
        "test": "sign-flip test",
        "p": test.p,
        "smallest_p": test.smallest,
        "p_equivalent": equivalence(d, margin, error) if margin else None,
    }


def _tests_at_looks(d: np.ndarray, question: Question, looks: Sequence[int]) -> dict[str, Any]:
    """Tests that hold at all looks together: whatever they show may end the runs."""
    margin = question.margin
    low, high = (float(bounds[-1]) for bounds in confidence_sequence(d, alpha=question.alpha))
    return {
        "effect": _told(float(d.mean()), low, high),
        "test": "e-value of t",
        "p": _anytime(e_values(d), looks),
        "smallest_p": None,
        "margin": margin,
        "p_equivalent": margin and _anytime(equivalence_e_values(d, margin), looks),
    }


def _sign_test(signs: np.ndarray, looks: Sequence[int] | None) -> dict[str, Any]:
    if looks is not None:
        p = _anytime(sign_e_values(signs), looks)
        return {"test": "e-value of signs", "p": p, "smallest_p": None}
    test = sign_flip_test(signs)
    return {"test": "sign test", "p": test.p, "smallest_p": test.smallest}


def _anytime(e: np.ndarray, looks: Sequence[int]) -> float:
    """Returns 1 / max e over the looks, a p that may be looked at whenever one likes."""
    return float(min(1.0, 1 / e[np.asarray(looks) - 1].max()))


def _unpaired(a, b, *, goal, question) -> dict[str, Any]:
    told = _counts(a, b)
    order = mann_whitney(_costs(a, goal), _costs(b, goal))
    won = _told(order.probability, None, None)
    how = {"scale": "difference", "smallest_p": None, "wins": won, "further_seeds": None}
    if sum(told["diverged"]) or min(a.size, b.size) < 2:
        how |= {"effect": None, "margin": None, "p_equivalent": None, "scale": "sign"}
        how |= {"leaning": np.sign(order.probability - 0.5), "test": "Mann-Whitney test"}
        return {**told, **how, "p": order.p}
    found = welch(a, b, 1 - question.alpha)
    difference, low, high = found.difference
    margin, error = _margin(question, a, b)
    se = np.hypot((high - low) / 2 / stdtrit(found.dof, 1 - question.alpha / 2), error)
    how |= {"effect": _told(difference, low, high), "margin": margin, "test": "Welch's test"}
    how |= {"leaning": np.sign(difference) * (1 if goal == "max" else -1), "p_equivalent": None}
    if margin and se > 0:
        how["p_equivalent"] = float(stdtr(found.dof, (abs(difference) - margin) / se))
    return {**told, **how, "p": found.p}


def _counts(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    lost = [int(np.sum(~np.isfinite(x))) for x in (a, b)]
    return {"num_seeds": [a.size, b.size], "diverged": lost}


def _costs(x: np.ndarray, goal: str) -> np.ndarray:
    """Returns lower-is-better numbers, +inf for a run that diverged."""
    return np.where(np.isfinite(x), x if goal == "min" else -x, np.inf)


def _differences(a, b, goal, optimum) -> tuple[np.ndarray, str]:
    if optimum is not None and goal == "min" and min(a.min(), b.min()) > optimum:
        return np.log(a - optimum) - np.log(b - optimum), "log ratio"
    return a - b, "difference"


def _scaled(a, b, scale: str, optimum: float | None) -> tuple[np.ndarray, np.ndarray]:
    return (np.log(a - optimum), np.log(b - optimum)) if scale == "log ratio" else (a, b)


def _margin(question: Question, a: np.ndarray, b: np.ndarray) -> tuple[float | None, float]:
    """Returns the margin and its standard error: declared, or a pooled standard deviation.

    That of s^2 = (s_a^2 + s_b^2) / 2 of normal runs with correlation r is, of S seeds each, s^2
    sqrt((1 + r^2) / (S - 1)), and that of s is half as much, relative to it.
    """
    if question.margin is not None:
        return question.margin, 0.0
    pooled = float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    if not pooled:
        return None, 0.0
    paired = a.size == b.size and a.std() > 0 and b.std() > 0
    r = np.corrcoef(a, b)[0, 1] if paired else 0.0
    return pooled, pooled * float(np.sqrt((1 + r**2) / (min(a.size, b.size) - 1))) / 2


def _further(d: np.ndarray, margin: float | None, question: Question) -> int | None:
    try:
        return margin and further_seeds(d, margin, power=question.power, alpha=question.alpha)
    except ValueError:  # more than a million
        return None


def _told(mean: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"mean": mean, "low": low, "high": high}
