"""Results of others: put to the same statistics, tables and pictures as our own comparisons."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dljax.comparison.claims import Question, checked_question, claims, family
from dljax.comparison.design import EVALUATION, TUNING
from dljax.comparison.fingerprint import NEAR
from dljax.comparison.gathered import Gathered, gather, measures_of
from dljax.comparison.others import Chosen, at_shared_steps, chosen_of
from dljax.comparison.published import PARTS, measure_columns
from dljax.comparison.statistics import Comparison, final_metric, summarize_optimizer
from dljax.comparison.summary import SCHEMA
from dljax.errors import unknown

NOT_DECLARED = "the runs were there before it was asked what is compared"


def analyze(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    metric: str | None = None,
    goal: str | None = None,
    baseline: str | None = None,
    margin: float | None = None,
    alpha: float = 0.05,
    paired: bool = False,
) -> dict[str, Comparison]:
    """Compares optimizers by results that are there, whoever made them.

    Reads tidy CSV with a row an evaluation, DeepOBS's JSON and run folders of `dj.compare`, and
    joins what is of one problem; run folders only if their fingerprints agree. Reported are the
    test rows, else the validation rows, else the training rows. Runs are pairs where all optimizers
    have the same seeds and begin alike at step 0, else they are compared unpaired. What is said of
    them is exploratory, and `summary["because"]` has the reasons.

    Args:
      paths: Files or folders.
      metric: The measure that is compared, with or without its part: "accuracy", "valid_loss" or
        any other column; `None` takes an accuracy, else a loss.
      goal: "min" or "max" of it; `None` takes "max" for an accuracy and "min" for a loss.
      baseline: The optimizer that the others are compared with; `None` compares every pair.
      margin: The smallest difference that matters, > 0; `None` takes a pooled standard deviation.
      alpha: Error over all claims on one problem, in (0, 1).
      paired: Whether equal seeds are pairs although the runs do not begin alike, or do not tell.

    Returns:
      The `Comparison` of every problem, by name.

    Raises:
      ValueError: If there are no results, or results that cannot be compared.
      DataError: If a file is damaged or has no measure.
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not paths:
        raise ValueError("results must be named, as files or folders, got none.")
    if goal not in ("min", "max", None):
        raise ValueError(f"goal must be 'min' or 'max', got {goal!r}.")
    gathered = gather([Path(path) for path in paths], metric)
    question = Question(baseline, margin, alpha)
    found = {}
    for name, rows in gathered.curves.groupby("problem", sort=False):
        known = {} if metric else (gathered.known.get(name) or {}).get("problem", {})
        column, goal_of_it = _reported(rows, metric, goal, known)
        told = {"name": name, "goal": goal_of_it, "known": known}
        found[name] = _comparison(told, rows, column, gathered, question, paired)
    return found


def _reported(
    rows: pd.DataFrame, metric: str | None, goal: str | None, known: Mapping[str, Any]
) -> tuple[str, str]:
    """Returns the column that is compared, and its goal."""
    names = measures_of(rows)
    wanted = known.get("metric")
    if metric:
        (told,) = measure_columns([metric], metric).values()
        part, wanted = told.split("_", 1)
        is_parted = any(word in PARTS for word in metric.lower().replace("/", "_").split("_"))
        names = [name for name in names if name.startswith(part)] if is_parted else names
    measured = [wanted] if wanted else ["accuracy", "loss", *(n.split("_", 1)[1] for n in names)]
    for part in ("test", "valid", "train"):
        for name in measured:
            if f"{part}_{name}" in names:
                upward = name.endswith("accuracy") and "max"
                if goal or known or upward or name.endswith("loss"):
                    return f"{part}_{name}", goal or known.get("goal") or upward or "min"
                raise ValueError(f"the goal of {name} must be told, --goal min or max.")
    raise unknown("metric", metric or str(wanted), measures_of(rows))


def _comparison(
    told: Mapping[str, Any],
    rows: pd.DataFrame,
    column: str,
    gathered: Gathered,
    question: Question,
    paired: bool,
) -> Comparison:
    """Returns the comparison on one problem."""
    names, (part, measured) = measures_of(rows), column.split("_", 1)
    source = ", ".join(sorted(set(rows["source"])))
    rows, because = at_shared_steps(rows, names, column)
    if part != "test":
        because.append(f"there are no test rows: test_{measured} is {column}")
    chooser = f"valid_{measured}" if f"valid_{measured}" in names else column
    arms = {
        name: chosen_of(own, chooser, told["goal"])
        for name, own in rows.groupby("optimizer", sort=False)
    }
    results = _results(arms, names, {f"valid_{measured}": chooser, f"test_{measured}": column})
    own = dict(list(results.groupby("optimizer", sort=False)))
    problem = _problem(told, column, gathered)
    entries = [summarize_optimizer(own[name], arm.point, problem) for name, arm in arms.items()]
    for entry in entries:
        entry["tuning"]["metric"] = chooser
    finals = {name: _finals(rows, f"test_{measured}") for name, rows in own.items()}
    alike, why = _pairs(results, f"test_{measured}", paired)
    because += [*why, *_because(arms, entries, chooser)]
    how = {"paired": alike, "optimum": problem["optimum"] if alike else None}
    return Comparison(
        {
            **_known(told["name"], gathered),
            "evidence": "exploratory",
            "because": [NOT_DECLARED, *because, *gathered.findings.get(told["name"], [])],
            "question": checked_question(question, finals)._asdict(),
            "problem": problem,
            "settings": _settings(results, arms, gathered.units),
            "source": source,
            "optimizers": entries,
            "family": family(list(finals), question),
            "claims": claims(finals, told["goal"], question, **how),
        },
        results,
    )


def _problem(told: Mapping[str, Any], column: str, gathered: Gathered) -> dict[str, Any]:
    known, target = told["known"], gathered.targets.get(told["name"])
    is_its = target is not None and target["metric"] == column
    return {
        "name": told["name"],
        "metric": column.split("_", 1)[1],
        "goal": told["goal"],
        "target": known.get("target") or (target if is_its else None),
        **{name: known.get(name) for name in ("optimum", "num_rows", "num_parameters")},
    }


def _known(name: str, gathered: Gathered) -> dict[str, Any]:
    """Returns what is known of where the results are from."""
    is_own = name not in gathered.foreign
    return {
        "schema": SCHEMA,
        "protocol": None,
        "declaration": None,
        "fingerprint": gathered.known[name]["fingerprint"] if is_own else None,
        "environment": None,
        "seconds": {},
    }


def _results(
    arms: Mapping[str, Chosen], names: list[str], columns: Mapping[str, str]
) -> pd.DataFrame:
    """Returns all runs in the columns of `Comparison.results`."""
    rows = pd.concat([arm.rows for arm in arms.values()], ignore_index=True)
    rows = rows.rename(columns={"time": "step"})
    measured = {name: rows[name] for name in names} | {n: rows[x] for n, x in columns.items()}
    order = ["optimizer", "argument", "value", "point", "stage", "seed", "step", "cost"]
    rows = rows.assign(cost=rows["cost"].fillna(rows["step"]))
    return rows[order].assign(**measured, diverged_at=rows["diverged_at"])


def _finals(rows: pd.DataFrame, column: str) -> np.ndarray:
    return final_metric(rows[rows["stage"] == EVALUATION], column).to_numpy().ravel()


def _pairs(results: pd.DataFrame, column: str, asked: bool) -> tuple[bool, list[str]]:
    """Says whether runs of equal seeds are pairs, and what a reader must know of it."""
    rows = results[results["stage"] == EVALUATION]
    seeds = rows.groupby("optimizer", sort=False)["seed"].agg(lambda x: frozenset(x))
    if len(seeds) < 2:
        return True, []
    same = seeds.nunique() == 1
    if asked and not same:
        raise ValueError("runs can be paired only if all optimizers have the same seeds.")
    start = rows[rows["step"] == 0]
    ranges = start.groupby("seed")[column].agg(["min", "max", "count"])
    begin = len(ranges) > 0 and (ranges["count"] == len(seeds)).all()
    begin = begin and np.isclose(ranges["min"], ranges["max"], rtol=NEAR, atol=1e-12).all()
    if same and (begin or asked):
        return True, [] if begin else ["paired by seed because that was asked for, not shown"]
    why = "do not begin alike at step 0" if same else "do not have the same seeds"
    return False, [f"unpaired: the optimizers {why}"]


def _because(
    arms: Mapping[str, Chosen], entries: list[Mapping[str, Any]], chooser: str
) -> list[str]:
    """Returns what in the choice of the settings flatters, a sentence each."""
    found = []
    if reused := [name for name, arm in arms.items() if arm.reused]:
        by = f"by their {chooser}" if chooser.startswith("valid_") else "by what is reported"
        found.append(
            f"settings of {', '.join(reused)} were chosen on the runs that are reported, {by}"
        )
    if numbered := [name for name, arm in arms.items() if arm.numbered]:
        found.append(
            f"settings of {', '.join(numbered)} share no seeds and were judged on as many runs "
            "each, numbered 0, 1, … in results.csv"
        )
    tried = {name: len(arm.texts) for name, arm in arms.items()}
    if len(set(tried.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in tried.items())
        found.append(f"the optimizers did not have the same number of trials: {counts}")
    if edges := [entry["name"] for entry in entries if entry["edge"]]:
        found.append(f"the best value of {', '.join(edges)} lies on the edge of what was tried")
    return found


def _settings(results: pd.DataFrame, arms: Mapping[str, Chosen], units: str) -> dict[str, Any]:
    steps = sorted(set(results["step"]))
    seeds = {
        stage: sorted(int(seed) for seed in set(rows["seed"]))
        for stage, rows in results.groupby("stage")
    }
    texts = {
        n: arm.texts for n, arm in arms.items() if set(arm.rows["argument"]) <= {"", "setting"}
    }
    told = {
        "num_steps": steps[-1],
        "units": units,
        "tuning_seeds": seeds.get(TUNING, []),
        "evaluation_seeds": seeds[EVALUATION],
    }
    told |= {"eval_every": steps[1] - steps[0]} if len(steps) > 1 else {}
    return told | ({"settings": texts} if any("".join(t) for t in texts.values()) else {})
