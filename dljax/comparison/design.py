"""Which runs a comparison has: tune every optimizer alike, evaluate where it did best, in batches.

Nothing here runs anything. Whoever has results, of runs that are made or of runs that are stored,
hands in `results_of`, and both walk the same way.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dljax.comparison.claims import Question, claims
from dljax.comparison.search import Points, Range, Search, further
from dljax.comparison.statistics import final_metric, select

TUNING, EVALUATION = "tuning", "evaluation"  # stages

# results_of(name, points, indices, seeds, stage) -> the rows of the points of these indices
ResultsOf = Callable[[str, Points, range, np.ndarray, str], pd.DataFrame]


class Design(NamedTuple):
    """What decides which runs there are, and what is asked of them.

    Attributes:
      search: How points are found.
      points: Of each optimizer, those of the first round.
      ranges: Of each optimizer where its arguments are drawn from; empty for a grid.
      tuning_seeds: Seeds that choose the point.
      evaluation_seeds: Seeds that are reported, none of which tuned; all that may be run.
      batch: How many of these are run before the claims are looked at; the first so many of a
        comparison that does not adapt are all.
      question: What the claims are to answer.
      seed: Root of all random streams, in [0, 2**32).
      metric: Measure of the problem by which points are chosen and optimizers compared.
      goal: "min" or "max" of it.
      optimum: Its best value, where it is known.
    """

    search: Search
    points: dict[str, Points]
    ranges: dict[str, dict[str, Range]]
    tuning_seeds: np.ndarray
    evaluation_seeds: np.ndarray
    batch: int
    question: Question
    seed: int
    metric: str
    goal: str
    optimum: float | None

    @property
    def adapts(self) -> bool:
        """Whether evaluation seeds are added until the claims are resolved."""
        return self.batch < len(self.evaluation_seeds)


class Arm(NamedTuple):
    """One optimizer's part of a comparison.

    Attributes:
      name: Of the optimizer.
      points: All points that were tried.
      chosen: Index of the one that did best.
      widened: How many times its grid was widened.
      results: The rows of all its runs.
    """

    name: str
    points: Points
    chosen: int
    widened: int
    results: pd.DataFrame


def arms_of(design: Design, results_of: ResultsOf, each: Callable = map) -> list[Arm]:
    """Walks through all runs of a comparison.

    Args:
      design: What was decided.
      results_of: Gives the results of runs that are asked for.
      each: `each(function, things)` goes through arms, as `map` does or side by side.
    """
    size = design.batch
    batches = [
        design.evaluation_seeds[i : i + size] for i in range(0, len(design.evaluation_seeds), size)
    ]
    begin = partial(_begun, design, results_of, batches[0])
    arms = list(each(begin, design.points))
    for number, seeds in enumerate(batches[1:], 1):
        if is_resolved(claims_of(design, arms, number)):
            break
        arms = list(each(partial(_longer, results_of, seeds), arms))
    return arms


def claims_of(design: Design, arms: Iterable[Arm], num_batches: int = 1) -> list[dict[str, Any]]:
    """Returns what may be said of each pair of arms after so many batches of evaluation seeds."""
    finals = {}
    for arm in arms:
        rows = arm.results[arm.results["stage"] == EVALUATION]
        finals[arm.name] = final_metric(rows, f"test_{design.metric}").to_numpy().ravel()
    most = len(design.evaluation_seeds)
    looks = [min(design.batch * (i + 1), most) for i in range(num_batches)]
    looks = looks if design.adapts else None
    return claims(finals, design.goal, design.question, optimum=design.optimum, looks=looks)


def is_resolved(found: Iterable[dict[str, Any]]) -> bool:
    """Says whether no claim is left open."""
    return all(one["verdict"] != "unresolved" for one in found)


def num_batches(design: Design, arm: Arm) -> int:
    """Returns how many batches of evaluation seeds an arm was run on."""
    rows = arm.results[arm.results["stage"] == EVALUATION]
    return -(-rows["seed"].nunique() // design.batch)


def chosen(tuning: pd.DataFrame, metric: str, goal: str) -> int:
    """Returns the index of the point that did best on the validation rows."""
    has_loss = metric != "loss" and "valid_loss" in tuning
    loss = final_metric(tuning, "valid_loss") if has_loss else None
    return select(final_metric(tuning, f"valid_{metric}"), goal, loss)


def _begun(design: Design, results_of: ResultsOf, seeds: np.ndarray, name: str) -> Arm:
    """Tunes one optimizer in as many rounds as it takes, and evaluates it where it did best."""
    new, points, frames = design.points[name], [], []
    while new:
        indices = range(len(points), len(points) + len(new))
        points = points + new
        frames.append(results_of(name, points, indices, design.tuning_seeds, TUNING))
        best = chosen(pd.concat(frames, ignore_index=True), design.metric, design.goal)
        how = design.search, design.ranges.get(name, {}), design.seed, points, best
        new = further(*how, len(frames))
    frames.append(results_of(name, points, range(best, best + 1), seeds, EVALUATION))
    widened = len(frames) - 2 if design.search.widen else 0
    return Arm(name, points, best, widened, pd.concat(frames, ignore_index=True))


def _longer(results_of: ResultsOf, seeds: np.ndarray, arm: Arm) -> Arm:
    """Evaluates an arm on further seeds."""
    where = range(arm.chosen, arm.chosen + 1)
    more = results_of(arm.name, arm.points, where, seeds, EVALUATION)
    return arm._replace(results=pd.concat([arm.results, more], ignore_index=True))
