"""Scores of class probabilities, of each row: average them with the weights that the rows have."""

import jax
import jax.numpy as jnp

from dljax.predict.checks import checked_classes


def log_probabilities(logits: jax.Array) -> jax.Array:
    """Turns what a classifier puts out into log-probabilities.

    Args:
      logits: float[..., C]; or the log-odds of class 1, float[..., 1].

    Returns:
      float[..., C], or float[..., 2].
    """
    if logits.shape[-1] > 1:
        return jax.nn.log_softmax(logits)
    both = jnp.concatenate([-logits, logits], axis=-1)
    return jax.nn.log_sigmoid(both)


def accuracy(log_p: jax.Array, labels: jax.Array) -> jax.Array:
    """Says whether the likeliest class, the first of several, is the label: 0 or 1, float32[N].

    Args:
      log_p: Log-probabilities, float[N, C].
      labels: Classes in [0, C), int[N].

    Raises:
      ValueError: If concrete rows do not sum to 1 (NaN included) or labels are no classes. So
        does every function of `dj.predict` that takes these two.
    """
    log_p, labels = checked_classes(log_p, labels)
    right = jnp.argmax(log_p, axis=1) == labels
    return jnp.where(jnp.isnan(log_p).any(axis=1), jnp.nan, right.astype(jnp.float32))


def nll(log_p: jax.Array, labels: jax.Array) -> jax.Array:
    """Negative log-likelihood -log p_y, the logarithmic score; Good 1952, J. R. Stat. Soc. B 14.

    Args:
      log_p: Log-probabilities, float[N, C].
      labels: Classes y in [0, C), int[N].

    Returns:
      Nats, float[N]; inf where the label had probability 0.
    """
    log_p, labels = checked_classes(log_p, labels)
    return -jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]


def brier(log_p: jax.Array, labels: jax.Array) -> jax.Array:
    """Brier's score of all classes, in [0, 2]; Brier 1950, Mon. Weather Rev. 78.

        sum_c (p_c - [c = y])^2

    With two classes it is twice the score (p_1 - y)^2 that some write.

    Args:
      log_p: Log-probabilities, float[N, C].
      labels: Classes y in [0, C), int[N].

    Returns:
      float[N].
    """
    log_p, labels = checked_classes(log_p, labels)
    y = jax.nn.one_hot(labels, log_p.shape[1], dtype=log_p.dtype)
    return ((jnp.exp(log_p) - y) ** 2).sum(axis=1)
