"""What the wrappers around another optimizer share: moving points, and the shift between them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dljax.optimizers.leafwise import RuleState
from dljax.types import PyTree


class Shift(NamedTuple):
    """Statistics of a wrapper that carries the parameters away from where they are evaluated."""

    shift: PyTree  # from the parameters back to there, in float32 at least


class ShiftedState(NamedTuple):
    """State of such a wrapper: the shift, and the state of the inner optimizer."""

    rule: RuleState
    inner: Any


def not_shifted(params: PyTree) -> RuleState:
    """Returns the beginning of a `ShiftedState`: no update, no shift."""
    return RuleState(jnp.int32(0), Shift(jax.tree.map(lambda p: jnp.zeros_like(wide(p)), params)))


def moved(params: PyTree, updates: PyTree) -> PyTree:
    """Returns the parameters after an update, in their own types; without one they stay."""
    move = lambda u, p: p if u is None else jnp.asarray(p + u, jnp.result_type(p))  # noqa: E731
    return jax.tree.map(move, updates, params, is_leaf=_is_none)


def changed(f: Callable[..., Any], updates: PyTree, *trees: PyTree) -> PyTree:
    """Maps `f(u, ...)` over the updates there are, each back to its own type."""

    def change(u, *others):
        return None if u is None else jnp.asarray(f(u, *others), jnp.result_type(u))

    return jax.tree.map(change, updates, *trees, is_leaf=_is_none)


def wide(p: jax.Array) -> jax.Array:
    """Returns a copy of its own, which donating `p` leaves alone, in float32 at least."""
    return jnp.array(p, jnp.promote_types(jnp.result_type(p), jnp.float32), copy=True)


def inner_optimizer(optimizer: Any) -> optax.GradientTransformationExtraArgs:
    """Returns an inner optimizer that takes extra arguments; raises a `ValueError` if it is none.

    `optax.MultiSteps` is one by its methods alone.
    """
    if isinstance(optimizer, optax.MultiSteps):
        return optax.GradientTransformationExtraArgs(optimizer.init, optimizer.update)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ValueError(
            "optimizer must be an optax.GradientTransformation, such as dj.optimizers.sgd(0.1), "
            f"got {getattr(optimizer, '__name__', repr(optimizer))}."
        )
    return optax.with_extra_args_support(optimizer)


def require_factory(optimizer: Any) -> None:
    """Raises a `ValueError` where an optimizer stands in the place of a function that makes one."""
    if not callable(optimizer):
        raise ValueError(
            "optimizer must be a function of the learning rate, such as dj.optimizers.sgd, "
            f"got {type(optimizer).__name__}."
        )


def _is_none(x: PyTree) -> bool:
    return x is None
