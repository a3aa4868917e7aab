"""The members of one program in a run folder: which are stored, and how others come to be."""

import json
import threading
import time
from contextlib import suppress
from typing import Any

import jax
import numpy as np

from dljax import lifelines
from dljax.errors import DataError, OtherRun
from dljax.populations import Rounds
from dljax.programs import Outline
from dljax.store import declarations, manifest
from dljax.store.blocks import (
    Leaf,
    identities,
    is_keys,
    joined,
    leaves_of,
    on_host,
    packed,
    restored,
    rows_of,
    unpacked,
)
from dljax.store.fingerprints import of_jaxprs
from dljax.store.runs import Run
from dljax.types import PyTree

OFTEN = 1.0  # seconds between blocks, of members that finish fast
LARGE = 2**26  # bytes of results that are written without waiting
FIELDS = {"member": "what a member computes (its code, or a value that it closes over)"}


class Section:
    """Keeps the results of one program's members as they finish.

    Of several processes only process 0 has the folder; the others send to it, and hear from it.

    Args:
      name: Of the section.
      run: The folder; `None` in all processes but the first.
    """

    def __init__(self, name: str, run: Run | None):
        self.name, self.run = name, run
        self._waiting: list[tuple[dict, PyTree]] = []
        self._bytes, self._written = 0, time.monotonic()
        self._one = threading.RLock()

    def width(self) -> int | None:
        """Returns the width that was declared, if one was. A meeting of the processes."""
        told = self.run and self.run.program(self.name)
        return json.loads(lifelines.from_first(json.dumps(told and told["width"]).encode()))

    def is_done(self, cells: dict[str, Any]) -> bool:
        """Returns whether all members are stored. A meeting of the processes."""
        left = set(identities(cells))
        told = self.run and self.run.program(self.name)
        if told and self.run.entries("done", self.name):
            leaves = {"axis": leaves_of(cells), "result": [Leaf(*leaf) for leaf in told["leaves"]]}
            for entry in self.run.entries("block", self.name):
                with suppress(DataError):  # told when it is read for its results
                    left -= set(rows_of(self._content(entry, leaves)[0]))
        return lifelines.from_first(b"" if left else b"done") == b"done"

    def declare(self, outline: Outline, width: int) -> None:
        """Declares the program, or makes sure that it is the one that was declared.

        Args:
          outline: What a member computes.
          width: Members of a tile.

        Raises:
          OtherRun: If another program was declared.
        """
        if self.run is None:
            return
        leaves = [[leaf.path, leaf.dtype, leaf.shape] for leaf in leaves_of(_results(outline))]
        told = {"member": of_jaxprs(outline.jaxprs), "width": width, "leaves": leaves}
        before = self.run.program(self.name) or told
        if before != told:
            found = declarations.differences(before, told)
            fields = [FIELDS.get(phrase.split()[0], phrase) for phrase in found]
            raise OtherRun(
                f"{self.run.folder} holds another run of {self.name!r}, which differs in "
                f"{declarations.told(fields)}; give another folder."
            )
        self.run.declare_program(self.name, told)

    def stored(self, outline: Outline, cells: dict[str, Any]) -> tuple[np.ndarray, PyTree]:
        """Returns the places in `cells` of members that are stored, int[n], and their results.

        A block that is damaged counts as not stored, and is told. A meeting of the processes.
        """
        results, found = _results(outline), b""
        if self.run is not None:
            rows, arrays = self._read("block", cells, results, "result")
        if jax.process_count() > 1:
            if self.run is not None:
                found = packed({"rows": rows, "result": arrays})
            sent = unpacked(lifelines.from_first(found))
            rows = sent["rows"][0]
            arrays = restored(sent["result"], leaves_of(results)) if rows.size else []
        return rows, _tree(results, arrays) if rows.size else None

    def begun(
        self, outline: Outline, cells: dict[str, Any]
    ) -> tuple[np.ndarray, tuple[int, Rounds] | None]:
        """Returns the places of members that were on their way, int[n], and where they are.

        A meeting of the processes.
        """
        found = b""
        if self.run is not None:
            entries = self.run.entries("checkpoint", self.name)
            number = entries[-1]["round"] if entries else 0
            rows, arrays = self._read("checkpoint", cells, _rounds(outline, number), "rounds")
        if jax.process_count() > 1:
            if self.run is not None:
                found = packed({"rows": rows, "number": np.array([number]), "rounds": arrays})
            sent = unpacked(lifelines.from_first(found))
            rows, number = sent["rows"][0], int(sent["number"][0][0])
            leaves = leaves_of(_rounds(outline, number))
            arrays = restored(sent["rounds"], leaves) if rows.size else []
        at = (number, _tree(_rounds(outline, number), arrays)) if rows.size else None
        return rows, at

    def keep(self, cells: dict[str, Any], results: PyTree) -> None:
        """Takes results of members that have finished, leaves [n, ...] on the host."""
        if self.run is None:
            content = packed({"axis": cells, "result": results})
            lifelines.send_to_first(self.name.encode() + b"\0" + content)
            return
        with self._one:
            self._waiting.append((cells, results))
            self._bytes += sum(x.nbytes for x in jax.tree.leaves(results))
            if self._bytes > LARGE or time.monotonic() - self._written > OFTEN:
                self.flush()
            elif len(self._waiting) == 1:  # the next one may be long in coming
                late = threading.Timer(OFTEN, self._flush_late)
                late.daemon = True
                late.start()

    def keep_rounds(self, cells: dict[str, Any], number: int, rounds: Rounds) -> None:
        """Takes where members are after `number` rounds, of all that are on their way."""
        if self.run is not None:
            self._add("checkpoint", cells, "rounds", rounds, round=number)

    def flush(self) -> None:
        """Writes what waits as one block."""
        with self._one:
            if self._waiting:
                cells, results = jax.tree.map(lambda *x: np.concatenate(x), *self._waiting)
                self._add("block", cells, "result", results)
                self._waiting, self._bytes, self._written = [], 0, time.monotonic()

    def _flush_late(self) -> None:
        try:
            self.flush()
        except (OSError, RuntimeError) as error:
            self.run.failed = error

    def forget(self, width: int) -> None:
        """Takes back what was stored, to begin anew at another width."""
        with self._one:
            self._waiting, self._bytes = [], 0
        if self.run is not None:
            self.run.forget(self.name)
            self.run.declare_program(self.name, {**self.run.program(self.name), "width": width})

    def done(self) -> None:
        """Says that all members are stored."""
        if self.run is not None:
            self.flush()
            if self.run.failed is not None:
                raise self.run.failed
            self.run.done(self.name)

    def _add(self, kind, cells, name, tree, **told) -> None:
        count = len(jax.tree.leaves(cells)[0])
        self.run.add(kind, self.name, packed({"axis": cells, name: tree}), members=count, **told)

    def _read(self, kind, cells, shapes, name) -> tuple[np.ndarray, list[Any]]:
        """Returns the places in `cells` of what is stored, and its arrays."""
        place = {identity: i for i, identity in enumerate(identities(cells))}
        rows, parts, damaged = [], [], []
        leaves = {"axis": leaves_of(cells), name: leaves_of(shapes)}
        for entry in self.run.entries(kind, self.name):
            try:
                axes, found = self._content(entry, leaves)
            except DataError as error:
                damaged.append(entry)
                self.run.say(f"{error} What it held of {entry['members']} members is run again.")
                continue
            where = rows_of(axes)
            inside = [i for i, identity in enumerate(where) if identity in place]
            rows += [place[where[i]] for i in inside]
            parts.append([_taken(x, inside) for x in found])
        if damaged:
            self.run.forget_damaged(damaged)
        rows, first = np.unique(np.asarray(rows, int), return_index=True)
        return rows, [_taken(joined(x), first) for x in zip(*parts)] if rows.size else []

    def _content(self, entry, leaves: dict[str, list[Leaf]]) -> list[list[Any]]:
        """Returns the leaves of the trees in a file; raises a `DataError` if they are others."""
        content = manifest.content(self.run.folder, entry)
        try:
            trees = unpacked(content)
            found = [restored(trees.get(name, []), some) for name, some in leaves.items()]
            if {len(x) for x in jax.tree.leaves(found)} != {entry["members"]}:
                raise ValueError(f"it does not hold {entry['members']} members")
            return found
        except ValueError as error:
            raise DataError(f"{self.run.folder / entry['file']} is damaged: {error}.") from None


def _results(outline: Outline) -> PyTree:
    """Returns the shapes of results on the host, [1, ...]."""
    return _of_members(outline.results)


def _rounds(outline: Outline, number: int) -> Rounds:
    """Returns the shapes of members that have `number` rounds behind them, [1, ...]."""
    state, report, going = outline.out["advance"]
    rows = jax.tree.map(lambda x: jax.ShapeDtypeStruct((number, *x.shape), x.dtype), report)
    return Rounds(*_of_members((state, rows, going)))


def _of_members(tree: PyTree) -> PyTree:
    return on_host(jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), tree))


def _tree(shapes: PyTree, arrays: list[Any]) -> PyTree:
    structure = jax.tree.structure(shapes, is_leaf=is_keys)
    return jax.tree.unflatten(structure, arrays)


def _taken(x: Any, rows: Any) -> Any:
    return jax.tree.map(lambda a: a[np.asarray(rows, int)], x)
