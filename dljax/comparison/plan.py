"""What is decided, and refused, before the first run of a comparison."""

from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from dljax import datasets
from dljax.comparison.design import Design
from dljax.comparison.search import Points
from dljax.comparison.space import CLASSICS, Factory, made
from dljax.errors import require, require_whole, unknown
from dljax.problems import Problem
from dljax.splits import Split
from dljax.training import Trainer, checked_rounds, trainer


class Plan(NamedTuple):
    """What is decided before the first run.

    Attributes:
      problem: The problem, with its horizon as it will be run.
      factories: The optimizers by name.
      design: Which runs there are.
      fingerprint: What must be the same for arms to be compared; see `fingerprint`.
      width: Members of a tile on one device: a number, "auto" or `None`.
      mesh: Devices.
      keeps: Whether runs are kept in a folder.
    """

    problem: Problem
    factories: dict[str, Factory]
    design: Design
    fingerprint: dict[str, Any]
    width: int | str | None
    mesh: Mesh
    keeps: bool


def checked_problem(
    problem: Problem, num_steps: int | None, eval_every: int | None, batch_size: int | None
) -> Problem:
    """Returns the problem with its horizon and batch size as asked for, or raises.

    Raises:
      ValueError: If a size is out of range, or the split lacks validation or test rows.
      DataError: If the data are not fit.
    """
    a_problem(problem)
    for goal in (problem.goal, problem.target and problem.target.goal):
        if goal not in ("min", "max", None):
            raise ValueError(f"goal must be 'min' or 'max', got {goal!r}.")
    if num_steps is not None:
        require_whole("num_steps", num_steps, "[1, inf)")
        kept = problem.eval_every if num_steps % problem.eval_every == 0 else None
        every = eval_every or kept or _default_eval_every(num_steps)
        problem = problem._replace(num_steps=num_steps, eval_every=every)
    if eval_every is not None:
        require_whole("eval_every", eval_every, f"[1, {problem.num_steps}]")
        problem = problem._replace(eval_every=eval_every)
    checked_rounds(problem.num_steps, problem.eval_every)
    if batch_size is not None:
        require_whole("batch_size", batch_size, "[1, inf)")
        problem = problem._replace(batch_size=batch_size)
    if not callable(problem.data):
        datasets.check(problem.data, labels=problem.labels)
        if problem.split is None or problem.split.valid is None or problem.split.test is None:
            raise ValueError(
                f"problem {problem.name!r} must have training, validation and test rows: "
                "give it a split, such as dj.holdout(key, num_rows, valid=0.2, test=0.2)."
            )
        _check_split(problem)
        num_train = problem.split.train.index.shape[0]
        if problem.batch_size is not None:
            require("batch_size", problem.batch_size, f"[1, {num_train}]")
    _check_measures(problem)
    return problem


def a_problem(problem: Any) -> Problem:
    """Returns the problem, or raises a `ValueError` if it is none."""
    if not isinstance(problem, Problem):
        raise ValueError(
            f"the problem must be a dljax.Problem or a name, got {type(problem).__name__}."
        )
    return problem


def _default_eval_every(num_steps: int) -> int:
    """Returns the fewest steps that divide the run into at most 20 parts, and into 5 at least."""
    every = next(d for d in range(1, num_steps + 1) if num_steps % d == 0 and num_steps // d <= 20)
    if num_steps // every < min(5, num_steps):
        raise ValueError(
            f"num_steps must divide into 5 to 20 equal parts, one an evaluation, got {num_steps}; "
            f"{num_steps + -num_steps % 20} does, or give eval_every."
        )
    return every


def _check_split(problem: Problem) -> None:
    """Raises unless the parts of the split are rows of the data, and no row is in two of them."""
    num_rows = len(jax.tree.leaves(problem.data)[0])
    seen = np.zeros(num_rows, dtype=bool)
    for part, rows in problem.split._asdict().items():
        index = np.unique(np.asarray(rows.index)[: int(rows.count)])
        if not index.size:
            raise ValueError(f"the {part} part of {problem.name!r} must have a row, got none.")
        if index[0] < 0 or index[-1] >= num_rows:
            outside = index[0] if index[0] < 0 else index[-1]
            raise ValueError(f"the {part} rows must be in [0, {num_rows}), got {outside}.")
        if seen[index].any():
            row = index[seen[index]][0]
            raise ValueError(f"no row must be in two parts of the split, got row {row} twice.")
        seen[index] = True


def _check_measures(problem: Problem) -> None:
    """Traces the task once, without computing, and checks the names that will be reported."""
    fit = _fit(problem, CLASSICS["sgd"](0.0))
    measured = jax.eval_shape(lambda key: fit.evaluate(fit.init(key)), jax.random.key(0))
    wanted = [f"valid_{problem.metric}", f"test_{problem.metric}"]
    for name in wanted + ([problem.target.metric] if problem.target else []):
        if name not in measured:
            raise unknown("measure", name, measured)


def check_step(problem: Problem, name: str, factory: Factory, points: Points) -> None:
    """Traces one step, without computing; raises a `ValueError` unless the optimizer takes it."""
    fit = _fit(problem, made(name, factory, points[0]))

    def one_step(key):
        state = fit.init(key)
        return fit.step(state, jax.tree.map(lambda x: x[0], fit.draw(state, 1)))

    try:
        jax.eval_shape(one_step, jax.random.key(0))
    except ValueError as error:
        raise ValueError(f"optimizer {name!r}: {error}") from error
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise ValueError(
            f"optimizer {name!r} must take a step on {problem.name!r}, "
            f"got {type(error).__name__}: {line}"
        ) from error


def trainer_of(
    problem: Problem, optimizer: optax.GradientTransformation, data: Any, split: Split | None
) -> Trainer:
    """Returns how a problem is learnt with an optimizer.

    Args:
      problem: The problem.
      optimizer: Any optax transformation.
      data: Its data, as the program sees them; not read where the problem draws its batches.
      split: Its split, as the program sees it.
    """
    return trainer(
        problem.task,
        optimizer,
        problem.data if callable(problem.data) else data,
        split,
        batch_size=problem.batch_size,
        order=problem.order,
        remainder=problem.remainder,
        parts=problem.parts,
        curvature=problem.curvature,
    )


def _fit(problem: Problem, optimizer: optax.GradientTransformation) -> Trainer:
    return trainer_of(problem, optimizer, problem.data, problem.split)
