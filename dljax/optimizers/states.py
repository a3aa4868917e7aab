"""What can be read off an optimizer's state: the point to evaluate, and what it has cost."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

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


class Operations(NamedTuple):
    """What was computed, in counts: int32[] each but the last, float32[].

    Inside the state of an optimizer they are of what it spends beyond the gradient that it is
    given, `None` where it never does; wherever one stands there, `operations` finds it.

    Attributes:
      losses: Passes forward alone.
      gradients: Passes forward, each with one backward.
      backwards: Further passes backward, of the outputs of one forward.
      products: Of a vector with the Hessian, Gauss-Newton or Fisher matrix.
      solves: Matrices factorized: Cholesky, QR, eigenvalues, or Newton and Schulz's iteration.
      solve_flops: What those took, in floating-point operations, by `dljax.linalg`'s counts.
    """

    losses: jax.Array | None = None
    gradients: jax.Array | None = None
    backwards: jax.Array | None = None
    products: jax.Array | None = None
    solves: jax.Array | None = None
    solve_flops: jax.Array | None = None


# in gradients: a pass forward is 1/3 and one backward 2/3, and a tangent doubles a pass
WEIGHTS = {"losses": 1 / 3, "gradients": 1.0, "backwards": 2 / 3, "products": 2.0}


class CostState(NamedTuple):
    """State of an optimizer whose updates cost more than the gradient they are given.

    Attributes:
      spent: What was spent beyond that gradient.
      inner: All else there is to remember.
    """

    spent: Operations
    inner: Any


def none_yet(*names: str) -> Operations:
    """Returns counts of 0 for the operations that a method has."""
    dtypes = {name: jnp.float32 if name == "solve_flops" else jnp.int32 for name in names}
    return Operations(**{name: jnp.zeros([], dtype) for name, dtype in dtypes.items()})


def more(spent: Operations, **counts: ArrayLike) -> Operations:
    """Returns the counts with these added."""
    add = lambda old, new: old + jnp.asarray(new).astype(old.dtype)  # noqa: E731
    return spent._replace(**{name: add(getattr(spent, name), n) for name, n in counts.items()})


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


def operations(opt_state: PyTree, num_updates: jax.Array) -> Operations:
    """Returns what a run has computed so far: a gradient each update, and what its method spent.

    Args:
      opt_state: State of any optax transformation; the `Operations` in it are summed.
      num_updates: Updates applied so far, int32[].
    """
    is_spent = lambda s: isinstance(s, Operations)  # noqa: E731
    total = none_yet(*Operations._fields)
    total = more(total, gradients=num_updates)
    for spent in filter(is_spent, jax.tree.leaves(opt_state, is_leaf=is_spent)):
        total = more(total, **{name: n for name, n in spent._asdict().items() if n is not None})
    return total


def gradient_equivalents(opt_state: PyTree, num_updates: jax.Array) -> jax.Array:
    """Returns what a run has cost so far, in gradients of one batch, float32[].

    Each update costs the gradient that it is given, and what its method spends beyond. By
    convention a pass forward counts 1/3 and a pass backward 2/3: so a loss is 1/3, a gradient 1,
    and a product of a vector with the Hessian, Gauss-Newton or Fisher matrix 2 (a tangent doubles
    a pass; the last two cost 5/3, which is rounded up). Solves are left out: what they cost does
    not depend on the batch, so that no number of gradients is theirs; see `operations`.

    Args:
      opt_state: State of any optax transformation.
      num_updates: Updates applied so far, int32[].
    """
    counts = operations(opt_state, num_updates)
    return sum(jnp.float32(w) * getattr(counts, name) for name, w in WEIGHTS.items())
