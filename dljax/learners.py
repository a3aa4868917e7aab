"""What can be resampled: a way of learning from some rows, as two pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dljax import trees
from dljax.errors import require
from dljax.keys import stream
from dljax.predict import eval_variables
from dljax.scaling import Standardizer, standardizer
from dljax.splits import Rows, Split, holdout
from dljax.splits.rows import without
from dljax.stopping import run_until
from dljax.sums import sum_by_halves
from dljax.tasks import Task
from dljax.training import run, trainer
from dljax.types import Batch, Data, Metrics, PyTree


class Learner(NamedTuple):
    """Learns from some rows and predicts others; one run, for the caller to map.

    Attributes:
      fit: `fit(key, data, split, **numbers) -> model`, a tree of arrays, learnt from the rows of
        `split.train` with their weights; `split.valid`, where it is there, may stop or select.
        Numbers such as a learning rate may be traced.
      predict: `predict(model, batch) -> outputs`, leaves [B, ...]; NaN of a run that diverged.
      measure: `measure(outputs, batch) -> {name: float[B, ...]}`, what scores average over rows.
    """

    fit: Callable[..., PyTree]
    predict: Callable[[PyTree, Batch], Any]
    measure: Callable[[Any, Batch], Metrics]


def learner(
    task: Task,
    optimizer: Callable[..., optax.GradientTransformation],
    *,
    num_steps: int | None = None,
    num_epochs: int | None = None,
    batch_size: int | None = None,
    order: str = "reshuffle",
    patience: int | None = None,
    stop_on: Callable[[jax.Array, Rows], Split] = holdout,
) -> Learner:
    """Learns a task by a number of steps, or epochs, of an optimizer: `trainer` and `run`.

    With `patience`, by `run_until`: the loss of some of the training rows, held out for it, is
    evaluated after every epoch, and the best parameters are kept. Members of a population stop
    each by itself. A run that diverges before it stops predicts NaN all the same, and so does one
    without rows to train on or to stop by.

    Args:
      task: What is learnt; its `measure` scores.
      optimizer: `optimizer(**numbers)` gives the transformation, such as `dj.optimizers.adam`;
        the numbers are those that `fit` is given, `learning_rate` among them.
      num_steps: Slots of the batch order to go through, >= 1; or
      num_epochs: Times to go through the table of training rows, >= 1, in ceil(M / batch_size)
        slots each, so that smaller tables take fewer steps.
      batch_size: See `trainer`.
      order: See `trainer`.
      patience: Epochs in a row without a lower loss after which a run stops, >= 1; it comes with
        `num_epochs`, which are those at most. `None` never stops early.
      stop_on: `stop_on(key, rows) -> Split` of the training rows: `valid` stops, and entries of
        the same rows of the data leave `train`; batches and epochs are of what remains. A random
        fifth by default, so rows of one group may do both:
        `partial(dj.group_kfold, num_folds=5, fold=0, groups=g, num_groups=G)` keeps them apart.
        Not called where `fit` is given a split with `valid`, which then stops.

    Returns:
      A learner whose model is {"variables": those to evaluate, "diverged_at": int32[]}, with
      "best_step" and "stopped_at" of `run_until` where there is patience.

    Raises:
      ValueError: If not one of `num_steps` and `num_epochs` is given, or patience without epochs
        or below 1; in `fit`, if `stop_on` holds no rows out.
    """
    if (num_steps is None) == (num_epochs is None):
        raise ValueError(
            f"either num_steps or num_epochs must be given, got {num_steps} and {num_epochs}."
        )
    if patience is not None:
        require("patience", patience, "[1, inf)")
        if num_epochs is None:
            raise ValueError("patience counts epochs: it must come with num_epochs, got num_steps.")

    def fit(key, data, split, **numbers):
        if patience is not None and split.valid is None:
            split = _with_rows_to_stop(stop_on(stream(key, "stop"), split.train), data)
        size, parts = split.train.index.shape[0], () if patience is None else ("valid",)
        an_epoch = -(-size // (batch_size or size))
        fit = trainer(
            task, optimizer(**numbers), data, split, batch_size=batch_size, order=order, parts=parts
        )
        state, last = fit.init(key), num_steps or num_epochs * an_epoch
        if patience is None:
            state, _ = run(fit, state, num_steps=last)
            return {"variables": eval_variables(state), "diverged_at": state.diverged_at}
        best, told = run_until(fit, state, max_steps=last, eval_every=an_epoch, patience=patience)
        has_rows = (split.train.count > 0) & (sum_by_halves(split.valid.weight) > 0)
        return {
            "variables": eval_variables(best),
            "diverged_at": jnp.where(has_rows, told["diverged_at"], 0),
            "best_step": told["best_step"],
            "stopped_at": told["stopped_at"],
        }

    def predict(model, batch):
        outputs, _ = task.predict(model["variables"], batch)
        return jax.tree.map(lambda x: jnp.where(model["diverged_at"] < 0, x, jnp.nan), outputs)

    return Learner(fit, predict, task.measure)


def scaled(
    learner: Learner,
    *,
    inputs: tuple[str, ...] = ("x",),
    target: str | None = None,
    restore: Callable[[Any, Standardizer], Any] | None = None,
) -> Learner:
    """Standardises arrays of the data by the rows that `fit` is given to train, inside every fit.

    Args:
      learner: Sees standardised arrays, in `fit` and in `predict`.
      inputs: Names of the arrays that predictions are made from.
      target: Name of an array that is learnt in units of its own standard deviation, such as "y".
      restore: `restore(outputs, scale) -> outputs` in units of the target; by default
        mean + sd f, of outputs float[B] or float[B, 1].

    Returns:
      A learner whose predictions and measures are in the units of the data; its model is
      {"scales": {name: `Standardizer`}, "model": that of `learner`}.
    """
    restore = _restored if restore is None else restore

    def apply(scales: dict[str, Standardizer], data: Data) -> Data:
        scaled = {k: (data[k] - s.mean[None]) / s.sd[None] for k, s in scales.items()}
        return {**data, **scaled}

    def fit(key, data, split, **numbers):
        names = inputs if target is None else (*inputs, target)
        scales = {name: standardizer(data[name], split.train) for name in names}
        model = learner.fit(key, apply(scales, data), split, **numbers)
        return {"scales": scales, "model": model}

    def predict(model, batch):
        scales = {name: model["scales"][name] for name in inputs}
        outputs = learner.predict(model["model"], apply(scales, batch))
        return outputs if target is None else restore(outputs, model["scales"][target])

    return learner._replace(fit=fit, predict=predict)


def score(learner: Learner, model: PyTree, data: Data, rows: Rows) -> Metrics:
    """Returns what a learner measures over some rows, {name: float[...]}, by their weights."""
    return average(learner, learner.predict(model, trees.take_rows(data, rows.index)), data, rows)


def average(learner: Learner, outputs: Any, data: Data, rows: Rows) -> Metrics:
    """Averages what a learner measures of the outputs for some rows, leaves [M, ...].

    Rows of weight 0, padding among them, count for nothing, whatever their outputs; a table
    without rows has NaN.
    """
    measured = learner.measure(outputs, trees.take_rows(data, rows.index))

    def mean(x):
        w = rows.weight.reshape(-1, *[1] * (x.ndim - 1))
        return sum_by_halves(jnp.where(w > 0, w * x, 0.0)) / sum_by_halves(rows.weight)

    return {name: mean(values) for name, values in measured.items()}


def _with_rows_to_stop(split: Split, data: Data) -> Split:
    if split.valid is None:
        raise ValueError("stop_on must hold rows out as `valid`, got rows that train alone.")
    train = without(split.train, split.valid, len(jax.tree.leaves(data)[0]))
    return Split(train, split.valid)


def _restored(outputs: jax.Array, scale: Standardizer) -> jax.Array:
    return scale.mean + scale.sd * outputs
