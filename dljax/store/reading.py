"""A run folder as it lies there: read without being opened for writing, and verified."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dljax.errors import DataError
from dljax.store import declarations, environment, files, manifest
from dljax.store.blocks import Leaf, is_keys, joined, plain_tree, restored, unpacked
from dljax.store.runs import FOLDERS
from dljax.types import PyTree

PICTURES = (
    "learning_curves*.*",
    "effects.*",
    "win_rates.*",
    "profile.*",
    "sensitivity.*",
    "budget.*",
)
WRITTEN = ("results.csv", "summary.json", "claims.csv", "report.*", "table.tex", *PICTURES)


class Stored(NamedTuple):
    """A run folder, read.

    Attributes:
      folder: Where it lies.
      declaration: What `declaration.json` says.
      sessions: What `environment.json` says: the processes that wrote, one after the other.
      entries: The lines of the manifest that count.
    """

    folder: Path
    declaration: dict[str, Any]
    sessions: list[dict[str, Any]]
    entries: list[dict[str, Any]]

    def num_stored(self) -> int:
        """Counts the members whose results are stored."""
        return sum(entry["members"] for entry in self.entries if entry["kind"] == "block")

    def section(self, name: str) -> tuple[list[np.ndarray], PyTree]:
        """Reads what is stored of a program: coordinates and results, leaves [n, ...].

        Returns:
          The arrays of the coordinates in jax's order of the axes, and the results as nested dicts
          and lists.

        Raises:
          DataError: If nothing is stored, or what is stored is damaged.
        """
        told = self.declaration["programs"].get(name)
        found = [e for e in self.entries if e["kind"] == "block" and e["section"] == name]
        if told is None or not found:
            path = self.folder / manifest.NAME
            raise DataError(f"{path} must name members of {name!r}, got none.")
        leaves = [Leaf(*leaf) for leaf in told["leaves"]]
        axes, results = [], []
        for entry in found:
            for found, part in zip((axes, results), _block(self.folder, entry, leaves)):
                found.append(part)
        results = [joined(parts) for parts in zip(*results)]
        return [np.concatenate(parts) for parts in zip(*axes)], plain_tree(results, leaves)


def read(folder: str | os.PathLike) -> Stored:
    """Reads a run folder.

    Raises:
      ValueError: If the folder is none.
      DataError: If its declaration, environment or manifest are damaged.
    """
    folder = Path(folder)
    if not (folder / declarations.NAME).exists():
        raise ValueError(f"a run folder must hold {declarations.NAME}, got {folder}.")
    declaration = files.read_document(folder / declarations.NAME, *declarations.FIELDS)
    sessions = environment.sessions(folder, declaration["id"])
    found = manifest.read(folder)
    if found.damage:
        raise DataError(found.damage[0])
    if not manifest.of_one_run(folder, found.entries, declaration["id"]):
        raise DataError(f"{folder / manifest.NAME} must name its run, got no such line.")
    return Stored(folder, declaration, sessions, manifest.live(found.entries))


def damages(folder: str | os.PathLike) -> list[str]:
    """Checks every file of a run folder, and returns what is wrong, a sentence each.

    Raises:
      ValueError: If the folder is none.
    """
    folder, wrong, declaration = Path(folder), [], None
    if not folder.is_dir():
        raise ValueError(f"a run folder must be a folder, got {folder}.")
    try:
        declaration = files.read_document(folder / declarations.NAME, *declarations.FIELDS)
        environment.sessions(folder, declaration["id"])
    except DataError as error:
        wrong.append(str(error))
    try:
        found = manifest.read(folder)
    except DataError as error:
        return [*wrong, str(error)]
    wrong += found.damage
    if found.torn:
        wrong.append(f"the last line of {folder / manifest.NAME} is cut off, as a kill leaves it.")
    entries = manifest.live(found.entries)
    try:
        if declaration and not manifest.of_one_run(folder, entries, declaration["id"]):
            wrong.append(f"{folder / manifest.NAME} does not name its run.")
    except DataError as error:
        wrong.append(str(error))
    for entry in entries:
        if "file" in entry:
            try:
                _check(folder, entry, declaration)
            except DataError as error:
                wrong.append(str(error))
    named = {entry.get("file") for entry in entries}
    for pattern in (*(f"{name}/*" for name in FOLDERS.values()), *WRITTEN):
        for path in sorted(folder.glob(pattern)):
            if path.relative_to(folder).as_posix() not in named:
                wrong.append(f"{path} is named by no line of {manifest.NAME}.")
    return wrong


def _check(folder: Path, entry: Mapping[str, Any], declaration: Mapping[str, Any] | None) -> None:
    """Raises a `DataError` unless the file of a line is what it should be."""
    if entry["kind"] == "block" and declaration is not None:
        told = declaration["programs"].get(entry["section"], {"leaves": []})
        _block(folder, entry, [Leaf(*leaf) for leaf in told["leaves"]])
    else:
        manifest.content(folder, entry)


def _block(
    folder: Path, entry: Mapping[str, Any], leaves: list[Leaf]
) -> tuple[list[np.ndarray], list[Any]]:
    """Reads a block: the arrays of the coordinates, and the leaves of the results."""
    found = manifest.content(folder, entry)
    try:
        trees = unpacked(found)
        axes, results = trees.get("axis", []), restored(trees.get("result", []), leaves)
        arrays = [*axes, *(x.data if is_keys(x) else x for x in results)]
        if {x.shape[:1] for x in arrays} != {(entry["members"],)} or not axes:
            raise ValueError(f"it does not hold {entry['members']} members")
    except ValueError as error:
        raise DataError(f"{folder / entry['file']} is damaged: {error}.") from None
    return axes, results
