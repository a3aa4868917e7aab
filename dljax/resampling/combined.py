"""Learners made of a learner: several runs of it, or the best of a grid."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dljax.axes import checked_axes, product
from dljax.errors import require_whole, unknown
from dljax.keys import stream
from dljax.learners import Learner, score
from dljax.splits import Rows, Split, kfold
from dljax.splits.rows import without
from dljax.types import PyTree


def ensemble(
    learner: Learner,
    num_members: int,
    combine: Callable[[PyTree], PyTree],
    *,
    bag: Callable[[jax.Array, Rows], Split] | None = None,
) -> Learner:
    """Learns several times from other initial weights and batches, and predicts together.

    A deep ensemble where the learner is a network (Lakshminarayanan et al. 2017,
    arXiv:1612.01474, section 2.4); with a `bag`, bagging (Breiman 1996). To have members as an
    axis, on all devices, make a study over "seed", or call `dj.bagging`.

    Args:
      learner: What is fitted, S times side by side.
      num_members: Number of members S, >= 1.
      combine: `combine(outputs) -> outputs`, from leaves [S, B, ...] to [B, ...]: of log-
        probabilities `dj.predict.mixture`, of normals `dj.predict.normal_ensemble`.
      bag: `bag(key, rows) -> Split`, such as `dj.bootstrap`, draws the rows of each member from
        the training rows; `None` gives all to all.

    Returns:
      A learner whose model has leaves [S, ...].
    """
    require_whole("num_members", num_members, "[1, inf)")

    def fit(key, data, split, **numbers):
        def one(member):
            train = split.train
            if bag is not None:
                train = bag(stream(key, "bag", member), train).train
            return learner.fit(
                stream(key, "member", member), data, split._replace(train=train), **numbers
            )

        return jax.vmap(one)(jnp.arange(num_members))

    def predict(models, batch):
        return combine(jax.vmap(learner.predict, (0, None))(models, batch))

    return learner._replace(fit=fit, predict=predict)


def tuned(
    learner: Learner,
    grid: Mapping[str, Any],
    num_folds: int,
    *,
    by: str,
    largest: bool = False,
    split: Callable[..., Split] = kfold,
) -> Learner:
    """Chooses numbers by cross-validation on the training rows, and fits these again.

    Under `cross_validate` this is nested cross-validation in one program: the inner folds and
    the grid run side by side inside the member, and what is held out outside decides nothing.

    Args:
      learner: What is fitted: at every point of the grid and inner fold, then once more.
      grid: Axes as of `dj.study`, such as dict(learning_rate=np.logspace(-4, -1, 7)); G points.
      num_folds: Number of inner folds K.
      by: Name of the measure that decides, the mean over folds of the mean over a fold's rows.
      largest: Whether the largest is the best. A mean that is not finite never wins; folds
        without rows do not count.
      split: As of `cross_validate`, called with `split(key, rows, num_folds=K, fold=fold)` and
        the outer training rows; a random hold-out is `lambda key, rows, num_folds, fold:
        dj.holdout(dj.stream(key, "fold", fold), rows, valid=0.2)` and one fold.

    Returns:
      A learner whose model is {"model": of the chosen numbers, "chosen": position in the grid,
      int32[], the last axis running fastest, "numbers": {name: value}, "scores": float[G]}; where
      no score is finite, "chosen" is -1 and predictions are NaN.

    Raises:
      ValueError: If an axis of the grid is empty, not finite or holds a value twice.
    """
    require_whole("num_folds", num_folds, "[1, inf)")
    cells = product(checked_axes(grid))
    num_points = len(jax.tree.leaves(cells)[0])
    point, fold = (x.ravel() for x in np.indices((num_points, num_folds)))
    at = lambda i: jax.tree.map(lambda x: jnp.asarray(x)[i], cells)  # noqa: E731

    def fit(key, data, outer, **numbers):
        twice = sorted(set(cells) & set(numbers))
        if twice:
            raise ValueError(f"{twice[0]!r} must be in the grid or an axis, got both.")

        def one(point, fold):
            folds = stream(key, "inner folds")
            inner = split(folds, outer.train, num_folds=num_folds, fold=fold)
            # a row that a bag drew twice is in one part only
            train = without(inner.train, inner.valid, len(jax.tree.leaves(data)[0]))
            model = learner.fit(key, data, Split(train), **at(point), **numbers)
            measured = score(learner, model, data, inner.valid)
            if by not in measured:
                raise unknown("measure", by, measured)
            return measured[by], inner.valid.count > 0

        scores, there = (x.reshape(num_points, -1) for x in jax.vmap(one)(point, fold))
        scores = jnp.where(there, scores, 0.0).sum(axis=1) / there.sum(axis=1)
        usable = jnp.isfinite(scores)
        best = jnp.argmin(jnp.where(usable, -scores if largest else scores, jnp.inf))
        model = learner.fit(key, data, Split(outer.train), **at(best), **numbers)
        chosen = jnp.where(usable.any(), best, -1).astype(jnp.int32)
        return {"model": model, "chosen": chosen, "numbers": at(best), "scores": scores}

    def predict(model, batch):
        outputs = learner.predict(model["model"], batch)
        return jax.tree.map(lambda x: jnp.where(model["chosen"] >= 0, x, jnp.nan), outputs)

    return learner._replace(fit=fit, predict=predict)
