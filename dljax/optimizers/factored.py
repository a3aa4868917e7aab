"""Adafactor: a second moment of rows and columns instead of one for every parameter."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.optimizers.leafwise import checked_eps, checked_learning_rate, given, leafwise


class FactoredSquares(NamedTuple):
    """Statistics of `adafactor`: `R` and `C` of arrays with rows and columns, `V` of others."""

    R: jax.Array | tuple[()]  # mean of the squared gradients of a row, f[..., rows]
    C: jax.Array | tuple[()]  # mean of the squared gradients of a column, f[..., columns]
    V: jax.Array | tuple[()]  # mean of the squared gradients, shaped like the parameters


def adafactor(
    learning_rate: optax.ScalarOrSchedule,
    *,
    clip: ArrayLike = 1.0,
    power: ArrayLike = 0.8,
    eps1: ArrayLike = 1e-30,
    eps2: ArrayLike = 1e-3,
) -> optax.GradientTransformationExtraArgs:
    """Adafactor; Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4 (factored) and 5 (vectors).

        b = 1 - t^(-power)
        R = b R + (1 - b) (mean of g^2 over the columns)
        C = b C + (1 - b) (mean of g^2 over the rows)
        V = (R + eps1) (C + eps1) / (mean of R + eps1), for a vector b V + (1 - b) g^2 + eps1
        d = g / sqrt(V)
        u = -learning_rate max(eps2, rms(p)) d / max(1, rms(d) / clip)

    The paper adds eps1 to every g^2, and sums; that is the same, for b is 0 at t = 1. Rows
    and columns are the last two axes; those before them number matrices, and rms is over the whole
    array. There is no momentum, as in the paper's proposal.

    Args:
      learning_rate: Step over rms(p), the paper's rho, >= 0; a schedule sees 0 first. The paper's
        is min(0.01, 1 / sqrt(t)).
      clip: Largest rms of the direction `d`, > 0.
      power: How the memory grows with the steps, >= 0; with 1, `b` gives the mean over all steps.
      eps1: Added to the squared gradient, > 0, in its units.
      eps2: Least rms(p) that counts, > 0, so that parameters of zero can leave it.
    """
    checked_learning_rate(learning_rate)
    clip, eps1 = checked_eps("clip", clip), checked_eps("eps1", eps1)
    eps2 = checked_eps("eps2", eps2)
    require("power", power, "[0, inf)")

    def init(p):
        if not _is_factored(p):
            return FactoredSquares(R=(), C=(), V=jnp.zeros_like(p))
        rows, columns = p.shape[:-1], p.shape[:-2] + p.shape[-1:]
        return FactoredSquares(R=jnp.zeros(rows, p.dtype), C=jnp.zeros(columns, p.dtype), V=())

    def update(g, s, p, t, learning_rate):
        b = 1 - jnp.asarray(t, float) ** (-power)
        if _is_factored(g):
            R = b * s.R + (1 - b) * jnp.mean(g**2, axis=-1)
            C = b * s.C + (1 - b) * jnp.mean(g**2, axis=-2)
            s = FactoredSquares(R, C, V=())
            # root by root, for R C and the squares in its derivative underflow
            root = jnp.sqrt(R + eps1) / jnp.sqrt(jnp.mean(R, axis=-1, keepdims=True) + eps1)
            d = g / (root[..., :, None] * jnp.sqrt(C + eps1)[..., None, :])
        else:
            s = s._replace(V=b * s.V + (1 - b) * g**2)
            d = g / jnp.sqrt(s.V + eps1)
        d = d / jnp.maximum(1, _rms(d) / clip)
        size = jnp.maximum(eps2, _rms(given("adafactor", p)))
        return -learning_rate * size * d, s

    return leafwise(init, update, learning_rate)


def _is_factored(p: jax.Array) -> bool:
    return p.ndim >= 2 and p.size > 0


def _rms(x: jax.Array) -> jax.Array:
    """Returns the root of the mean square of all entries, with the slope 0 at 0."""
    square = jnp.sum(x**2) / max(x.size, 1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
