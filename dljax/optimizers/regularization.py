"""Regularization that belongs to the update: decay, sparsity, noise, and on which parameters.

Each is one link of an `optax.chain`, and says at which end. Clipping is optax's:
`optax.clip_by_global_norm` and its kind, first in a chain. `optax.masked(link, by_path("*kernel"))`
applies a link to some parameters only.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.keys import stream
from dljax.optimizers.leafwise import RuleState, checked_learning_rate, given, leafwise
from dljax.optimizers.momentum import NoStatistics
from dljax.optimizers.wrapping import (
    Shift,
    ShiftedState,
    changed,
    inner_optimizer,
    moved,
    not_shifted,
    wide,
)
from dljax.types import PyTree


def decoupled_weight_decay(
    learning_rate: optax.ScalarOrSchedule, weight_decay: ArrayLike
) -> optax.GradientTransformationExtraArgs:
    """Decoupled weight decay, last in a chain; Loshchilov & Hutter 2019, arXiv:1711.05101.

        u = u - learning_rate weight_decay p

    After `sgd` at one learning rate this equals `coupled_l2`; after adaptive rules it does not.

    Args:
      learning_rate: That of the optimizer before it, >= 0; a schedule sees 0 first.
      weight_decay: >= 0, relative decay of p per unit of the learning rate.
    """
    checked_learning_rate(learning_rate)
    require("weight_decay", weight_decay, "[0, inf)")

    def update(u, s, p, t, learning_rate):
        given("decoupled_weight_decay", p)
        return u - learning_rate * weight_decay * p, s

    return leafwise(lambda p: NoStatistics(), update, learning_rate)


def coupled_l2(weight_decay: ArrayLike) -> optax.GradientTransformationExtraArgs:
    """The gradient of the penalty weight_decay / 2 ||p||^2, first in a chain.

        g = g + weight_decay p

    Args:
      weight_decay: >= 0, in units of the gradient over those of the parameters.
    """
    require("weight_decay", weight_decay, "[0, inf)")

    def update(g, s, p, t, learning_rate):
        given("coupled_l2", p)
        return g + weight_decay * p, s

    return leafwise(lambda p: NoStatistics(), update)


def proximal_l1(
    learning_rate: optax.ScalarOrSchedule, strength: ArrayLike
) -> optax.GradientTransformationExtraArgs:
    """The proximal step of strength ||p||_1, last in a chain; Beck & Teboulle 2009, ISTA.

        w = p + u
        p = sign(w) max(|w| - learning_rate strength, 0)

    Weights become zero exactly, if gradients have the type of the parameters. After `sgd` this is
    ISTA (SIAM J. Imaging Sci. 2(1), section 1); under `nag` it is the look-ahead point that is
    sparse. The parts of a complex number are taken one by one.

    Args:
      learning_rate: That of the optimizer before it, >= 0; a schedule sees 0 first.
      strength: Of the penalty, >= 0, in units of the gradient.
    """
    checked_learning_rate(learning_rate)
    require("strength", strength, "[0, inf)")

    def update(u, s, p, t, learning_rate):
        given("proximal_l1", p)
        w = p + u
        kept = jnp.maximum(jnp.abs(w) - learning_rate * strength, 0.0)
        return jnp.sign(w) * kept - p, s

    return leafwise(lambda p: NoStatistics(), update, learning_rate)


class NoiseState(NamedTuple):
    """State of `gradient_noise`."""

    count: jax.Array  # updates applied so far, int32[]


def gradient_noise(
    key: jax.Array, eta: ArrayLike, gamma: ArrayLike = 0.55
) -> optax.GradientTransformationExtraArgs:
    """Adds noise that dies out, first in a chain; Neelakantan et al. 2015, arXiv:1511.06807.

        g = g + N(0, sigma^2)        sigma^2 = eta / (1 + t)^gamma,  t = 0, 1, ...

    Args:
      key: Source of the noise, key[]; each parameter draws by its path and the count of updates.
      eta: Variance of the first update, >= 0; the paper tries 0.01, 0.3 and 1.
      gamma: Power of its fall, >= 0.
    """
    require("eta", eta, "[0, inf)")
    require("gamma", gamma, "[0, inf)")

    def init(params):
        return NoiseState(jnp.int32(0))

    def update(grads, state, params=None, **extra_args):
        t = state.count
        variance = eta / (1.0 + t) ** gamma
        sigma = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)
        noise = _noise(key, "gradient noise", t, grads)
        grads = changed(lambda g, n: g + sigma * n, grads, noise)
        return grads, NoiseState(optax.safe_increment(t))

    return optax.GradientTransformationExtraArgs(init, update)


def weight_noise(
    optimizer: optax.GradientTransformation, key: jax.Array, sigma: ArrayLike
) -> optax.GradientTransformationExtraArgs:
    """Takes gradients at W + N(0, sigma^2); Murray & Edwards 1994, IEEE Trans. Neural Netw. 5(5).

    The parameters that train are the noisy ones, drawn anew after every update (those of the
    first gradient have no noise yet); the optimizer moves the weights W, which
    `eval_params(opt_state, params)` returns.

    Args:
      optimizer: Any optax transformation.
      key: Source of the noise, key[]; each parameter draws by its path and the count of updates.
      sigma: Standard deviation, >= 0, in units of the parameters.
    """
    require("sigma", sigma, "[0, inf)")
    optimizer = inner_optimizer(optimizer)

    def init(params):
        return ShiftedState(not_shifted(params), optimizer.init(params))

    def update(grads, state, params=None, **extra_args):
        given("weight_noise", params)
        (count, (shift,)), inner = state
        updates, inner = optimizer.update(grads, inner, moved(params, shift), **extra_args)
        count = optax.safe_increment(count)
        W = moved(jax.tree.map(jnp.add, params, shift), updates)
        noise = _noise(key, "weight noise", count, params)
        step = lambda u, W, n, p: W + sigma * n - p  # noqa: E731
        updates = changed(step, updates, W, noise, params)
        shift = jax.tree.map(jnp.subtract, W, moved(params, updates))  # as really applied
        return updates, ShiftedState(RuleState(count, Shift(shift)), inner)

    return optax.GradientTransformationExtraArgs(init, update)


def by_path(*patterns: str) -> Callable[[PyTree], PyTree]:
    """Makes a mask for `optax.masked`: which parameters have a path like one of the patterns.

    A path joins names and positions by slashes, "hidden_0/kernel"; in a pattern "*" stands for
    anything, "?" for one character, and "[ab]" for one of some: `by_path("*kernel", "embed/*")`.

    Returns:
      `mask(params) -> tree of bool`.

    Raises:
      ValueError: Where the mask is made, if a pattern is like no path.
    """

    def mask(params):
        name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")  # noqa: E731
        paths = [name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for pattern in patterns:
            if not any(fnmatchcase(path, pattern) for path in paths):
                raise ValueError(
                    f"a pattern must be like the path of a parameter, got {pattern!r} "
                    f"for {', '.join(paths)}."
                )
        chosen = lambda path, _: any(fnmatchcase(name(path), p) for p in patterns)  # noqa: E731
        return jax.tree_util.tree_map_with_path(chosen, params)

    return mask


def _noise(key: jax.Array, name: str, count: jax.Array, tree: PyTree) -> PyTree:
    """Draws standard normal noise like `tree`; of each array by its path and the count."""

    def draw(path, x):
        own = stream(key, f"{name} {jax.tree_util.keystr(path)}", count)
        return jax.random.normal(own, jnp.shape(x), wide(x).dtype)

    return jax.tree_util.tree_map_with_path(draw, tree)
