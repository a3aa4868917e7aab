"""What a comparison is told of a problem, and how rows are held out and scaled."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from dljax import losses, splits
from dljax.keys import stream
from dljax.models import flat_lecun, linen_model
from dljax.spectrum import Curvature
from dljax.splits import Rows, Split
from dljax.tasks import Task, supervised
from dljax.types import Batch, Data


class Target(NamedTuple):
    """A measure of the history and the value that counts as reached.

    Attributes:
      metric: Name of the measure, such as "valid_accuracy".
      value: The value.
      goal: "max" if `value` or more reaches it, "min" if `value` or less does; `None` takes "max"
        for an accuracy and "min" for anything else.
    """

    metric: str
    value: float
    goal: str | None = None


class Problem(NamedTuple):
    """All that a comparison needs to know.

    Attributes:
      name: What the problem is called.
      task: What is learnt.
      data: Arrays [N, ...], or `data(key) -> batch`.
      split: Training, validation and test rows; `None` where batches are drawn.
      batch_size: Rows of a step; `None` is full batch.
      num_steps: Steps of a run.
      eval_every: Steps between evaluations; it divides `num_steps`.
      metric: Measure of the task by which arguments are chosen.
      goal: "max" or "min" of the metric.
      target: For steps-to-target; `None` where none is stated.
      labels: Name of the array of class labels in `data`, if there is one.
      parts: Parts that are evaluated; "train" costs most.
      order: Order of the rows, and `remainder` of the last ones, as of `dj.trainer`.
      optimum: The best value of the metric, where it is known and no run goes beyond it; losses are
        then compared by the logarithm of what is left of them.
      curvature: What is measured of the Hessian at every evaluation, as of `dj.trainer`.
    """

    name: str
    task: Task
    data: Data | Callable[[jax.Array], Batch]
    split: Split | None = None
    batch_size: int | None = None
    num_steps: int = 500
    eval_every: int = 50
    metric: str = "loss"
    goal: str = "min"
    target: Target | None = None
    labels: str | None = None
    parts: tuple[str, ...] = ("train", "valid", "test")
    order: str = "reshuffle"
    remainder: str = "keep"
    optimum: float | None = None
    curvature: Curvature | None = None


def classification(
    module: Any, inputs: Callable[[Batch], jax.Array] = lambda batch: batch["x"]
) -> Task:
    """Learns classes by their cross-entropy; accuracy is measured too."""
    return supervised(
        flat_lecun(linen_model(module)),
        losses.cross_entropy,
        {"accuracy": losses.accuracy},
        inputs=inputs,
    )


def held_out(name: str, num_rows: int, **fractions: float) -> Split:
    """Holds out fractions of the rows, see `dj.holdout`, always the same ones for a name."""
    key = stream(jax.random.key(0), "split of " + name)
    # one program instead of forty small ones; the rows are passed, or XLA sorts constants for long
    return jax.jit(partial(splits.holdout, **fractions))(key, splits.all_rows(num_rows))


def standardized(x: np.ndarray, train: Rows) -> np.ndarray:
    """Moves and scales to mean 0 and variance 1 over the training rows alone."""
    rows = x[np.asarray(train.index)[: int(train.count)]]
    return ((x - rows.mean(axis=0)) / rows.std(axis=0)).astype(np.float32)
