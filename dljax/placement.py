"""Which devices there are, and trees of arrays on their way between them and the host."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dljax.types import PyTree

AXIS = "members"  # of every mesh
ARRAYS = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


def default_mesh() -> Mesh:
    """Lays this process's devices along one axis, "members".

    Of a CPU it takes one device: programs that run side by side in threads use all its cores, and
    are compiled once, not for each device.
    """
    chosen = jax.config.jax_default_device
    devices = [chosen] if isinstance(chosen, jax.Device) else jax.local_devices()
    devices = devices[:1] if devices[0].platform == "cpu" else devices
    return Mesh(np.array(devices), (AXIS,))


def checked_mesh(mesh: Mesh | None) -> Mesh:
    """Returns a mesh of one axis, "members", the default one for `None`, or raises."""
    if mesh is None:
        return default_mesh()
    if not isinstance(mesh, Mesh) or mesh.axis_names != (AXIS,):
        raise ValueError(f"mesh must be a jax.sharding.Mesh of one axis, {AXIS!r}, got {mesh!r}.")
    if {device.process_index for device in mesh.devices.flat} != {jax.process_index()}:
        raise ValueError(f"mesh must hold devices of this process alone, got {mesh.devices}.")
    return mesh


def replicated(shared: tuple, mesh: Mesh) -> tuple[tuple, ...]:
    """Places what all members see on each device, and returns it once for each.

    Raises:
      ValueError: If it is not a tuple of trees of arrays and numbers.
    """
    if not isinstance(shared, tuple):
        raise ValueError(f"shared must be a tuple of trees, got {type(shared).__name__}.")
    for leaf in jax.tree.leaves(shared):
        if not isinstance(leaf, ARRAYS) or _is_text(leaf):
            raise ValueError(
                "shared must hold arrays and numbers (of pandas, what to_numpy() gives), "
                f"got {type(leaf).__name__}{f' of {leaf.dtype}' if _is_text(leaf) else ''}."
            )
    return tuple(jax.device_put(shared, device) for device in mesh.devices.flat)


def checked_cells(cells: dict[str, Any]) -> dict[str, Any]:
    """Returns the members' coordinates on the host, or raises a `ValueError`."""
    shapes = [np.shape(x) for x in jax.tree.leaves(cells)]
    lengths = {shape[:1] for shape in shapes}
    if len(lengths) != 1 or not all(min(lengths)) or lengths == {()}:
        raise ValueError(
            f"cells must hold arrays [P, ...] of one number of members P >= 1, got shapes {shapes}."
        )
    for leaf in jax.tree.leaves(cells):
        if getattr(leaf, "dtype", None) in (np.int64, np.uint64):
            limits = np.iinfo(jax.dtypes.canonicalize_dtype(leaf.dtype))
            if leaf.min() < limits.min or leaf.max() > limits.max:
                raise ValueError(
                    f"cells of whole numbers must fit {limits.dtype} unless jax_enable_x64 is set, "
                    f"got {leaf.min()} to {leaf.max()}."
                )
    return to_host(cells)


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


def to_device(tree: PyTree, device: jax.Device | None = None) -> PyTree:
    """Places what `to_host` fetched; without a device only the keys become jax's again."""

    def place(x):
        if isinstance(x, HostKeys):
            data = x.data if device is None else jax.device_put(x.data, device)
            return jax.random.wrap_key_data(data, impl=x.impl)
        return x if device is None else jax.device_put(x, device)

    return jax.tree.map(place, tree, is_leaf=lambda x: isinstance(x, HostKeys))


def _is_text(x: Any) -> bool:
    """Tells whether an array holds objects, text or dates, which no device takes."""
    return isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "OSUmM"


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(getattr(x, "dtype", np.float32), jax.dtypes.prng_key)
