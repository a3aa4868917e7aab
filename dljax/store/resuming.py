"""A program's members with a run folder: what is stored is read, the rest is run and stored."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from dljax.placement import to_device, to_host
from dljax.populations import Rounds, Survive, execute
from dljax.programs import Program, outlined
from dljax.store.sections import Section
from dljax.types import Member, PyTree


class Keep(NamedTuple):
    """What `dljax.populations.execute` tells of members that a section keeps."""

    section: Section
    cells: dict[str, Any]
    begun: tuple[int, Rounds] | None
    is_first: bool  # of this section's groups

    def results(self, places: np.ndarray, results: PyTree) -> None:
        self.section.keep(_picked(self.cells, places), results)

    def rounds(self, number: int, rounds: Rounds) -> None:
        self.section.keep_rounds(self.cells, number, rounds)

    def restart(self, width: int) -> None:
        if not self.is_first or self.begun is not None:
            raise ValueError(
                "the width must stay what it is within a run folder, and its tiles no longer fit "
                f"the memory: give another folder, with width={width}."
            )
        self.section.forget(width)


def resumed(
    program: Program,
    shared: tuple,
    cells: dict[str, Any],
    *,
    section: Section,
    survive: Survive | None,
    done: Callable[[float], None],
    note: Callable[[str], None],
) -> tuple[Program, PyTree]:
    """Does what `dljax.populations.execute` does, but for members that the section has stored.

    Members that were on their way when the run ended go on from there, those that are new begin.
    Where `survive` chooses among members, they go on together or begin together.
    """
    num_members = len(jax.tree.leaves(cells)[0])
    everyone = np.arange(num_members)
    outline = outlined(program.member, shared[0], cells)
    section.declare(outline, program.width)
    rows, results = section.stored(outline, cells)
    if survive is not None and rows.size < num_members:
        rows = rows[:0]
    parts = [(rows, results)] if rows.size else []
    done(rows.size)
    left = np.setdiff1d(everyone, rows)
    for places, begun in _groups(program.member, outline, section, cells, left, survive):
        some = _picked(cells, places)
        keep = Keep(section, some, begun, not parts)
        program, found = execute(
            program, shared, some, survive=survive, done=done, note=note, keep=keep
        )
        section.flush()  # before the next group's rounds take the place of these
        parts.append((places, to_host(found)))
    section.done()
    order = np.argsort(np.concatenate([places for places, _ in parts]))
    joined = jax.tree.map(lambda *x: np.concatenate(x)[order], *(found for _, found in parts))
    return program, to_device(joined)


def _groups(member, outline, section, cells, left, survive) -> list[tuple[np.ndarray, Any]]:
    """Returns the places of members that go on together, and where they are."""
    if not left.size:
        return []
    if not isinstance(member, Member):
        return [(left, None)]
    on_way, begun = section.begun(outline, _picked(cells, left))
    if survive is not None and on_way.size < left.size:
        on_way = on_way[:0]
    new = np.setdiff1d(np.arange(left.size), on_way)
    groups = [(left[on_way], begun), (left[new], None)]
    return [(places, begun) for places, begun in groups if places.size]


def _picked(tree: PyTree, places: np.ndarray) -> PyTree:
    return jax.tree.map(lambda x: x[places], tree)
