"""From a rule for one array to an optax transformation of a whole tree."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.types import PyTree


class RuleState(NamedTuple):
    """State of a leafwise optimizer.

    Attributes:
      count: Updates applied so far, int32[].
      stats: Statistics of the rule: a `NamedTuple` whose fields are trees shaped like the
        parameters. A field `shift`, where there is one, is what `eval_params` adds.
    """

    count: jax.Array
    stats: Any


def leafwise(
    init: Callable[[jax.Array], Any],
    update: Callable[..., tuple[jax.Array, Any]],
    learning_rate: optax.ScalarOrSchedule | Callable[[jax.Array], Any] = 1.0,
) -> optax.GradientTransformation:
    """Applies a rule for one array to every array of a tree.

    Args:
      init: `init(p) -> s`, the statistics of one parameter array: a `NamedTuple` of arrays shaped
        like `p`. They are kept in float32 at least.
      update: `update(g, s, p, t, learning_rate) -> (u, s)`: from the gradient `g`, the statistics
        and the parameters (`None` where optax is given none) at step `t` = 1, 2, ... (int32[])
        to the update that is added to `p`, and the new statistics.
      learning_rate: A number, which may be traced, or a schedule, which sees the count of updates
        applied so far, from 0; the rule is given what it returns.

    Returns:
      The transformation; its updates have the dtypes of the gradients.
    """
    stats_type = type(jax.eval_shape(init, jax.ShapeDtypeStruct((), jnp.float32)))

    def by_field(tree, rows):
        columns = ([row[i] for row in rows] for i in range(len(stats_type._fields)))
        return stats_type(*(tree.unflatten(column) for column in columns))

    def init_fn(params: PyTree) -> RuleState:
        leaves, tree = jax.tree.flatten(params)
        rows = [init(jnp.asarray(p, _wide(p))) for p in leaves]
        return RuleState(jnp.zeros([], jnp.int32), by_field(tree, rows))

    def update_fn(grads: PyTree, state: RuleState, params: PyTree = None):
        gs, tree = jax.tree.flatten(grads)
        columns = [tree.flatten_up_to(field) for field in state.stats]
        ps = [None] * len(gs) if params is None else tree.flatten_up_to(params)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        t = optax.safe_increment(state.count)
        us, rows = [], []
        for i, (g, p) in enumerate(zip(gs, ps, strict=True)):
            s = stats_type(*(column[i] for column in columns))
            u, s = update(jnp.asarray(g, _wide(g)), s, p, t, rate)
            chex.assert_equal_shape([u, g])
            us.append(jnp.asarray(u, jnp.result_type(g)))
            rows.append([jnp.asarray(x, _wide(g)) for x in s])
        return tree.unflatten(us), RuleState(t, by_field(tree, rows))

    return optax.GradientTransformation(init_fn, update_fn)


def eval_params(opt_state: PyTree, params: PyTree) -> PyTree:
    """Returns the parameters to evaluate and to save, given those the optimizer carries.

    They are `params` itself but for optimizers that carry a shifted point, such as `nag`, whose
    state stores the `shift` from there to the weights W. Per leaf under `optax.masked` and
    `optax.partition`; chains and wrappers are searched through.

    Args:
      opt_state: State of any optax transformation.
      params: The parameters that `opt_state` belongs to.
    """
    is_rule = lambda s: isinstance(s, RuleState)  # noqa: E731
    is_masked = lambda s: isinstance(s, optax.MaskedNode)  # noqa: E731
    for state in jax.tree.leaves(opt_state, is_leaf=is_rule):
        if is_rule(state) and hasattr(state.stats, "shift"):
            params = jax.tree.map(
                lambda shift, p: p if is_masked(shift) else jnp.asarray(p + shift, p.dtype),
                state.stats.shift,
                params,
                is_leaf=is_masked,
            )
    return params


def one_minus_power(b: ArrayLike, t: jax.Array) -> jax.Array:
    """Computes 1 - b^t without the loss of digits near b^t = 1.

    Args:
      b: Decay in [0, 1), any float; may be traced, and the gradient at 0 is finite.
      t: Step, int32[], at least 1.
    """
    positive = jnp.where(b > 0, b, 1.0)  # log(0) would make the gradient NaN
    return jnp.where(b > 0, -jnp.expm1(t * jnp.log(positive)), 1.0)


def require_learning_rate(learning_rate: optax.ScalarOrSchedule) -> None:
    """Raises a `ValueError` unless the learning rate is >= 0, traced or a schedule."""
    if not callable(learning_rate):
        require("learning_rate", learning_rate, "[0, inf)")


def _wide(x: ArrayLike) -> jnp.dtype:
    return jnp.promote_types(jnp.result_type(x), jnp.float32)
