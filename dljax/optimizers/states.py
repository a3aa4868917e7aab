"""What can be read off an optimizer's state: the point to evaluate, and what it has cost."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dljax.optimizers.leafwise import RuleState
from dljax.types import PyTree


class AverageState(NamedTuple):
    """State of an optimizer that evaluates another point than the one it carries.

    Attributes:
      count: Updates applied so far, int32[].
      average: The parameters to evaluate, a tree like the parameters.
      inner: All else there is to remember.
    """

    count: jax.Array
    average: PyTree
    inner: Any


class CostState(NamedTuple):
    """State of an optimizer whose updates cost more than the gradient they are given.

    Attributes:
      cost: What was spent beyond that gradient, in gradient equivalents, float32[].
      inner: All else there is to remember.
    """

    cost: jax.Array
    inner: Any


def eval_params(opt_state: PyTree, params: PyTree) -> PyTree:
    """Returns the parameters to evaluate and to save, given those the optimizer carries.

    They are `params` itself but for optimizers that carry another point: `nag` and `weight_noise`,
    whose state stores the `shift` from there to the weights W, and the averaging methods, whose
    state stores the `average`. Per leaf under `optax.masked` and `optax.partition`; chains and
    wrappers are searched through.

    Args:
      opt_state: State of any optax transformation.
      params: The parameters that `opt_state` belongs to.
    """
    is_masked = lambda s: isinstance(s, optax.MaskedNode)  # noqa: E731

    def overlay(tree, point):
        merge = lambda x, p: p if is_masked(x) else jnp.asarray(point(x, p), p.dtype)  # noqa: E731
        return jax.tree.map(merge, tree, params, is_leaf=is_masked)

    for state in jax.tree.leaves(
        opt_state, is_leaf=lambda s: isinstance(s, RuleState | AverageState)
    ):
        if isinstance(state, AverageState):
            params = overlay(state.average, lambda average, p: average)
        elif isinstance(state, RuleState) and hasattr(state.stats, "shift"):
            params = overlay(state.stats.shift, lambda shift, p: p + shift)
    return params


def gradient_equivalents(opt_state: PyTree, num_updates: jax.Array) -> jax.Array:
    """Returns what a run has cost so far, in gradients of one batch, float32[].

    Each update costs the gradient that it is given, and what its method spends beyond. By
    convention a pass forward counts 1/3 and a pass backward 2/3: so a loss is 1/3, a gradient 1,
    and a product of a vector with the Hessian, Gauss-Newton or Fisher matrix 2 (a tangent doubles
    a pass; the last two cost 5/3, which is rounded up).

    Args:
      opt_state: State of any optax transformation; states `CostState` in it are summed.
      num_updates: Updates applied so far, int32[].
    """
    is_cost = lambda s: isinstance(s, CostState)  # noqa: E731
    found, left = [], [opt_state]
    while left:  # a method may stand inside another
        costs = [s for s in jax.tree.leaves(left.pop(), is_leaf=is_cost) if is_cost(s)]
        found += [state.cost for state in costs]
        left += [state.inner for state in costs]
    return sum(found, jnp.asarray(num_updates, jnp.float32))
