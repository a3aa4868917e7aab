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

from dljax.comparison.pair_tests import paired_tests, unpaired_tests
from dljax.comparison.statistics.families import holm
from dljax.comparison.statistics.summaries import jsonable
from dljax.errors import require, unknown


class Question(NamedTuple):
    """What a comparison is to answer; a part of its declaration.

    Attributes:
      baseline: The optimizer that all others are compared with; `None` compares every pair.
      margin: The smallest difference of the final metric that matters, > 0, in its unit; `None`
        takes the standard deviation over seeds, pooled over the two optimizers of a pair.
      alpha: Error over all claims of a difference together, and as much over all claims of
        equivalence, in (0, 1).
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

    Of a pair (a, b) with finals of S seeds, d = a - b, or where the optimum is known and no margin
    was declared d = ln(a - optimum) - ln(b - optimum):

        effect      mean d with Student's interval
        p           exact sign-flip test of d
        equivalent  two one-sided t tests of |mean d| < margin
        wins        share of the seeds at which a is better, with Wilson's interval

    Where a run diverged, or reached the optimum, the signs of d are tested, and there is no effect.
    The p of all differences are adjusted by Holm's method, and so are those of all equivalences:
    two families, each with error alpha. The verdict is "equivalent" where that p is at most alpha,
    else "better" or "worse" (of a) where the p of the difference is, else "unresolved". Runs that
    share no seeds are compared by Welch's test, or by Mann and Whitney's where one diverged.

    Where seeds are added until claims are resolved, p is 1 / max e over the looks so far, of the
    mean of the e-values of t and of signs (`statistics.sequential`), and the effect's interval
    holds at all looks together; equivalence then asks for a declared margin.

    Args:
      finals: Of each optimizer float[S], at the same seeds if `paired`; NaN where a run diverged.
      goal: "min" or "max" of the metric.
      question: What was asked.
      paired: Whether equal places are equal seeds.
      optimum: The least loss there is, where it is known.
      looks: After how many seeds the claims were looked at; `None` is once, at the end.

    Returns:
      A dict for each pair, ready for JSON: a, b, verdict, effect {mean, low, high} or None where a
      run diverged, scale ("difference", "log ratio" or "sign"), p, smallest_p, adjusted_p, margin,
      p_equivalent, wins {mean, low, high}, num_seeds [of a, of b], diverged [of a, of b],
      further_seeds, test and paired.
    """
    if paired:
        measure = partial(paired_tests, goal=goal, question=question, optimum=optimum, looks=looks)
    else:
        measure = partial(unpaired_tests, goal=goal, question=question)
    found = [
        {"a": a, "b": b, "paired": paired, **measure(finals[a], finals[b])}
        for a, b in pairs_of(list(finals), question.baseline)
    ]
    if not found:
        return []
    p = [1.0 if one["p_equivalent"] is None else one["p_equivalent"] for one in found]
    two = holm([one["p"] for one in found]), holm(p)
    for one, p_differ, p_equal in zip(found, *two, strict=True):
        one["adjusted_p"] = float(p_differ)
        if one["p_equivalent"] is not None:
            one["p_equivalent"] = float(p_equal)
        one["verdict"] = _verdict(one, question.alpha)
        del one["leaning"]
    return [jsonable(one) for one in found]


def _verdict(one: Mapping[str, Any], alpha: float) -> str:
    if one["p_equivalent"] is not None and one["p_equivalent"] <= alpha:
        return "equivalent"
    if one["adjusted_p"] <= alpha and one["leaning"]:
        return "better" if one["leaning"] > 0 else "worse"
    return "unresolved"


def family(names: list[str], question: Question) -> dict[str, Any]:
    """Returns what the claims are together: how many, over what their error is held, and how."""
    what = f"every optimizer against {question.baseline}" if question.baseline else "every pair"
    size = len(pairs_of(names, question.baseline))
    return {"what": what, "size": size, "correction": "Holm", "alpha": question.alpha}
