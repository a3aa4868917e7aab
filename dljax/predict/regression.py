"""Scores of predictions of numbers: of their means, their densities and their intervals."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.predict.checks import checked_members, checked_rows

_ROOT_2 = math.sqrt(2)


def rmse(mean: jax.Array, targets: jax.Array) -> jax.Array:
    """Root of the mean squared error over all rows, float[], of float[N] and float[N]."""
    mean, targets = checked_rows(mean=mean, targets=targets)
    return jnp.sqrt(((mean - targets) ** 2).mean())


def log_likelihood(mean: jax.Array, variance: jax.Array, targets: jax.Array) -> jax.Array:
    """Log-density of the targets under a mixture of S normals of equal weight.

        log 1/S sum_s exp(-(y - mean_s)^2 / (2 variance_s)) / sqrt(2 pi variance_s)

    One normal is S = 1; MC-dropout has one `variance` for all its masks (Gal & Ghahramani 2016,
    arXiv:1506.02142, where 1 / variance is tau).

    Args:
      mean: Predictions of S members, float[S, N].
      variance: > 0, in squared units of the targets, float[S, N].
      targets: y, float[N].

    Returns:
      Nats per unit of the targets, float[N].
    """
    mean, variance, targets = _checked(mean, variance, targets, "(0, inf)")
    log_scale = jnp.log(2 * jnp.pi * variance) / 2
    log_density = -((targets[None] - mean) ** 2) / (2 * variance) - log_scale
    return jax.nn.logsumexp(log_density, axis=0) - jnp.log(jnp.asarray(len(mean), mean.dtype))


def crps(mean: jax.Array, variance: jax.Array, targets: jax.Array) -> jax.Array:
    """Continuous ranked probability score of a mixture of S normals of equal weight.

    For X and X' drawn from it, E|X - y| - E|X - X'| / 2 (Gneiting & Raftery 2007, J. Am. Stat.
    Assoc. 102, section 4.2), in closed form after Grimit et al. 2006, Q. J. R. Meteorol. Soc. 132:

        1/S sum_s A(y - m_s, v_s) - 1/(2 S^2) sum_s,t A(m_s - m_t, v_s + v_t)
        A(m, v) = sqrt(2 v / pi) exp(-m^2 / (2 v)) + m erf(m / sqrt(2 v)),  A(m, 0) = |m|

    One normal is S = 1; a sample, such as of members without a density, is variance 0. Memory
    is S^2 N.

    Args:
      mean: m_s, float[S, N].
      variance: v_s, >= 0, in squared units of the targets, float[S, N].
      targets: y, float[N].

    Returns:
      In units of the targets, >= 0, smaller is better, float[N].
    """
    mean, variance, targets = _checked(mean, variance, targets, "[0, inf)")
    to_target = _mean_distance(targets[None] - mean, variance).mean(axis=0)
    between = _mean_distance(mean[:, None] - mean[None], variance[:, None] + variance[None])
    return to_target - between.mean(axis=(0, 1)) / 2


def interval_score(
    lower: jax.Array, upper: jax.Array, targets: jax.Array, alpha: ArrayLike
) -> jax.Array:
    """Score of an interval meant to hold 1 - alpha; Gneiting & Raftery 2007, section 6.2.

        (u - l) + 2 / alpha (l - y) [y < l] + 2 / alpha (y - u) [y > u]

    Args:
      lower: l, float[N].
      upper: u, float[N].
      targets: y, float[N].
      alpha: Share of targets outside, in (0, 1).

    Returns:
      In units of the targets, >= 0, smaller is better, float[N].
    """
    require("alpha", alpha, "(0, 1)")
    lower, upper, targets = checked_rows(lower=lower, upper=upper, targets=targets)
    outside = jnp.maximum(lower - targets, 0) + jnp.maximum(targets - upper, 0)
    return upper - lower + 2 / alpha * outside


def _mean_distance(m: jax.Array, v: jax.Array) -> jax.Array:
    """E|X| of a normal X of mean m and variance v >= 0."""
    s = jnp.sqrt(jnp.where(v > 0, v, 1.0))
    A = s * math.sqrt(2 / math.pi) * jnp.exp(-((m / s) ** 2) / 2) + m * jax.lax.erf(m / s / _ROOT_2)
    return jnp.where(v > 0, A, jnp.abs(m))


def _checked(
    mean: jax.Array, variance: jax.Array, targets: jax.Array, interval: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    mean, variance = checked_members(mean=mean, variance=variance)
    (targets,) = checked_rows(mean.shape[1], targets=targets)
    require("variance", variance, interval)
    return mean, variance, targets
