"""The comparison: tune every optimizer alike, then run each with its best point on fresh seeds."""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from dljax import problems
from dljax.comparison import report
from dljax.comparison.arms import run_arms
from dljax.comparison.claims import Question, checked_question
from dljax.comparison.design import Design
from dljax.comparison.fingerprint import fingerprint
from dljax.comparison.folder import opened
from dljax.comparison.plan import Plan, check_step, checked_problem
from dljax.comparison.search import Range, checked_search, first
from dljax.comparison.space import Factory, checked_points, factories, space_of
from dljax.comparison.statistics import Comparison
from dljax.comparison.summary import comparison_of, declaration_of, told_of
from dljax.errors import require_whole, unknown
from dljax.placement import checked_mesh
from dljax.problems import Problem
from dljax.store.files import check_writable
from dljax.widths import checked_width

FEWEST_SEEDS = 5  # of a batch, where claims are looked at after each


def compare(
    problem: Problem | str,
    optimizers: Mapping[str, Factory] | Iterable[str] | None = None,
    *,
    space: Mapping[str, Mapping[str, Iterable[float] | Range]] | None = None,
    learning_rates: Iterable[float] | Range | None = None,
    seeds: int = 10,
    tuning_seeds: int = 3,
    num_steps: int | None = None,
    eval_every: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    search: str = "grid",
    trials: int | None = None,
    widen: int = 0,
    baseline: str | None = None,
    margin: float | None = None,
    alpha: float = 0.05,
    most_seeds: int | None = None,
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
    weights and the same batches, so that claims rest on pairs; see `dljax.comparison.claims`. All
    runs of one optimizer are members of one compiled program.

    Args:
      problem: A `Problem`, or the name of one of `dj.problems`.
      optimizers: Factories by name, or names that `dljax list` shows, also of a dialect such as
        "tf1.adam"; `None` takes the seven classics.
      space: What to tune, `{optimizer: {argument: values}}`, the product of the values, or
        `dj.Range`s where points are drawn; without an entry the learning rate is tuned (for
        adadelta eps).
      learning_rates: Grid or range of the learning rate; `None` takes 13 values from 1e-5 to 10,
        or that range.
      seeds: Evaluation seeds, >= 1.
      tuning_seeds: Tuning seeds, >= 1.
      num_steps: Steps of a run; `None` takes the problem's.
      eval_every: Steps between evaluations, a divisor of `num_steps`.
      batch_size: Rows of a step; `None` takes the problem's.
      seed: Root of all random streams, in [0, 2**32).
      search: "grid", "random", "sobol" or "zoom"; see `dljax.comparison.search.Search`.
      trials: Points of each optimizer where they are drawn; `None` takes 25.
      widen: How many times a grid whose best value lies on its edge is continued by two values.
      baseline: The optimizer that the others are compared with; `None` compares every pair.
      margin: The smallest difference of the metric that matters, > 0; `None` takes a pooled
        standard deviation over seeds.
      alpha: Error over all claims of a difference, and over all of equivalence, in (0, 1).
      most_seeds: Where it is more than `seeds`, >= 5 then, batches of so many are added until
        every claim is resolved, or there are so many; the error holds however often one looks.
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
    source = source or _named(problem, optimizers)
    problem = problems.load(problem) if isinstance(problem, str) else problem
    chosen = factories(optimizers)
    if extra := set(space or {}) - set(chosen):
        raise unknown("optimizer", min(extra), chosen)
    require_whole("seeds", seeds, "[1, 1000000]")
    require_whole("tuning_seeds", tuning_seeds, "[1, 1000000]")
    require_whole("seed", seed, "[0, 4294967295]")
    most_seeds = seeds if most_seeds is None else most_seeds
    require_whole("most_seeds", most_seeds, f"[{seeds}, 1000000]")
    if most_seeds > seeds:
        require_whole("seeds, where more are added,", seeds, f"[{FEWEST_SEEDS}, 1000000]")
    how = checked_search(search, trials, widen)
    spaces = {
        name: space_of(name, factory, (space or {}).get(name), learning_rates, how.method)
        for name, factory in chosen.items()
    }
    problem = checked_problem(problem, num_steps, eval_every, batch_size)
    design = Design(
        search=how,
        points={
            name: checked_points(name, chosen[name], first(how, found, seed))
            for name, found in spaces.items()
        },
        ranges={} if how.method == "grid" else spaces,
        tuning_seeds=np.arange(tuning_seeds),
        evaluation_seeds=np.arange(tuning_seeds, tuning_seeds + most_seeds),
        batch=seeds,
        question=checked_question(Question(baseline, margin, alpha), chosen),
        seed=seed,
        metric=problem.metric,
        goal=problem.goal,
        optimum=problem.optimum,
    )
    mesh = checked_mesh(mesh)
    checked_width(width)
    for name, factory in chosen.items():
        check_step(problem, name, factory, design.points[name])
    if out is not None:
        check_writable(Path(out))
    found = fingerprint(problem, seed, int(design.evaluation_seeds[0]))
    plan = Plan(problem, chosen, design, found, width, mesh, keeps=out is not None)
    return carried_out(plan, out, source, progress)


def carried_out(
    plan: Plan, out: str | os.PathLike | None, source: Mapping[str, Any], progress: bool
) -> Comparison:
    """Makes the runs of a comparison that was decided, and writes its report."""
    started = time.perf_counter()
    is_first = jax.process_index() == 0  # of several processes one writes
    writes = out is not None and is_first
    with opened(out, plan, source) if writes else nullcontext() as folder:
        arms, widths, seconds = run_arms(plan, folder, progress and is_first)
        seconds["total"] = time.perf_counter() - started
        comparison = comparison_of(
            told_of(plan),
            plan.design,
            arms,
            widths,
            folder and declaration_of(folder),
            {stage: round(value, 2) for stage, value in seconds.items()},
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
