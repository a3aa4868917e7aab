"""The declaration: everything that determines a run's results, and what may be added to it."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dljax.errors import OtherRun

NAME = "declaration.json"
FIELDS = ("id", "kind", "declared", "axes", "added", "programs", "about")
SHOWN = 60  # characters of a value in a message
MANY = 5  # differences that are told


def numerics() -> dict[str, Any]:
    """Returns jax's settings that results depend on."""
    names = (
        "jax_enable_x64",
        "jax_default_matmul_precision",
        "jax_numpy_dtype_promotion",
        "jax_default_prng_impl",
        "jax_threefry_partitionable",
    )
    return {name.removeprefix("jax_"): getattr(jax.config, name) for name in names}


def new(kind: str, declared: Any, axes: Any, about: Any) -> dict[str, Any]:
    """Returns the declaration of a new run, with a random number that its files share."""
    told = {"declared": dict(declared), "axes": dict(axes), "added": [], "programs": {}}
    return {"id": secrets.token_hex(8), "kind": kind, **told, "about": dict(about)}


def gone_on(
    folder: Path, found: Mapping[str, Any], kind: str, declared: Any, axes: Any, about: Any, at: str
) -> dict[str, Any]:
    """Returns the declaration of a run that goes on, with what its axes have gained.

    Raises:
      OtherRun: If it was declared otherwise; the message names what differs.
    """
    before = {"kind": found["kind"], **found["declared"]}
    if differing := differences(before, {"kind": kind, **declared}):
        raise OtherRun(f"{folder} holds another run: {told(differing)}; give another folder.")
    gained = grown(found["axes"], axes)
    added = [*found["added"], *([{"time": at, "axes": gained}] if gained else [])]
    kept = {name: value for name, value in found.items() if name != "schema"}
    return {**kept, "axes": dict(axes), "added": added, "about": dict(about)}


def axis(values: Any) -> dict[str, Any]:
    """Returns an axis of a study ready for JSON: labels, or numbers and their type."""
    if isinstance(values, Mapping):
        return {"tree": {name: axis(part) for name, part in values.items()}}
    if isinstance(values, tuple | list):
        return {"labels": list(values)}
    return {"dtype": values.dtype.name, "values": values.tolist()}


def axis_values(told: Mapping[str, Any]) -> Any:
    """Returns what `axis` took down."""
    if "tree" in told:
        return {name: axis_values(part) for name, part in told["tree"].items()}
    if "labels" in told:
        return tuple(told["labels"])
    return np.asarray(told["values"], dtype=told["dtype"])


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Returns the fields in which two declarations differ, a phrase each."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        parts = [
            differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
            for key in {**before, **now}
        ]
        return [phrase for part in parts for phrase in part]
    return [] if before == now else [f"{name} was {_shown(before)}, is {_shown(now)}"]


def told(found: list[str]) -> str:
    """Joins differences for a message."""
    more = [f"and {len(found) - MANY} more"] if len(found) > MANY else []
    return "; ".join(found[:MANY] + more)


def grown(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list]:
    """Returns the values that axes have now and had not before.

    Raises:
      OtherRun: If an axis, or a value of one, is there no longer.
    """
    for name, axis_before in before.items():
        rows = _rows(now[name]) if name in now else []
        if missing := [row for row in _rows(axis_before) if row not in rows]:
            raise OtherRun(
                f"axis {name!r} may only grow in this folder, got it without {_shown(missing)}; "
                "give another folder."
            )
    new = {}
    for name, axis_now in now.items():
        rows = _rows(before[name]) if name in before else []
        new[name] = [row for row in _rows(axis_now) if row not in rows]
    return {name: rows for name, rows in new.items() if rows}


def _rows(encoded: Mapping[str, Any]) -> list:
    """Returns an axis as a list of its values, of a tree as lists of those that go together."""
    if "tree" in encoded:
        return [list(row) for row in zip(*(_rows(part) for part in encoded["tree"].values()))]
    return list(encoded["labels"] if "labels" in encoded else encoded["values"])


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
