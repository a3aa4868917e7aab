"""Losses and measures of single examples: `[B, ...] -> [B]`, never averaged here."""

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.errors import require


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Negative log-likelihood of the class, -log softmax(logits)[label].

    Args:
      logits: float[B, C].
      labels: Classes in [0, C), int[B].

    Returns:
      Nats, float[B].
    """
    chex.assert_rank([logits, labels], [2, 1])
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]


def binary_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Negative log-likelihood of two classes from one logit.

        y log(1 + exp(-z)) + (1 - y) log(1 + exp(z))

    Args:
      logits: Log-odds of class 1, z, float[B] or float[B, 1].
      labels: Classes y, 0 or 1, int[B].

    Returns:
      Nats, float[B].
    """
    z = _one_output(logits, labels)
    return labels * jax.nn.softplus(-z) + (1 - labels) * jax.nn.softplus(z)


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Squared error (f - y)^2, float[B], of outputs float[B] or float[B, 1]; targets float[B]."""
    return (_one_output(outputs, targets) - targets) ** 2


def absolute_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Absolute error |f - y|, float[B], of outputs float[B] or float[B, 1]; targets float[B]."""
    return jnp.abs(_one_output(outputs, targets) - targets)


def huber(outputs: jax.Array, targets: jax.Array, *, delta: ArrayLike = 1.0) -> jax.Array:
    """Huber's loss of r = f - y; Huber 1964, Ann. Math. Statist. 35.

        r^2 / 2                   where |r| <= delta
        delta (|r| - delta / 2)   elsewhere

    Args:
      outputs: f, float[B] or float[B, 1].
      targets: y, float[B].
      delta: Where the square turns into a line, > 0, in units of the targets.

    Returns:
      float[B].
    """
    require("delta", delta, "(0, inf)")
    r = jnp.abs(_one_output(outputs, targets) - targets)
    return jnp.where(r <= delta, r**2 / 2, delta * (r - delta / 2))


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Says whether the likeliest class is the label: 0 or 1, float32[B].

    Args:
      logits: float[B, C]; or the log-odds of class 1, float[B] or float[B, 1].
      labels: Classes, int[B].
    """
    if logits.ndim == 2 and logits.shape[1] > 1:
        guess = jnp.argmax(logits, axis=1)
    else:
        guess = _one_output(logits, labels) > 0
    # NaN logits have no likeliest class: their accuracy is NaN, not that of class 0
    known = jnp.isfinite(logits).reshape(labels.shape[0], -1).all(axis=1)
    return jnp.where(known, (guess == labels).astype(jnp.float32), jnp.nan)


def _one_output(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    chex.assert_rank(targets, 1)
    outputs = outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs
    chex.assert_equal_shape([outputs, targets])
    return outputs
