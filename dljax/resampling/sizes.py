"""Learning curves: what more rows are worth."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.keys import stream
from dljax.learners import Learner, score
from dljax.named import Study
from dljax.replaying import Replay
from dljax.resampling.held_out import Check, check_data, fit_and_predict, resampled, run_key
from dljax.splits import Rows, Split, kfold, random_order
from dljax.splits.rows import pick
from dljax.types import Data, Metrics


class LearningCurve(NamedTuple):
    """Scores over training-set sizes; leaves on the host.

    Attributes:
      study: Axes [*axes, size, fold] and its results: "train" and "valid", as here, and "count".
      count: Rows that trained, int32[*axes, size, fold]; the size, or all that the fold has.
      train: What the learner measures of these very rows, {name: float[*axes, size, fold]}.
      valid: And of the rows held out, which are the same for all sizes, likewise.
      replay: `replay(size=10, fold=3, ...) -> Replay`, as of `CrossValidated`.
    """

    study: Study
    count: np.ndarray
    train: Metrics
    valid: Metrics
    replay: Callable[..., Replay]

    def to_dataframe(self) -> pd.DataFrame:
        """Returns one row a fit: its coordinates, "count", and "train_" and "valid_" scores."""
        parts = {"train": self.train, "valid": self.valid}
        scores = {f"{part}_{name}": x for part in parts for name, x in parts[part].items()}
        return Study(self.study.axes, {"count": self.count, **scores}).to_dataframe()


def learning_curve(
    learner: Learner | Mapping[str, Learner],
    data: Data,
    sizes: ArrayLike,
    num_folds: int,
    *,
    split: Callable[..., Split] = kfold,
    axes: Mapping[str, Any] | None = None,
    check: Check = None,
    **how: Any,
) -> LearningCurve:
    """Fits parts of every fold's training rows, all sizes, folds and axes in one program a learner.

    A smaller part lies in a larger one of the same fold and repeat, and all keep the order of the
    fold's table and the run's initial weights: at full size this is `cross_validate`, bit for bit.

    The size is a number like a learning rate, so tables have the slots of the whole fold, and
    those of a small part are mostly padding. `num_steps` of `dj.learner` counts slots, and slots
    without real rows are idle: of minibatches a run takes the same number of epochs, not of
    steps, at every size; of full batches, whose epoch is a step, the same number of both. Batches
    of "replacement" have real rows in all slots: there it is the steps.

    A learner that holds rows out itself, to stop or to select, takes them from the size: `count`
    and `train` are of all rows that it was given, and which of them train need not be nested.

    Args:
      learner: What is fitted; several by name become the first axis, "learner".
      data: Arrays [N, ...].
      sizes: Numbers of rows to train on, int[n], >= 1, the last axis but one, "size".
      num_folds: Number of folds K, the last axis.
      split: As in `cross_validate`; its `train` is cut at random, not by class.
      axes: As in `cross_validate`: "seed", "repeat", which also draws other parts, and numbers.
      check: As in `cross_validate`.
      **how: `width`, `mesh`, `out` and `progress` of `dj.study`.

    Raises:
      DataError: If the data are not fit for training.
      ValueError: If sizes are no whole numbers or none of the folds has so many rows, `num_folds`
        is outside [2, N], or what `dj.study` raises.
    """
    check_data(data, check, num_folds)
    own = {"size": checked_sizes(sizes), "fold": np.arange(num_folds)}
    num_rows = len(jax.tree.leaves(data)[0])
    table = jax.eval_shape(lambda: split(jax.random.key(0), num_rows, num_folds=num_folds, fold=0))
    require("sizes", own["size"], f"[1, {table.train.index.shape[0]}]")
    member = _member(split, num_folds)
    found, replay = resampled(member, learner, data, axes=axes, own=own, how=how)
    curves = {name: found.results[name] for name in ("count", "train", "valid")}
    return LearningCurve(found, **curves, replay=replay)


@lru_cache(maxsize=32)
def _member(split: Callable, num_folds: int) -> Callable:
    """Makes the member; the same of the same arguments, so that a second call compiles nothing."""

    def member(data, *, learner, size, fold, seed=0, repeat=0, **numbers):
        folds = stream(jax.random.key(0), "folds", repeat)
        parts = split(folds, len(jax.tree.leaves(data)[0]), num_folds=num_folds, fold=fold)
        train = part_of(stream(folds, "part", fold), parts.train, size)
        scored = lambda model: score(learner, model, data, train)  # noqa: E731
        parts, key = Split(train, parts.valid), stream(run_key(seed), "fold", repeat, fold)
        found = fit_and_predict(learner, key, data, parts, None, scored, numbers)
        return {"train": found["kept"], "valid": found["scores"], "count": train.count}

    return member


def part_of(key: jax.Array, rows: Rows, size: ArrayLike) -> Rows:
    """Draws `size` of the rows, int32[], or all where there are fewer; it may be traced.

    Returns:
      The rows in the order that they had, in a table as large; a smaller part of one key lies in a
      larger one.
    """
    order = random_order(key, rows)
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order), dtype=order.dtype))
    return pick(rows, rank < jnp.minimum(size, rows.count), len(order))


def checked_sizes(sizes: ArrayLike) -> np.ndarray:
    sizes = np.asarray(sizes)
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu":
        rule = "sizes must be whole numbers in one list"
        raise ValueError(f"{rule}, got {sizes.dtype}{list(sizes.shape)}.")
    return sizes.astype(np.int32)
