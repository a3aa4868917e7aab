"""Gradient descent, plain and with momentum."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.optimizers.leafwise import checked_decay, checked_learning_rate, leafwise


class NoStatistics(NamedTuple):
    """`sgd` remembers nothing."""


class Accumulator(NamedTuple):
    """Statistics of `momentum`; a tree shaped like the parameters."""

    a: jax.Array  # decayed sum of the gradients


class ShiftedAccumulator(NamedTuple):
    """Statistics of `nag`; each is a tree shaped like the parameters."""

    a: jax.Array  # decayed sum of the gradients
    shift: jax.Array  # W - theta: the learning rate applied last, times b a


def sgd(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent; Robbins & Monro 1951, Ann. Math. Statist. 22.

        u = -learning_rate g

    Args:
      learning_rate: Step size, >= 0; a schedule sees 0 first.
    """
    checked_learning_rate(learning_rate)

    def init(p):
        return NoStatistics()

    def update(g, s, p, t, learning_rate):
        return -learning_rate * g, s

    return leafwise(init, update, learning_rate)


def momentum(
    learning_rate: optax.ScalarOrSchedule, *, b: ArrayLike = 0.9
) -> optax.GradientTransformationExtraArgs:
    """Momentum (Polyak 1964); Sutskever et al. 2013, ICML, eq. 1-2, the learning rate outside `a`.

        a = b a + g
        u = -learning_rate a

    Args:
      learning_rate: Step size, >= 0; a schedule sees 0 first. It is applied to the sum `a`, so
        that the step along a constant gradient grows to learning_rate / (1 - b).
      b: Decay of `a`, in [0, 1), per step. The default averages over about ten steps.
    """
    checked_learning_rate(learning_rate)
    b = checked_decay("b", b)

    def init(p):
        return Accumulator(a=jnp.zeros_like(p))

    def update(g, s, p, t, learning_rate):
        a = b * s.a + g
        return -learning_rate * a, Accumulator(a)

    return leafwise(init, update, learning_rate)


def nag(
    learning_rate: optax.ScalarOrSchedule, *, b: ArrayLike = 0.9
) -> optax.GradientTransformationExtraArgs:
    """Nesterov's accelerated gradient (Nesterov 1983); Sutskever et al. 2013, ICML, eq. 3-4.

        a = b a + g(W - learning_rate b a)
        W = W - learning_rate a

    The gradient is taken at the look-ahead point theta = W - learning_rate b a. An optax caller
    takes it at the parameters, so the parameters that this transformation is given and updates
    are theta. In terms of theta, with the learning rate of step t,

        a'     = b a + g(theta)
        theta' = theta - learning_rate_t g(theta) - learning_rate_{t+1} b a'

    The state keeps the `shift` W - theta really applied, so that W stays exact when the learning
    rate is changed in flight; `eval_params(opt_state, params)` returns W.

    Args:
      learning_rate: Step size, >= 0; a schedule sees 0 first, and is also asked for the step ahead.
      b: Decay of `a`, in [0, 1), per step. The default averages over about ten steps.
    """
    checked_learning_rate(learning_rate)
    b = checked_decay("b", b)

    def now_and_next(count):
        if callable(learning_rate):
            return learning_rate(count), learning_rate(count + 1)
        return learning_rate, learning_rate

    def init(p):
        return ShiftedAccumulator(a=jnp.zeros_like(p), shift=jnp.zeros_like(p))

    def update(g, s, p, t, rates):
        learning_rate, next_learning_rate = rates
        a = b * s.a + g
        shift = next_learning_rate * b * a
        # theta' - theta = (W - learning_rate a - shift) - (W - s.shift)
        return s.shift - learning_rate * a - shift, ShiftedAccumulator(a, shift)

    return leafwise(init, update, now_and_next)
