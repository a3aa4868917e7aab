"""Cross-validation: every row is predicted by the fits that did not see it."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from dljax.datasets import check as checked_data
from dljax.keys import stream
from dljax.learners import Learner
from dljax.named import Study
from dljax.resampling.held_out import (
    checked_names,
    each_cell,
    fit_and_predict,
    held_out,
    run_key,
)
from dljax.splits import Split, kfold
from dljax.studies import study
from dljax.types import Batch, Data, PyTree


class CrossValidated(NamedTuple):
    """What all fits say of the rows that they did not see; leaves on the host.

    Attributes:
      study: Axes [*axes, fold] and its results: "scores" {name: float[*axes, fold, ...]} of
        the rows held out, "outputs" [*axes, fold, M, ...] for them, "index" int32[*axes, fold, M]
        and "count" int32[*axes, fold] of them; "test" [*axes, fold, B, ...].
      predictions: Out-of-fold outputs, leaves [*axes, N, ...]; NaN (0 of whole numbers) of rows
        that no fold held out.
      fold: In which fold each row was held out, int32[*axes, N]; -1 in none.
    """

    study: Study
    predictions: PyTree
    fold: np.ndarray


def cross_validate(
    learner: Learner | Mapping[str, Learner],
    data: Data,
    num_folds: int,
    *,
    split: Callable[..., Split] = kfold,
    axes: Mapping[str, Any] | None = None,
    test: Batch | None = None,
    keep: Callable[[PyTree], PyTree] | None = None,
    check: Callable[..., None] | None = None,
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
      check: Called as `check(data)` before anything compiles; by default `dj.check` of numbers,
        sizes and folds. `partial(dj.check, labels="y", num_folds=K)` names classes that are too
        small.
      **how: `width`, `mesh`, `out` and `progress` of `dj.study`.

    Raises:
      DataError: If the data are not fit for training.
      ValueError: If `num_folds` is outside [2, N], or what `dj.study` raises.
    """
    check = check or (lambda data: checked_data(data, num_folds=num_folds))
    check(data)
    learners = dict(learner) if isinstance(learner, Mapping) else {"": learner}
    axes = {**checked_names(axes, "fold"), "fold": np.arange(num_folds)}

    member = _member(split, num_folds, keep)
    found = study(member, data, test, axes=axes, static={"learner": learners}, **how)
    found = found if isinstance(learner, Mapping) else found.at(learner=0)
    return _by_rows(found, len(jax.tree.leaves(data)[0]))


@lru_cache(maxsize=32)
def _member(split: Callable, num_folds: int, keep: Callable | None) -> Callable:
    """Makes the member; the same of the same arguments, so that a second call compiles nothing."""

    def member(data, test, *, learner, fold, seed=0, repeat=0, **numbers):
        folds = stream(jax.random.key(0), "folds", repeat)
        parts = split(folds, len(jax.tree.leaves(data)[0]), num_folds=num_folds, fold=fold)
        key = stream(run_key(seed), "fold", repeat, fold)
        return fit_and_predict(learner, key, data, parts, test, keep, numbers)

    return member


def _by_rows(found: Study, num_rows: int) -> CrossValidated:
    """Puts the outputs of all folds where their rows are."""
    results, lead = found.results, found.results["count"].shape[:-1]

    def empty(x):
        shape = (*lead, num_rows, *x.shape[len(lead) + 2 :])
        return np.full(shape, np.nan if x.dtype.kind == "f" else 0, x.dtype)

    predictions = jax.tree.map(empty, results["outputs"])
    fold = np.full((*lead, num_rows), -1, np.int32)
    for cell in each_cell(found):
        rows, outputs = held_out(results, cell)
        for whole, part in zip(jax.tree.leaves(predictions), jax.tree.leaves(outputs), strict=True):
            whole[cell[:-1]][rows] = part
        fold[cell[:-1]][rows] = cell[-1]
    return CrossValidated(found, predictions, fold)
