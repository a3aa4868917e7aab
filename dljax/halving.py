"""Successive halving: many members a few rounds, the best of them more."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dljax.axes import checked_axes, length
from dljax.errors import require_whole, unknown
from dljax.named import Study
from dljax.studies import study
from dljax.types import Member, PyTree


def successive_halving(
    member: Member,
    *shared: PyTree,
    axes: Mapping[str, Any],
    metric: str,
    goal: str = "min",
    eta: int = 3,
    over: tuple[str, ...] = ("seed",),
    **options: Any,
) -> Study:
    """Spends rounds on the configurations that do best; survivors go on from where they are.

    Jamieson & Talwalkar 2016, arXiv:1502.07943, algorithm 1 (Successive Halving), with its rungs
    as numbers of rounds: after round r = R / eta^k for k = K, ..., 1, where R is the number of
    rounds and K the largest with eta^K <= R, the best 1 / eta of the configurations that still
    run go on, at least one. A configuration is a point of all axes but those of `over`, whose
    members live and die together by their mean; one with a NaN comes last.

    Args:
      member: A run in rounds whose reports hold `metric`, such as `dj.run_in_rounds` makes.
      *shared: As of `dj.study`.
      axes: As of `dj.study`.
      metric: Name of the measure in the reports, float[].
      goal: "min" or "max" of it.
      eta: Of how many configurations one goes on, >= 2.
      over: Axes that are averaged; those that are not there are ignored.
      **options: Further arguments of `dj.study`. Programs of static axes halve each on their own.

    Returns:
      The `Study` of all members, whose results tell how far each came ("stopped_at" of
      `dj.run_in_rounds`).

    Raises:
      ValueError: If an argument breaks a rule, or the reports do not hold `metric`.
    """
    if not isinstance(member, Member):
        raise ValueError(f"the member must be a dljax.Member, got {type(member).__name__}.")
    require_whole("eta", eta, "[2, inf)")
    if isinstance(over, str):
        raise ValueError(f"over must be a tuple of names, got {over!r}.")
    if goal not in ("min", "max"):
        raise ValueError(f"goal must be 'min' or 'max', got {goal!r}.")
    rungs = rung_rounds(member.num_rounds, eta)
    names, lengths = list(axes), [length(values) for values in checked_axes(axes).values()]
    averaged = tuple(names.index(name) for name in over if name in names)
    sign = 1 if goal == "min" else -1

    def survive(number, reports, going):
        if number + 1 not in rungs:
            return going
        if not isinstance(reports, Mapping):
            raise ValueError(
                f"reports must be a dict that holds {metric!r}, got {type(reports).__name__}."
            )
        if metric not in reports:
            raise unknown("measure", metric, reports)
        value = np.mean(sign * np.reshape(reports[metric], lengths), averaged, keepdims=True)
        alive = np.any(np.reshape(going, lengths), averaged, keepdims=True)
        rank = np.where(np.isnan(value), np.inf, value)
        best = np.lexsort((rank.ravel(), ~alive.ravel()))[: max(1, int(alive.sum()) // eta)]
        chosen = np.zeros(value.size, bool)
        chosen[best] = True
        chosen = np.broadcast_to(chosen.reshape(value.shape), lengths).ravel()
        return going & chosen

    return study(member, *shared, axes=axes, survive=survive, **options)


def rung_rounds(num_rounds: int, eta: int) -> set[int]:
    """Returns after how many rounds configurations are dropped: R / eta^k, k >= 1."""
    return {num_rounds // eta**k for k in range(1, num_rounds) if num_rounds >= eta**k}
