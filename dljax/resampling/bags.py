"""Bagging: fits to samples of the rows, and what they say of the rows that they did not draw."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from dljax.errors import require_whole
from dljax.keys import stream
from dljax.learners import Learner, average
from dljax.named import Study
from dljax.predict import log_probabilities
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
from dljax.splits import Split, all_rows, bootstrap
from dljax.types import Batch, Data, Metrics, PyTree

KINDS = {
    "classes": "logits [B, C]",
    "numbers": "one array",
    "normals": 'a dict of "mean" and "variance"',
}


class Bagged(NamedTuple):
    """What all bags say of the rows that they did not draw; leaves on the host.

    Attributes:
      study: Axes [*axes, bag] and its results, as of `CrossValidated` with bags for folds.
      predictions: Out-of-bag prediction, the average over the bags that did not draw the row:
        log-probabilities of classes, float[*axes, N, C], numbers, [*axes, N, ...], or normals,
        "mean" and "variance" [*axes, N]; NaN where all bags drew it.
      count: Number of those bags, int32[*axes, N].
      scores: What the learner measures of them, {name: float[*axes]}, over the rows that some bag
        did not draw.
      test: The average over all bags, [*axes, B, ...]; `None` without `test`.
      replay: `replay(bag=3, ...) -> Replay`, as of `CrossValidated`.
    """

    study: Study
    predictions: PyTree
    count: np.ndarray
    scores: Metrics
    test: PyTree
    replay: Callable[..., Replay]

    def to_dataframe(self) -> pd.DataFrame:
        """Returns one row a cell of the axes: its coordinates and its out-of-bag scores."""
        axes = {name: values for name, values in self.study.axes.items() if name != "bag"}
        return Study(axes, self.scores).to_dataframe()


def bagging(
    learner: Learner | Mapping[str, Learner],
    data: Data,
    num_bags: int,
    *,
    outputs: str,
    split: Callable[..., Split] = bootstrap,
    axes: Mapping[str, Any] | None = None,
    test: Batch | None = None,
    keep: Callable[[PyTree], PyTree] | None = None,
    check: Check = None,
    **how: Any,
) -> Bagged:
    """Fits bootstrap samples of the rows and averages; Breiman 1996, Mach. Learn. 24, 123-140.

    A row's out-of-bag prediction averages the fits that did not draw it, about e^-1 of them, so
    its error stands for that of a smaller ensemble on new rows (Breiman 1996, Out-of-bag
    estimation, section 2).

    Args:
      learner: What is fitted; several by name become the first axis, "learner".
      data: Arrays [N, ...].
      num_bags: Number of bags, >= 1, the last axis, "bag"; each has its own initial weights.
      outputs: What is averaged: "classes", the probabilities of logits [B, C] or [B, 1];
        "numbers", the outputs themselves; "normals", the mixture of "mean" and "variance" [B], see
        `dj.predict.normal_outputs`.
      split: `split(key, N) -> Split` with the bag as `train` and the rest as `valid`, such as
        `dj.bootstrap`, `dj.poisson_bootstrap` or `partial(dj.holdout, valid=0.5)` (subagging).
      axes: Further axes, as in `cross_validate`; bags of one "repeat" are the same.
      test: Rows that all fits predict too, leaves [B, ...].
      keep: `keep(model)`, leaves of which come back as "kept" of the study, [*axes, bag, ...].
      check: As in `cross_validate`.
      **how: `width`, `mesh`, `out` and `progress` of `dj.study`.

    Raises:
      DataError: If the data are not fit for training.
      ValueError: If `outputs` is none of these, the learner has others, or `dj.study` raises it.
    """
    if outputs not in KINDS:
        raise ValueError(f"outputs must be one of {', '.join(KINDS)}, got {outputs!r}.")
    require_whole("num_bags", num_bags, "[1, inf)")
    check_data(data, check)
    member, own = _member(split, keep, outputs), {"bag": np.arange(num_bags)}
    found, replay = resampled(member, learner, data, test, axes=axes, own=own, how=how)
    if not isinstance(learner, Mapping):
        return Bagged(found, *_out_of_bag(found, learner, data, outputs), replay)
    each = [
        _out_of_bag(found.at(learner=i), x, data, outputs) for i, x in enumerate(learner.values())
    ]
    return Bagged(found, *jax.tree.map(lambda *x: np.stack(x), *each), replay)


@lru_cache(maxsize=32)
def _member(split: Callable, keep: Callable | None, kind: str) -> Callable:
    """Makes the member; the same of the same arguments, so that a second call compiles nothing."""

    def member(data, test, *, learner, bag, seed=0, repeat=0, **numbers):
        bags = stream(jax.random.key(0), "bags", repeat)
        parts = split(stream(bags, "bag", bag), len(jax.tree.leaves(data)[0]))
        key = stream(run_key(seed), "bag", repeat, bag)
        found = fit_and_predict(learner, key, data, parts, test, keep, numbers)
        names = sorted(found["outputs"]) if isinstance(found["outputs"], Mapping) else None
        if names != (["mean", "variance"] if kind == "normals" else None):
            raise ValueError(
                f"outputs must be {KINDS[kind]} to average {kind}, got {names or 'one'}."
            )
        return found

    return member


def _out_of_bag(found: Study, learner: Learner, data: Data, kind: str) -> tuple[PyTree, ...]:
    """Returns predictions, count, scores and test of a `Bagged`."""
    results, lead = found.results, found.results["count"].shape[:-1]
    num_rows = len(jax.tree.leaves(data)[0])
    one_logit = kind == "classes" and results["outputs"].shape[-1] == 1
    results = {**results, "outputs": _averaged(results["outputs"], kind)}
    shape = results["outputs"].shape[len(lead) + 2 :]
    total, count = np.zeros((*lead, num_rows, *shape)), np.zeros((*lead, num_rows), np.int32)
    for cell in each_cell(found):
        rows, values = held_out(results, cell)
        total[cell[:-1]][rows] += values
        count[cell[:-1]][rows] += 1
    with np.errstate(invalid="ignore"):  # 0 / 0 of a row that all bags drew
        predictions = _as_outputs(total / count.reshape(*count.shape, *[1] * len(shape)), kind)
    measured = predictions[..., 1:] - predictions[..., :1] if one_logit else predictions
    flat = jax.tree.map(lambda x: x.reshape((-1, *x.shape[len(lead) :])), (measured, count))
    scores = _scores(learner)(*flat, data)
    scores = {name: np.asarray(x).reshape((*lead, *x.shape[1:])) for name, x in scores.items()}
    test = results.get("test")
    if test is not None:
        test = _as_outputs(_averaged(test, kind).mean(axis=len(lead)), kind)
    return predictions, count, scores, test


@lru_cache(maxsize=32)
def _scores(learner: Learner) -> Callable:
    def of_rows(predictions, count, data):
        rows = all_rows(len(count))._replace(weight=(count > 0).astype(jnp.float32))
        return average(learner, predictions, data, rows)

    return jax.jit(jax.vmap(of_rows, (0, 0, None)))


def _averaged(outputs: Any, kind: str) -> np.ndarray:
    """What an ensemble averages, in float64: probabilities, numbers, or both moments of normals."""
    if kind == "normals":
        m, v = (np.asarray(outputs[name], np.float64) for name in ("mean", "variance"))
        return np.stack([m, v + m**2], axis=-1)
    outputs = np.exp(log_probabilities(outputs)) if kind == "classes" else outputs
    return np.asarray(outputs, np.float64)


def _as_outputs(mean: np.ndarray, kind: str) -> Any:
    if kind == "normals":
        m, square = mean[..., 0], mean[..., 1]
        return {"mean": m.astype(np.float32), "variance": (square - m**2).astype(np.float32)}
    with np.errstate(divide="ignore"):
        return (np.log(mean) if kind == "classes" else mean).astype(np.float32)
