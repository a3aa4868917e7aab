"""Named axes in, named results out."""

import itertools
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from dljax.axes import checked_axes, checked_static, length, product
from dljax.errors import unknown
from dljax.lanes import num_cores, side_by_side
from dljax.placement import checked_mesh, replicated
from dljax.plans import Plan, planned, watched
from dljax.populations import Survive, execute
from dljax.programs import ROUNDS, Program
from dljax.types import Member, PyTree
from dljax.widths import agreed, checked_width, resolve


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

    @staticmethod
    def _dim(axes: dict[str, Any], name: str) -> int:
        if name not in axes:
            raise unknown("axis", name, axes)
        return list(axes).index(name)


def study(
    member: Callable[..., PyTree] | Member,
    *shared: PyTree,
    axes: Mapping[str, Any],
    static: Mapping[str, Mapping[str, Any]] | None = None,
    width: int | str | None = None,
    mesh: Mesh | None = None,
    check: Callable[..., None] | None = None,
    survive: Survive | None = None,
    progress: bool | Callable[[str, float, int], None] = True,
) -> Study:
    """Runs a member at every point of the product of named axes.

    Programs of static axes compile side by side, while those that are ready already run.

    Args:
      member: `member(*shared, **cell) -> results`, one whole run as a pure function of scalars, or
        a `dj.Member` in rounds. As under `jax.jit` it is traced once: what it closes over and does
        not take as an argument must not change.
      *shared: Trees of arrays that all members see, such as the data.
      axes: Values of each keyword of `member`: an array [n], or a tree of arrays [n] that vary
        together and reach the member as a tree of scalars under the axis's name. The axis `seed`
        must lie in [0, 2**32).
      static: Axes that change the program, `{name: {label: value}}`; one program a combination.
        Their results come first, in order.
      width: Members of a tile on one device: a number, "auto" or `None`; see `dj.population`.
        Where it is not a number, each program has its own.
      mesh: Devices, see `dj.population`.
      check: Called as `check(*shared)` before anything compiles; `dj.check` is one.
      survive: Of a member in rounds, called after each round of each program as
        `survive(round, reports, going) -> bool[P]`: which members may go on, from the reports of
        all, leaves [P, ...] in the order of the axes, and bool[P], which still run.
      progress: `True` says on standard error what will be run and shows a progress line; or a
        function, called as `progress(stage, done, total)` with the stage "compile" or "run" and
        the members' worth of work done of all.

    Returns:
      The `Study`.

    Raises:
      ValueError: If an axis is empty, not finite or holds a value twice, a seed or the width is
        out of range, not one member fits the memory, or programs return results of different
        shapes.
    """
    if check is not None:
        check(*shared)
    axes = checked_axes(axes)
    checked_width(width)
    if survive is not None and not isinstance(member, Member):
        raise ValueError("survive must come with a dljax.Member in rounds, got a function.")
    static = checked_static(static, axes)
    labels = {name: tuple(choices) for name, choices in static.items()}
    programs = {
        names: _bound(member, {name: static[name][label] for name, label in zip(static, names)})
        for names in itertools.product(*labels.values())
    }
    cells, where = product(axes), checked_mesh(mesh)
    num_members = len(jax.tree.leaves(cells)[0])
    with watched(progress, list(programs), num_members) as watch:
        on_devices = replicated(shared, where)

        def ready(names):
            watch.compiles(names)
            return resolve(
                programs[names], on_devices, cells, width=width, mesh=where, note=watch.note
            )

        results, ran = [], {}
        jobs = (partial(ready, names) for names in programs)
        for names, program in zip(programs, side_by_side(jobs, num_cores())):
            _check_alike(program, next(iter(ran.values()), program), names)
            program = agreed(program, on_devices, cells, watch.note)
            watch.runs(names, program)
            done = partial(watch.done, names)
            program, result = execute(
                program, on_devices, cells, survive=survive, done=done, note=watch.note
            )
            watch.ends(names)
            ran[names] = program
            results.append(result)
    lengths = [len(x) for x in labels.values()] + [length(x) for x in axes.values()]
    named = jax.tree.map(lambda *x: _stacked(x).reshape(*lengths, *x[0].shape[1:]), *results)
    return Study({**labels, **axes}, named, planned(ran, num_members))


def _bound(member: Callable | Member, values: dict[str, Any]) -> Callable | Member:
    """Binds what makes one program of several."""
    if not values:
        return member
    if not isinstance(member, Member):
        return _partial(member, values)
    parts = {name: _partial(getattr(member, name), values) for name in ROUNDS}
    return member._replace(**parts)


def _partial(function: Callable, values: dict[str, Any]) -> Callable:
    try:
        return _same_partial(function, tuple(values.items()))
    except TypeError:  # a value that has no hash
        return partial(function, **values)


@lru_cache(maxsize=128)
def _same_partial(function: Callable, values: tuple) -> Callable:
    """Binds the same values to the same object, so that a second study compiles nothing."""
    return partial(function, **dict(values))


def _check_alike(program: Program, first: Program, names: tuple[str, ...]) -> None:
    """Raises unless a program's results have the shapes of the first one's, before it runs."""
    shapes = [
        jax.tree.map(lambda x: (x.shape[1:], x.dtype), list(p.stages.values())[-1][0].out_info)
        for p in (program, first)
    ]
    if jax.tree.flatten(shapes[0]) != jax.tree.flatten(shapes[1]):
        raise ValueError(
            "all programs of a study must return results of the same shapes, "
            f"got {shapes[0]} of {', '.join(map(str, names))} after {shapes[1]}."
        )


def _stacked(parts: tuple) -> np.ndarray | jax.Array:
    return (np if isinstance(parts[0], np.ndarray) else jnp).concatenate(parts)


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
