"""Sharpness-aware minimization: the gradient is taken uphill from where the parameters are."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax import trees
from dljax.errors import require
from dljax.optimizers.leafwise import RuleState, given
from dljax.optimizers.second_order import whole_tree
from dljax.optimizers.states import CostState, more, none_yet
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

Gradient = Callable[[PyTree], PyTree]

# what `dj.trainer` offers and is at p, not where the gradient is taken
_AT_P = ("value_fn", "hvp_fn", "gauss_newton_vp", "fisher_vp", "fisher_diagonal_fn", "kronecker_fn")


def sam(
    optimizer: optax.GradientTransformation, *, rho: ArrayLike = 0.05
) -> optax.GradientTransformationExtraArgs:
    """Sharpness-aware minimization; Foret et al. 2021, arXiv:2010.01412, eq. 2 and algorithm 1.

    The optimizer is given the gradient at p + rho g / ||g||, the norm over the whole tree, instead
    of g at p. It is of the same batch, by the extra argument `grad_fn(params) -> grads`, which
    `dj.trainer` supplies, and costs one gradient more an update (`gradient_equivalents`).

    Args:
      optimizer: Any optax transformation that takes a gradient: curvature, which would be that at
        p, is not handed on.
      rho: Length of the way uphill, >= 0, in units of the parameters.

    Raises:
      ValueError: If `rho` is out of range, or `update` is not given `params` and `grad_fn`.
    """
    require("rho", rho, "[0, inf)")
    optimizer = inner_optimizer(optimizer)

    def init(params):
        return CostState(none_yet("gradients"), optimizer.init(params))

    def update(grads, state, params=None, *, grad_fn=None, **extra_args):
        given("sam", params)
        if grad_fn is None:
            raise ValueError(
                "sam needs the gradient as a function: call update(grads, state, params, "
                "grad_fn=...); dj.trainer does, and sam_alternating does without."
            )
        whole_tree("sam", grads, extra_args)
        grads = grad_fn(moved(params, _uphill(grads, rho)))
        handed_on = {name: x for name, x in extra_args.items() if name not in _AT_P}
        updates, inner = optimizer.update(
            grads, state.inner, params, **{**handed_on, "grad": grads}
        )
        return updates, CostState(more(state.spent, gradients=1), inner)

    return optax.GradientTransformationExtraArgs(init, update)


def sam_gradient(grad_fn: Gradient, params: PyTree, rho: ArrayLike) -> PyTree:
    """Returns the gradient at `params` + rho g / ||g|| with g = grad_fn(params), as in `sam`."""
    return grad_fn(moved(params, _uphill(grad_fn(params), rho)))


def sam_alternating(
    optimizer: optax.GradientTransformation, *, rho: ArrayLike = 0.05
) -> optax.GradientTransformationExtraArgs:
    """`sam` in two updates, where the caller has no `grad_fn`: up, then back and on.

    The first, third, ... update moves the parameters uphill by rho g / ||g||; the second, fourth,
    ... undoes that and applies what the optimizer makes of the gradient there. In between,
    `eval_params` gives the parameters before the climb. The two gradients are of two batches
    unless the caller gives one batch twice.

    Args:
      optimizer: Any optax transformation; it is given every second gradient.
      rho: Length of the way uphill, >= 0, in units of the parameters.
    """
    require("rho", rho, "[0, inf)")
    optimizer = inner_optimizer(optimizer)

    def init(params):
        return ShiftedState(not_shifted(params), optimizer.init(params))

    def update(grads, state, params=None, **extra_args):
        given("sam_alternating", params)
        (count, (shift,)), old = state
        climbs = count % 2 == 0
        p = moved(params, shift)
        updates, new = optimizer.update(grads, old, p, **extra_args)
        turn = lambda u, e, s: jnp.where(climbs, e, s + u)  # noqa: E731
        updates = changed(turn, updates, _uphill(grads, rho), shift)
        down = lambda p, climbed: jnp.where(climbs, wide(p) - climbed, 0.0)  # noqa: E731
        shift = jax.tree.map(down, p, moved(params, updates))
        rule = RuleState(optax.safe_increment(count), Shift(shift))
        return updates, ShiftedState(rule, trees.where(climbs, old, new))

    return optax.GradientTransformationExtraArgs(init, update)


def _uphill(grads: PyTree, rho: ArrayLike) -> PyTree:
    """Returns rho g / ||g||, and 0 where g is 0."""
    square = sum(jnp.sum(jnp.abs(wide(g)) ** 2) for g in jax.tree.leaves(grads))
    norm = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    return changed(lambda g: jnp.where(square > 0, rho / norm, 0.0) * g, grads)
