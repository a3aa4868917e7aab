"""Results by name: what a study returns."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from dljax.axes import length
from dljax.errors import unknown
from dljax.plans import Plan
from dljax.types import PyTree


class Study(NamedTuple):
    """Results of all members, by name.

    Attributes:
      axes: Name and values of each axis, in order: an array [n], a tuple of labels, or a tree of
        arrays [n] that vary together.
      results: What the members returned; leaves [*lengths of the axes, ...], on the host.
      plan: What the whole study was run on, its widths included.
    """

    axes: dict[str, Any]
    results: PyTree
    plan: Plan | None = None

    def at(self, **positions: int | slice | list[int]) -> "Study":
        """Picks positions along axes; an integer drops its axis."""
        axes, results = dict(self.axes), self.results
        for name, position in positions.items():
            dim = self._dim(axes, name)
            results = jax.tree.map(
                lambda x, d=dim, p=position: x[(slice(None),) * d + (p,)], results
            )
            if np.ndim(position) == 0 and not isinstance(position, slice):
                del axes[name]
            else:
                axes[name] = _pick(axes[name], position)
        return Study(axes, results, self.plan)

    def select(self, **values: Any) -> "Study":
        """Picks values along axes, floats to a relative 1e-6; a single value drops its axis."""
        positions = {}
        for name, value in values.items():
            axis = self.axes[name] if self._dim(self.axes, name) >= 0 else None
            several = isinstance(value, list | tuple | np.ndarray)
            found = [_position(name, axis, one) for one in (value if several else [value])]
            positions[name] = found if several else found[0]
        return self.at(**positions)

    def mean(self, *names: str) -> "Study":
        """Averages over axes; a NaN of one member is a NaN of the mean."""
        dims = tuple(self._dim(self.axes, name) for name in names)
        axes = {name: values for name, values in self.axes.items() if name not in names}
        return Study(axes, jax.tree.map(lambda x: np.mean(x, axis=dims), self.results), self.plan)

    def to_dataframe(self) -> pd.DataFrame:
        """Returns one row a cell, or one an evaluation where results have an axis of their own.

        Results must be a dict of arrays [*axes] or [*axes, E] with one E; the position along E is
        the column "evaluation".
        """
        lengths = [length(values) for values in self.axes.values()]
        extra = {x.shape[len(lengths) :] for x in self.results.values()} - {()}
        if len(extra) > 1 or any(len(shape) > 1 for shape in extra):
            raise ValueError(
                f"results must have at most one further axis, got shapes {sorted(extra)}."
            )
        shape = (*lengths, *(extra.pop() if extra else (1,)))
        where = np.indices(shape).reshape(len(shape), -1)
        columns = {}
        for (name, values), index in zip(self.axes.items(), where, strict=False):
            for column, leaf in _columns(name, values).items():
                columns[column] = np.asarray(leaf)[index]
        if shape[len(lengths) :] != (1,):
            columns["evaluation"] = where[-1]
        for name, x in self.results.items():
            x = x if x.ndim == len(shape) else x[..., None]
            columns[name] = np.broadcast_to(x, shape).ravel()
        return pd.DataFrame(columns)

    def to_xarray(self) -> Any:
        """Returns an `xarray.Dataset` with the axes as coordinates, where xarray is installed.

        Results must be a dict of arrays [*axes, ...]; further dimensions are numbered by name.
        An axis that is a tree, whose numbers vary together, becomes a coordinate of each.

        Raises:
          ImportError: If xarray is not installed.
        """
        try:
            import xarray
        except ImportError as error:
            raise ImportError('to_xarray needs xarray: pip install "dljax[xarray]".') from error
        names, arrays, coordinates = list(self.axes), {}, {}
        for name, x in self.results.items():
            further = [f"{name}_{i}" for i in range(x.ndim - len(names))]
            arrays[name] = ([*names, *further], np.asarray(x))
        for name, values in self.axes.items():
            for column, leaf in _columns(name, values).items():
                coordinates[column] = (name, np.asarray(leaf))
        return xarray.Dataset(arrays, coordinates)

    @staticmethod
    def _dim(axes: dict[str, Any], name: str) -> int:
        if name not in axes:
            raise unknown("axis", name, axes)
        return list(axes).index(name)


def _pick(values: Any, position: Any) -> Any:
    if isinstance(values, tuple):
        return tuple(np.asarray(values, dtype=object)[position])
    return jax.tree.map(lambda leaf: leaf[position], values)


def _columns(name: str, values: Any) -> dict[str, Any]:
    if isinstance(values, Mapping):
        return {f"{name}.{key}": leaf for key, leaf in values.items()}
    return {name: np.asarray(values, dtype=object) if isinstance(values, tuple) else values}


def _position(name: str, values: Any, wanted: Any) -> int:
    if isinstance(values, tuple):
        if wanted not in values:
            raise unknown(f"value of axis {name!r}:", str(wanted), map(str, values))
        return values.index(wanted)
    wanted_leaves = jax.tree.leaves(wanted)
    close = [
        np.isclose(leaf, one, rtol=1e-6, atol=0.0) if leaf.dtype.kind == "f" else leaf == one
        for leaf, one in zip(jax.tree.leaves(values), wanted_leaves, strict=True)
    ]
    found = np.flatnonzero(np.all(close, axis=0))
    if found.size != 1:
        raise ValueError(f"axis {name!r} must hold {wanted} once, got {values}.")
    return int(found[0])
