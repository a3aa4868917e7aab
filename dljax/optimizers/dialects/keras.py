"""The optimizers as Keras 3 computes them.

Weight decay is decoupled everywhere, learning_rate weight_decay theta. The learning rate is inside
all momentum, so old gradients keep the rate of their step. RMSprop and Adagrad add eps inside the
root; Adam's eps is that of the end of section 2 of its paper. Arguments are those of the package's
docstring; `b` is 0 in Keras unless one is given.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from optax import GradientTransformationExtraArgs, ScalarOrSchedule

from dljax.optimizers import adaptive
from dljax.optimizers.dialects import optax, paper, torch
from dljax.optimizers.dialects.parts import Velocity, decoupled, scaled
from dljax.optimizers.leafwise import checked_decay, checked_learning_rate, leafwise
from dljax.optimizers.momentum import sgd as descent


def sgd(
    learning_rate: ScalarOrSchedule = 1e-2, *, weight_decay: ArrayLike = 0.0
) -> GradientTransformationExtraArgs:
    """Gradient descent: -learning_rate g - learning_rate weight_decay theta."""
    return decoupled(descent(learning_rate), learning_rate, weight_decay)


def momentum(
    learning_rate: ScalarOrSchedule = 1e-2, *, b: ArrayLike = 0.9, weight_decay: ArrayLike = 0.0
) -> GradientTransformationExtraArgs:
    """Momentum as the paper has it, the learning rate inside, which the weight decay stays out of.

        v = b v - learning_rate g
        u = v - learning_rate weight_decay theta

    Arguments: see `dljax.optimizers.dialects`.
    """
    return decoupled(paper.momentum(learning_rate, b=b), learning_rate, weight_decay)


def nag(
    learning_rate: ScalarOrSchedule = 1e-2, *, b: ArrayLike = 0.9, weight_decay: ArrayLike = 0.0
) -> GradientTransformationExtraArgs:
    """Nesterov's momentum as the paper has it, but evaluated where its gradients are taken.

        v = b v - learning_rate g
        u = b v - learning_rate g - learning_rate weight_decay theta

    Arguments: see `dljax.optimizers.dialects`.
    """
    b = checked_decay("b", b)

    def init(p):
        return Velocity(v=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        v = b * s.v - learning_rate * g
        return b * v - learning_rate * g, Velocity(v)

    nesterov = leafwise(init, update, checked_learning_rate(learning_rate))
    return decoupled(nesterov, learning_rate, weight_decay)


def adagrad(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    eps: ArrayLike = 1e-7,
    initial: ArrayLike = 0.1,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Adagrad as optax has it, G = initial at first and eps inside the root."""
    accumulated = optax.adagrad(learning_rate, eps=eps, initial=initial)
    return decoupled(accumulated, learning_rate, weight_decay)


def adadelta(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    decay: ArrayLike = 0.95,
    eps: ArrayLike = 1e-7,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Adadelta times a learning rate; with the default one it hardly moves."""
    zeiler = adaptive.adadelta(decay=decay, eps=eps)
    return decoupled(scaled(zeiler, learning_rate), learning_rate, weight_decay)


def rmsprop(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-7,
    b: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """RMSprop as optax has it, eps inside the root and the learning rate inside the momentum."""
    scaled_by_root = optax.rmsprop(learning_rate, decay=decay, eps=eps, b=b)
    return decoupled(scaled_by_root, learning_rate, weight_decay)


def centered_rmsprop(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-7,
    b: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Centered RMSprop as optax has it."""
    centered = optax.centered_rmsprop(learning_rate, decay=decay, eps=eps, b=b)
    return decoupled(centered, learning_rate, weight_decay)


def adam(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-7,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Adam, uncorrected under the root, so that eps weighs more at first.

        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) g^2
        u = -learning_rate (sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps) + weight_decay theta)

    Arguments: see `dljax.optimizers.dialects`.
    """
    reordered = paper.adam_hat(learning_rate, b1=b1, b2=b2, eps=eps)
    return decoupled(reordered, learning_rate, weight_decay)


def adamw(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-7,
    weight_decay: ArrayLike = 4e-3,
) -> GradientTransformationExtraArgs:
    """`adam` with another default weight decay."""
    return adam(learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)


def nadam(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-7,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Nadam as torch has it, but with psi = 1: its momentum reaches 0.99 b1 in 96 steps.

    With torch's psi that takes 24,000 steps.
    """
    warm = torch.nadam(learning_rate, b1=b1, b2=b2, eps=eps, psi=1.0)
    return decoupled(warm, learning_rate, weight_decay)
