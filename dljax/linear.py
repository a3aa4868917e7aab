"""Linear learners that a solve fits: small yardsticks, and what stacking puts on top."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax import losses
from dljax.errors import require, require_whole
from dljax.learners import Learner
from dljax.linalg import matmul, solve_positive
from dljax.sums import sum_by_halves


def ridge(
    l2: ArrayLike = 1.0,
    *,
    num_classes: int | None = None,
    metrics: Mapping[str, Callable[[Any, jax.Array], jax.Array]] | None = None,
) -> Learner:
    """Fits a linear function by weighted least squares; Hoerl & Kennard 1970, Technometrics 12(1).

        sum_i w_i |y_i - b - A^T x_i|^2 + l2 |A|^2  is smallest:
        A = (X^T W X + l2 I)^-1 X^T W Y,  b = mean(y) - A^T mean(x)

    of differences X and Y from the weighted means. Of classes the y_i are unit vectors: multi-
    response linear regression, which Ting & Witten 1999, J. Artif. Intell. Res. 10, put on top of
    stacked classifiers.

    Args:
      l2: Penalty, >= 0, in units of the weights times x squared; `fit` takes it, too, by this
        name, so that it may be an axis. 0 with inputs that depend on each other gives NaN.
      num_classes: `None` where data["y"] are numbers, float[N]; else C >= 2 of classes int[N].
      metrics: Further measures by name, `metric(outputs, y) -> float[B]`; "loss" is always
        measured, |y - f|^2, and of classes "accuracy".

    Returns:
      A learner of data["x"], [N, ...], whose outputs are float[B], or float[B, C], of which the
      largest is the class; its model is {"A": float[D] or float[D, C], "b": float[] or float[C]}.
    """
    require("l2", l2, "[0, inf)")
    if num_classes is not None:
        require_whole("num_classes", num_classes, "[2, inf)")

    def target(y):
        return y if num_classes is None else jax.nn.one_hot(y, num_classes)

    def fit(key, data, split, *, l2=l2):
        index, w = split.train.index, split.train.weight
        X, Y = as_matrix(data["x"])[index], as_matrix(target(jnp.asarray(data["y"])[index]))
        # what has no weight does not matter, whatever it holds
        X, Y = (jnp.where(w[:, None] > 0, x, 0.0) for x in (X, Y))
        mean = lambda x: sum_by_halves(w[:, None] * x) / sum_by_halves(w)  # noqa: E731
        x, y = mean(X), mean(Y)
        X, Y = X - x[None], Y - y[None]
        D = X.shape[1]
        # one product: where XLA makes one of two depends on the width of a tile
        XY = matmul((w[:, None] * X).T, jnp.concatenate([X, Y], axis=1))
        A = solve_positive(XY[:, :D] + l2 * jnp.eye(D, dtype=X.dtype), XY[:, D:])
        b = y - sum_by_halves(x[:, None] * A)
        return {"A": A[:, 0], "b": b[0]} if num_classes is None else {"A": A, "b": b}

    def predict(model, batch):
        f = matmul(as_matrix(batch["x"]), model["A"])
        return f + (model["b"] if num_classes is None else model["b"][None])

    def loss(outputs, y):
        error = (outputs - target(y)) ** 2
        return error if num_classes is None else error.sum(axis=1)

    def measure(outputs, batch):
        accuracy = {} if num_classes is None else {"accuracy": losses.accuracy}
        measures = {"loss": loss, **accuracy, **(metrics or {})}
        return {name: f(outputs, batch["y"]) for name, f in measures.items()}

    return Learner(fit, predict, measure)


def as_matrix(x: ArrayLike) -> jax.Array:
    """Returns what every row holds, [N, ...], side by side: float[N, D], at least float32."""
    x = jnp.asarray(x)
    return x.reshape(len(x), -1).astype(jnp.promote_types(x.dtype, jnp.float32))
