"""One run of a comparison as a member of a population, and its results as rows of a table."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from dljax.axes import checked_axes, product
from dljax.comparison.plan import Plan, trainer_of
from dljax.comparison.search import Points
from dljax.comparison.space import as_axis
from dljax.keys import stream
from dljax.named import Study
from dljax.optimizers.states import Operations
from dljax.programs import member_cost
from dljax.training import advance, history_row, run
from dljax.types import Member

COSTS = ("cost", *Operations._fields)
MEASURES = ("train_", "valid_", "test_", "curvature_", "stability_")  # beginnings of columns
LONG = 1e12  # floating-point operations of a run from which on its state is kept on the way


def axes_of(points: Points, seeds: np.ndarray) -> dict[str, Any]:
    """Returns the axes of a study of these points and seeds."""
    return {**({"point": as_axis(points)} if points[0] else {}), "seed": seeds}


def section_of(name: str, stage: str) -> str:
    """Names the part of a run folder that keeps a stage of an optimizer."""
    return f"{name}/{stage}"


def member_of(plan: Plan, name: str) -> Callable | Member:
    """Returns one run of an optimizer, as a function of the study's shared data and axes.

    A long one comes in rounds of an evaluation each, between which a run folder keeps its state.
    """
    problem, factory = plan.problem, plan.factories[name]
    whole = partial(_member, problem=problem, factory=factory)
    design = plan.design
    axes = axes_of(design.points[name][:1], design.evaluation_seeds[:1])
    cells = product(checked_axes(axes))
    if member_cost(whole, shared_of(plan), cells).flops < LONG:
        return whole
    parts = (partial(part, problem=problem, factory=factory) for part in (_first, _next))
    return Member(*parts, _history, problem.num_steps // problem.eval_every)


def _fit(root, data, split, *, seed, point=None, problem, factory):
    """Returns the trainer of one run, and its key."""
    return trainer_of(problem, factory(**(point or {})), data, split), stream(root, "member", seed)


def _member(*shared, problem, **cell):
    """One run: the history of one optimizer at one point with one seed."""
    fit, key = _fit(*shared, problem=problem, **cell)
    steps = {"num_steps": problem.num_steps, "eval_every": problem.eval_every}
    return run(fit, fit.init(key), **steps)[1]


def _first(*shared, **cell):
    """The state of a run before its first step, and the first row of its history."""
    fit, key = _fit(*shared, **cell)
    state = fit.init(key)
    return state, history_row(fit, state)


def _next(*shared_and_state, problem, **cell):
    """The steps up to the next evaluation, and its row."""
    *shared, (state, first), _ = shared_and_state
    fit, _ = _fit(*shared, problem=problem, **cell)
    state = advance(fit, state, problem.eval_every)
    return (state, first), history_row(fit, state)


def _history(*shared_and_state, **_):
    *_, (state, first), rows = shared_and_state
    history = jax.tree.map(lambda x, y: jnp.concatenate([x[None], y]), first, rows)
    return {**history, "diverged_at": state.diverged_at}


def shared_of(plan: Plan) -> tuple:
    """Returns what all runs share: the root of randomness, the data and their split."""
    data = None if callable(plan.problem.data) else plan.problem.data
    return jax.random.key(plan.design.seed), data, plan.problem.split


def tidy(
    name: str, points: Points, indices: Iterable[int], stage: str, result: Study
) -> pd.DataFrame:
    """Returns the results of a study as rows of `Comparison.results`."""
    frame = result.to_dataframe()
    indices = np.asarray(list(indices))
    num_rows_a_point = len(frame) // len(indices)
    arguments = list(points[0])
    values = [
        point[arguments[0]]
        if len(arguments) == 1
        else ", ".join(str(float(v)) for v in point.values())
        for point in points
    ]
    point = np.repeat(indices, num_rows_a_point)
    measures = [c for c in frame if c.startswith(MEASURES)]
    return pd.DataFrame(
        {
            "optimizer": name,
            "argument": ", ".join(arguments),
            "value": [values[i] for i in point],
            "point": point,
            "stage": stage,
            "seed": frame["seed"].astype(np.int64),
            "step": frame["step"],
            **{name: frame[name] for name in COSTS},
            **{column: frame[column] for column in measures},
            "diverged_at": frame["diverged_at"],
        }
    )
