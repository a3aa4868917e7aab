"""Steps as long as the parameters they change: every array's norm scales its own update.

Both are meant for large batches. Biases and scales, whose norms say little, are usually left to
another rule by `optax.partition`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.optimizers.adam_variants import checked_numbers, zero_moments
from dljax.optimizers.adaptive import Moments
from dljax.optimizers.leafwise import (
    checked_decay,
    checked_learning_rate,
    given,
    leafwise,
    one_minus_power,
)


class Steps(NamedTuple):
    """Statistics of `lars`; a tree shaped like the parameters."""

    a: jax.Array  # decayed sum of the steps


def lars(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b: ArrayLike = 0.9,
    trust: ArrayLike = 0.001,
    weight_decay: ArrayLike = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """LARS; You, Gitman & Ginsburg 2017, arXiv:1708.03888, algorithm 1.

        ratio = trust |p| / (|g| + weight_decay |p|), or 1 where |p| or |g| is 0
        a = b a + learning_rate ratio (g + weight_decay p)
        u = -a

    optax divides by |g + weight_decay p|, which is the same without decay.

    Args:
      learning_rate: Step size, >= 0; a schedule sees 0 first. It is inside the sum `a`.
      b: Decay of `a`, in [0, 1), per step.
      trust: Step over norm of the parameters at learning rate 1, >= 0.
      weight_decay: Slope of the decay that is added to the gradient, >= 0.
    """
    checked_learning_rate(learning_rate)
    b = checked_decay("b", b)
    require("trust", trust, "[0, inf)")
    require("weight_decay", weight_decay, "[0, inf)")

    def init(p):
        return Steps(a=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        size = _norm(given("lars", p))
        ratio = _ratio(trust * size, _norm(g) + weight_decay * size, (_norm(g) > 0) & (size > 0))
        a = b * s.a + learning_rate * ratio * (g + weight_decay * p)
        return -a, Steps(a)

    return leafwise(init, update, learning_rate)


def lamb(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-12,
    weight_decay: ArrayLike = 0.01,
) -> optax.GradientTransformationExtraArgs:
    """LAMB, `adamw` in steps as long as p; You et al. 2020, arXiv:1904.00962, algorithm 2.

        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) g^2
        d = sqrt(1 - b2^t) / (1 - b1^t) m / sqrt(v + eps) + weight_decay p
        u = -learning_rate |p| / |d| d, or -learning_rate d where |p| or |d| is 0

    The paper's phi is the identity, and its eps, 1e-6 beside the root, is squared inside here.

    Args:
      learning_rate: Step over norm of the parameters, >= 0; a schedule sees 0 first.
      b1: Decay of `m`, in [0, 1), per step.
      b2: Decay of `v`, in [0, 1), per step.
      eps: Added under the root, > 0, in units of the squared gradient.
      weight_decay: Decay of the parameters, >= 0, beside directions of size one.
    """
    b1, b2, eps = checked_numbers(learning_rate, b1, b2, eps)
    require("weight_decay", weight_decay, "[0, inf)")

    def update(g, s, p, t, learning_rate):
        m = b1 * s.m + (1 - b1) * g
        v = b2 * s.v + (1 - b2) * g**2
        c = jnp.sqrt(one_minus_power(b2, t)) / one_minus_power(b1, t)
        d = c * m / jnp.sqrt(v + eps) + weight_decay * given("lamb", p)
        ratio = _ratio(_norm(p), _norm(d), (_norm(p) > 0) & (_norm(d) > 0))
        return -learning_rate * ratio * d, Moments(m, v)

    return leafwise(zero_moments, update, learning_rate)


def _norm(x: jax.Array) -> jax.Array:
    """Returns the Euclidean norm of all entries, with the slope 0 at 0."""
    square = jnp.sum(x**2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _ratio(above: jax.Array, below: jax.Array, defined: jax.Array) -> jax.Array:
    return jnp.where(defined, above / jnp.where(defined, below, 1.0), 1.0)
