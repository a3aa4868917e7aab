"""The optimizers as `torch.optim` computes them.

Weight decay is coupled, g + weight_decay theta for g, but for AdamW's. The learning rate stays
outside all momentum, eps outside all roots but Adadelta's. Arguments are those of the package's
docstring.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from optax import GradientTransformationExtraArgs, ScalarOrSchedule

from dljax.errors import require
from dljax.optimizers.adaptive import SquaredGradients
from dljax.optimizers.dialects import optax, paper
from dljax.optimizers.dialects.parts import CenteredSquares, Squares, coupled, decoupled, root
from dljax.optimizers.leafwise import (
    checked_decay,
    checked_eps,
    checked_learning_rate,
    leafwise,
    one_minus_power,
)
from dljax.optimizers.momentum import Accumulator
from dljax.optimizers.momentum import sgd as descent


class WarmMoments(NamedTuple):
    """Statistics of `nadam`; `m` and `v` are trees shaped like the parameters."""

    m: jax.Array  # mean of the gradients
    v: jax.Array  # mean of the squared gradients
    P: jax.Array  # product of the mu so far, float[]


def sgd(
    learning_rate: ScalarOrSchedule = 1e-3, *, weight_decay: ArrayLike = 0.0
) -> GradientTransformationExtraArgs:
    """Gradient descent: -learning_rate (g + weight_decay theta)."""
    return coupled(descent(learning_rate), weight_decay)


def momentum(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    b: ArrayLike = 0.9,
    dampening: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Momentum whose first gradient is not dampened.

        g = g + weight_decay theta
        a = b a + (1 - dampening) g, but a = g at t = 1
        u = -learning_rate a

    torch names no b but 0. `dampening` lies in [0, 1].
    """
    b = checked_decay("b", b)
    require("dampening", dampening, "[0, 1]")

    def init(p):
        return Accumulator(a=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        a = b * s.a + jnp.where(t == 1, 1.0, 1 - dampening) * g
        return -learning_rate * a, Accumulator(a)

    return coupled(leafwise(init, update, checked_learning_rate(learning_rate)), weight_decay)


def nag(
    learning_rate: ScalarOrSchedule = 1e-3, *, b: ArrayLike = 0.9, weight_decay: ArrayLike = 0.0
) -> GradientTransformationExtraArgs:
    """Nesterov's momentum as optax has it, with coupled weight decay; torch names no b but 0."""
    return coupled(optax.nag(learning_rate, b=b), weight_decay)


def adagrad(
    learning_rate: ScalarOrSchedule = 1e-2,
    *,
    eps: ArrayLike = 1e-10,
    initial: ArrayLike = 0.0,
    learning_rate_decay: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Adagrad, eps outside the root.

        g = g + weight_decay theta
        G = G + g^2, from G = initial
        u = -learning_rate / (1 + (t - 1) learning_rate_decay) g / (sqrt(G) + eps)

    `learning_rate_decay` is >= 0, per step.
    """
    eps = checked_eps("eps", eps)
    require("initial", initial, "[0, inf)")
    require("learning_rate_decay", learning_rate_decay, "[0, inf)")

    def init(p):
        return SquaredGradients(G=jnp.full_like(p, initial))

    def update(g, s, p, t, learning_rate):
        G = s.G + g**2
        rate = learning_rate / (1 + (t - 1) * learning_rate_decay)
        return -rate * g / (root(G) + eps), SquaredGradients(G)

    return coupled(leafwise(init, update, checked_learning_rate(learning_rate)), weight_decay)


def adadelta(
    learning_rate: ScalarOrSchedule = 1.0,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-6,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Adadelta as optax has it."""
    return optax.adadelta(learning_rate, decay=decay, eps=eps, weight_decay=weight_decay)


def rmsprop(
    learning_rate: ScalarOrSchedule = 1e-2,
    *,
    decay: ArrayLike = 0.99,
    eps: ArrayLike = 1e-8,
    b: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """RMSprop with momentum, the learning rate outside it and eps outside the root.

        g = g + weight_decay theta
        G = decay G + (1 - decay) g^2
        a = b a + g / (sqrt(G) + eps)
        u = -learning_rate a

    Arguments: see `dljax.optimizers.dialects`.
    """
    decay, eps, b = checked_decay("decay", decay), checked_eps("eps", eps), checked_decay("b", b)

    def init(p):
        return Squares(G=jnp.zeros_like(p), a=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        G = decay * s.G + (1 - decay) * g**2
        a = b * s.a + g / (root(G) + eps)
        return -learning_rate * a, Squares(G, a)

    return coupled(leafwise(init, update, checked_learning_rate(learning_rate)), weight_decay)


def centered_rmsprop(
    learning_rate: ScalarOrSchedule = 1e-2,
    *,
    decay: ArrayLike = 0.99,
    eps: ArrayLike = 1e-8,
    b: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """RMSprop with the variance of the gradients: sqrt(G - M^2) for sqrt(G) in `rmsprop`.

        M = decay M + (1 - decay) g

    Where gradients hardly vary, G - M^2 may round below 0 in float32, which is NaN as in torch.
    """
    decay, eps, b = checked_decay("decay", decay), checked_eps("eps", eps), checked_decay("b", b)

    def init(p):
        return CenteredSquares(M=jnp.zeros_like(p), G=jnp.zeros_like(p), a=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        G = decay * s.G + (1 - decay) * g**2
        M = decay * s.M + (1 - decay) * g
        a = b * s.a + g / (root(G - M**2) + eps)
        return -learning_rate * a, CenteredSquares(M, G, a)

    return coupled(leafwise(init, update, checked_learning_rate(learning_rate)), weight_decay)


def adam(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Adam (algorithm 1) with coupled weight decay."""
    return coupled(paper.adam(learning_rate, b1=b1, b2=b2, eps=eps), weight_decay)


def adamw(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    weight_decay: ArrayLike = 1e-2,
) -> GradientTransformationExtraArgs:
    """Adam (algorithm 1) and weight decay beside it: u - learning_rate weight_decay theta."""
    kingma_ba = paper.adam(learning_rate, b1=b1, b2=b2, eps=eps)
    return decoupled(kingma_ba, learning_rate, weight_decay)


def nadam(
    learning_rate: ScalarOrSchedule = 2e-3,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    psi: ArrayLike = 4e-3,
    weight_decay: ArrayLike = 0.0,
) -> GradientTransformationExtraArgs:
    """Nadam with a momentum that grows from b1 / 2 to b1.

        g  = g + weight_decay theta
        mu = b1 (1 - 0.96^(t psi) / 2), mu' the one of t + 1, P = mu_1 ... mu_t
        u  = -learning_rate (mu' m / (1 - P mu') + (1 - mu) g / (1 - P))
             / (sqrt(v / (1 - b2^t)) + eps)

    with the m and v of Adam, whose decays are b1 and b2. `psi` is >= 0, per step.
    """
    b1, b2, eps = checked_decay("b1", b1), checked_decay("b2", b2), checked_eps("eps", eps)
    require("psi", psi, "[0, inf)")

    def init(p):
        return WarmMoments(jnp.zeros_like(p), jnp.zeros_like(p), P=jnp.ones([], p.dtype))

    def update(g, s, p, t, learning_rate):
        mu, mu_next = (b1 * (1 - 0.5 * 0.96 ** (i * psi)) for i in (t, t + 1))
        m = b1 * s.m + (1 - b1) * g
        v = b2 * s.v + (1 - b2) * g**2
        P = s.P * mu
        ahead = mu_next * m / (1 - P * mu_next) + (1 - mu) * g / (1 - P)
        u = -learning_rate * ahead / (root(v / one_minus_power(b2, t)) + eps)
        return u, WarmMoments(m, v, P)

    return coupled(leafwise(init, update, checked_learning_rate(learning_rate)), weight_decay)
