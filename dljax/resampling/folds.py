"""Cross-validation: every row is predicted by the fits that did not see it."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from dljax.keys import stream
from dljax.learners import Learner
from dljax.named import Study
from dljax.replaying import Replay
from dljax.resampling.held_out import (
    Check,
    check_data,
    each_cell,
    fit_and_predict,
    held_out,
    resampled,
    run_key,
)
from dljax.splits import Split, kfold
from dljax.types import Batch, Data, PyTree


class CrossValidated(NamedTuple):
    """What all fits say of the rows that they did not see; leaves on the host.

    Attributes:
      study: Axes [*axes, fold] and its results: "scores" {name: float[*axes, fold, ...]} of
        the rows held out, "outputs" [*axes, fold, M, ...] for them, "index" int32[*axes, fold, M]
        and "count" int32[*axes, fold] of them; "test" [*axes, fold, B, ...].
      predictions: Out-of-fold outputs, leaves [*axes, N, ...]; NaN (0 of whole numbers) of rows
        that no fold held out, as in a time series, or several, as of random hold-outs.
      fold: In which fold each row was held out, int32[*axes, N]; -1 of such rows.
      replay: `replay(fold=3, seed=0, ...) -> Replay` fits one cell again, alone, and compares it
        with the run folder `out`, as `dj.replay` does; every axis of the study must be named. It
        holds the data and cannot be pickled; without `out` it raises a ValueError.
    """

    study: Study
    predictions: PyTree
    fold: np.ndarray
    replay: Callable[..., Replay]

    def to_dataframe(self) -> pd.DataFrame:
        """Returns one row a fit: its coordinates and its scores, of one number a row."""
        return Study(self.study.axes, self.study.results["scores"]).to_dataframe()


def cross_validate(
    learner: Learner | Mapping[str, Learner],
    data: Data,
    num_folds: int,
    *,
    split: Callable[..., Split] = kfold,
    axes: Mapping[str, Any] | None = None,
    test: Batch | None = None,
    keep: Callable[[PyTree], PyTree] | None = None,
    check: Check = None,
    **how: Any,
) -> CrossValidated:
    """Fits every fold at every point of the axes, in one program a learner.

    Every fold has initial weights and batches of its own, so that their luck averages out; at one
    seed, repeat and fold they are the same for all learners and numbers, and so are the rows, so
    that differences pair.

    Args:
      learner: What is fitted; several by name become the first axis, "learner".
      data: Arrays [N, ...].
      num_folds: Number of folds K, the last axis.
      split: `split(key, N, num_folds=K, fold=fold) -> Split`, such as `dj.kfold` or
        `partial(dj.stratified_kfold, labels=y, num_classes=3)`; its `valid` is held out, and
        `fit` sees `train` alone. What needs rows to stop or to select takes them from there.
      axes: Further axes: "seed", of the run, in [0, 2**32), by default 0 alone; "repeat", of
        another division of the rows; all others are numbers that `fit` gets by their names.
      test: Rows that all fits predict too, leaves [B, ...].
      keep: `keep(model)`, leaves of which come back as "kept" of the study, [*axes, fold, ...].
      check: What `dj.check` is told beside `num_folds` before anything compiles, such as
        {"labels": "y", "num_classes": 10}; or a function, called as `check(data)`. By default a
        y of whole numbers is checked as labels, so that classes too small for the folds are named,
        and one of floats as targets, which must not be constant; {} checks neither.
      **how: `width`, `mesh`, `out` and `progress` of `dj.study`; a run folder's own first axis is
        always "learner", of one without a name "".

    Raises:
      DataError: If the data are not fit for training.
      ValueError: If `num_folds` is outside [2, N], or what `dj.study` raises.
    """
    check_data(data, check, num_folds)
    own = {"fold": np.arange(num_folds)}
    member = _member(split, num_folds, keep)
    found, replay = resampled(member, learner, data, test, axes=axes, own=own, how=how)
    return CrossValidated(found, *_by_rows(found, len(jax.tree.leaves(data)[0])), replay)


@lru_cache(maxsize=32)
def _member(split: Callable, num_folds: int, keep: Callable | None) -> Callable:
    """Makes the member; the same of the same arguments, so that a second call compiles nothing."""

    def member(data, test, *, learner, fold, seed=0, repeat=0, **numbers):
        folds = stream(jax.random.key(0), "folds", repeat)
        parts = split(folds, len(jax.tree.leaves(data)[0]), num_folds=num_folds, fold=fold)
        key = stream(run_key(seed), "fold", repeat, fold)
        return fit_and_predict(learner, key, data, parts, test, keep, numbers)

    return member


def _by_rows(found: Study, num_rows: int) -> tuple[PyTree, np.ndarray]:
    """Puts the outputs of all folds where their rows are."""
    results, lead = found.results, found.results["count"].shape[:-1]
    floating = lambda x: jnp.issubdtype(x.dtype, jnp.floating)  # noqa: E731

    def empty(x):
        shape = (*lead, num_rows, *x.shape[len(lead) + 2 :])
        return np.full(shape, np.nan if floating(x) else 0, x.dtype)

    predictions = jax.tree.map(empty, results["outputs"])
    fold, times = (np.full((*lead, num_rows), n, np.int32) for n in (-1, 0))
    for cell in each_cell(found):
        rows, outputs = held_out(results, cell)
        jax.tree.map(lambda x, part: _put(x[cell[:-1]], rows, part), predictions, outputs)  # noqa: B023
        fold[cell[:-1]][rows] = cell[-1]
        times[cell[:-1]][rows] += 1
    fold[times > 1] = -1
    for x in jax.tree.leaves(predictions):
        x[times > 1] = np.nan if floating(x) else 0
    return predictions, fold


def _put(x: np.ndarray, rows: np.ndarray, part: np.ndarray) -> None:
    x[rows] = part
