"""An open run folder: declared, locked, and written so that a kill at any moment loses nothing."""

import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

from dljax import lifelines
from dljax.errors import DataError, OtherRun
from dljax.store import declarations, environment, files, manifest
from dljax.store.blocks import unpacked
from dljax.store.lock import Lock

FOLDERS = {"block": "blocks", "checkpoint": "checkpoints"}
OURS = re.compile(r"[0-9]{6,12}\.npz|\..*\.tmp")


_held: weakref.WeakSet["Run"] = weakref.WeakSet()  # of this process, for a signal to close


def close_all() -> None:
    """Closes the run folders that this process has open."""
    for run in list(_held):
        run.close()


class Run:
    """A run folder that this process writes, and no other.

    Opening it a second time goes on with it: what is declared must be the same, axes may have
    grown, and the environment must be one that gives the same bits.

    Args:
      folder: Where; made if it is not there.
      kind: "study" or "compare".
      declared: What determines the results, ready for JSON.
      axes: Axes whose values may be added to, as `declarations.axis` gives them.
      about: What one would like to know and does not change results, ready for JSON.
      computes: Whether members will be run, for which the environment must be the one of before.

    Raises:
      ValueError: If the folder cannot be written, another process holds it, or it was declared
        otherwise; the message names what differs.
      DataError: If its declaration, its environment or all of its manifest are damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        kind: str,
        declared: Mapping[str, Any],
        axes: Mapping[str, Any],
        about: Mapping[str, Any] | None = None,
        *,
        computes: bool = True,
    ):
        self.folder = Path(folder).resolve()
        files.check_writable(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.writing = threading.RLock()
        self.failed: BaseException | None = None  # in a thread that writes
        self._sections: dict[str, Any] = {}
        self._closed = False
        lock = Lock(self.folder)
        try:
            self._open(kind, declared, axes, about or {}, computes)
        except BaseException:
            lock.release()
            raise
        self._lock = lock
        if jax.process_count() > 1:
            lifelines.on_block(self._arrived)
        _held.add(self)

    def _open(self, kind, declared, axes, about, computes) -> None:
        for name in FOLDERS.values():
            place = self.folder / name
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise DataError(f"{place} must be a folder, got another kind.")
        now, entries = environment.session(), []
        if not (self.folder / declarations.NAME).exists():
            if any((self.folder / FOLDERS["block"]).glob("*.npz")):
                raise DataError(
                    f"{self.folder / declarations.NAME} must be there, got no such file."
                )
            self.declaration = declarations.new(kind, declared, axes, about)
            sessions, entries = [], [{"kind": "run", "id": self.declaration["id"]}]
        else:
            path = self.folder / declarations.NAME
            found = files.read_document(path, *declarations.FIELDS)
            self.declaration = declarations.gone_on(
                self.folder, found, kind, declared, axes, about, now["time"]
            )
            sessions = self._sessions(now["bits"] if computes else None)
            entries = self._entries()
        self._entries_now = entries
        self._sweep()
        # the declaration comes last: without it a folder is as good as new
        self.sessions = [*sessions, now] if computes else sessions
        environment.write(self.folder, self.declaration["id"], self.sessions)
        self._writer = manifest.Writer(self.folder, entries)
        self._save_declaration()

    def _sessions(self, bits: dict[str, str] | None) -> list:
        sessions = environment.sessions(self.folder, self.declaration["id"])
        differing = bits and declarations.differences(sessions[0]["bits"], bits)
        if differing:
            raise OtherRun(
                f"{self.folder} was begun where bits differ: {declarations.told(differing)}; "
                "go on there, or give another folder."
            )
        return sessions

    def _entries(self) -> list[dict[str, Any]]:
        found, run = manifest.read(self.folder), self.declaration["id"]
        for sentence in found.damage:
            self.say(f"{sentence} What it named is run again.")
        if not manifest.of_one_run(self.folder, found.entries, run):
            self.say(f"{self.folder / manifest.NAME} does not name its run. All is run again.")
            return [{"kind": "run", "id": run}]
        return manifest.live(found.entries)

    def _sweep(self) -> None:
        """Removes what a killed process left: files of ours that no line names."""
        named = {entry.get("file") for entry in self._entries_now}
        for folder in (".", *FOLDERS.values()):
            for path in (self.folder / folder).glob("*"):
                where = path.relative_to(self.folder).as_posix()
                is_file = path.is_symlink() or not path.is_dir()
                if OURS.fullmatch(path.name) and where not in named and is_file:
                    path.unlink(missing_ok=True)

    def program(self, section: str) -> dict[str, Any] | None:
        """Returns what was declared of a section's program: its width, its digest."""
        return self.declaration["programs"].get(section)

    def declare_program(self, section: str, told: dict[str, Any]) -> None:
        """Declares a section's program before its first member runs."""
        with self.writing:
            if self.declaration["programs"].get(section) != told:
                self.declaration["programs"][section] = told
                self._save_declaration()

    def entries(self, kind: str, section: str) -> list[dict[str, Any]]:
        """Returns the manifest's lines of a kind that a section has."""
        with self.writing:
            return [
                entry
                for entry in self._entries_now
                if entry["kind"] == kind and entry.get("section") == section
            ]

    def add(self, kind: str, section: str, content: bytes, **told: Any) -> None:
        """Writes a block or a checkpoint, and then its line: from then on it counts."""
        with self.writing:
            name = f"{FOLDERS[kind]}/{self._next_number(FOLDERS[kind]):06d}.npz"
            files.write(self.folder / name, content)
            if kind == "block":
                told["added"] = bool(self.declaration["added"])
            self._append(
                {
                    "kind": kind,
                    "section": section,
                    "file": name,
                    "sha256": files.sha256(content),
                    **told,
                }
            )

    def forget(self, section: str) -> None:
        """Takes back all that was stored of a section."""
        with self.writing:
            self._append({"kind": "forget", "section": section})

    def forget_damaged(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Takes back lines whose files are damaged."""
        with self.writing:
            files_gone = {entry["file"] for entry in entries}
            kept = [e for e in self._entries_now if e.get("file") not in files_gone]
            self._writer.close()
            self._writer, self._entries_now = manifest.Writer(self.folder, kept), kept
            self._sweep()

    def done(self, section: str) -> None:
        """Says that a section is complete; its checkpoints are no longer needed."""
        with self.writing:
            if not self.entries("done", section):
                self._append({"kind": "done", "section": section})

    def record(self, names: Iterable[str]) -> None:
        """Takes down the SHA-256 of files that were written beside the blocks."""
        with self.writing:
            for name in names:
                digest = files.sha256(files.read(self.folder / name))
                self._append({"kind": "file", "file": name, "sha256": digest})

    def section(self, name: str, make: Callable[[str, "Run"], Any]) -> Any:
        """Returns the section of this name, which is made once."""
        with self.writing:
            return self._sections.setdefault(name, make(name, self))

    def say(self, line: str) -> None:
        print(f"dljax: {line}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Writes what was finished and not yet written, and lets go of the folder."""
        if self._closed:
            return
        try:
            for section in list(self._sections.values()):
                section.flush()
        finally:
            with self.writing:
                if not self._closed:  # by the thread that a signal began
                    _held.discard(self)
                    self._closed = True  # threads that still run have nobody to tell
                    self._writer.close()
                    self._lock.release()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    def _arrived(self, message: bytes) -> None:
        """Writes a block that another process has sent: the name of its section, and the file."""
        name, _, content = message.partition(b"\0")
        try:
            members = len(unpacked(content)["axis"][0])
            self.add("block", name.decode(), content, members=members)
        except (OSError, ValueError) as error:
            self.failed = error

    def _append(self, entry: dict[str, Any]) -> None:
        if self._closed:
            raise RuntimeError(f"{self.folder} is closed.")
        self._writer.append(entry)
        before = self._entries_now
        self._entries_now = manifest.live([*before, entry])
        left = {e.get("file") for e in self._entries_now}
        for old in before:
            if old.get("file") not in left:
                with suppress(OSError):
                    (self.folder / old["file"]).unlink()

    def _next_number(self, folder: str) -> int:
        there = (path.stem for path in (self.folder / folder).glob("*.npz"))
        return 1 + max((int(stem) for stem in there if stem.isdigit()), default=0)

    def _save_declaration(self) -> None:
        files.write_document(self.folder / declarations.NAME, self.declaration)
