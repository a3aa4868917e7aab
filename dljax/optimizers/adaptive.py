"""Step sizes of their own for every parameter: Adagrad, Adadelta, RMSprop and Adam.

In all four eps stands inside the root, in units of the squared gradient. Where others add a
number outside the root (1e-8 is usual), its square is the eps that does the same here: a
gradient of zero is divided by sqrt(1e-16) = 1e-8.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.optimizers.leafwise import (
    checked_decay,
    checked_eps,
    checked_learning_rate,
    leafwise,
    one_minus_power,
)


class SquaredGradients(NamedTuple):
    """Statistics of `adagrad` (a sum) and `rmsprop` (a mean); a tree shaped like the parameters."""

    G: jax.Array  # squared gradients


class SquaredSteps(NamedTuple):
    """Statistics of `adadelta`; each is a tree shaped like the parameters."""

    G: jax.Array  # mean of the squared gradients
    H: jax.Array  # mean of the squared updates


class Moments(NamedTuple):
    """Statistics of `adam`; each is a tree shaped like the parameters."""

    m: jax.Array  # mean of the gradients
    v: jax.Array  # mean of the squared gradients


def adagrad(
    learning_rate: optax.ScalarOrSchedule, *, eps: ArrayLike = 1e-16
) -> optax.GradientTransformationExtraArgs:
    """Adagrad, diagonal form; Duchi, Hazan & Singer 2011, JMLR 12, fig. 1 with eps in the root.

        G = G + g^2
        u = -learning_rate g / sqrt(G + eps)

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      eps: Added under the root, > 0, in units of the squared gradient. The default only keeps a
        parameter whose gradient has always been zero where it is: G starts at 0 and never shrinks.
    """
    checked_learning_rate(learning_rate)
    eps = checked_eps("eps", eps)

    def init(p):
        return SquaredGradients(G=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        G = s.G + g**2
        return -learning_rate * g / jnp.sqrt(G + eps), SquaredGradients(G)

    return leafwise(init, update, learning_rate)


def adadelta(
    *, decay: ArrayLike = 0.95, eps: ArrayLike = 1e-6
) -> optax.GradientTransformationExtraArgs:
    """Adadelta, which has no learning rate; Zeiler 2012, arXiv:1212.5701, algorithm 1.

        G = decay G + (1 - decay) g^2
        u = -sqrt(H + eps) / sqrt(G + eps) g
        H = decay H + (1 - decay) u^2

    Args:
      decay: Decay of `G` and `H`, in [0, 1), per step; 0.95 as in section 4.1 of the paper.
      eps: Added under both roots, > 0. It sets the size of the first steps, sqrt(eps), from which
        `H` grows, so it is what there is to tune. The default is the paper's, which already
        stands inside the root: do not square it (with 1e-12 the parameters hardly move).
    """
    decay = checked_decay("decay", decay)
    eps = checked_eps("eps", eps)

    def init(p):
        return SquaredSteps(G=jnp.zeros_like(p), H=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        G = decay * s.G + (1 - decay) * g**2
        u = -jnp.sqrt(s.H + eps) / jnp.sqrt(G + eps) * g
        H = decay * s.H + (1 - decay) * u**2
        return u, SquaredSteps(G, H)

    return leafwise(init, update)


def rmsprop(
    learning_rate: optax.ScalarOrSchedule, *, decay: ArrayLike = 0.9, eps: ArrayLike = 1e-16
) -> optax.GradientTransformationExtraArgs:
    """RMSprop; Tieleman & Hinton 2012, "Neural networks for machine learning", lecture 6.5.

        G = decay G + (1 - decay) g^2
        u = -learning_rate g / sqrt(G + eps)

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      decay: Decay of `G`, in [0, 1), per step; 0.9 as in the lecture.
      eps: Added under the root, > 0, in units of the squared gradient; the default is the square
        of the usual 1e-8 outside it.
    """
    checked_learning_rate(learning_rate)
    decay = checked_decay("decay", decay)
    eps = checked_eps("eps", eps)

    def init(p):
        return SquaredGradients(G=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        G = decay * s.G + (1 - decay) * g**2
        return -learning_rate * g / jnp.sqrt(G + eps), SquaredGradients(G)

    return leafwise(init, update, learning_rate)


def adam(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
) -> optax.GradientTransformationExtraArgs:
    """Adam, eps inside the root, uncorrected; Kingma & Ba 2015, arXiv:1412.6980, section 2, end.

        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) g^2
        c = (1 - b1^t) / sqrt(1 - b2^t)
        u = -learning_rate m / (c sqrt(v + eps))

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      b1: Decay of `m`, in [0, 1), per step.
      b2: Decay of `v`, in [0, 1), per step.
      eps: Added under the root, > 0, in units of the squared gradient; the default is the square
        of the usual 1e-8 outside it.
    """
    checked_learning_rate(learning_rate)
    b1 = checked_decay("b1", b1)
    b2 = checked_decay("b2", b2)
    eps = checked_eps("eps", eps)

    def init(p):
        return Moments(m=jnp.zeros_like(p), v=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        m = b1 * s.m + (1 - b1) * g
        v = b2 * s.v + (1 - b2) * g**2
        c = one_minus_power(b1, t) / jnp.sqrt(one_minus_power(b2, t))
        return -learning_rate * m / (c * jnp.sqrt(v + eps)), Moments(m, v)

    return leafwise(init, update, learning_rate)
