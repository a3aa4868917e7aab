"""What the dialects share: two ways to decay weights, and a root with a gradient at 0."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from optax import GradientTransformation, GradientTransformationExtraArgs, ScalarOrSchedule, chain

from dljax.errors import require
from dljax.optimizers.leafwise import checked_learning_rate, given, leafwise
from dljax.optimizers.momentum import NoStatistics


class Velocity(NamedTuple):
    """Statistics of momentum with the learning rate inside; a tree shaped like the parameters."""

    v: jax.Array  # decayed sum of the steps


class ShiftedVelocity(NamedTuple):
    """Statistics of Nesterov's momentum in that form; each is a tree shaped like the parameters."""

    v: jax.Array  # decayed sum of the steps
    shift: jax.Array  # W - theta, which is -b v


class Squares(NamedTuple):
    """Statistics of RMSprop with momentum; each is a tree shaped like the parameters."""

    G: jax.Array  # mean of the squared gradients
    a: jax.Array  # decayed sum of the scaled gradients


class CenteredSquares(NamedTuple):
    """Statistics of centered RMSprop; each is a tree shaped like the parameters."""

    M: jax.Array  # mean of the gradients
    G: jax.Array  # mean of the squared gradients
    a: jax.Array  # decayed sum of the scaled gradients


def coupled(
    optimizer: GradientTransformation, weight_decay: ArrayLike
) -> GradientTransformationExtraArgs:
    """Weight decay as part of the gradient (L2): g + weight_decay theta goes into `optimizer`.

    In half precision the sum is rounded to the dtype of the gradient, as the libraries do.
    """
    require("weight_decay", weight_decay, "[0, inf)")

    def update(g, s, p, t, _):
        return g + weight_decay * given("weight decay", p), s

    return chain(leafwise(_nothing, update), optimizer)


def decoupled(
    optimizer: GradientTransformation, learning_rate: ScalarOrSchedule, weight_decay: ArrayLike
) -> GradientTransformationExtraArgs:
    """Weight decay beside the update of `optimizer`: u - learning_rate weight_decay theta."""
    require("weight_decay", weight_decay, "[0, inf)")

    def update(u, s, p, t, learning_rate):
        return u - learning_rate * weight_decay * given("weight decay", p), s

    return chain(optimizer, leafwise(_nothing, update, learning_rate))


def scaled(
    optimizer: GradientTransformation, learning_rate: ScalarOrSchedule
) -> GradientTransformationExtraArgs:
    """A learning rate for an optimizer that has none: learning_rate u."""

    def update(u, s, p, t, learning_rate):
        return learning_rate * u, s

    return chain(optimizer, leafwise(_nothing, update, checked_learning_rate(learning_rate)))


def root(x: jax.Array) -> jax.Array:
    """Returns sqrt(x) with a gradient of 0 at x = 0, where eps outside the root does not help."""
    return jnp.where(x == 0, 0.0, jnp.sqrt(jnp.where(x == 0, 1.0, x)))


def _nothing(p: jax.Array) -> NoStatistics:
    return NoStatistics()
