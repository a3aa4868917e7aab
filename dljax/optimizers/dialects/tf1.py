"""The optimizers as TensorFlow 1 computes them (`tf.train`), and so the results of DeepOBS.

They take no weight decay: one adds weight_decay / 2 ||theta||^2 to the loss, which is g +
weight_decay theta for g, and is done here. RMSprop starts from G = 1, Adagrad has no eps, Adam's
eps is that of the end of section 2 of its paper. Arguments are those of the package's docstring.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from optax import GradientTransformationExtraArgs, ScalarOrSchedule

from dljax.errors import require
from dljax.optimizers.adaptive import SquaredGradients
from dljax.optimizers.dialects import optax, paper
from dljax.optimizers.dialects.parts import coupled
from dljax.optimizers.leafwise import checked_learning_rate, leafwise
from dljax.optimizers.momentum import momentum as heavy_ball
from dljax.optimizers.momentum import sgd as descent


def sgd(
    learning_rate: ScalarOrSchedule, *, weight_decay: ArrayLike = 0.0
) -> GradientTransformationExtraArgs:
    """Gradient descent: -learning_rate (g + weight_decay theta)."""
    return coupled(descent(learning_rate), weight_decay)


def momentum(
    learning_rate: ScalarOrSchedule, *, b: ArrayLike = 0.9, weight_decay: ArrayLike = 0.0
) -> GradientTransformationExtraArgs:
    """Momentum with the learning rate outside.

        a = b a + g + weight_decay theta
        u = -learning_rate a

    Arguments: see `dljax.optimizers.dialects`.
    """
    return coupled(heavy_ball(learning_rate, b=b), weight_decay)


def nag(
    learning_rate: ScalarOrSchedule, *, b: ArrayLike = 0.9, weight_decay: ArrayLike = 0.0
) -> GradientTransformationExtraArgs:
    """Nesterov's momentum as optax has it."""
    return coupled(optax.nag(learning_rate, b=b), weight_decay)


def adagrad(
    learning_rate: ScalarOrSchedule, *, initial: ArrayLike = 0.1, weight_decay: ArrayLike = 0.0
) -> GradientTransformationExtraArgs:
    """Adagrad without eps; `initial` must be > 0.

        g = g + weight_decay theta
        G = G + g^2, from G = initial
        u = -learning_rate g / sqrt(G)

    Arguments: see `dljax.optimizers.dialects`.
    """
    require("initial", initial, "(0, inf)")

    def init(p):
        return SquaredGradients(G=jnp.full_like(p, initial))

    def update(g, s, p, t, learning_rate):
        G = s.G + g**2
        return -learning_rate * g / jnp.sqrt(G), SquaredGradients(G)

    return coupled(leafwise(init, update, checked_learning_rate(learning_rate)), weight_decay)


def adadelta(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    decay: ArrayLike = 0.95,
    eps: ArrayLike = 1e-8,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Adadelta as optax has it; with the default learning rate it hardly moves."""
    return optax.adadelta(learning_rate, decay=decay, eps=eps, weight_decay=weight_decay)


def rmsprop(
    learning_rate: ScalarOrSchedule,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-10,
    b: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """RMSprop as optax has it, but from G = 1: about the first 1 / (1 - decay) steps are small."""
    from_one = optax.rmsprop(learning_rate, decay=decay, eps=eps, b=b, initial=1.0)
    return coupled(from_one, weight_decay)


def centered_rmsprop(
    learning_rate: ScalarOrSchedule,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-10,
    b: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Centered RMSprop as optax has it, but from G = 1."""
    from_one = optax.centered_rmsprop(learning_rate, decay=decay, eps=eps, b=b, initial=1.0)
    return coupled(from_one, weight_decay)


def adam(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Adam, uncorrected under the root.

        u = -learning_rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)

    Arguments: see `dljax.optimizers.dialects`.
    """
    return coupled(paper.adam_hat(learning_rate, b1=b1, b2=b2, eps=eps), weight_decay)
