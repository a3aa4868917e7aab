"""The comparison: tune every optimizer alike, then run each with its best point on fresh seeds."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from dljax import problems
from dljax.comparison import report
from dljax.comparison.plan import Plan, check_step, checked_problem, described
from dljax.comparison.space import Factory, Points, as_axis, factories, points_of
from dljax.comparison.statistics import Comparison, final_metric, select, summarize_optimizer
from dljax.errors import require, unknown
from dljax.keys import stream
from dljax.lanes import side_by_side
from dljax.named import Study
from dljax.placement import checked_mesh
from dljax.problems import Problem
from dljax.progress import progress_line
from dljax.studies import study
from dljax.training import run, trainer
from dljax.widths import checked_width


def compare(
    problem: Problem | str,
    optimizers: Mapping[str, Factory] | Iterable[str] | None = None,
    *,
    space: Mapping[str, Mapping[str, Iterable[float]]] | None = None,
    learning_rates: Iterable[float] | None = None,
    seeds: int = 10,
    tuning_seeds: int = 3,
    num_steps: int | None = None,
    eval_every: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    width: int | str | None = None,
    mesh: Mesh | None = None,
    out: str | os.PathLike | None = None,
    progress: bool = True,
) -> Comparison:
    """Compares optimizers on one problem, each tuned alike and with the same luck.

    Every point of an optimizer's grid is run on the tuning seeds; the point with the best median of
    the problem's metric on the validation rows is run again on seeds that did not choose it, and
    those runs are reported on the test rows. At one seed all optimizers see the same initial
    weights and the same batches. All runs of one optimizer are members of one compiled program.

    Args:
      problem: A `Problem`, or the name of one of `dj.problems`.
      optimizers: Factories by name, or names that `dljax list` shows; `None` takes the seven
        classics.
      space: What to tune, `{optimizer: {argument: values}}`, the product of the values; without
        an entry the learning rate is tuned (for adadelta eps).
      learning_rates: Grid of the learning rate; `None` takes 13 values from 1e-5 to 10.
      seeds: Evaluation seeds, >= 1.
      tuning_seeds: Tuning seeds, >= 1.
      num_steps: Steps of a run; `None` takes the problem's.
      eval_every: Steps between evaluations, a divisor of `num_steps`.
      batch_size: Rows of a step; `None` takes the problem's.
      seed: Root of all random streams, in [0, 2**32).
      width: Members at once on one device; see `dj.population`.
      mesh: Devices; see `dj.population`.
      out: A folder for tables, pictures and the report; see `dljax.comparison.report.write`. Of
        several processes (`dj.join`) only process 0 writes and shows progress.
      progress: Whether to show a progress line on standard error.

    Returns:
      The `Comparison`: `summary`, a dict ready for JSON, and `results`, a tidy data frame.

    Raises:
      ValueError: If an argument breaks a rule, before anything compiles.
      DataError: If the data are missing or not fit.
    """
    started = time.perf_counter()
    problem = problems.load(problem) if isinstance(problem, str) else problem
    chosen = factories(optimizers)
    if extra := set(space or {}) - set(chosen):
        raise unknown("optimizer", min(extra), chosen)
    require("seeds", seeds, "[1, 1000000]")
    require("tuning_seeds", tuning_seeds, "[1, 1000000]")
    require("seed", seed, "[0, 4294967295]")
    mesh = checked_mesh(mesh)
    checked_width(width)
    plan = Plan(
        problem=checked_problem(problem, num_steps, eval_every, batch_size),
        factories=chosen,
        points={
            name: points_of(name, factory, (space or {}).get(name), learning_rates)
            for name, factory in chosen.items()
        },
        tuning_seeds=np.arange(tuning_seeds),
        evaluation_seeds=np.arange(tuning_seeds, tuning_seeds + seeds),
        seed=seed,
        width=width,
        mesh=mesh,
    )
    for name, factory in chosen.items():
        check_step(plan.problem, name, factory, plan.points[name])
    is_first = jax.process_index() == 0  # of several processes one writes
    if out is not None and is_first:
        report.prepare(out)
    arms, seconds = _run_arms(plan, progress and is_first)
    seconds["total"] = time.perf_counter() - started
    told = described(plan, {arm.name: arm.width for arm in arms})
    entries = [summarize_optimizer(arm.results, arm.chosen, told["problem"]) for arm in arms]
    seconds = {stage: round(value, 2) for stage, value in seconds.items()}
    comparison = Comparison(
        {**told, "seconds": seconds, "optimizers": entries},
        pd.concat([arm.results for arm in arms], ignore_index=True),
    )
    if out is not None and is_first:
        report.write(comparison, out)
    return comparison


class Arm(NamedTuple):
    """One optimizer's part of a comparison."""

    name: str
    chosen: int  # index of the point that was chosen
    width: int  # members of a tile on one device
    results: pd.DataFrame


def _run_arms(plan: Plan, progress: bool) -> tuple[list[Arm], dict[str, float]]:
    """Runs all optimizers, each in a thread: while one runs, the next compiles."""
    total = sum(_num_members(plan, name) for name in plan.factories) * plan.problem.num_steps
    line = progress_line(total, "member-steps") if progress else nullcontext(lambda *_: None)
    seconds = {"compile": 0.0, "run": 0.0}
    with line as show:

        def one_arm(name):
            since, stage_now = time.perf_counter(), None

            def note(stage, members):
                nonlocal since, stage_now
                now = time.perf_counter()
                if stage_now is not None:
                    seconds[stage_now] += now - since
                since, stage_now = now, stage if stage != "done" else None
                show(name, stage, members * plan.problem.num_steps)

            return _run_arm(plan, name, note)

        # several processes meet at every study, so they must come to them in one order
        at_once = 1 if jax.process_count() > 1 else 2
        arms = side_by_side((partial(one_arm, name) for name in plan.factories), at_once)
        return list(arms), seconds


def _run_arm(plan: Plan, name: str, note: Callable[[str, int], None]) -> Arm:
    """Tunes one optimizer, then evaluates it where it did best."""
    problem, points = plan.problem, plan.points[name]
    member = partial(_member, problem=problem, factory=plan.factories[name])
    shared = _shared(plan)
    num_tuning = len(points) * len(plan.tuning_seeds)

    def run_points(indices, seeds, done, stage, width):
        axes = {"point": as_axis([points[i] for i in indices])} if points[0] else {}
        result = study(
            member,
            *shared,
            axes={**axes, "seed": seeds},
            width=width,
            mesh=plan.mesh,
            progress=lambda stage, part, _: note(stage, done + part),
        )
        return _tidy(name, points, indices, stage, result), _width(result)

    tuning, width = run_points(range(len(points)), plan.tuning_seeds, 0, "tuning", plan.width)
    has_loss = problem.metric != "loss" and "valid_loss" in tuning
    loss = final_metric(tuning, "valid_loss") if has_loss else None
    chosen = select(final_metric(tuning, f"valid_{problem.metric}"), problem.goal, loss)
    evaluation, width = run_points([chosen], plan.evaluation_seeds, num_tuning, "evaluation", width)
    note("done", num_tuning + len(plan.evaluation_seeds))
    return Arm(name, chosen, width, pd.concat([tuning, evaluation], ignore_index=True))


def _width(result: Study) -> int:
    (program,) = result.plan.programs.values()
    return program.width


def _member(root, data, split, *, seed, point=None, problem, factory):
    """One run: the history of one optimizer at one point with one seed."""
    fit = trainer(
        problem.task,
        factory(**(point or {})),
        problem.data if callable(problem.data) else data,
        split,
        batch_size=problem.batch_size,
        parts=problem.parts,
    )
    state = fit.init(stream(root, "member", seed))
    return run(fit, state, num_steps=problem.num_steps, eval_every=problem.eval_every)[1]


def _shared(plan: Plan) -> tuple:
    data = None if callable(plan.problem.data) else plan.problem.data
    return jax.random.key(plan.seed), data, plan.problem.split


def _tidy(
    name: str, points: Points, indices: Iterable[int], stage: str, result: Any
) -> pd.DataFrame:
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
