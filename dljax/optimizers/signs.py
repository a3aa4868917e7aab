"""Updates that keep the sign of an average alone, so that every parameter moves as far.

A sign has no slope: no derivative by the decays of an average comes through it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.optimizers.leafwise import checked_decay, checked_learning_rate, given, leafwise


class Average(NamedTuple):
    """Statistics of `signum` and `lion`; a tree shaped like the parameters."""

    m: jax.Array  # mean of the gradients


def signum(
    learning_rate: optax.ScalarOrSchedule, *, b: ArrayLike = 0.9
) -> optax.GradientTransformationExtraArgs:
    """Signum; Bernstein et al. 2018, arXiv:1802.04434, algorithm 2. With b = 0 it is signSGD.

        m = b m + (1 - b) g
        u = -learning_rate sign(m)

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      b: Decay of `m`, in [0, 1), per step.
    """
    checked_learning_rate(learning_rate)
    b = checked_decay("b", b)

    def init(p):
        return Average(m=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        m = b * s.m + (1 - b) * g
        return -learning_rate * jnp.sign(m), Average(m)

    return leafwise(init, update, learning_rate)


def lion(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99,
    weight_decay: ArrayLike = 0.001,
) -> optax.GradientTransformationExtraArgs:
    """Lion, found by a search of programs; Chen et al. 2023, arXiv:2302.06675, algorithm 2.

        u = -learning_rate (sign(b1 m + (1 - b1) g) + weight_decay p)
        m = b2 m + (1 - b2) g

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first. The
        paper takes a third to a tenth of AdamW's, and as many times its decay.
      b1: Weight of `m` against the gradient in the step, in [0, 1).
      b2: Decay of `m`, in [0, 1), per step.
      weight_decay: Decay of the parameters, >= 0, per step and unit of the learning rate.
    """
    checked_learning_rate(learning_rate)
    b1, b2 = checked_decay("b1", b1), checked_decay("b2", b2)
    require("weight_decay", weight_decay, "[0, inf)")

    def init(p):
        return Average(m=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        direction = jnp.sign(b1 * s.m + (1 - b1) * g) + weight_decay * given("lion", p)
        return -learning_rate * direction, Average(m=b2 * s.m + (1 - b2) * g)

    return leafwise(init, update, learning_rate)
