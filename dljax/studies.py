"""Named axes in, named results out."""

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from dljax.errors import unknown
from dljax.populations import compile_tile, join, tiles
from dljax.types import PyTree


class Study(NamedTuple):
    """Results of all members, by name.

    Attributes:
      axes: Name and values of each axis, in order: an array [n], a tuple of labels, or a tree of
        arrays [n] that vary together.
      results: What the members returned; leaves [*lengths of the axes, ...], on the host.
    """

    axes: dict[str, Any]
    results: PyTree

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
        return Study(axes, results)

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
        return Study(axes, jax.tree.map(lambda x: np.mean(x, axis=dims), self.results))

    def to_dataframe(self) -> pd.DataFrame:
        """Returns one row a cell, or one an evaluation where results have an axis of their own.

        Results must be a dict of arrays [*axes] or [*axes, E] with one E; the position along E is
        the column "evaluation".
        """
        lengths = [_length(values) for values in self.axes.values()]
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

    @staticmethod
    def _dim(axes: dict[str, Any], name: str) -> int:
        if name not in axes:
            raise unknown("axis", name, axes)
        return list(axes).index(name)


def study(
    member: Callable[..., PyTree],
    *shared: PyTree,
    axes: Mapping[str, Any],
    static: Mapping[str, Mapping[str, Any]] | None = None,
    width: int | None = None,
    mesh: Mesh | None = None,
    check: Callable[..., None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Study:
    """Runs a member at every point of the product of named axes.

    Args:
      member: `member(*shared, **cell) -> results`, one whole run as a pure function of scalars.
      *shared: Trees of arrays that all members see, such as the data.
      axes: Values of each keyword of `member`: an array [n], or a tree of arrays [n] that vary
        together and reach the member as a tree of scalars under the axis's name. The axis `seed`
        must lie in [0, 2**32).
      static: Axes that change the program, `{name: {label: value}}`; one program a combination.
        Their results come first, in order.
      width: Members at once on one device; see `dj.population`.
      mesh: Devices, see `dj.population`.
      check: Called as `check(*shared)` before anything compiles; `dj.check` is one.
      progress: Called as `progress(stage, done, total)` with the stage "compile" or "run" and
        members done of all.

    Returns:
      The `Study`.

    Raises:
      ValueError: If an axis is empty, not finite or holds a value twice, or a seed is out of range.
    """
    if check is not None:
        check(*shared)
    if not axes:
        raise ValueError("axes must name at least one axis, such as seed=np.arange(10), got none.")
    axes = {name: _checked(name, values) for name, values in axes.items()}
    static = {name: dict(choices) for name, choices in (static or {}).items()}
    cells = _cells(axes)
    num_members = len(jax.tree.leaves(cells)[0])
    programs = [
        partial(member, **dict(zip(static, choice, strict=True))) if static else member
        for choice in itertools.product(*(choices.values() for choices in static.values()))
    ]
    report = progress or (lambda stage, done, total: None)
    total, done, parts = num_members * len(programs), 0, []
    for program in programs:
        report("compile", done, total)
        compile_tile(program, shared, cells, width=width, mesh=mesh)
        report("run", done, total)
        for part in tiles(program, shared, cells, width=width, mesh=mesh):
            parts.append(part)
            done += len(jax.tree.leaves(part)[0])
            report("run", done, total)
    labels = {name: tuple(choices) for name, choices in static.items()}
    lengths = [len(x) for x in labels.values()] + [_length(x) for x in axes.values()]
    named = jax.tree.map(lambda *x: join(*x).reshape(*lengths, *x[0].shape[1:]), *parts)
    return Study({**labels, **axes}, named)


def _checked(name: str, values: Any) -> Any:
    """Returns an axis as numpy arrays in the types that members see."""
    axis = jax.tree.map(lambda leaf: _canonical(name, np.asarray(leaf)), _tree(values))
    lengths = {x.shape for x in jax.tree.leaves(axis)}
    if len(lengths) != 1 or len(shape := lengths.pop()) != 1 or shape[0] == 0:
        raise ValueError(
            f"axis {name!r} must be a list of values, or a tree of lists of one length, "
            f"got {values!r}."
        )
    rows = list(zip(*(x.tolist() for x in jax.tree.leaves(axis)), strict=True))
    if len(set(rows)) < len(rows):
        twice = next(row for row in rows if rows.count(row) > 1)
        shown = twice[0] if len(twice) == 1 else twice
        raise ValueError(f"axis {name!r} must not hold a value twice, got {shown} twice.")
    return axis


def _canonical(name: str, leaf: np.ndarray) -> np.ndarray:
    if leaf.dtype.kind not in "biuf":
        raise ValueError(f"axis {name!r} must hold numbers, got {leaf.dtype}.")
    if leaf.dtype.kind == "f":
        if not np.isfinite(leaf).all():
            raise ValueError(f"axis {name!r} must be finite, got {leaf[~np.isfinite(leaf)][0]}.")
        return leaf.astype(jax.dtypes.canonicalize_dtype(np.float64))
    if leaf.dtype.kind == "b":
        return leaf
    low, high = (0, 2**32) if name == "seed" else (-(2**31), 2**31)
    outside = leaf[(leaf < low) | (leaf >= high)]
    if outside.size:
        raise ValueError(f"axis {name!r} must be in [{low}, {high}), got {outside[0]}.")
    return leaf.astype(np.uint32 if name == "seed" else np.int32)


def _tree(values: Any) -> Any:
    """Takes a mapping as a tree and anything else as one list of values."""
    if isinstance(values, Mapping):
        return {name: _tree(value) for name, value in values.items()}
    return values if isinstance(values, np.ndarray) else np.asarray(values)


def _cells(axes: dict[str, Any]) -> dict[str, Any]:
    """Returns the product of the axes as trees of arrays [P], the last axis running fastest."""
    index = np.indices([_length(values) for values in axes.values()]).reshape(len(axes), -1)
    return {
        name: jax.tree.map(lambda leaf, i=i: leaf[i], values)
        for (name, values), i in zip(axes.items(), index, strict=True)
    }


def _length(values: Any) -> int:
    return len(values) if isinstance(values, tuple) else len(jax.tree.leaves(values)[0])


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
