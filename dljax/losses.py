"""Losses and measures of single examples: `[B, ...] -> [B]`, never averaged here."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.errors import require

MIN_VARIANCE = 1e-6  # of `mean_and_variance`: at least this, in squared units of the targets

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


def gaussian_nll(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Negative log-likelihood of a normal whose mean and variance are both learnt.

        log(2 pi v) / 2 + (y - m)^2 / (2 v),  m and v as of `mean_and_variance`

    Lakshminarayanan et al. 2017, arXiv:1612.01474, eq. 1, whose constant log(2 pi) / 2 is in.

    Args:
      outputs: (m, raw) of each example, float[B, 2].
      targets: y, float[B].

    Returns:
      Nats per unit of the targets, float[B]; below 0 where the density is above 1.
    """
    chex.assert_shape(outputs, (*targets.shape, 2))
    chex.assert_rank(targets, 1)
    m, v = mean_and_variance(outputs)
    return (jnp.log(2 * jnp.pi * v) + (targets - m) ** 2 / v) / 2


def mean_and_variance(outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Reads two outputs as a normal, (m, raw) as mean m and variance v.

        v = softplus(raw) + 1e-6

    Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.2.1. The 1e-6 is in squared units of
    the targets: standardize them, as `dj.scaled` does.

    Args:
      outputs: float[..., 2].

    Returns:
      m and v, float[...] each, v > 0.
    """
    chex.assert_axis_dimension(outputs, -1, 2)
    return outputs[..., 0], jax.nn.softplus(outputs[..., 1]) + MIN_VARIANCE


def over_members(loss: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable:
    """Averages a loss over the members of one network, such as of `dj.modules.BatchEnsembleMLP`.

        1/S sum_s l(f_s, y)

    Of a measure it is what a mean member has, not what their ensemble has: see
    `dj.predict.summary`.

    Args:
      loss: `loss(outputs, targets) -> float[B]` of outputs [B, C].

    Returns:
      The same of outputs [B, S, C].
    """

    def mean_loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
        chex.assert_rank(outputs, 3)
        return jax.vmap(loss, (1, None))(outputs, targets).mean(axis=0)

    return mean_loss


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


def _normal_root(outputs: jax.Array, z: jax.Array) -> jax.Array:
    """Root of diag(1 / v, (dv/draw)^2 / (2 v^2)), the Fisher matrix of `gaussian_nll`."""
    _, v = mean_and_variance(outputs)
    slope = jax.nn.sigmoid(outputs[..., 1])  # dv/draw
    return z * jnp.stack([jax.lax.rsqrt(v), slope / (jnp.sqrt(2.0).astype(v.dtype) * v)], axis=-1)


FISHER_ROOTS = {
    cross_entropy: _softmax_root,
    binary_cross_entropy: _logistic_root,
    squared_error: _gaussian_root,
    absolute_error: _laplace_root,
    gaussian_nll: _normal_root,
}


def _one_output(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    chex.assert_rank(targets, 1)
    outputs = outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs
    chex.assert_equal_shape([outputs, targets])
    return outputs
