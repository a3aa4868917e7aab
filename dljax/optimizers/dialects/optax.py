"""The optimizers as optax 0.2 computes them.

The learning rate stays outside the momentum, RMSprop's momentum apart. RMSprop and Adagrad add eps
inside the root, and Adagrad starts from 0.1. Weights are decayed by `adamw`, and coupled by
`adadelta`; to `sgd` and the others optax leaves it to the user. `adam` is the paper's.
Arguments are those of the package's docstring; optax names no default learning rate.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from optax import GradientTransformationExtraArgs, ScalarOrSchedule

from dljax.errors import require
from dljax.optimizers import adaptive
from dljax.optimizers.adaptive import Moments, SquaredGradients
from dljax.optimizers.dialects.paper import adam
from dljax.optimizers.dialects.parts import (
    CenteredSquares,
    Squares,
    coupled,
    decoupled,
    root,
    scaled,
)
from dljax.optimizers.leafwise import (
    checked_decay,
    checked_eps,
    checked_learning_rate,
    leafwise,
    one_minus_power,
)
from dljax.optimizers.momentum import Accumulator, momentum, sgd

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "centered_rmsprop",
    "momentum",
    "nadam",
    "nag",
    "rmsprop",
    "sgd",
]


def nag(learning_rate: ScalarOrSchedule, *, b: ArrayLike = 0.9) -> GradientTransformationExtraArgs:
    """Nesterov's momentum at the parameters as they are; `optax.sgd(..., nesterov=True)`.

        a = b a + g
        u = -learning_rate (g + b a)

    Unlike `dljax.optimizers.nag` it is evaluated where its gradients are taken. optax names no b.
    """
    b = checked_decay("b", b)

    def init(p):
        return Accumulator(a=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        a = b * s.a + g
        return -learning_rate * (g + b * a), Accumulator(a)

    return leafwise(init, update, checked_learning_rate(learning_rate))


def adagrad(
    learning_rate: ScalarOrSchedule, *, eps: ArrayLike = 1e-7, initial: ArrayLike = 0.1
) -> GradientTransformationExtraArgs:
    """Adagrad that starts from 0.1, eps inside the root.

        G = G + g^2, from G = initial
        u = -learning_rate g / sqrt(G + eps)

    Arguments: see `dljax.optimizers.dialects`.
    """
    eps = checked_eps("eps", eps)
    require("initial", initial, "[0, inf)")

    def init(p):
        return SquaredGradients(G=jnp.full_like(p, initial))

    def update(g, s, p, t, learning_rate):
        G = s.G + g**2
        return -learning_rate * g / jnp.sqrt(G + eps), SquaredGradients(G)

    return leafwise(init, update, checked_learning_rate(learning_rate))


def adadelta(
    learning_rate: ScalarOrSchedule,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-6,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Adadelta times a learning rate, g + weight_decay theta for g; eps inside both roots."""
    zeiler = adaptive.adadelta(decay=decay, eps=eps)
    return coupled(scaled(zeiler, learning_rate), weight_decay)


def rmsprop(
    learning_rate: ScalarOrSchedule,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-8,
    b: ArrayLike = 0.0,
    initial: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """RMSprop with momentum, the learning rate inside it and eps inside the root.

        G = decay G + (1 - decay) g^2, from G = initial
        a = b a - learning_rate g / sqrt(G + eps)
        u = a

    Arguments: see `dljax.optimizers.dialects`.
    """
    decay, eps, b = checked_decay("decay", decay), checked_eps("eps", eps), checked_decay("b", b)
    require("initial", initial, "[0, inf)")

    def init(p):
        return Squares(G=jnp.full_like(p, initial), a=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        G = decay * s.G + (1 - decay) * g**2
        a = b * s.a - learning_rate * g / jnp.sqrt(G + eps)
        return a, Squares(G, a)

    return leafwise(init, update, checked_learning_rate(learning_rate))


def centered_rmsprop(
    learning_rate: ScalarOrSchedule,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-8,
    b: ArrayLike = 0.0,
    initial: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """RMSprop with the variance of the gradients for their mean square.

        G = decay G + (1 - decay) g^2, from G = initial
        M = decay M + (1 - decay) g
        a = b a - learning_rate g / sqrt(G - M^2 + eps)
        u = a

    Where gradients hardly vary, G - M^2 may round below -eps in float32, which is NaN as in optax.
    """
    decay, eps, b = checked_decay("decay", decay), checked_eps("eps", eps), checked_decay("b", b)
    require("initial", initial, "[0, inf)")

    def init(p):
        G = jnp.full_like(p, initial)
        return CenteredSquares(M=jnp.zeros_like(p), G=G, a=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        G = decay * s.G + (1 - decay) * g**2
        M = decay * s.M + (1 - decay) * g
        a = b * s.a - learning_rate * g / jnp.sqrt(G - M**2 + eps)
        return a, CenteredSquares(M, G, a)

    return leafwise(init, update, checked_learning_rate(learning_rate))


def adamw(
    learning_rate: ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    weight_decay: ArrayLike = 1e-4,
) -> GradientTransformationExtraArgs:
    """Adam (algorithm 1) and weight decay beside it: u - learning_rate weight_decay theta."""
    return decoupled(adam(learning_rate, b1=b1, b2=b2, eps=eps), learning_rate, weight_decay)


def nadam(
    learning_rate: ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
) -> GradientTransformationExtraArgs:
    """Nadam with a constant b1.

        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) g^2
        u = -learning_rate (b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t))
            / (sqrt(v / (1 - b2^t)) + eps)

    Arguments: see `dljax.optimizers.dialects`.
    """
    b1, b2, eps = checked_decay("b1", b1), checked_decay("b2", b2), checked_eps("eps", eps)

    def init(p):
        return Moments(m=jnp.zeros_like(p), v=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        m = b1 * s.m + (1 - b1) * g
        v = b2 * s.v + (1 - b2) * g**2
        ahead = b1 * m / one_minus_power(b1, t + 1) + (1 - b1) * g / one_minus_power(b1, t)
        u = -learning_rate * ahead / (root(v / one_minus_power(b2, t)) + eps)
        return u, Moments(m, v)

    return leafwise(init, update, checked_learning_rate(learning_rate))
