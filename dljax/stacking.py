"""Several learners of one kind of outputs as one: they vote, or another learns from them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax import trees
from dljax.errors import require, require_whole
from dljax.keys import stream
from dljax.learners import Learner
from dljax.predict import log_probabilities
from dljax.splits import Split, kfold
from dljax.splits.rows import pick, real_entries, without
from dljax.types import Batch, Data, PyTree

RULES = ("soft", "hard")
OUTPUTS = ("classes", "numbers")
LEAST = -23 * math.log(2)  # log of the eps of float32, for a class without any votes


def voting(
    learners: Mapping[str, Learner],
    *,
    rule: str = "soft",
    weights: Mapping[str, ArrayLike] | None = None,
) -> Learner:
    """Averages the probabilities of classifiers, or counts their votes.

        soft:  p_c = sum_l a_l p_lc / sum_l a_l
        hard:  p_c = sum_l a_l [argmax_k p_lk = c] / sum_l a_l

    The class is the first of the largest p_c, as in scikit-learn's `VotingClassifier`.

    Args:
      learners: What is fitted, by name; each draws from `stream(key, "learner " + name)`, and gets
        the numbers that `fit` is given. Outputs are logits, float[B, C].
      rule: "soft" or "hard".
      weights: a_l >= 0 of every learner by name, not all 0; all alike by default.

    Returns:
      A learner whose outputs are log p, float[B, C], -inf of a class without votes, NaN where one
      of the learners has NaN. It measures what the first learner does; its model is {name: model}.

    Raises:
      ValueError: If a rule, a name or a weight is wrong, or (at the first trace) a learner has
        other outputs.
    """
    _check_there(learners)
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}.")
    weights = dict.fromkeys(learners, 1.0) if weights is None else dict(weights)
    if set(weights) != set(learners):
        raise ValueError(f"weights must name {sorted(learners)}, got {sorted(weights)}.")
    for name, weight in weights.items():
        require(f"the weight of {name}", weight, "[0, inf)")
    require("the sum of the weights", sum(weights.values()), "(0, inf)")
    share = votes if rule == "hard" else lambda outputs: jax.nn.softmax(_of_classes(outputs))

    def fit(key, data, split, **numbers):
        return _fit_all(learners, key, data, split, numbers)

    def predict(models, batch):
        p = sum(weights[k] * share(l.predict(models[k], batch)) for k, l in learners.items())
        return jnp.log(p / sum(weights.values()))

    return Learner(fit, predict, next(iter(learners.values())).measure)


def votes(outputs: jax.Array) -> jax.Array:
    """Returns the unit vectors of the first of the largest logits, float[B, C]; NaN of NaN."""
    outputs = _of_classes(outputs)
    vote = jax.nn.one_hot(outputs.argmax(axis=1), outputs.shape[1], dtype=outputs.dtype)
    return jnp.where(jnp.isnan(outputs).any(axis=1, keepdims=True), jnp.nan, vote)


def stacked(
    learners: Mapping[str, Learner],
    meta: Learner,
    num_folds: int,
    *,
    outputs: str,
    split: Callable[..., Split] = kfold,
) -> Learner:
    """Learns from what learners say of rows they did not see; Wolpert 1992, Neural Networks 5(2).

    Every learner is fitted to the training rows without a fold and predicts this fold; `meta`
    learns data["y"] from these outputs side by side. For new rows the learners, fitted once more
    to all training rows, give the inputs of `meta`. A row that occurs several times is left out
    of a fit with all its entries; a row that no fold holds out does not train `meta`.

    Args:
      learners: What is fitted, K + 1 times, by name, with keys and numbers as in `voting`.
      meta: Sees data whose "x" is float[N, F], F outputs of all learners in their order, and all
        other arrays as they are, such as `dj.ridge()`; its numbers are its own.
      num_folds: Number of inner folds K.
      outputs: What is learnt from: "classes", log-probabilities of logits [B, C] or [B, 1], none
        below log 2^-23, or "numbers", outputs [B, ...] themselves.
      split: As of `dj.tuned`, called with `split(key, rows, num_folds=K, fold=fold)` and the
        training rows.

    Returns:
      A learner that predicts and measures as `meta` does, with the model {"learners": {name:
      model}, "meta": model}.

    Raises:
      ValueError: If there is no learner, `num_folds` is below 1 or `outputs` is neither.
    """
    _check_there(learners)
    require_whole("num_folds", num_folds, "[1, inf)")
    if outputs not in OUTPUTS:
        raise ValueError(f"outputs must be one of {', '.join(OUTPUTS)}, got {outputs!r}.")

    def inputs(models: PyTree, batch: Batch) -> jax.Array:
        z = [_columns(l.predict(models[name], batch), outputs) for name, l in learners.items()]
        return jnp.concatenate(z, axis=1)

    def fit(key, data, outer, **numbers):
        train, num_rows = outer.train, len(jax.tree.leaves(data)[0])

        def one_fold(fold):
            inner = split(stream(key, "inner folds"), train, num_folds=num_folds, fold=fold)
            seen = without(inner.train, inner.valid, num_rows)
            models = _fit_all(learners, key, data, Split(seen), numbers)
            rows = jnp.where(real_entries(inner.valid), inner.valid.index, num_rows)
            return rows, inputs(models, trees.take_rows(data, inner.valid.index))

        rows, z = jax.vmap(one_fold)(jnp.arange(num_folds))
        rows, z = rows.ravel(), z.reshape(rows.size, -1)
        # where each row of the data was first held out: one place, in whatever order it is sought
        place = jnp.full(num_rows, rows.size).at[rows].min(jnp.arange(rows.size), mode="drop")
        z = z.at[place].get(mode="fill", fill_value=jnp.nan)
        known = real_entries(train) & (place[train.index] < rows.size)
        train = pick(train, known, len(train.index))
        models = _fit_all(learners, key, data, Split(outer.train), numbers)
        top = meta.fit(stream(key, "meta"), {**data, "x": z}, Split(train))
        return {"learners": models, "meta": top}

    def predict(model, batch):
        z = inputs(model["learners"], batch)
        return meta.predict(model["meta"], {**batch, "x": z})

    return Learner(fit, predict, meta.measure)


def _fit_all(
    learners: Mapping[str, Learner],
    key: jax.Array,
    data: Data,
    split: Split,
    numbers: Mapping[str, Any],
) -> dict[str, PyTree]:
    return {
        name: learner.fit(stream(key, f"learner {name}"), data, split, **numbers)
        for name, learner in learners.items()
    }


def _columns(outputs: jax.Array, kind: str) -> jax.Array:
    """What a learner gives to another one, float[B, F]."""
    outputs = outputs.reshape(len(outputs), -1)
    if kind == "numbers":
        return outputs
    return jnp.maximum(log_probabilities(outputs), LEAST)


def _of_classes(outputs: jax.Array) -> jax.Array:
    if jnp.ndim(outputs) != 2 or outputs.shape[1] < 2:
        raise ValueError(f"outputs must be logits [B, C], C >= 2, got {jnp.shape(outputs)}.")
    return outputs


def _check_there(learners: Mapping[str, Learner]) -> None:
    if not learners:
        raise ValueError("learners must name at least one learner, got none.")
