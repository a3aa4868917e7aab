"""Shapes and types of what programs take, without the values."""

from functools import partial
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding

from dljax.placement import HostKeys
from dljax.types import PyTree


def shapes(tree: PyTree) -> PyTree:
    """Forgets values; of arrays on devices it keeps where they are."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None)),
        tree,
    )


def of_tile(tree: PyTree, width: int, device: jax.Device) -> PyTree:
    """Returns the shapes of a tile on a device from those of one member."""
    sharding = SingleDeviceSharding(device)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((width, *x.shape), x.dtype, sharding=sharding), tree
    )


def bare(tree: PyTree) -> PyTree:
    """Forgets all but shapes and types."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def of_member(cells: dict[str, Any]) -> dict[str, Any]:
    """Returns the shapes of one member's coordinates."""

    def row(x):
        if isinstance(x, HostKeys):
            return shapes(jax.eval_shape(partial(jax.random.wrap_key_data, impl=x.impl), x.data[0]))
        return jax.ShapeDtypeStruct(x.shape[1:], jax.dtypes.canonicalize_dtype(x.dtype))

    return jax.tree.map(row, cells, is_leaf=lambda x: isinstance(x, HostKeys))
