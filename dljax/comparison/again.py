"""One run of a stored comparison computed again, from what its folder says of it."""

from collections.abc import Callable, Mapping

import numpy as np

from dljax.comparison.arms import (
    EVALUATION,
    TUNING,
    axes_of,
    member_of,
    section_of,
    shared_of,
)
from dljax.comparison.folder import declared_of, points_of
from dljax.comparison.plan import Plan, checked_problem
from dljax.comparison.space import Factory
from dljax.errors import unknown
from dljax.placement import checked_mesh
from dljax.problems import Problem
from dljax.replaying import Replay, nearest, replayed
from dljax.store import declarations
from dljax.store.reading import Stored


def replay_run(
    stored: Stored,
    wanted: Mapping[str, str],
    problem: Callable[[str], Problem],
    optimizer: Callable[[str], Factory],
) -> Replay:
    """Runs one member of a comparison again.

    Args:
      stored: The run folder.
      wanted: Its optimizer, its seed and the values of its point, as words.
      problem: Loads a problem by the name it was given.
      optimizer: Loads an optimizer by the name it was given.

    Raises:
      ValueError: If there is no such run, or nobody told where the problem or the optimizer is.
      DataError: If what is stored is damaged.
    """
    declaration = stored.declaration
    names = declaration["axes"]["optimizer"]["labels"]
    name = wanted.get("optimizer", names[0] if len(names) == 1 else "")
    if not name:
        raise ValueError(f"optimizer must be named, one of {', '.join(names)}.")
    if name not in names:
        raise unknown("optimizer", name, names)
    points = points_of(declaration, name)
    axes = ("optimizer", "seed", *points[0])
    if set(wanted) - set(axes) or "seed" not in wanted:
        raise ValueError(
            f"a member of {name} must be named by {', '.join(axes)}, got {', '.join(wanted)}."
        )
    plan = _plan(stored, name, points, problem, optimizer)
    seed = _number("seed", wanted["seed"])
    tunes = seed in plan.tuning_seeds
    seeds = plan.tuning_seeds if tunes else plan.evaluation_seeds
    axis = axes_of([_point(points, wanted)], np.array([nearest("seed", seeds, seed)]))
    cell = {key: value[0] for key, value in axis.items() if key == "seed"}
    cell |= {"point": {k: v[0] for k, v in axis["point"].items()}} if "point" in axis else {}
    before, now = declaration["declared"], declared_of(plan)
    # of the environment `replayed` tells itself, and the numerics are set as they were
    differs = declarations.differences(before, {**now, "numerics": before["numerics"]})
    section = section_of(name, TUNING if tunes else EVALUATION)
    return replayed(stored, section, member_of(plan, name), shared_of(plan), cell, tuple(differs))


def _plan(stored, name, points, problem, optimizer) -> Plan:
    declaration = stored.declaration
    source, settings = declaration["about"]["source"], declaration["declared"]["settings"]
    if not source["problem"] or name not in source["optimizers"]:
        raise ValueError(
            "the problem and the optimizer must have come by name, or `source` must have told "
            f"where they are, for {name!r} to be run again; got {source}."
        )
    return Plan(
        problem=checked_problem(
            problem(source["problem"]),
            settings["num_steps"],
            settings["eval_every"],
            settings["batch_size"],
        ),
        factories={name: optimizer(source["optimizers"][name])},
        points={name: points},
        tuning_seeds=np.array(settings["tuning_seeds"]),
        evaluation_seeds=declarations.axis_values(declaration["axes"]["evaluation seed"]),
        seed=settings["seed"],
        width=declaration["declared"]["width"],
        mesh=checked_mesh(None),
        keeps=False,
    )


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
