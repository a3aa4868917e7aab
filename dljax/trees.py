"""The few helpers on trees of arrays that jax and optax lack."""

import jax
import jax.numpy as jnp

from dljax.types import Data, PyTree


def where(condition: jax.Array, chosen: PyTree, other: PyTree) -> PyTree:
    """Chooses one of two trees of the same shapes by `condition`, bool[]."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), chosen, other)


def all_finite(tree: PyTree) -> jax.Array:
    """Says whether every number of `tree` is finite; bool[]. Integers and keys always are."""
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.isfinite(x).all() for x in floats], dtype=bool))


def take_rows(data: Data, index: jax.Array) -> Data:
    """Gathers rows `index`, int32[B] in [0, N), of arrays [N, ...] into arrays [B, ...].

    The bounds are promised, not checked: every index comes from a split of the same rows.
    """
    return jax.tree.map(lambda x: jnp.asarray(x).at[index].get(mode="promise_in_bounds"), data)


def count_parameters(tree: PyTree) -> int:
    """Counts the numbers in `tree`; shapes suffice."""
    return sum(x.size for x in jax.tree.leaves(tree))
