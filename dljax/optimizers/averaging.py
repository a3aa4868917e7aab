"""Optimizers whose points are averaged: train with the one, evaluate the average.

Each wraps an optax transformation and hands extra arguments on to it; its state is an
`AverageState`, whose average `eval_params(opt_state, params)` returns. What is averaged are the
points that the inner optimizer would have evaluated, so `nag` may stand inside. Averages are kept
in float32 at least. They are of the parameters only: running statistics of a model, such as those
of batch normalization, belong to the points of training.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.optimizers.leafwise import checked_decay, checked_learning_rate, given, one_minus_power
from dljax.optimizers.states import AverageState, eval_params
from dljax.optimizers.wrapping import changed, inner_optimizer, moved, require_factory, wide
from dljax.types import PyTree


def ema(
    optimizer: optax.GradientTransformation, *, decay: ArrayLike = 0.999
) -> optax.GradientTransformationExtraArgs:
    """Exponential average of the points, corrected; Kingma & Ba 2015, arXiv:1412.6980, section 7.2.

        c       = (1 - decay) / (1 - decay^t)
        average = (1 - c) average + c W

    so that after t updates the point of update i weighs decay^(t - i), divided by the sum of the
    weights; the initial point does not count. With no update yet the average is that point.

    Args:
      optimizer: Any optax transformation; it trains as it would alone.
      decay: In [0, 1), per update; the average is over about 1 / (1 - decay) of them.
    """
    decay = checked_decay("decay", decay)
    return _averaged("ema", optimizer, lambda t: (1 - decay) / one_minus_power(decay, t))


def swa(
    optimizer: optax.GradientTransformation, *, start: ArrayLike, every: ArrayLike = 1
) -> optax.GradientTransformationExtraArgs:
    """Stochastic weight averaging; Izmailov et al. 2018, arXiv:1803.05407, algorithm 1.

    The average is the plain mean of the points after `start`, `start` + `every`, `start` +
    2 `every`, ... updates; up to the first of them it is the last point. The learning rate, level
    or cyclic from `start` on, is a matter of the inner optimizer's schedule.

    Args:
      optimizer: Any optax transformation; it trains as it would alone.
      start: Updates until the first point that counts, >= 0; 0 is the initial point.
      every: Updates from one point that counts to the next, >= 1.
    """
    require("start", start, "[0, inf)")
    require("every", every, "[1, inf)")

    def weight(t):
        later = jnp.asarray(jnp.maximum(t - start, 0), float)
        return jnp.where(later % every == 0, 1 / (later / every + 1), 0.0)

    return _averaged("swa", optimizer, weight)


def lookahead(
    optimizer: optax.GradientTransformation, *, k: ArrayLike = 6, alpha: ArrayLike = 0.5
) -> optax.GradientTransformationExtraArgs:
    """Lookahead: k steps forward, 1 step back; Zhang et al. 2019, arXiv:1907.08610, algorithm 1.

    After every k-th update of the fast weights theta, which train,

        phi   = phi + alpha (theta - phi)
        theta = phi

    and the slow weights phi are the ones to evaluate: between two such steps they stay. The inner
    optimizer keeps its state.

    Args:
      optimizer: Any optax transformation.
      k: Updates of the fast weights to one of the slow, >= 1.
      alpha: Step of the slow weights, in [0, 1]; at 1 training is that of `optimizer` alone.
    """
    require("k", k, "[1, inf)")
    require("alpha", alpha, "[0, 1]")
    optimizer = inner_optimizer(optimizer)

    def init(params):
        return AverageState(jnp.int32(0), jax.tree.map(wide, params), optimizer.init(params))

    def update(grads, state, params=None, **extra_args):
        given("lookahead", params)
        updates, inner = optimizer.update(grads, state.inner, params, **extra_args)
        t = optax.safe_increment(state.count)
        theta = eval_params(inner, moved(params, updates))
        c = jnp.where(t % k == 0, alpha, 0.0)
        phi = _mixed(c, state.average, theta)
        back = lambda u, phi, theta: jnp.where(t % k == 0, u + (phi - theta), u)  # noqa: E731
        return changed(back, updates, phi, theta), AverageState(t, phi, inner)

    return optax.GradientTransformationExtraArgs(init, update)


class ScheduleFree(NamedTuple):
    """What `schedule_free` remembers beside the average x.

    Attributes:
      z: The point that the inner optimizer moves, a tree like the parameters.
      total: Sum of the squared learning rates, float[].
      inner: State of the inner optimizer.
    """

    z: PyTree
    total: jax.Array
    inner: optax.OptState


def schedule_free(
    optimizer: Callable[..., optax.GradientTransformation],
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.9,
) -> optax.GradientTransformationExtraArgs:
    """Schedule-free learning; Defazio et al. 2024, "The Road Less Scheduled", arXiv:2405.15682.

        y = (1 - b1) z + b1 x
        z = z + u(g(y))
        x = (1 - c) x + c z        c = learning_rate_t^2 / sum_{i <= t} learning_rate_i^2

    The parameters that train, at which gradients are taken, are y; those to evaluate are the
    average x. For a constant learning rate c is 1 / t. At `b1` = 0 this is Polyak-Ruppert
    averaging of the optimizer's points, at 1 primal averaging.

    Args:
      optimizer: A factory, called as `optimizer(learning_rate)`; without momentum of its own,
        which y replaces: `dj.optimizers.sgd`, or `functools.partial(dj.optimizers.adam, b1=0.0)`.
      learning_rate: A number >= 0, or a schedule, which sees 0 first: a warm-up and no decay.
      b1: Weight of the average in y, in [0, 1].
    """
    require_factory(optimizer)
    checked_learning_rate(learning_rate)
    require("b1", b1, "[0, 1]")
    optimizer = inner_optimizer(optimizer(learning_rate))

    def init(params):
        z, x = jax.tree.map(wide, params), jax.tree.map(wide, params)
        return AverageState(jnp.int32(0), x, ScheduleFree(z, jnp.zeros([]), optimizer.init(params)))

    def update(grads, state, params=None, **extra_args):
        given("schedule_free", params)
        (z, total, inner), x = state.inner, state.average
        updates, inner = optimizer.update(grads, inner, params, **extra_args)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        total = total + jnp.asarray(rate**2, total.dtype)
        c = jnp.where(total > 0, rate**2 / jnp.where(total > 0, total, 1.0), 1.0)
        z = moved(z, updates)
        x = _mixed(c, x, z)
        y = _mixed(b1, z, x)
        updates = changed(lambda u, y, p: y - p, updates, y, params)
        t = optax.safe_increment(state.count)
        return updates, AverageState(t, x, ScheduleFree(z, total, inner))

    return optax.GradientTransformationExtraArgs(init, update)


def _averaged(
    rule: str,
    optimizer: optax.GradientTransformation,
    weight: Callable[[jax.Array], ArrayLike],
) -> optax.GradientTransformationExtraArgs:
    """Trains by `optimizer` and averages its points: that of update t enters with `weight(t)`."""
    optimizer = inner_optimizer(optimizer)

    def init(params):
        return AverageState(jnp.int32(0), jax.tree.map(wide, params), optimizer.init(params))

    def update(grads, state, params=None, **extra_args):
        given(rule, params)
        updates, inner = optimizer.update(grads, state.inner, params, **extra_args)
        t = optax.safe_increment(state.count)
        W = eval_params(inner, moved(params, updates))
        return updates, AverageState(t, _mixed(weight(t), state.average, W), inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _mixed(c: ArrayLike, average: PyTree, point: PyTree) -> PyTree:
    """Returns (1 - c) average + c point, exactly either at c = 0 and 1, in the average's types."""
    return jax.tree.map(lambda a, x: jnp.asarray((1 - c) * a + c * x, a.dtype), average, point)
