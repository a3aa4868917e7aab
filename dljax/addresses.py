"""What a user names on the command line as `file.py:name`."""

import importlib.util
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

from dljax.errors import unknown


def is_address(text: str) -> bool:
    """Says whether `text` is meant as `file.py:name`."""
    return ".py:" in text


def from_file(address: str) -> Any:
    """Imports `file.py:name`, with the file's own folder on the path.

    Raises:
      ValueError: If there is no such file, it does not import, or it has no such name.
    """
    return named(imported(address), address)


def imported(address: str) -> ModuleType:
    """Imports the file of `file.py:name`; see `from_file`."""
    path, _, _ = address.rpartition(":")
    if not Path(path).is_file():
        raise ValueError(f"{address!r} must name a Python file, got no file {path!r}.")
    name_of_module = f"dljax_user_{zlib.crc32(str(Path(path).resolve()).encode())}"
    spec = importlib.util.spec_from_file_location(name_of_module, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and linen modules look theirs up there
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} must import without an error, got {first_line(error)}") from error
    return module


def named(module: ModuleType, address: str) -> Any:
    """Returns what `file.py:name` names in its imported file, or raises a `ValueError`."""
    path, _, name = address.rpartition(":")
    if not hasattr(module, name):
        defined = {n for n, x in vars(module).items() if not isinstance(x, ModuleType)}
        raise unknown(f"name in {path}:", name, [n for n in defined if not n.startswith("_")])
    return getattr(module, name)


def first_line(error: BaseException) -> str:
    """Returns an error's type and the first line of its message."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"
