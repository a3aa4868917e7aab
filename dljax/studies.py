"""Named axes in, named results out."""

import itertools
import os
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dljax.axes import checked_axes, checked_static, length, product
from dljax.folders import Part, opened, write
from dljax.lanes import num_cores, side_by_side
from dljax.named import Study
from dljax.placement import checked_mesh, replicated
from dljax.plans import planned, watched
from dljax.populations import Survive, execute
from dljax.programs import ROUNDS, Outline, outlined, without_stages
from dljax.store.resuming import resumed
from dljax.types import Member, PyTree
from dljax.widths import agreed, checked_width, resolve


def study(
    member: Callable[..., PyTree] | Member,
    *shared: PyTree,
    axes: Mapping[str, Any],
    static: Mapping[str, Mapping[str, Any]] | None = None,
    width: int | str | None = None,
    mesh: Mesh | None = None,
    out: str | os.PathLike | Part | None = None,
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
      out: A run folder. Members are stored in it as they finish, and the same study in the same
        folder again runs only those that are not, to the same bits; values may be added to axes.
        `dj.load` reads it, `dljax verify` checks it.
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
        out of range, not one member fits the memory, programs return results of different
        shapes, or the folder holds another study; the message names what differs.
      DataError: If the folder's declaration is damaged; blocks of members that are damaged are told
        and run again.
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
    keeping = opened(out, member, shared, axes, labels, width, survive)
    with keeping as part, watched(progress, list(programs), num_members) as watch:
        on_devices = replicated(shared, where)
        sections = {names: part and part.section(names) for names in programs}
        widths = {
            names: (section and section.width()) or width for names, section in sections.items()
        }

        is_done = {names: section and section.is_done(cells) for names, section in sections.items()}

        def ready(names):
            how = {"width": widths[names], "mesh": where}
            if is_done[names]:
                return without_stages(programs[names], on_devices, cells, **how)
            watch.compiles(names)
            return resolve(programs[names], on_devices, cells, **how, note=watch.note)

        results, ran, first = [], {}, None
        jobs = (partial(ready, names) for names in programs)
        for names, program in zip(programs, side_by_side(jobs, num_cores())):
            outline = outlined(program.member, on_devices[0], cells)
            _check_alike(outline, first := first or outline, names)
            run = execute
            if section := sections[names]:
                run = partial(resumed, section=section)
            if not is_done[names]:
                program = agreed(program, on_devices, cells, watch.note)
                watch.runs(names, program)
            program, result = run(
                program,
                shared=on_devices,
                cells=cells,
                survive=survive,
                done=partial(watch.done, names),
                note=watch.note,
            )
            watch.ends(names)
            ran[names] = program
            results.append(result)
        lengths = [len(x) for x in labels.values()] + [length(x) for x in axes.values()]
        named = jax.tree.map(lambda *x: _stacked(x).reshape(*lengths, *x[0].shape[1:]), *results)
        study = Study({**labels, **axes}, named, planned(ran, num_members))
        write(part, study)
    return study


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


def _check_alike(outline: Outline, first: Outline, names: tuple[str, ...]) -> None:
    """Raises unless a program's results have the shapes of the first one's, before it runs."""
    shapes = [
        jax.tree.map(lambda x: (x.shape, x.dtype), found.results) for found in (outline, first)
    ]
    if jax.tree.flatten(shapes[0]) != jax.tree.flatten(shapes[1]):
        raise ValueError(
            "all programs of a study must return results of the same shapes, "
            f"got {shapes[0]} of {', '.join(map(str, names))} after {shapes[1]}."
        )


def _stacked(parts: tuple) -> np.ndarray | jax.Array:
    return (np if isinstance(parts[0], np.ndarray) else jnp).concatenate(parts)
