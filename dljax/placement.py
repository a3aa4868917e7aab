"""Which devices there are, and trees of arrays on their way between them and the host."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dljax.types import PyTree

AXIS = "members"  # of every mesh


def default_mesh() -> Mesh:
    """Lays this process's devices along one axis, "members".

    Of a CPU it takes one device: programs that run side by side in threads use all its cores, and
    are compiled once, not for each device.
    """
    chosen = jax.config.jax_default_device
    devices = [chosen] if isinstance(chosen, jax.Device) else jax.local_devices()
    devices = devices[:1] if devices[0].platform == "cpu" else devices
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def checked_mesh(mesh: Mesh | None) -> Mesh:
    """Returns a mesh of one axis, "members", the default one for `None`, or raises."""
    if mesh is None:
        return default_mesh()
    if not isinstance(mesh, Mesh) or mesh.axis_names != (AXIS,):
        raise ValueError(f"mesh must be a jax.sharding.Mesh of one axis, {AXIS!r}, got {mesh!r}.")
    return mesh


def replicated(shared: tuple, mesh: Mesh) -> tuple:
    """Places what all members see once on each device."""
    return jax.device_put(shared, NamedSharding(mesh, PartitionSpec()))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HostKeys:
    """Keys of `jax.random` on the host, where numpy has no type for them."""

    data: np.ndarray
    impl: str = field(metadata={"static": True})


def to_host(tree: PyTree) -> PyTree:
    """Fetches arrays as numpy's, and keys as `HostKeys`."""

    def fetch(x):
        if _is_key(x):
            return HostKeys(np.asarray(jax.random.key_data(x)), str(jax.random.key_impl(x)))
        return np.asarray(x)

    return jax.tree.map(fetch, tree)


def to_device(tree: PyTree, sharding: NamedSharding | None = None) -> PyTree:
    """Places what `to_host` fetched; without a sharding only the keys become jax's again."""

    def place(x):
        if isinstance(x, HostKeys):
            data = x.data if sharding is None else jax.device_put(x.data, sharding)
            return jax.random.wrap_key_data(data, impl=x.impl)
        return x if sharding is None else jax.device_put(x, sharding)

    return jax.tree.map(place, tree, is_leaf=lambda x: isinstance(x, HostKeys))


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(getattr(x, "dtype", np.float32), jax.dtypes.prng_key)
