"""One member of a run folder computed again, and laid beside what was stored."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dljax.axes import checked_axes
from dljax.errors import unknown
from dljax.folders import stored_results
from dljax.placement import checked_mesh, replicated, to_host
from dljax.populations import execute
from dljax.programs import compile_program, outlined
from dljax.store import declarations, environment
from dljax.store.fingerprints import of_jaxprs
from dljax.store.reading import Stored
from dljax.types import Member, PyTree

NEAR = 5e-3  # relative: a number rounded to three digits is still the one that was meant


class Replay(NamedTuple):
    """What came of a member that was run again.

    Attributes:
      cell: Its coordinates.
      results: Computed now, nested dicts and lists of arrays.
      is_same: Whether every bit is the one that was stored.
      difference: The largest |now - stored|, relative to the largest |stored| of its array; 0.0
        where the bits are the same, infinite where a NaN stands in only one of them.
      differs: What is not as it was when the member was stored, a phrase each.
    """

    cell: dict[str, Any]
    results: PyTree
    is_same: bool
    difference: float
    differs: tuple[str, ...]


def replayed(
    stored: Stored,
    section: str,
    member: Callable[..., PyTree] | Member,
    shared: tuple[PyTree, ...],
    cell: Mapping[str, Any],
    differs: tuple[str, ...] = (),
) -> Replay:
    """Runs one member alone, in a tile of the width that was declared.

    Args:
      stored: The run folder.
      section: Name of the program.
      member: As it was when it was stored.
      shared: What all members saw.
      cell: Its coordinates, scalars or trees of scalars.
      differs: What is known to be different.

    Raises:
      ValueError: If the member is not stored, or its results have other shapes now.
      DataError: If what is stored is damaged.
    """
    declaration = stored.declaration
    told = declaration["programs"].get(section)
    if told is None:
        raise unknown("program", section, declaration["programs"])
    with numerics_as(declaration["declared"]["numerics"]):
        cells = checked_axes(jax.tree.map(lambda x: np.asarray([x]), dict(cell)))
        expected = stored_results(stored, section, cells)
        mesh = checked_mesh(None)
        on_devices = replicated(shared, mesh)
        digest = of_jaxprs(outlined(member, on_devices[0], cells).jaxprs)
        program = compile_program(member, on_devices, cells, width=told["width"], mesh=mesh)
        results = to_host(execute(program, on_devices, cells)[1])
    changed = declarations.differences(stored.sessions[-1]["bits"], environment.bits())
    if digest != told["member"]:
        changed.append("what a member computes (its code, or jax's way of writing it down)")
    found = [x[0] for x in jax.tree.leaves(results)]
    wanted = [x[0] for x in jax.tree.leaves(to_host(expected))]
    if [(x.shape, x.dtype) for x in found] != [(x.shape, x.dtype) for x in wanted]:
        shapes = [(str(x.dtype), x.shape) for x in found]
        raise ValueError(f"the member must return the results that are stored, got {shapes}.")
    same = all(x.tobytes() == y.tobytes() for x, y in zip(found, wanted))
    distance = 0.0 if same else max(map(_distance, found, wanted))
    alone = jax.tree.map(lambda x: x[0], results)
    return Replay(dict(cell), alone, same, distance, (*differs, *changed))


def nearest(name: str, values: np.ndarray, wanted: float) -> Any:
    """Returns the value of an axis that is meant by a number, which may be rounded.

    Raises:
      ValueError: If there is none, or there are several.
    """
    values = np.asarray(values)
    exact = np.isclose(values.astype(float), wanted, rtol=1e-6, atol=0.0)
    near = exact if exact.any() else np.isclose(values.astype(float), wanted, rtol=NEAR, atol=0.0)
    if near.sum() != 1:
        shown = ", ".join(f"{value:.6g}" for value in values)
        raise ValueError(f"{name} must be one of {shown}, got {wanted:g}.")
    return values[near][0]


def _distance(x: np.ndarray, y: np.ndarray) -> float:
    if x.dtype.kind not in "fc":
        return 0.0 if np.array_equal(x, y) else np.inf
    if not np.array_equal(np.isnan(x), np.isnan(y)):
        return np.inf
    scale = np.nanmax(np.abs(y), initial=0.0, where=np.isfinite(y)) or 1.0
    apart = np.abs(np.subtract(x, y, dtype=np.float64))[np.isfinite(x) & np.isfinite(y)]
    return float(apart.max(initial=0.0) / scale)


@contextlib.contextmanager
def numerics_as(told: Mapping[str, Any]):
    """Sets what was declared of jax."""
    with (
        jax.enable_x64(told["enable_x64"]),
        jax.default_matmul_precision(told["default_matmul_precision"]),
        jax.numpy_dtype_promotion(told["numpy_dtype_promotion"]),
        jax.default_prng_impl(told["default_prng_impl"]),
        jax.threefry_partitionable(told["threefry_partitionable"]),
    ):
        yield
