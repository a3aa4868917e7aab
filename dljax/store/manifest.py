"""The manifest: one line for each file that was finished, each with a check of its own."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dljax.errors import DataError
from dljax.store import files

NAME = "manifest.jsonl"
CHECK = 16  # hexadecimal digits of a line's SHA-256
FILES = {
    "block": re.compile(r"blocks/[0-9]{6,12}\.npz"),
    "checkpoint": re.compile(r"checkpoints/[0-9]{6,12}\.npz"),
    "file": re.compile(r"(?!declaration|environment)[A-Za-z0-9_-]{1,64}\.[a-z]{2,4}"),
}
KINDS = {
    "run": {"id": str},
    "block": {"section": str, "file": str, "sha256": str, "members": int, "added": bool},
    "checkpoint": {"section": str, "file": str, "sha256": str, "members": int, "round": int},
    "forget": {"section": str},
    "done": {"section": str},
    "file": {"file": str, "sha256": str},
}


class Manifest(NamedTuple):
    """What a manifest says.

    Attributes:
      entries: The lines that are whole, in order.
      damage: What is wrong with the others, a sentence each.
      torn: Whether the last line was cut off, as a kill may leave it.
    """

    entries: list[dict[str, Any]]
    damage: list[str]
    torn: bool


def line(number: int, entry: dict[str, Any]) -> bytes:
    """Returns line `number`, counted from 0, of an entry."""
    body = {"schema": files.SCHEMA, "n": number, **entry}
    return files.canonical({**body, "check": _check(body)}) + b"\n"


def read(folder: Path) -> Manifest:
    """Reads a manifest; of lines that are damaged it says so.

    Raises:
      DataError: If there is none, or a newer version wrote it.
    """
    path = folder / NAME
    *lines, rest = files.read(path).split(b"\n")
    entries, damage = [], []
    for number, text in enumerate(lines):
        try:
            entries.append(_entry(path, number, text))
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            damage.append(f"line {number + 1} of {path} is damaged: {error}.")
    return Manifest(entries, damage, bool(rest))


def of_one_run(folder: Path, entries: Iterable[Mapping[str, Any]], run: str) -> bool:
    """Returns whether a manifest has the line that names its run.

    Raises:
      DataError: If that is another run than the declaration's.
    """
    told = [entry["id"] for entry in entries if entry["kind"] == "run"]
    if set(told) - {run}:
        raise DataError(f"{folder / NAME} must be of the declaration's run, got another's.")
    return bool(told)


class Writer:
    """Appends lines; each is on the disk when `append` returns."""

    def __init__(self, folder: Path, entries: list[dict[str, Any]]):
        """Begins with these entries, which replace what the file held."""
        self._path, self._number = folder / NAME, len(entries)
        files.write(self._path, b"".join(line(n, entry) for n, entry in enumerate(entries)))
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | files.NO_LINK)

    def append(self, entry: dict[str, Any]) -> None:
        """Writes one line, or, where that fails, none."""
        length, number = os.fstat(self._file).st_size, self._number
        text = line(number, entry)
        try:
            while text:
                text = text[os.write(self._file, text) :]
            os.fsync(self._file)
            self._number = number + 1
        except BaseException:  # an interrupt may come at any of these steps
            self._number = number
            os.ftruncate(self._file, length)
            raise

    def close(self) -> None:
        os.close(self._file)


def _entry(path: Path, number: int, text: bytes) -> dict[str, Any]:
    """Returns what a line says, or raises a `ValueError` that says what is wrong."""
    body = files.parsed(text)
    is_ours = isinstance(body, dict) and files.canonical(body) == text
    if not is_ours or body.pop("check", None) != _check(body):
        raise ValueError("it does not have its check")
    files.check_schema(path, body)
    if body.pop("n", None) != number:
        raise ValueError("it is not in its place")
    del body["schema"]
    expected = KINDS.get(body.get("kind"))
    if expected is None:
        raise ValueError("its kind is not known")
    for name, kind in expected.items():
        if not isinstance(body.get(name), kind):
            raise ValueError(f"its {name} is missing or of another type")
    if "file" in expected and not FILES[body["kind"]].fullmatch(body["file"]):
        raise ValueError("its file is not one of a run folder")
    return body


def _check(body: dict[str, Any]) -> str:
    return files.sha256(files.canonical(body))[:CHECK]


def content(folder: Path, entry: Mapping[str, Any]) -> bytes:
    """Reads the file that a line of the manifest names.

    Raises:
      DataError: If it is missing or does not have the SHA-256 of the line.
    """
    found = files.read(folder / entry["file"])
    if files.sha256(found) != entry["sha256"]:
        raise DataError(f"{folder / entry['file']} is damaged: it does not have its SHA-256.")
    return found


def live(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the lines that later ones have not taken back, in order."""
    kept: list[dict[str, Any]] = []
    for entry in entries:
        kind, section = entry["kind"], entry.get("section")
        own = lambda e, s=section: e.get("section") == s  # noqa: E731
        if kind == "forget":
            kept = [e for e in kept if not own(e)]
            continue
        if kind in ("checkpoint", "done"):
            kept = [e for e in kept if not (own(e) and e["kind"] == "checkpoint")]
        if kind == "file":
            kept = [e for e in kept if e.get("file") != entry["file"]]
        kept.append(entry)
    return kept
