"""Files that are there whole or not at all, and whose damage is noticed when they are read."""

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dljax.errors import DataError

SCHEMA = 1  # of every file that this version writes; it reads all up to it
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REASONS = (FileExistsError, NotADirectoryError)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old one or the new one, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()  # of a process that was killed; a link is not followed
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK
        with open(os.open(temporary, flags, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, IsADirectoryError):
            raise DataError(f"{path} must be a regular file, got a folder in its place.") from None
        raise
    _sync(path.parent)


def read(path: Path) -> bytes:
    """Reads a regular file of a run folder.

    Raises:
      DataError: If it is missing, is no regular file, or cannot be read.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise DataError(f"{path} must be a regular file, got another kind.")
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} must be there, got no such file.") from None
    except OSError as error:
        raise DataError(f"{path} must be readable, got {error.strerror}.") from None


def canonical(content: Any) -> bytes:
    """Returns the one spelling of a JSON value that digests are taken of; order counts."""
    try:
        spelt = json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return spelt.encode()


def parsed(text: bytes) -> Any:
    """Parses JSON strictly: no NaN, no name twice; raises a `ValueError` that says why."""

    def once(pairs):
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name stands twice")
        return found

    def refuse(word):
        raise ValueError(f"{word} is no number of JSON")

    try:
        return json.loads(text.decode(), object_pairs_hook=once, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def write_document(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object with its schema and the SHA-256 of all the rest."""
    whole = {"schema": SCHEMA, **content}
    whole["sha256"] = sha256(canonical(whole))
    write(path, _spelt(whole))


def read_document(path: Path, *names: str) -> dict[str, Any]:
    """Reads what `write_document` wrote, which must hold these names.

    Raises:
      DataError: If the file is missing, damaged, or written by a newer version.
    """
    content = read(path)
    try:
        found = parsed(content)
        if not isinstance(found, dict):
            raise ValueError(f"it is {type(found).__name__}, not an object")
        check_schema(path, found)
        is_spelt_so = content == _spelt(found)
        if found.pop("sha256", None) != sha256(canonical(found)) or not is_spelt_so:
            raise ValueError("its content does not have its SHA-256")
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"it has no {missing[0]!r}, so it is another file")
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}.") from None
    return found


def _spelt(whole: Mapping[str, Any]) -> bytes:
    return json.dumps(whole, indent=2, allow_nan=False).encode() + b"\n"


def check_schema(path: Path, found: Mapping[str, Any]) -> None:
    """Raises a `DataError` if a newer version wrote this."""
    schema = found.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise DataError(f"{path} is damaged: its schema is {schema!r}.")
    if schema > SCHEMA:
        raise DataError(
            f"{path} must have a schema that this version reads, up to {SCHEMA}, got {schema}: "
            "a newer dljax wrote it."
        )


def check_writable(folder: Path) -> None:
    """Raises a `ValueError` unless files can be written in a folder that may not exist yet.

    A file is written for the trial and removed, as permissions alone say little to an
    administrator or on a read-only disk. Nothing is left behind.
    """
    folder = folder.resolve()
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(b"trial")
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        reason = "a file is in the way" if isinstance(error, REASONS) else error.strerror
        raise ValueError(f"the folder must be writable, got {folder}: {reason}.") from None
    finally:
        for place in missing:
            with suppress(OSError):
                place.rmdir()


def _sync(folder: Path) -> None:
    """Makes a new name survive a crash of the machine."""
    with suppress(OSError):  # some file systems do not know it
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
