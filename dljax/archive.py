"""Run folders read again: a study with its axes, a comparison, one member replayed."""

import itertools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dljax.axes import length, product
from dljax.comparison.folder import read_comparison
from dljax.comparison.statistics import Comparison
from dljax.errors import unknown
from dljax.folders import stored_results
from dljax.named import Study
from dljax.replaying import Replay, replayed
from dljax.store.declarations import axis_values
from dljax.store.reading import Stored, read
from dljax.types import Member, PyTree

STATIC = "static "  # before the names of axes of programs, in a declaration


def load(folder: str | os.PathLike) -> Study | Comparison:
    """Reads a finished run folder: what `dj.study` or `dj.compare` returned.

    Every block is verified. Results of a study come as nested dicts and lists, whatever containers
    the member returned; `Study.select` picks members, such as kept parameters, by name.

    Args:
      folder: That was given as `out`.

    Returns:
      A `Study`, without its plan, or a `Comparison`.

    Raises:
      ValueError: If it is no run folder, or not finished.
      DataError: If a file is damaged, or a newer version wrote it; the message names it.
    """
    stored = read(folder)
    return read_comparison(stored) if stored.declaration["kind"] == "compare" else _study(stored)


def replay(
    folder: str | os.PathLike, member: Callable[..., PyTree] | Member, *shared: PyTree, **cell: Any
) -> Replay:
    """Computes one member of a study again, alone, and compares it with what was stored.

    Args:
      folder: The study's run folder.
      member: As of `dj.study`; values of static axes are bound by `functools.partial`.
      *shared: As of `dj.study`.
      **cell: Its coordinate on each axis, and its label on each static axis.

    Returns:
      The `Replay`: whether the bits are the same, by how much they differ, and what else differs.

    Raises:
      ValueError: If the folder holds no such member.
      DataError: If what is stored is damaged.
    """
    stored = read(folder)
    if stored.declaration["kind"] != "study":
        raise ValueError(f"{folder} holds a comparison: `dljax replay` runs its members again.")
    if stored.declaration["declared"]["survive"] is not None:
        raise ValueError("members that survived others are replayed by their whole study.")
    axes = stored.declaration["axes"]
    labels, coordinates = [], {}
    for name in axes:
        key = name.removeprefix(STATIC)
        if key not in cell:
            raise ValueError(f"a member must be named on every axis, got none of {key!r}.")
        if name.startswith(STATIC):
            labels.append(str(cell[key]))
        else:
            coordinates[key] = cell[key]
    if extra := set(cell) - {name.removeprefix(STATIC) for name in axes}:
        raise unknown("axis", min(extra), [name.removeprefix(STATIC) for name in axes])
    return replayed(stored, "/".join(["study", *labels]), member, shared, coordinates)


def _study(stored: Stored) -> Study:
    told = {name: axis_values(axis) for name, axis in stored.declaration["axes"].items()}
    static = {n.removeprefix(STATIC): v for n, v in told.items() if n.startswith(STATIC)}
    axes = {name: values for name, values in told.items() if not name.startswith(STATIC)}
    cells, parts = product(axes), []
    for labels in itertools.product(*static.values()):
        section = "/".join(["study", *map(str, labels)])
        parts.append(stored_results(stored, section, cells))
    lengths = [length(values) for values in (*static.values(), *axes.values())]
    concatenate = lambda x: (np if isinstance(x[0], np.ndarray) else jax.numpy).concatenate(x)  # noqa: E731
    results = jax.tree.map(lambda *x: concatenate(x).reshape(*lengths, *x[0].shape[1:]), *parts)
    return Study({**static, **axes}, results)
