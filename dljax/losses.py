"""Losses and measures of single examples: `[B, ...] -> [B]`, never averaged here."""

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.errors import require

# A loss that is the negative log-likelihood -log p(y | f) of its outputs f has a Fisher matrix of
# the outputs, F = E_y [grad_f l grad_f l^T] with y ~ p(y | f). A root of it is a function
# `root(f, z) -> B z`, linear in z and shaped like f, with B B^T = F for every example.


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


def _softmax_root(logits: jax.Array, z: jax.Array) -> jax.Array:
    """Root of F = diag(p) - p p^T, the Fisher matrix of `cross_entropy`: B = diag(q) - p q^T."""
    p = jax.nn.softmax(logits)
    q = jnp.sqrt(p)
    return q * z - p * (q * z).sum(axis=-1, keepdims=True)


def _logistic_root(logits: jax.Array, z: jax.Array) -> jax.Array:
    """Root of p (1 - p), the Fisher information of `binary_cross_entropy`."""
    return jnp.sqrt(jax.nn.sigmoid(logits) * jax.nn.sigmoid(-logits)) * z


def _gaussian_root(outputs: jax.Array, z: jax.Array) -> jax.Array:
    """Root of 2: `squared_error` is the -log-likelihood of a normal of variance 1/2."""
    return jnp.sqrt(2.0).astype(z.dtype) * z


def _laplace_root(outputs: jax.Array, z: jax.Array) -> jax.Array:
    """Root of 1: `absolute_error` is the -log-likelihood of a Laplace distribution of scale 1."""
    return z


FISHER_ROOTS = {
    cross_entropy: _softmax_root,
    binary_cross_entropy: _logistic_root,
    squared_error: _gaussian_root,
    absolute_error: _laplace_root,
}


def _one_output(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    chex.assert_rank(targets, 1)
    outputs = outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs
    chex.assert_equal_shape([outputs, targets])
    return outputs
