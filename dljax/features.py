"""Random features and least squares in closed form: a model whose width is all that varies."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax import trees
from dljax.errors import require, require_whole
from dljax.keys import stream
from dljax.learners import Learner
from dljax.linalg import matmul, svd
from dljax.linear import as_matrix
from dljax.types import Batch, Data, Metrics


def random_features(
    width: int, *, ridge: ArrayLike = 0.0, num_classes: int | None = None
) -> Learner:
    """Least squares on random rectifiers; Rahimi & Recht 2008, Belkin et al. 2019.

        phi(x) = relu(W x + b) / sqrt(width),   W_jd, b_j ~ N(0, 1)
        a      = argmin sum_i w_i |y_i - a^T phi(x_i)|^2 + ridge |a|^2

    and of all minima, where there are several, that of least norm |a|: width > rows then
    interpolates. Belkin et al. (PNAS 116, arXiv:1812.11118) call the error's second descent beyond
    width = rows double descent. With R = diag(sqrt w) Phi = U diag(s) V^T,

        a = V diag(s / (s^2 + ridge)) U^T diag(sqrt w) Y,   s > max(rows, width) eps s_1 only,

    from the singular values of R itself, whose Gram matrix has their squares and loses half the
    digits. Near width = rows the smallest are what makes the peak.

    Args:
      width: Number of features, >= 1.
      ridge: Penalty, >= 0, in units of w; as an axis "ridge" it overrides this one.
      num_classes: C, of labels int[N], which are learnt as C numbers, 1 of the class and 0 of the
        others; `None` of numbers.

    Returns:
      A learner of `data["x"]`, [N, ...], which it takes as it is, and `data["y"]`. Outputs
      are float[B, C], no logits, or float[B]; "loss" is the squared error, added over classes,
      "error" 0 or 1. Its model is {"W": float[D, width], "b": float[width], "a": float[width, C]}.
      Every row counts: it never diverges, and takes no steps.

    Raises:
      ValueError: If a number is out of its range.
    """
    require_whole("width", width, "[1, inf)")
    require("ridge", ridge, "[0, inf)")
    if num_classes is not None:
        require_whole("num_classes", num_classes, "[2, inf)")

    def phi(model, batch):
        return (
            jax.nn.relu(matmul(as_matrix(batch["x"]), model["W"]) + model["b"][None]) / width**0.5
        )

    def targets(batch):
        y = batch["y"]
        return as_matrix(y) if num_classes is None else jax.nn.one_hot(y, num_classes)

    def fit(key: jax.Array, data: Data, split: Any, *, ridge: ArrayLike = ridge):
        rows = split.train
        batch = trees.take_rows(data, rows.index)
        x = as_matrix(batch["x"])
        shape = x.shape[1], width
        model = {
            "W": jax.random.normal(stream(key, "W"), shape, x.dtype),
            "b": jax.random.normal(stream(key, "b"), (width,), x.dtype),
        }
        w = rows.weight[:, None]
        weighted = lambda x: jnp.where(w > 0, jnp.sqrt(w).astype(x.dtype) * x, 0.0)  # noqa: E731
        a = _least_squares(weighted(phi(model, batch)), weighted(targets(batch)), ridge)
        return {**model, "a": a}

    def predict(model, batch: Batch):
        outputs = matmul(phi(model, batch), model["a"])
        return outputs[:, 0] if num_classes is None else outputs

    def measure(outputs, batch: Batch) -> Metrics:
        if num_classes is None:
            return {"loss": (outputs - batch["y"]) ** 2}
        wrong = jnp.argmax(outputs, axis=1) != batch["y"]
        loss = ((outputs - targets(batch)) ** 2).sum(axis=1)
        return {"loss": loss, "error": wrong.astype(outputs.dtype)}

    return Learner(fit, predict, measure)


def _least_squares(R: jax.Array, Y: jax.Array, ridge: ArrayLike) -> jax.Array:
    """Minimises |Y - R a|^2 + ridge |a|^2, of least norm; float[width, C]."""
    U, s, Vt = svd(R)
    kept = s > max(R.shape) * jnp.finfo(R.dtype).eps * s[0]
    shrunk = jnp.where(kept, s / jnp.where(kept, s**2 + ridge, 1.0), 0.0)
    return matmul(Vt.T, shrunk[:, None] * matmul(U.T, Y))
