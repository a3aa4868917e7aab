"""The one mechanism that runs many members: shard over devices, tile, vmap.

A tile is one compiled program: `width` members on each device of the mesh. Any number of members
is padded to whole tiles, which the host starts one after another, so that neither their number
nor their order can reach a member's bits.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dljax.errors import require
from dljax.types import PyTree

AXIS = "members"


def population(
    member: Callable[..., PyTree], *, width: int | None = None, mesh: Mesh | None = None
) -> Callable[[tuple, dict[str, Any]], PyTree]:
    """Turns one run into many.

    Args:
      member: `member(*shared, **cell) -> results`, a pure function of arrays.
      width: Members of a tile on one device, W >= 1; `None` takes `default_width`.
      mesh: Devices along one axis called "members"; `None` takes all there are.

    Returns:
      `f(shared, cells) -> results`: `shared` is a tuple of trees that all members see, `cells` a
      dict of trees whose leaves are [P, ...]; so are the leaves of the results, on the host.
    """

    def run_all(shared: tuple, cells: dict[str, Any]) -> PyTree:
        results = list(tiles(member, shared, cells, width=width, mesh=mesh))
        return jax.tree.map(join, *results)

    return run_all


def tiles(
    member: Callable[..., PyTree],
    shared: tuple,
    cells: dict[str, Any],
    *,
    width: int | None = None,
    mesh: Mesh | None = None,
) -> Iterator[PyTree]:
    """Yields the results of one tile after another, leaves [members of the tile, ...], on the host.

    The arguments are those of `population`. The next tile is started before the results of one
    are fetched, so that the devices do not wait.
    """
    mesh, size = _mesh_and_size(mesh, width)
    num_members = len(jax.tree.leaves(cells)[0])
    shared = _replicated(shared, mesh)
    running = None
    for start in range(0, num_members, size):
        started = _run_tile(shared, _tile(cells, start, size, mesh), member=member, mesh=mesh)
        if running is not None:
            yield _fetch(running, size)
        running = started
    yield _fetch(running, num_members - start)


def compile_tile(
    member: Callable[..., PyTree],
    shared: tuple,
    cells: dict[str, Any],
    *,
    width: int | None = None,
    mesh: Mesh | None = None,
) -> jax.stages.Compiled:
    """Compiles the program that `tiles` will run with the same arguments, and returns it."""
    mesh, size = _mesh_and_size(mesh, width)
    first = _tile(cells, 0, size, mesh)
    return _run_tile.lower(_replicated(shared, mesh), first, member=member, mesh=mesh).compile()


def default_width() -> int:
    """Members of a tile on one device: 2 on a CPU, 128 on an accelerator.

    On two CPU cores two to four members of a step of 10 MFLOP are fastest, and two compile in
    half the time of eight; an accelerator is filled by width alone.
    """
    return 2 if jax.default_backend() == "cpu" else 128


def device_mesh() -> Mesh:
    """Lays all devices along one axis, "members"."""
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


@partial(jax.jit, static_argnames=("member", "mesh"))
def _run_tile(shared: tuple, cells: dict[str, Any], *, member: Callable, mesh: Mesh) -> PyTree:
    one_device = jax.shard_map(
        lambda shared, cells: jax.vmap(lambda cell: member(*shared, **cell))(cells),
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=PartitionSpec(AXIS),
        check_vma=False,  # a member that scans is not understood by the check
    )
    return one_device(shared, cells)


def _mesh_and_size(mesh: Mesh | None, width: int | None) -> tuple[Mesh, int]:
    mesh = device_mesh() if mesh is None else mesh
    width = default_width() if width is None else width
    require("width", width, "[1, inf)")
    return mesh, mesh.size * width


def _replicated(shared: tuple, mesh: Mesh) -> tuple:
    return jax.device_put(shared, NamedSharding(mesh, PartitionSpec()))


def _tile(cells: dict[str, Any], start: int, size: int, mesh: Mesh) -> dict[str, Any]:
    """Places `size` members from `start` on the devices; padding repeats the last member."""
    slots = np.minimum(np.arange(start, start + size), len(jax.tree.leaves(cells)[0]) - 1)
    tile = jax.tree.map(lambda x: x[slots], cells)
    return jax.device_put(tile, NamedSharding(mesh, PartitionSpec(AXIS)))


def _fetch(results: PyTree, count: int) -> PyTree:
    return jax.tree.map(
        lambda x: (
            x[:count] if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else np.asarray(x)[:count]
        ),
        results,
    )


def join(*parts: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """Concatenates results of tiles, [members of the tile, ...] each; keys stay jax arrays."""
    return (np if isinstance(parts[0], np.ndarray) else jnp).concatenate(parts)
