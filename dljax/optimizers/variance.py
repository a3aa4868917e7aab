"""Adam where a variance counts: that of the gradient in AdaBelief, that of the step in RAdam."""

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.optimizers.adam_variants import checked_numbers, zero_moments
from dljax.optimizers.adaptive import Moments
from dljax.optimizers.leafwise import leafwise, one_minus_power


def adabelief(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
) -> optax.GradientTransformationExtraArgs:
    """AdaBelief: g that differs from m moves less; Zhuang et al. 2020, arXiv:2010.07468, alg. 2.

        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) (g - m)^2 + eps
        u = -learning_rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      b1: Decay of `m`, in [0, 1), per step.
      b2: Decay of `v`, in [0, 1), per step.
      eps: > 0, in the paper's two places: `v` collects it, up to eps / (1 - b2), and so it is in
        units of the squared gradient; beside the root it hardly counts.
    """
    b1, b2, eps = checked_numbers(learning_rate, b1, b2, eps)

    def update(g, s, p, t, learning_rate):
        m = b1 * s.m + (1 - b1) * g
        v = b2 * s.v + (1 - b2) * (g - m) ** 2 + eps
        root = jnp.sqrt(v / one_minus_power(b2, t))
        return -learning_rate * m / one_minus_power(b1, t) / (root + eps), Moments(m, v)

    return leafwise(zero_moments, update, learning_rate)


def radam(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
) -> optax.GradientTransformationExtraArgs:
    """RAdam, Adam with a rectified start; Liu et al. 2020, arXiv:1908.03265, algorithm 2.

        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) g^2
        rho_inf = 2 / (1 - b2) - 1
        rho = rho_inf - 2 t b2^t / (1 - b2^t)
        r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
        u = -learning_rate / (1 - b1^t) m * (r sqrt(1 - b2^t) / sqrt(v + eps) if rho > 4 else 1)

    torch and optax ask for 5 where the paper asks for rho > 4: they begin one step later.

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first. It is
        in parameters per gradient during the first steps, four at the default b2.
      b1: Decay of `m`, in [0, 1), per step.
      b2: Decay of `v`, in [0, 1), per step; up to 0.6 nothing is ever rectified.
      eps: Added under the root, > 0, in units of the squared gradient.
    """
    b1, b2, eps = checked_numbers(learning_rate, b1, b2, eps)

    def update(g, s, p, t, learning_rate):
        m = b1 * s.m + (1 - b1) * g
        v = b2 * s.v + (1 - b2) * g**2
        d = one_minus_power(b2, t)
        rho_inf = 2 / (1 - b2) - 1
        rho = rho_inf - 2 * t * (1 - d) / d
        rectified = rho > 4
        rho, rho_inf = (jnp.where(rectified, x, 5.0) for x in (rho, rho_inf))  # no root of < 0
        r = jnp.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        scale = jnp.where(rectified, r * jnp.sqrt(d) / jnp.sqrt(v + eps), 1.0)
        return -learning_rate / one_minus_power(b1, t) * m * scale, Moments(m, v)

    return leafwise(zero_moments, update, learning_rate)
