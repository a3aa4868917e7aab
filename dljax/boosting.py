"""Boosting: fits that follow one another, each to what those before it got wrong."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax import trees
from dljax.errors import require, require_whole
from dljax.keys import stream
from dljax.learners import Learner
from dljax.splits import Rows, subset
from dljax.stacking import votes
from dljax.sums import sum_by_halves
from dljax.types import Batch, PyTree

LONGEST = 10.0  # of a line search: residuals of classes that can be told apart ask for infinity
HALVINGS = 48  # of an interval: more than the digits of float32


def adaboost(
    learner: Learner, num_rounds: int, *, num_classes: int, shrinkage: ArrayLike = 1.0
) -> Learner:
    """Multi-class AdaBoost, SAMME; Zhu, Zou, Rosset & Hastie 2009, Stat. Interface 2, Algorithm 2.

        error = sum_i w_i [y_i != G_r(x_i)] / sum_i w_i
        alpha = shrinkage (log((1 - error) / error) + log(C - 1))
        w_i  <- w_i exp(alpha [y_i != G_r(x_i)]),   then scaled to the sum that it had
        f_c   = sum_r alpha_r (1 where G_r(x) = c, else -1 / (C - 1)) / sum_r alpha_r
        log p = log softmax(f / (C - 1))

    The weights belong to entries of the table of training rows and begin as its own; a loss keeps
    its scale. A round that is no better than chance, alpha <= 0, ends boosting and is left out; a
    round without an error ends it too and has alpha = 1: both as in scikit-learn, as is p, whose
    f is a share of votes, so p ranks and does not say how often it is right.

    Args:
      learner: A classifier, whose outputs are logits float[B, C]; round r draws from
        `stream(key, "round", r)`, and all rounds get the numbers that `fit` is given.
      num_rounds: Number of rounds R, >= 1; all are computed, also after the end.
      num_classes: Number of classes C, >= 2, of data["y"], int[N] in [0, C).
      shrinkage: Of every alpha, > 0; `fit` takes it, too, by this name.

    Returns:
      A learner whose outputs are log p, float[B, C], NaN where a round in use has NaN outputs or
      the first was no better than chance. Its model is {"models": of all rounds, [R, ...],
      "weight": alpha, float[R], 0 of rounds left out, "error": float[R]}.

    Raises:
      ValueError: If a number is out of its range, or (at the first trace) labels or outputs are.
    """
    require_whole("num_rounds", num_rounds, "[1, inf)")
    require_whole("num_classes", num_classes, "[2, inf)")
    require("shrinkage", shrinkage, "(0, inf)")

    def vote(model, batch):
        G = votes(learner.predict(model, batch))
        if G.shape[1] != num_classes:
            raise ValueError(f"outputs must be of {num_classes} classes, got {G.shape[1]}.")
        return G

    def fit(key, data, split, *, shrinkage=shrinkage, **numbers):
        _check_labels(data["y"], num_classes)
        rows, batch = split.train, trees.take_rows(data, split.train.index)

        def one_round(state, r):
            w, goes_on = state
            parts = split._replace(train=rows._replace(weight=w))
            model = learner.fit(stream(key, "round", r), data, parts, **numbers)
            G = vote(model, batch)
            wrong = 1 - jnp.take_along_axis(G, batch["y"][:, None], axis=1)[:, 0]
            error = _total(w, wrong) / sum_by_halves(w)
            # the barriers keep the logarithm from being rounded as the width of a tile suggests
            odds = jax.lax.optimization_barrier((1 - error) / error * (num_classes - 1))
            alpha = shrinkage * jax.lax.optimization_barrier(jnp.log(odds))
            perfect = error <= 0
            alpha = jnp.where(perfect, 1.0, alpha)
            alpha = jnp.where(goes_on & ~(alpha <= 0), alpha, 0.0).astype(w.dtype)
            w = jnp.where((alpha == 0) | perfect, w, _raised(w, wrong, alpha))
            return (w, (alpha != 0) & ~perfect), (model, alpha, error)

        start = rows.weight, jnp.bool_(True)
        _, (models, alpha, error) = jax.lax.scan(one_round, start, jnp.arange(num_rounds))
        return {"models": models, "weight": alpha, "error": error}

    def predict(model, batch):
        G = jax.vmap(vote, (0, None))(model["models"], batch)
        alpha = model["weight"]
        share = _total(alpha, G) / sum_by_halves(alpha)
        f = (num_classes * share - 1) / (num_classes - 1)
        return jax.nn.log_softmax(f / (num_classes - 1))

    return Learner(fit, predict, learner.measure)


def gradient_boosting(
    learner: Learner,
    num_rounds: int,
    *,
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    metrics: Mapping[str, Callable[[jax.Array, jax.Array], jax.Array]] | None = None,
    num_outputs: int | None = None,
    shrinkage: ArrayLike = 0.1,
    subsample: float | None = None,
) -> Learner:
    """Gradient boosting; Friedman 2001, Ann. Statist. 29(5), 1189-1232, Algorithm 1.

        F_0 = argmin_c sum_i w_i loss(c, y_i)
        h_r = fit by least squares to the residuals -d loss / d F at F_{r-1}
        rho = argmin_{0 <= rho <= 10} sum_i w_i loss(F_{r-1}(x_i) + rho h_r(x_i), y_i)
        F_r = F_{r-1} + shrinkage rho h_r

    Both minima are found by bisection of the derivative, to the last digits of float32, so a
    convex loss never rises on the rows that train, however well h_r fits; with `subsample` h_r
    and rho are of the rows that the round drew, and on the others the loss may rise. Of several
    outputs every one has its own h_r (Algorithm 6), all have one rho, and F_0 is 0.

    Args:
      learner: A regression, whose outputs are float[B] or float[B, 1]; it sees residuals as
        data["y"], float[N], and draws from `stream(key, "round", r, output)`.
      num_rounds: Number of rounds R, >= 1.
      loss: `loss(outputs, y) -> float[B]`, convex, such as those of `dj.losses`.
      metrics: Further measures by name, each like `loss`; "loss" itself is always measured.
      num_outputs: Columns K of the outputs, such as classes; `None` is outputs float[B].
      shrinkage: In (0, 1]; `fit` takes it, too, by this name.
      subsample: Draws so many of the rows anew for every round, a fraction or a number as in
        `dj.subset`: stochastic gradient boosting, Friedman 2002, Comput. Stat. Data Anal. 38(4).

    Returns:
      A learner whose outputs are F, float[B] or float[B, K], NaN where a round has NaN. Its model
      is {"start": F_0, float[K], "models": [R, K, ...], "weight": shrinkage rho, float[R]}."""
    require_whole("num_rounds", num_rounds, "[1, inf)")
    require("shrinkage", shrinkage, "(0, 1]")
    if num_outputs is not None:
        require_whole("num_outputs", num_outputs, "[1, inf)")
    K = 1 if num_outputs is None else num_outputs
    as_outputs = (lambda F: F[:, 0]) if num_outputs is None else (lambda F: F)
    gradient = jax.grad(lambda F, y: loss(as_outputs(F), y).sum())

    def fit(key, data, split, *, shrinkage=shrinkage, **numbers):
        y = jnp.asarray(data["y"])

        def one_round(F, r):
            rows = split.train
            if subsample is not None:
                rows = subset(stream(key, "rows", r), rows, subsample)
            parts, residuals = split._replace(train=rows), -gradient(F, y)

            def one_output(k, residual):
                draws = stream(key, "round", r, k)
                return learner.fit(draws, {**data, "y": residual}, parts, **numbers)

            models = jax.vmap(one_output, (0, 1))(jnp.arange(K), residuals)
            h = outputs_of(models, data)
            step = (shrinkage * _line_search(gradient, F, h, y, rows)).astype(F.dtype)
            return F + step * h, (models, step)

        start = _constant(gradient, y, split.train) if K == 1 else jnp.zeros(K)
        F = jnp.broadcast_to(start[None], (len(y), K))
        _, (models, step) = jax.lax.scan(one_round, F, jnp.arange(num_rounds))
        return {"start": start, "models": models, "weight": step}

    def outputs_of(models, batch):
        one = lambda model: _column(learner.predict(model, batch), batch)  # noqa: E731
        return jax.vmap(one, out_axes=1)(models)

    def predict(model, batch):
        h = jax.vmap(outputs_of, (0, None))(model["models"], batch)
        return as_outputs(model["start"][None] + _total(model["weight"], h))

    def measure(outputs, batch):
        return {k: f(outputs, batch["y"]) for k, f in {"loss": loss, **(metrics or {})}.items()}

    return Learner(fit, predict, measure)


def staged(learner: Learner, model: PyTree, batch: Batch) -> Any:
    """Returns what the first 1, 2, ..., R rounds predict, [R, B, ...]; the last is `predict`.

    Args:
      learner: Of `adaboost` or `gradient_boosting`.
      model: What its `fit` gave.
      batch: Rows to predict.
    """
    weight = model["weight"]
    r = jnp.arange(len(weight))

    def first(last):  # the fits do not depend on it: all predict once
        return learner.predict({**model, "weight": jnp.where(r <= last, weight, 0.0)}, batch)

    return jax.vmap(first)(r)


def _check_labels(y: jax.Array, num_classes: int) -> None:
    if not jnp.issubdtype(jnp.result_type(y), jnp.integer):
        kind = jnp.result_type(y).name
        raise ValueError(f"y must be integers in [0, {num_classes}), got {kind}.")
    require("y", y, f"[0, {num_classes})")


def _raised(w: jax.Array, wrong: jax.Array, alpha: jax.Array) -> jax.Array:
    """Weights of the next round, float[M], which keep the sum of `w`."""
    raised = jnp.where(w == 0, 0.0, w * jnp.exp(alpha * wrong)).astype(w.dtype)
    return raised * (sum_by_halves(w) / sum_by_halves(raised))


def _column(outputs: jax.Array, batch: Batch) -> jax.Array:
    """What a regression says of every row, float[B]."""
    B, s = len(jax.tree.leaves(batch)[0]), jnp.shape(outputs)
    if s not in ((B,), (B, 1)):
        raise ValueError(f"outputs of the learner must be float[B] or float[B, 1], got shape {s}.")
    return outputs.reshape(B)


def _total(weight: jax.Array, x: jax.Array) -> jax.Array:
    """Returns sum_r weight_r x_r of float[R, ...]; what has weight 0 does not matter."""
    weight = weight.reshape(-1, *[1] * (x.ndim - 1))
    return sum_by_halves(jnp.where(weight == 0, 0.0, weight * x))


def _line_search(
    gradient: Callable, F: jax.Array, h: jax.Array, y: jax.Array, rows: Rows
) -> jax.Array:
    F, h, y = F[rows.index], h[rows.index], y[rows.index]
    slope = lambda rho: _total(rows.weight, (gradient(F + rho * h, y) * h).sum(axis=1))  # noqa: E731
    return _last_descent(slope, 0.0, LONGEST)


def _constant(gradient: Callable, y: jax.Array, rows: Rows) -> jax.Array:
    """The best F_0, float[1]: of numbers between the largest, of log-odds within 20 nats."""
    y = y[rows.index]
    slope = lambda c: _total(rows.weight, gradient(jnp.full((len(y), 1), c), y)[:, 0])  # noqa: E731
    bound = jnp.maximum(jnp.abs(jnp.where(rows.weight == 0, 0.0, y)).max(), 20.0)
    return _last_descent(slope, -bound, bound)[None]


def _last_descent(slope: Callable, low: ArrayLike, high: ArrayLike) -> jax.Array:
    """Finds where an increasing function stops being negative; NaN where it is NaN."""

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        falls = slope(middle) < 0
        return jnp.where(falls, middle, low), jnp.where(falls, high, middle)

    low, high = jnp.asarray(low, float), jnp.asarray(high, float)
    found, _ = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
    return jnp.where(jnp.isnan(slope(low)), jnp.nan, found)
