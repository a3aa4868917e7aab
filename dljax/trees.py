"""The few helpers on trees of arrays that jax and optax lack."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

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


def as_vector(method: str, tree: PyTree) -> tuple[jax.Array, Callable[[jax.Array], PyTree]]:
    """Returns the numbers of a tree in a row, float32 at least, and the way back to its types.

    Raises:
      ValueError: If there are complex numbers, which `method` does not take.
    """
    if any(jnp.iscomplexobj(x) for x in jax.tree.leaves(tree)):
        raise ValueError(f"{method} must have real parameters, got complex ones.")
    wide = lambda x: jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))  # noqa: E731
    flat, unravel = ravel_pytree(jax.tree.map(wide, tree))
    back = lambda v: jax.tree.map(  # noqa: E731
        lambda new, x: new.astype(x.dtype), unravel(v.astype(flat.dtype)), tree
    )
    return flat, back


def in_containers(given: PyTree, tree: PyTree) -> PyTree:
    """Returns the arrays of `given`, nested dicts and lists, in the containers and types of `tree`.

    Raises:
      ValueError: If names or shapes differ.
    """
    found, wanted = (jax.tree_util.tree_flatten_with_path(part)[0] for part in (given, tree))
    names = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")  # noqa: E731
    shapes = [{names(path): jnp.shape(x) for path, x in part} for part in (found, wanted)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"params must have the shapes {shapes[1]}, got {shapes[0]}.")
    leaves = [jnp.asarray(x, p.dtype) for (_, x), (_, p) in zip(found, wanted)]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def aligned(grads: PyTree, tree: PyTree, *, shapes: bool = False) -> list[Any]:
    """Returns the parts of `tree` that stand where the leaves of `grads` (`None` is one) stand.

    Args:
      grads: Gradients.
      tree: Parameters, or statistics of them: subtrees may stand where `grads` has leaves.
      shapes: Whether arrays at one place must have one shape.

    Raises:
      ValueError: If the trees differ, with the path at which they do.
    """
    is_none = lambda x: x is None  # noqa: E731
    paths, structure = jax.tree_util.tree_flatten_with_path(grads, is_leaf=is_none)
    try:
        parts = structure.flatten_up_to(tree)
    except (ValueError, TypeError):  # a list where a tuple was raises a TypeError
        where = _first_difference(grads, tree)
        raise ValueError(
            f"the gradients must have the tree of the parameters, got another one at {where}."
        ) from None
    for (path, g), p in zip(paths, parts, strict=True):
        if shapes and g is not None and jnp.shape(g) != jnp.shape(p):
            raise ValueError(
                f"each gradient must have the shape of its parameter, got {jnp.shape(g)} for "
                f"{jnp.shape(p)} at {jax.tree_util.keystr(path) or 'the root'}."
            )
    return parts


def _first_difference(tree: PyTree, other: PyTree, path: str = "") -> str:
    """Returns the path of the first node whose children differ."""
    children, others = (
        {
            jax.tree_util.keystr(key): child
            for key, child in jax.tree_util.tree_flatten_with_path(
                node, is_leaf=lambda x, node=node: x is not node
            )[0]
        }
        for node in (tree, other)
    )
    if differing := sorted(set(children) ^ set(others)):
        return path + differing[0]
    if type(tree) is not type(other) or "" in children:
        return path or "the root"
    for key, child in children.items():
        if jax.tree.structure(child) != jax.tree.structure(others[key]):
            return _first_difference(child, others[key], path + key)
    return path or "the root"
