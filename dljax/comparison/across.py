"""What comparisons on several problems say together: scores, ranks, claims, times to a target.

Three questions, and three answers that do not replace each other. How far does an optimizer get?
Scores, the share of the way from the common start to a target that is frozen in the problem, never
the best of those compared. Is one better on problems like these? Ranks and Wilcoxon's test over
the problems. How soon? Steps to the target, against reference times that are frozen too.
"""

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from dljax.comparison.claims import Question, family, pairs_of
from dljax.comparison.measured import HIGHEST, Measured, measured, to_target
from dljax.comparison.over_problems import claims_over, groups, middle_half, told_of
from dljax.comparison.statistics import Comparison, jsonable
from dljax.comparison.statistics.aggregates import aggregate, optimality_gap
from dljax.comparison.statistics.families import friedman, mean_ranks
from dljax.comparison.statistics.profiles import score_profile, time_profile

REFERENCE = "reference_times.json"
THRESHOLDS, TAUS, LONGEST = np.linspace(0, HIGHEST, 61), np.linspace(1, 4, 61), 4.0


class SuiteComparison(NamedTuple):
    """What `compare_suite` returns.

    Attributes:
      summary: What the problems say together, as `across` returns it; ready for JSON.
      comparisons: Of each problem, by name.
    """

    summary: dict[str, Any]
    comparisons: dict[str, Comparison]


def across(
    comparisons: Mapping[str, Comparison],
    reference: Mapping[str, Mapping[str, Any]] | None = None,
    because: Iterable[str] = (),
    *,
    num_draws: int = 2_000,
) -> dict[str, Any]:
    """Returns what comparisons on several problems say together, ready for JSON.

    Only optimizers that every problem has take part, and of every problem as many seeds as the
    shortest has, the first ones; both are told. The family of the claims is every pair of
    optimizers, or every one against the baseline of the first comparison, by Wilcoxon's test over
    the problems, adjusted by Holm's method.

    Args:
      comparisons: By the name of the problem.
      reference: Steps to the target by problem, {"steps": t, "of": optimizer, "protocol": ...};
        `None` reads those that are frozen in the package.
      because: Reasons beside those of the problems why the evidence is exploratory.
      num_draws: Bootstrap samples of every interval.

    Returns:
      `evidence` and `because`, `problems`, `optimizers`, `table` of medians, `friedman`, `claims`,
      `family`, `scores`, `times`, `to_target`, and `left_out` with reasons.

    Raises:
      ValueError: If there are fewer than two problems, or two optimizers in all of them.
    """
    reference = frozen_times() if reference is None else reference
    if len(comparisons) < 2:
        raise ValueError(f"there must be 2 problems or more, got {len(comparisons)}.")
    names, lost = _shared(comparisons)
    found = {name: measured(one, names) for name, one in comparisons.items()}
    question = _question(next(iter(comparisons.values())), names)
    least = min(one.num_seeds for one in found.values())
    found = {name: one.first(least) for name, one in found.items()}
    is_paired = all(_is_paired(one) for one in comparisons.values())
    scores, without_score = _scores(found, names, question, num_draws)
    times, without_time = _times(comparisons, names, reference)
    told = {
        "schema": 1,
        **_evidence(comparisons, because),
        "problems": [one.told for one in found.values()],
        "optimizers": names,
        "num_seeds": least,
        "question": question._asdict(),
        **_ranked(found, names, question, is_paired, num_draws),
        "scores": scores,
        "times": times,
        "to_target": to_target(comparisons, names),
        "left_out": {"optimizers": lost, "scores": without_score, "times": without_time},
    }
    return jsonable(told)


def frozen_times() -> dict[str, dict[str, Any]]:
    """Returns the reference times to the targets of our own problems; see `REFERENCE`."""
    return json.loads((files("dljax.comparison") / REFERENCE).read_text(encoding="utf-8"))


def _shared(comparisons: Mapping[str, Comparison]) -> tuple[list[str], list[str]]:
    """Returns the optimizers that every problem has, and the others."""
    first, *others = (_names(one) for one in comparisons.values())
    names = [name for name in first if all(name in other for other in others)]
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise ValueError(f"2 optimizers or more must be on every problem, got {found}.")
    return names, sorted({name for own in (first, *others) for name in own} - set(names))


def _ranked(
    found: Mapping[str, Measured],
    names: list[str],
    question: Question,
    is_paired: bool,
    num_draws: int,
) -> dict[str, Any]:
    """Returns what rests on the order of the optimizers on each problem."""
    costs = np.stack([one.costs for one in found.values()], axis=1)  # [A, P, S]
    table = np.median(costs, axis=2).T
    ranked = friedman(table)
    claims = claims_over(costs, names, question, is_paired=is_paired, num_draws=num_draws)
    return {
        "table": table,
        "ranks": mean_ranks(table),
        "friedman": ranked._asdict(),
        "claims": claims,
        "groups": groups(ranked.mean_ranks, names, claims),
        "family": {**family(names, question), "num_problems": len(found)},
        "note": _too_few(len(found), len(claims), question.alpha),
    }


def _scores(
    found: Mapping[str, Measured], names: list[str], question: Question, num_draws: int
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Returns the normalised scores and what they say, and why problems have none."""
    lost = {name: one.why for name, one in found.items() if one.scores is None}
    kept = {name: one.scores for name, one in found.items() if one.scores is not None}
    if not kept:
        return None, lost
    if next(iter(kept.values())).shape[1] < 2:
        return None, lost | dict.fromkeys(kept, "there is one seed")
    scores = np.stack(list(kept.values()), axis=1)  # [A, P, S]
    how = {"level": 1 - question.alpha, "num_draws": num_draws}
    iqm = aggregate(scores, statistic=middle_half, **how)
    gap = aggregate(scores, statistic=optimality_gap, **how)
    profile = score_profile(scores, THRESHOLDS, **how)
    pairs = [(names.index(a), names.index(b)) for a, b in pairs_of(names, question.baseline)]
    told = {
        "problems": list(kept),
        "highest": HIGHEST,
        "iqm": [told_of(*x) for x in zip(iqm.estimate, iqm.low, iqm.high)],
        "optimality_gap": [told_of(*x) for x in zip(gap.estimate, gap.low, gap.high)],
        "differences": [
            {"a": names[i], "b": names[j],
             **told_of(iqm.difference[i, j], iqm.difference_low[i, j], iqm.difference_high[i, j])}
            for i, j in pairs
        ],
        "profile": {"threshold": THRESHOLDS, **profile._asdict()},
    }  # fmt: skip
    return told, lost


def _times(
    comparisons: Mapping[str, Comparison], names: list[str], reference: Mapping[str, Mapping]
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Returns the profile of the times against the frozen ones, and why problems have none."""
    lost, kept = {}, {}
    for name, one in comparisons.items():
        target = one.summary["problem"]["target"]
        if target is None:
            lost[name] = "it has no target"
        elif name not in reference:
            lost[name] = "no reference time is frozen"
        elif other := _another(reference[name], one.summary):
            lost[name] = f"its reference time is of another {other}"
        else:
            kept[name] = [_median(one, n) for n in names]
    if not kept:
        return None, lost
    frozen = [reference[name]["steps"] for name in kept]
    times = np.maximum(np.array(list(kept.values())).T, 1)  # met before the first step counts as 1
    found = time_profile(times, frozen, TAUS, LONGEST)
    told = {
        "problems": list(kept),
        "reference": {name: dict(reference[name]) for name in kept},
        "tau": TAUS,
        "longest": LONGEST,
        "share": found.share,
        "mean_share": found.mean_share,
    }
    return told, lost


def _median(comparison: Comparison, name: str) -> float:
    """Returns the median step to the target, inf if half of the runs miss it."""
    (entry,) = (e for e in comparison.summary["optimizers"] if e["name"] == name)
    median = (entry["steps_to_target"] or {}).get("median")
    return np.inf if median is None else median


def _another(frozen: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """Returns in what a frozen time is of another problem, "" if it is not."""
    told, target = frozen.get("target"), summary["problem"]["target"]
    if told and (
        told["metric"] != target["metric"] or not np.isclose(told["value"], target["value"])
    ):
        return "target"
    size = summary["settings"].get("batch_size")
    return "batch size" if frozen.get("batch_size", size) != size else ""


def _evidence(comparisons: Mapping[str, Comparison], because: Iterable[str]) -> dict[str, Any]:
    """Returns the kind of evidence, and each reason with the problems that it is of."""
    reasons: dict[str, list[str]] = {}
    for name, one in comparisons.items():
        if one.summary["evidence"] != "confirmatory":
            own = one.summary.get("because") or ["nothing was declared before the runs"]
            for reason in own:
                reasons.setdefault(reason, []).append(name)
    told = [*because] + [
        f"on {'every problem' if len(where) == len(comparisons) else ', '.join(where)}: {reason}"
        for reason, where in reasons.items()
    ]
    return {"evidence": "exploratory" if told else "confirmatory", "because": told}


def _names(comparison: Comparison) -> list[str]:
    return [entry["name"] for entry in comparison.summary["optimizers"]]


def _question(comparison: Comparison, names: list[str]) -> Question:
    told = comparison.summary.get("question") or {}
    baseline = told.get("baseline") if told.get("baseline") in names else None
    return Question(baseline, None, told.get("alpha", 0.05))


def _is_paired(comparison: Comparison) -> bool:
    return all(claim["paired"] for claim in comparison.summary.get("claims") or [])


def _too_few(num_problems: int, num_tests: int, alpha: float) -> str:
    least = min(1.0, num_tests * 2.0 ** (1 - num_problems))
    if least <= alpha:
        return ""
    return (
        f"too few problems: with {num_problems}, and {num_tests} tests, no adjusted p can be below "
        f"{least:.3g}, so that no difference can be found"
    )
