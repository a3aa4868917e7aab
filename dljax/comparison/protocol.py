"""The comparison: tune every optimizer alike, then run each with its best point on fresh seeds."""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import jax
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from dljax import problems
from dljax.comparison import report
from dljax.comparison.arms import run_arms
from dljax.comparison.folder import opened
from dljax.comparison.plan import Plan, check_step, checked_problem, described
from dljax.comparison.space import Factory, factories, points_of
from dljax.comparison.statistics import Comparison, summarize_optimizer
from dljax.errors import require_whole, unknown
from dljax.placement import checked_mesh
from dljax.problems import Problem
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
    source: Mapping[str, Any] | None = None,
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
      out: A run folder: what is decided is declared there, every run is stored as it finishes, and
        in the end tables, pictures and the report; see `dljax.comparison.report.write`. The same
        comparison again in the same folder runs only what is not stored; optimizers, points and
        evaluation seeds may be added. Of several processes (`dj.join`) only process 0 writes and
        shows progress.
      source: Where the problem and optimizers can be found again, for `dljax replay`:
        {"problem": "digits-mlp", "optimizers": {"mine": "my_optimizer.py:mine"}}; `None` takes
        the names that were given.
      progress: Whether to show a progress line on standard error.

    Returns:
      The `Comparison`: `summary`, a dict ready for JSON, and `results`, a tidy data frame.

    Raises:
      ValueError: If an argument breaks a rule, or the folder holds another comparison, before
        anything compiles.
      DataError: If the data are missing or not fit, or the folder's declaration is damaged.
    """
    started = time.perf_counter()
    source = source or _named(problem, optimizers)
    problem = problems.load(problem) if isinstance(problem, str) else problem
    chosen = factories(optimizers)
    if extra := set(space or {}) - set(chosen):
        raise unknown("optimizer", min(extra), chosen)
    require_whole("seeds", seeds, "[1, 1000000]")
    require_whole("tuning_seeds", tuning_seeds, "[1, 1000000]")
    require_whole("seed", seed, "[0, 4294967295]")
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
        keeps=out is not None,
    )
    for name, factory in chosen.items():
        check_step(plan.problem, name, factory, plan.points[name])
    is_first = jax.process_index() == 0  # of several processes one writes
    writes = out is not None and is_first
    with opened(out, plan, source) if writes else nullcontext() as folder:
        arms, seconds = run_arms(plan, folder, progress and is_first)
        seconds["total"] = time.perf_counter() - started
        told = described(plan, {arm.name: arm.width for arm in arms})
        entries = [summarize_optimizer(arm.results, arm.chosen, told["problem"]) for arm in arms]
        seconds = {stage: round(value, 2) for stage, value in seconds.items()}
        comparison = Comparison(
            {**told, "seconds": seconds, "optimizers": entries},
            pd.concat([arm.results for arm in arms], ignore_index=True),
        )
        if writes:
            folder.record(report.write(comparison, out))
    return comparison


def _named(problem: Problem | str, optimizers: Any) -> dict[str, Any]:
    """Returns the names that were given; what was given as an object has none."""
    is_named = optimizers is None or not isinstance(optimizers, Mapping)
    return {
        "problem": problem if isinstance(problem, str) else None,
        "optimizers": {name: name for name in factories(optimizers)} if is_named else {},
    }
