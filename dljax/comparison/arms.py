"""The runs of a comparison: each optimizer is tuned, then run on fresh seeds where it did best."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from dljax.axes import checked_axes, product
from dljax.comparison.plan import Plan
from dljax.comparison.space import Points, as_axis
from dljax.comparison.statistics import final_metric, select
from dljax.folders import Part
from dljax.keys import stream
from dljax.lanes import side_by_side
from dljax.named import Study
from dljax.programs import member_cost
from dljax.progress import progress_line
from dljax.store.runs import Run
from dljax.studies import study
from dljax.training import advance, history_row, run, trainer
from dljax.types import Member

LONG = 1e12  # floating-point operations of a run from which on its state is kept on the way
TUNING, EVALUATION = "tuning", "evaluation"  # stages


class Arm(NamedTuple):
    """One optimizer's part of a comparison."""

    name: str
    chosen: int  # index of the point that was chosen
    width: int  # members of a tile on one device
    results: pd.DataFrame


def run_arms(plan: Plan, folder: Run | None, progress: bool) -> tuple[list[Arm], dict[str, float]]:
    """Runs all optimizers, each in a thread: while one runs, the next compiles.

    Args:
      plan: What was decided.
      folder: Where runs are kept as they finish, if anywhere.
      progress: Whether to show a progress line.

    Returns:
      What each gave, and the seconds that it took to compile and to run.
    """
    total = sum(_num_members(plan, name) for name in plan.factories) * plan.problem.num_steps
    line = progress_line(total, "member-steps") if progress else nullcontext(lambda *_: None)
    seconds = {"compile": 0.0, "run": 0.0}
    with line as show:

        def one_arm(name):
            since, stage_now = perf_counter(), None

            def note(stage, members):
                nonlocal since, stage_now
                now = perf_counter()
                if stage_now is not None:
                    seconds[stage_now] += now - since
                since, stage_now = now, stage if stage != "done" else None
                show(name, stage, members * plan.problem.num_steps)

            return _run_arm(plan, name, folder, note)

        # several processes meet at every study, so they must come to them in one order
        at_once = 1 if jax.process_count() > 1 else 2
        arms = side_by_side((partial(one_arm, name) for name in plan.factories), at_once)
        return list(arms), seconds


def _run_arm(plan: Plan, name: str, folder: Run | None, note: Callable[[str, int], None]) -> Arm:
    """Tunes one optimizer, then evaluates it where it did best."""
    points, member = plan.points[name], member_of(plan, name)
    num_tuning = len(points) * len(plan.tuning_seeds)

    def run_points(indices, seeds, done, stage, width):
        result = study(
            member,
            *shared_of(plan),
            axes=axes_of([points[i] for i in indices], seeds),
            width=width,
            mesh=plan.mesh,
            out=Part(folder, section_of(name, stage)) if plan.keeps else None,
            progress=lambda stage, part, _: note(stage, done + part),
        )
        return tidy(name, points, indices, stage, result), _width(result)

    tuning, width = run_points(range(len(points)), plan.tuning_seeds, 0, TUNING, plan.width)
    point = chosen(tuning, plan.problem.metric, plan.problem.goal)
    evaluation, width = run_points([point], plan.evaluation_seeds, num_tuning, EVALUATION, width)
    note("done", num_tuning + len(plan.evaluation_seeds))
    return Arm(name, point, width, pd.concat([tuning, evaluation], ignore_index=True))


def chosen(tuning: pd.DataFrame, metric: str, goal: str) -> int:
    """Returns the index of the point that did best on the validation rows."""
    has_loss = metric != "loss" and "valid_loss" in tuning
    loss = final_metric(tuning, "valid_loss") if has_loss else None
    return select(final_metric(tuning, f"valid_{metric}"), goal, loss)


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
    cells = product(checked_axes(axes_of(plan.points[name][:1], plan.evaluation_seeds[:1])))
    if member_cost(whole, shared_of(plan), cells).flops < LONG:
        return whole
    parts = (partial(part, problem=problem, factory=factory) for part in (_first, _next))
    return Member(*parts, _history, problem.num_steps // problem.eval_every)


def _width(result: Study) -> int:
    (program,) = result.plan.programs.values()
    return program.width


def _fit(root, data, split, *, seed, point=None, problem, factory):
    """Returns the trainer of one run, and its key."""
    fit = trainer(
        problem.task,
        factory(**(point or {})),
        problem.data if callable(problem.data) else data,
        split,
        batch_size=problem.batch_size,
        order=problem.order,
        remainder=problem.remainder,
        parts=problem.parts,
    )
    return fit, stream(root, "member", seed)


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
    return jax.random.key(plan.seed), data, plan.problem.split


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
    measures = [c for c in frame if c.startswith(("train_", "valid_", "test_"))]
    return pd.DataFrame(
        {
            "optimizer": name,
            "argument": ", ".join(arguments),
            "value": [values[i] for i in point],
            "point": point,
            "stage": stage,
            "seed": frame["seed"].astype(np.int64),
            "step": frame["step"],
            "cost": frame["cost"],
            **{column: frame[column] for column in measures},
            "diverged_at": frame["diverged_at"],
        }
    )


def _num_members(plan: Plan, name: str) -> int:
    return len(plan.points[name]) * len(plan.tuning_seeds) + len(plan.evaluation_seeds)
