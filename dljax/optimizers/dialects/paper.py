"""The optimizers as their papers print them; `dljax.optimizers` where that does the same.

Momentum and its Nesterov form keep the learning rate inside the buffer, Adagrad and Adam add eps
outside the root. Only AdamW decays weights. Arguments are those of the package's docstring.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from optax import GradientTransformationExtraArgs, ScalarOrSchedule

from dljax.optimizers.adaptive import Moments, SquaredGradients, adadelta, rmsprop
from dljax.optimizers.dialects.parts import (
    CenteredSquares,
    ShiftedVelocity,
    Velocity,
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
from dljax.optimizers.momentum import sgd

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "adam_hat",
    "adamw",
    "centered_rmsprop",
    "momentum",
    "nadam",
    "nag",
    "rmsprop",
    "sgd",
]


def momentum(
    learning_rate: ScalarOrSchedule, *, b: ArrayLike = 0.9
) -> GradientTransformationExtraArgs:
    """Momentum (Polyak 1964); Sutskever et al. 2013, ICML, eq. 1-2: old steps keep their rate.

        v = b v - learning_rate g
        u = v

    Arguments: see `dljax.optimizers.dialects`.
    """
    b = checked_decay("b", b)

    def init(p):
        return Velocity(v=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        v = b * s.v - learning_rate * g
        return v, Velocity(v)

    return leafwise(init, update, checked_learning_rate(learning_rate))


def nag(learning_rate: ScalarOrSchedule, *, b: ArrayLike = 0.9) -> GradientTransformationExtraArgs:
    """Nesterov's accelerated gradient; Sutskever et al. 2013, ICML, eq. 3-4.

            v = b v - learning_rate g(W + b v)
            W = W + v

        The parameters that this is given and updates are theta = W + b v; `eval_params` returns W.

    Arguments: see `dljax.optimizers.dialects`.
    """
    b = checked_decay("b", b)

    def init(p):
        return ShiftedVelocity(v=jnp.zeros_like(p), shift=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        v = b * s.v - learning_rate * g
        shift = -b * v
        return s.shift + v - shift, ShiftedVelocity(v, shift)

    return leafwise(init, update, checked_learning_rate(learning_rate))


def adagrad(
    learning_rate: ScalarOrSchedule, *, eps: ArrayLike = 1e-8
) -> GradientTransformationExtraArgs:
    """Adagrad, diagonal form; Duchi, Hazan & Singer 2011, JMLR 12, fig. 1 (their delta is eps).

        G = G + g^2
        u = -learning_rate g / (eps + sqrt(G))

    The paper names no value for eps.
    """
    eps = checked_eps("eps", eps)

    def init(p):
        return SquaredGradients(G=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        G = s.G + g**2
        return -learning_rate * g / (eps + root(G)), SquaredGradients(G)

    return leafwise(init, update, checked_learning_rate(learning_rate))


def centered_rmsprop(
    learning_rate: ScalarOrSchedule = 1e-4,
    *,
    decay: ArrayLike = 0.95,
    eps: ArrayLike = 1e-4,
    b: ArrayLike = 0.9,
) -> GradientTransformationExtraArgs:
    """Centered RMSprop with momentum, the learning rate inside; Graves 2013, arXiv:1308.0850.

        G = decay G + (1 - decay) g^2
        M = decay M + (1 - decay) g
        a = b a - learning_rate g / sqrt(G - M^2 + eps)
        u = a

    Arguments: see `dljax.optimizers.dialects`.
    """
    decay, eps, b = checked_decay("decay", decay), checked_eps("eps", eps), checked_decay("b", b)

    def init(p):
        return CenteredSquares(M=jnp.zeros_like(p), G=jnp.zeros_like(p), a=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        G = decay * s.G + (1 - decay) * g**2
        M = decay * s.M + (1 - decay) * g
        a = b * s.a - learning_rate * g / jnp.sqrt(G - M**2 + eps)
        return a, CenteredSquares(M, G, a)

    return leafwise(init, update, checked_learning_rate(learning_rate))


def adam(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
) -> GradientTransformationExtraArgs:
    """Adam; Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.

        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) g^2
        u = -learning_rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    Arguments: see `dljax.optimizers.dialects`.
    """
    b1, b2, eps = checked_decay("b1", b1), checked_decay("b2", b2), checked_eps("eps", eps)

    def update(g, s, p, t, learning_rate):
        m, v = moments = _moments(g, s, b1, b2)
        m_hat, v_hat = m / one_minus_power(b1, t), v / one_minus_power(b2, t)
        return -learning_rate * m_hat / (root(v_hat) + eps), moments

    return leafwise(_no_moments, update, checked_learning_rate(learning_rate))


def adam_hat(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
) -> GradientTransformationExtraArgs:
    """Adam, uncorrected under the root; Kingma & Ba 2015, arXiv:1412.6980, end of section 2.

        u = -learning_rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)

    with the m and v of `adam`, whose eps would be eps / sqrt(1 - b2^t): 31.6 times this at t = 1.
    """
    b1, b2, eps = checked_decay("b1", b1), checked_decay("b2", b2), checked_eps("eps", eps)

    def update(g, s, p, t, learning_rate):
        m, v = moments = _moments(g, s, b1, b2)
        c = jnp.sqrt(one_minus_power(b2, t)) / one_minus_power(b1, t)
        return -learning_rate * c * m / (root(v) + eps), moments

    return leafwise(_no_moments, update, checked_learning_rate(learning_rate))


def adamw(
    learning_rate: ScalarOrSchedule = 1e-3,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    weight_decay: ArrayLike = 0.0,
    multiplier: ScalarOrSchedule = 1.0,
) -> GradientTransformationExtraArgs:
    """AdamW; Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.

        u = -multiplier (learning_rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
                         + weight_decay theta)

    with the m and v of `adam`. What changes over time is the multiplier, >= 0; the learning rate
    does not scale the weight decay, which the paper gives no default: here it is the learning rate
    times the one of a library.
    """
    step = adam(learning_rate, b1=b1, b2=b2, eps=eps)
    return scaled(decoupled(step, 1.0, weight_decay), multiplier)


def nadam(
    learning_rate: ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
) -> GradientTransformationExtraArgs:
    """Nadam; Dozat 2016, ICLR workshop, algorithm 2 with every mu_t equal to b1.

        u = -learning_rate (b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t))
            / (sqrt(b2 v / (1 - b2^t)) + eps)

    with the m and v of `adam`. The libraries leave out the b2 before v.
    """
    b1, b2, eps = checked_decay("b1", b1), checked_decay("b2", b2), checked_eps("eps", eps)

    def update(g, s, p, t, learning_rate):
        m, v = moments = _moments(g, s, b1, b2)
        ahead = b1 * m / one_minus_power(b1, t + 1) + (1 - b1) * g / one_minus_power(b1, t)
        return -learning_rate * ahead / (root(b2 * v / one_minus_power(b2, t)) + eps), moments

    return leafwise(_no_moments, update, checked_learning_rate(learning_rate))


def _no_moments(p: jax.Array) -> Moments:
    return Moments(m=jnp.zeros_like(p), v=jnp.zeros_like(p))


def _moments(g: jax.Array, s: Moments, b1: ArrayLike, b2: ArrayLike) -> Moments:
    """Returns m = b1 m + (1 - b1) g and v = b2 v + (1 - b2) g^2."""
    return Moments(m=b1 * s.m + (1 - b1) * g, v=b2 * s.v + (1 - b2) * g**2)
