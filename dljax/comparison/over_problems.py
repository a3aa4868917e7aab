"""Claims over several problems: who is better on problems like these, and who is not told apart."""

from typing import Any

import numpy as np

from dljax.comparison.claims import Question, pairs_of
from dljax.comparison.statistics import jsonable
from dljax.comparison.statistics.aggregates import probability_of_improvement
from dljax.comparison.statistics.families import holm, mean_ranks, wilcoxon, win_rates


def claims_over(
    costs: np.ndarray,
    names: list[str],
    question: Question,
    *,
    is_paired: bool = True,
    num_draws: int = 2_000,
) -> list[dict[str, Any]]:
    """Compares optimizers over problems, by the medians over the seeds of each.

    Args:
      costs: float[A, P, S], lower is better, in comparable units; +inf for a diverged run.
      names: Of the A optimizers.
      question: What was asked; its margin is not used.
      is_paired: Whether equal places are equal seeds; else the wins are of any two runs.
      num_draws: Bootstrap samples of every interval.

    Returns:
      A dict for each pair: a, b, verdict, p of Wilcoxon's signed-rank test, adjusted_p,
      smallest_p, wins {mean, low, high} and improvement {mean, low, high}.
    """
    place = {name: index for index, name in enumerate(names)}
    medians = np.median(costs, axis=2)
    level = 1 - question.alpha
    draws = {"level": level, "num_draws": num_draws}
    enough = costs.shape[2] > 1
    rates = win_rates(costs, **draws) if is_paired and enough else None
    found = []
    for a, b in pairs_of(names, question.baseline):
        i, j = place[a], place[b]
        one = {"a": a, "b": b, "p": wilcoxon(medians[i], medians[j])}
        one |= {"wins": None, "improvement": None}
        one["smallest_p"] = min(1.0, 2.0 ** (1 - costs.shape[1]))
        one["leaning"] = _leaning(medians[i], medians[j])
        if rates is not None:
            one["wins"] = told_of(*(x[i, j] for x in rates))
        if enough:
            one["improvement"] = told_of(*probability_of_improvement(-costs[i], -costs[j], **draws))
        found.append(one)
    for one, p in zip(found, holm([one["p"] for one in found]) if found else [], strict=True):
        lean = one.pop("leaning")
        is_found = p <= question.alpha and lean != 0
        verdict = "better" if lean > 0 else "worse"
        one |= {"adjusted_p": p, "verdict": verdict if is_found else "unresolved"}
    return [jsonable(one) for one in found]


def middle_half(x: np.ndarray) -> np.ndarray:
    """Returns the mean of the middle half of all runs, those at its ends by their share.

        2 int_{1/4}^{3/4} q(u) du,    q the quantiles of the n = P S numbers

    It is `interquartile_mean` where 4 divides n. A bootstrap sample of fewer runs leaves out the
    same share at either end, which a whole number of runs does not where problems lie apart.

    Args:
      x: float[..., P, S].
    """
    flat = np.sort(x.reshape(*x.shape[:-2], -1), axis=-1)
    n = flat.shape[-1]
    rank = np.arange(n)
    weight = np.clip(np.minimum(rank + 1, 0.75 * n) - np.maximum(rank, 0.25 * n), 0, 1)
    return flat @ weight / (n / 2)


def groups(ranks: np.ndarray, names: list[str], claims: list[dict[str, Any]]) -> list[list[str]]:
    """Returns the longest stretches of optimizers, by mean rank, of which no pair differs."""
    order = [names[i] for i in np.argsort(ranks, kind="stable")]
    if len(claims) < len(names) * (len(names) - 1) // 2:
        return []  # not every pair was compared
    apart = {frozenset((c["a"], c["b"])) for c in claims if c["verdict"] != "unresolved"}
    ends, last = [], 0
    for start in range(len(order)):
        end = max(last, start + 1)
        while end < len(order) and not any(
            frozenset((order[k], order[end])) in apart for k in range(start, end)
        ):
            end += 1
        ends.append((start, end))
        last = end
    longest = [(s, e) for i, (s, e) in enumerate(ends) if not i or e > ends[i - 1][1]]
    return [order[start:end] for start, end in longest if end - start > 1]


def told_of(mean: float, low: float, high: float) -> dict[str, float]:
    """Returns an estimate and its bounds, ready for JSON."""
    return {"mean": float(mean), "low": float(low), "high": float(high)}


def _leaning(a: np.ndarray, b: np.ndarray) -> float:
    """Returns 1 if the signed ranks favour a, -1 if b; two diverged optimizers tie."""
    differ = a != b
    d = a[differ] - b[differ]
    return -float(np.sign(np.sum(np.sign(d) * mean_ranks(np.abs(d)))))
