"""Bagging: fits to samples of the rows, and what they say of the rows that they did not draw."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dljax.datasets import check as checked_data
from dljax.keys import stream
from dljax.learners import Learner, average
from dljax.named import Study
from dljax.predict import log_probabilities
from dljax.resampling.held_out import (
    checked_names,
    each_cell,
    fit_and_predict,
    held_out,
    run_key,
)
from dljax.splits import Rows, Split, bootstrap
from dljax.studies import study
from dljax.types import Batch, Data, Metrics, PyTree


class Bagged(NamedTuple):
    """What all bags say of the rows that they did not draw; leaves on the host.

    Attributes:
      study: Axes [*axes, bag] and its results, as of `CrossValidated` with bags for folds.
      predictions: Out-of-bag prediction, the average over the bags that did not draw the row:
        log-probabilities of classes, float[*axes, N, C], or numbers, [*axes, N, ...]; NaN where
        all bags drew it.
      count: Number of those bags, int32[*axes, N].
      scores: What the learner measures of them, {name: float[*axes]}, over the rows that some bag
        did not draw.
      test: The average over all bags, [*axes, B, ...]; `None` without `test`.
    """

    study: Study
    predictions: np.ndarray
    count: np.ndarray
    scores: Metrics
    test: np.ndarray | None


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
    check: Callable[..., None] | None = None,
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
      outputs: What is averaged: "classes", the probabilities of logits [B, C] or [B, 1], or
        "numbers", the outputs themselves.
      split: `split(key, N) -> Split` with the bag as `train` and the rest as `valid`, such as
        `dj.bootstrap`, `dj.poisson_bootstrap` or `partial(dj.holdout, valid=0.5)` (subagging).
      axes: Further axes, as in `cross_validate`; bags of one "repeat" are the same.
      test: Rows that all fits predict too, leaves [B, ...].
      keep: `keep(model)`, leaves of which come back as "kept" of the study, [*axes, bag, ...].
      check: As in `cross_validate`.
      **how: `width`, `mesh`, `out` and `progress` of `dj.study`.

    Raises:
      DataError: If the data are not fit for training.
      ValueError: If `outputs` is neither, or what `dj.study` raises.
    """
    if outputs not in ("classes", "numbers"):
        raise ValueError(f"outputs must be classes or numbers, got {outputs!r}.")
    (check or checked_data)(data)
    learners = dict(learner) if isinstance(learner, Mapping) else {"": learner}
    axes = {**checked_names(axes, "bag"), "bag": np.arange(num_bags)}

    member = _member(split, keep)
    found = study(member, data, test, axes=axes, static={"learner": learners}, **how)
    found = found if isinstance(learner, Mapping) else found.at(learner=0)
    first = next(iter(learners.values()))
    return _out_of_bag(found, first, data, outputs)


@lru_cache(maxsize=32)
def _member(split: Callable, keep: Callable | None) -> Callable:
    """Makes the member; the same of the same arguments, so that a second call compiles nothing."""

    def member(data, test, *, learner, bag, seed=0, repeat=0, **numbers):
        bags = stream(jax.random.key(0), "bags", repeat)
        parts = split(stream(bags, "bag", bag), len(jax.tree.leaves(data)[0]))
        key = stream(run_key(seed), "bag", repeat, bag)
        return fit_and_predict(learner, key, data, parts, test, keep, numbers)

    return member


def _out_of_bag(found: Study, learner: Learner, data: Data, kind: str) -> Bagged:
    results, lead = found.results, found.results["count"].shape[:-1]
    outputs, num_rows = results["outputs"], len(jax.tree.leaves(data)[0])
    results = {**results, "outputs": _averaged(outputs, kind)}
    shape = results["outputs"].shape[len(lead) + 2 :]
    total, count = np.zeros((*lead, num_rows, *shape)), np.zeros((*lead, num_rows), np.int32)
    for cell in each_cell(found):
        rows, values = held_out(results, cell)
        total[cell[:-1]][rows] += values
        count[cell[:-1]][rows] += 1
    with np.errstate(invalid="ignore"):  # 0 / 0 of a row that all bags drew
        mean = total / count.reshape(*count.shape, *[1] * len(shape))
    predictions = _as_outputs(mean, kind)

    def of_rows(predictions, count):
        rows = Rows(jnp.arange(num_rows), jnp.int32(num_rows), (count > 0).astype(jnp.float32))
        return average(learner, predictions, data, rows)

    flat = predictions.reshape(-1, *predictions.shape[len(lead) :])
    scores = jax.vmap(of_rows)(flat, count.reshape(-1, num_rows))
    scores = {name: np.asarray(x).reshape(lead) for name, x in scores.items()}
    test = results.get("test")
    if test is not None:
        test = _as_outputs(_averaged(test, kind).mean(axis=len(lead)), kind)
    return Bagged(found, predictions, count, scores, test)


def _averaged(outputs: np.ndarray, kind: str) -> np.ndarray:
    """What an ensemble averages: probabilities or numbers, in float64."""
    outputs = np.exp(log_probabilities(outputs)) if kind == "classes" else outputs
    return np.asarray(outputs, np.float64)


def _as_outputs(mean: np.ndarray, kind: str) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return (np.log(mean) if kind == "classes" else mean).astype(np.float32)
