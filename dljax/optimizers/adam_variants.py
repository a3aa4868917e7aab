"""What became of Adam: decoupled decay, a maximum, a look ahead, another norm.

As in `adaptive`, eps stands inside the root, in units of the squared gradient, where nothing else
is said.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.optimizers.adaptive import Moments
from dljax.optimizers.leafwise import (
    checked_decay,
    checked_eps,
    checked_learning_rate,
    given,
    leafwise,
    one_minus_power,
)


class LargestMoments(NamedTuple):
    """Statistics of `amsgrad`; each is a tree shaped like the parameters."""

    m: jax.Array  # mean of the gradients
    v: jax.Array  # mean of the squared gradients
    w: jax.Array  # the largest v so far


class ScheduledMoments(NamedTuple):
    """Statistics of `nadam`."""

    m: jax.Array  # mean of the gradients, shaped like the parameters
    v: jax.Array  # mean of the squared gradients, shaped like the parameters
    product: jax.Array  # mu_1 ... mu_t, a scalar


def adamw(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
    weight_decay: ArrayLike = 0.01,
) -> optax.GradientTransformationExtraArgs:
    """`adam` with decoupled decay; Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.

        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) g^2
        c = (1 - b1^t) / sqrt(1 - b2^t)
        u = -learning_rate (m / (c sqrt(v + eps)) + weight_decay p)

    The paper multiplies the decay by the schedule alone; here, as in torch and optax, by the whole
    learning rate.

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      b1: Decay of `m`, in [0, 1), per step.
      b2: Decay of `v`, in [0, 1), per step.
      eps: Added under the root, > 0, in units of the squared gradient.
      weight_decay: Decay of the parameters, >= 0, per step and unit of the learning rate.
    """
    b1, b2, eps = checked_numbers(learning_rate, b1, b2, eps)
    require("weight_decay", weight_decay, "[0, inf)")

    def update(g, s, p, t, learning_rate):
        m = b1 * s.m + (1 - b1) * g
        v = b2 * s.v + (1 - b2) * g**2
        c = one_minus_power(b1, t) / jnp.sqrt(one_minus_power(b2, t))
        direction = m / (c * jnp.sqrt(v + eps)) + weight_decay * given("adamw", p)
        return -learning_rate * direction, Moments(m, v)

    return leafwise(zero_moments, update, learning_rate)


def amsgrad(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
) -> optax.GradientTransformationExtraArgs:
    """AMSGrad, with Adam's correction; Reddi, Kale & Kumar 2018, arXiv:1904.09237, algorithm 2.

        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) g^2
        w = max(w, v)
        u = -learning_rate sqrt(1 - b2^t) / (1 - b1^t) m / sqrt(w + eps)

    The paper corrects nothing. The correction comes after the maximum, as in torch and keras;
    optax takes the maximum of the corrected v, which the first gradients then hold for long.

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      b1: Decay of `m`, in [0, 1), per step.
      b2: Decay of `v`, in [0, 1), per step.
      eps: Added under the root, > 0, in units of the squared gradient.
    """
    b1, b2, eps = checked_numbers(learning_rate, b1, b2, eps)

    def init(p):
        return LargestMoments(m=jnp.zeros_like(p), v=jnp.zeros_like(p), w=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        m = b1 * s.m + (1 - b1) * g
        v = b2 * s.v + (1 - b2) * g**2
        w = jnp.maximum(s.w, v)
        c = jnp.sqrt(one_minus_power(b2, t)) / one_minus_power(b1, t)
        return -learning_rate * c * m / jnp.sqrt(w + eps), LargestMoments(m, v, w)

    return leafwise(init, update, learning_rate)


def nadam(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
    psi: ArrayLike = 0.004,
) -> optax.GradientTransformationExtraArgs:
    """NAdam, Adam with Nesterov's look ahead; Dozat 2016, ICLR workshop, with its mu schedule.

        mu_t = b1 (1 - 0.96^(psi t) / 2)
        m = mu_t m + (1 - mu_t) g
        v = b2 v + (1 - b2) g^2
        d = mu_{t+1} m / (1 - mu_1 ... mu_{t+1}) + (1 - mu_t) g / (1 - mu_1 ... mu_t)
        u = -learning_rate sqrt(1 - b2^t) d / sqrt(v + eps)

    torch and keras decay `m` by b1 itself, which the products do not correct, and keras has
    psi = 1; optax has the constant mu = b1, which a large psi gives.

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      b1: What the decay mu of `m` tends to, in [0, 1), per step.
      b2: Decay of `v`, in [0, 1), per step.
      eps: Added under the root, > 0, in units of the squared gradient.
      psi: How fast mu grows from b1 / 2 to b1, >= 0, per step: by half in 17 / psi steps.
    """
    b1, b2, eps = checked_numbers(learning_rate, b1, b2, eps)
    require("psi", psi, "[0, inf)")

    def init(p):
        return ScheduledMoments(jnp.zeros_like(p), jnp.zeros_like(p), jnp.ones([], p.dtype))

    def update(g, s, p, t, learning_rate):
        mu, mu_next = (b1 * (1 - 0.5 * 0.96 ** (psi * i)) for i in (t, t + 1))
        m = mu * s.m + (1 - mu) * g
        v = b2 * s.v + (1 - b2) * g**2
        product = mu * s.product
        d = mu_next * m / (1 - mu_next * product) + (1 - mu) * g / (1 - product)
        c = jnp.sqrt(one_minus_power(b2, t))
        return -learning_rate * c * d / jnp.sqrt(v + eps), ScheduledMoments(m, v, product)

    return leafwise(init, update, learning_rate)


def adamax(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """AdaMax, Adam in the infinity norm; Kingma & Ba 2015, arXiv:1412.6980, algorithm 2.

        m = b1 m + (1 - b1) g
        v = max(b2 v, |g| + eps)
        u = -learning_rate / (1 - b1^t) m / v

    The paper has no eps and divides 0 by 0 where all gradients were 0; eps as in torch and optax.

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      b1: Decay of `m`, in [0, 1), per step.
      b2: Decay of `v`, in [0, 1), per step.
      eps: Added to |g|, > 0, in units of the gradient.
    """
    b1, b2, eps = checked_numbers(learning_rate, b1, b2, eps)

    def update(g, s, p, t, learning_rate):
        m = b1 * s.m + (1 - b1) * g
        v = jnp.maximum(b2 * s.v, jnp.abs(g) + eps)
        return -learning_rate / one_minus_power(b1, t) * m / v, Moments(m, v)

    return leafwise(zero_moments, update, learning_rate)


def checked_numbers(
    learning_rate: optax.ScalarOrSchedule, b1: ArrayLike, b2: ArrayLike, eps: ArrayLike
) -> tuple[ArrayLike, ArrayLike, ArrayLike]:
    """Returns b1, b2 and eps to compute with; raises a `ValueError` where one is out of range."""
    checked_learning_rate(learning_rate)
    return checked_decay("b1", b1), checked_decay("b2", b2), checked_eps("eps", eps)


def zero_moments(p: jax.Array) -> Moments:
    """Returns the statistics that `adam` starts from."""
    return Moments(m=jnp.zeros_like(p), v=jnp.zeros_like(p))
