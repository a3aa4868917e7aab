"""A stored comparison, or one run of it, computed again from what its folder says of it."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dljax.comparison.design import EVALUATION, TUNING, Design
from dljax.comparison.fingerprint import check_comparable, fingerprint
from dljax.comparison.folder import declared_of, design_of, read_comparison, stored_arms
from dljax.comparison.members import axes_of, member_of, section_of, shared_of
from dljax.comparison.plan import Plan, checked_problem
from dljax.comparison.protocol import carried_out
from dljax.comparison.reproduction import agreement
from dljax.comparison.search import Points
from dljax.comparison.space import Factory
from dljax.errors import unknown
from dljax.placement import checked_mesh
from dljax.problems import Problem
from dljax.replaying import Replay, nearest, numerics_as, replayed
from dljax.spectrum import Curvature
from dljax.store import declarations
from dljax.store.reading import Stored


class Sources(NamedTuple):
    """Where a comparison's problem and optimizers are found, by the names they were given."""

    problem: Callable[[str], Problem]
    optimizer: Callable[[str], Factory]


def replay_run(stored: Stored, wanted: Mapping[str, str], sources: Sources) -> Replay:
    """Runs one member of a comparison again.

    Args:
      stored: The run folder.
      wanted: Its optimizer, its seed and the values of its point, as words.
      sources: Of the problem and the optimizers.

    Raises:
      ValueError: If there is no such run, or nobody told where the problem or the optimizer is.
      DataError: If what is stored is damaged.
    """
    declaration = stored.declaration
    design = design_of(declaration)
    names = list(design.points)
    name = wanted.get("optimizer", names[0] if len(names) == 1 else "")
    if not name:
        raise ValueError(f"optimizer must be named, one of {', '.join(names)}.")
    if name not in names:
        raise unknown("optimizer", name, names)
    points = _tried(stored, design, name)
    axes = ("optimizer", "seed", *points[0])
    if set(wanted) - set(axes) or "seed" not in wanted:
        raise ValueError(
            f"a member of {name} must be named by {', '.join(axes)}, got {', '.join(wanted)}."
        )
    plan = plan_of(stored, sources, [name])
    seed = _number("seed", wanted["seed"])
    tunes = seed in design.tuning_seeds
    seeds = design.tuning_seeds if tunes else design.evaluation_seeds
    axis = axes_of([_point(points, wanted)], np.array([nearest("seed", seeds, seed)]))
    cell = {key: value[0] for key, value in axis.items() if key == "seed"}
    cell |= {"point": {k: v[0] for k, v in axis["point"].items()}} if "point" in axis else {}
    section = section_of(name, TUNING if tunes else EVALUATION)
    differs = tuple(differences(stored, plan))
    return replayed(stored, section, member_of(plan, name), shared_of(plan), cell, differs)


def reproduced(
    stored: Stored, sources: Sources, out: str | os.PathLike, tolerance: float
) -> dict[str, Any]:
    """Makes all runs of a comparison again, in a folder of their own.

    Args:
      stored: The run folder.
      sources: Of the problem and the optimizers.
      out: Run folder of the new runs.
      tolerance: As of `agreement`.

    Returns:
      What `agreement` says.

    Raises:
      ValueError: If the problem here has another fingerprint; the message names the field.
      DataError: If what is stored is damaged.
    """
    first = read_comparison(stored)
    declaration = stored.declaration
    with numerics_as(declaration["declared"]["numerics"]):
        plan = plan_of(stored, sources)._replace(keeps=True)
        prints = {str(stored.folder): declaration["declared"]["fingerprint"]}
        check_comparable({**prints, "this one": plan.fingerprint})
        again = carried_out(plan, out, declaration["about"]["source"], progress=True)
    return agreement(first, again, tolerance)


def differences(stored: Stored, plan: Plan) -> list[str]:
    """Returns what of a comparison is not as it was declared, a phrase each.

    Of the environment `replayed` tells itself, and jax's numerics are set as they were.
    """
    before = stored.declaration["declared"]
    return declarations.differences(before, {**declared_of(plan), "numerics": before["numerics"]})


def plan_of(stored: Stored, sources: Sources, names: Iterable[str] | None = None) -> Plan:
    """Returns the plan of a stored comparison, for all of its optimizers or for some.

    Raises:
      ValueError: If nobody told where the problem or an optimizer is.
    """
    declaration = stored.declaration
    design = design_of(declaration)
    names = list(design.points) if names is None else list(names)
    source, settings = declaration["about"]["source"], declaration["declared"]["settings"]
    if not source["problem"] or set(names) - set(source["optimizers"]):
        raise ValueError(
            "the problem and the optimizers must have come by name, or `source` must have told "
            f"where they are, for {', '.join(names)} to be run again; got {source}."
        )
    problem = checked_problem(
        sources.problem(source["problem"]),
        settings["num_steps"],
        settings["eval_every"],
        settings["batch_size"],
    )
    if settings["curvature"]:
        problem = problem._replace(curvature=Curvature(**settings["curvature"]))
    return Plan(
        problem=problem,
        factories={name: sources.optimizer(source["optimizers"][name]) for name in names},
        design=design._replace(points={name: design.points[name] for name in names}),
        fingerprint=fingerprint(problem, design.seed, int(design.evaluation_seeds[0])),
        width=declaration["declared"]["width"],
        mesh=checked_mesh(None),
        keeps=False,
    )


def _tried(stored: Stored, design: Design, name: str) -> Points:
    """Returns the points that were tried; where rounds followed on results, these are read."""
    if design.search.method != "zoom" and not design.search.widen:
        return design.points[name]
    (arm,) = stored_arms(stored, design._replace(points={name: design.points[name]}))
    return arm.points


def _point(points: list[dict[str, float]], wanted: Mapping[str, str]) -> dict[str, float]:
    """Returns the point of the grid that is meant; what has one value need not be named."""
    left = points
    for argument in points[0]:
        values = sorted({point[argument] for point in left})
        if argument in wanted:
            value = nearest(argument, np.array(values), _number(argument, wanted[argument]))
        elif len(values) == 1:
            value = values[0]
        else:
            shown = ", ".join(f"{value:.6g}" for value in values)
            raise ValueError(f"{argument} must be named, one of {shown}.")
        left = [point for point in left if point[argument] == value]
    return left[0]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text!r}.") from None
