"""What data must satisfy before a study starts; each failure is one line that names the place."""

from collections.abc import Mapping
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np

from dljax.errors import DataError, unknown
from dljax.types import Data


def check(
    data: Data,
    *,
    labels: str | None = None,
    num_folds: int | None = None,
    num_classes: int | None = None,
) -> None:
    """Raises unless the concrete arrays of `data` are fit for training.

    They must be numbers, finite, with one common number of rows N >= 1.

    Args:
      data: Named arrays [N, ...] of numpy or jax.
      labels: Name of the array of class labels, if there is one: integers in [0, C), of at
        least 2 classes, and every class occurs.
      num_folds: Number of folds K that will divide the rows, 2 <= K <= N.
      num_classes: Number of classes C, >= 2; by default the largest label + 1.

    Raises:
      DataError: If the data break a rule.
      ValueError: If `labels` names no array, or `num_folds` or `num_classes` is out of range.
    """
    num_rows = _count_rows(data)
    if num_folds is not None:
        _require_integer("num_folds", num_folds, 2, num_rows)
    if labels is not None and labels not in data:
        raise unknown("array", labels, data)
    if num_classes is not None:
        if labels is None:
            raise ValueError(f"num_classes needs labels, got num_classes={num_classes} alone.")
        _require_integer("num_classes", num_classes, 2)
    for name, array in data.items():
        _check_finite(name, array)
    if labels is not None:
        _check_labels(labels, np.asarray(data[labels]), num_classes)


def _count_rows(data: Data) -> int:
    """Returns the number of rows that all arrays of `data` have."""
    if not isinstance(data, Mapping) or not data:
        came = "an empty one" if isinstance(data, Mapping) else type(data).__name__
        raise DataError(f"data must be a mapping with at least one array, got {came}.")
    for name, array in data.items():
        if not isinstance(array, np.ndarray | jax.Array) or not array.ndim:
            raise DataError(f"{name} must be an array [N, ...], got {_describe(array)}.")
        if not jnp.issubdtype(array.dtype, jnp.number) and array.dtype != bool:
            raise DataError(f"{name} must be an array of numbers, got {array.dtype}.")
    counts = {name: len(array) for name, array in data.items()}
    if len(set(counts.values())) > 1:
        came = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise DataError(f"all arrays must have the same number of rows, got {came}.")
    num_rows = next(iter(counts.values()))
    if not num_rows:
        raise DataError("data must have at least 1 row, got 0.")
    return num_rows


def _describe(value: object) -> str:
    """Says in a word what came instead of an array with rows."""
    return "a scalar" if hasattr(value, "ndim") else type(value).__name__


def _require_integer(name: str, value: int, low: int, high: int | None = None) -> None:
    """Raises unless `value` is an integer in [low, high]; `high` None sets no upper end."""
    if isinstance(value, int | np.integer) and low <= value and (high is None or value <= high):
        return
    rule = f">= {low}" if high is None else f"in [{low}, {high}]"
    raise ValueError(f"{name} must be an integer {rule}, got {value}.")


def _check_finite(name: str, array: np.ndarray | jax.Array) -> None:
    """Raises if an entry of the float array [N, ...] is NaN or infinite; integers always pass."""
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return
    bad = ~np.isfinite(np.asarray(array))
    if bad.any():
        row = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0]
        raise DataError(
            f"{name} must be finite, got {bad.sum()} NaN or inf, the first in row {row}."
        )


def _check_labels(name: str, array: np.ndarray, num_classes: int | None) -> None:
    """Raises unless `array`, int[N, ...], holds every class of [0, num_classes) and no other."""
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{name} must hold integer class labels, got {array.dtype}.")
    present = np.unique(array)
    if not present.size:
        raise DataError(f"{name} must hold a label in every row, got shape {array.shape}.")
    end = int(present[-1]) + 1 if num_classes is None else num_classes
    if present[0] < 0 or present[-1] >= end:
        outside = (array < 0) | (array >= end)
        row = np.flatnonzero(outside.reshape(len(array), -1).any(axis=1))[0]
        rule = ">= 0" if num_classes is None else f"in [0, {end})"
        raise DataError(
            f"{name} must be {rule}, got {outside.sum()} other labels, "
            f"the first is {array[outside][0]} in row {row}."
        )
    if len(present) < 2:
        raise DataError(f"{name} must hold at least 2 classes, got only class {present[0]}.")
    num_empty = end - len(present)
    if num_empty:
        known = set(present.tolist())
        first = ", ".join(map(str, islice((c for c in range(end) if c not in known), 10)))
        more = ", ..." if num_empty > 10 else ""
        raise DataError(f"{name} must hold every class in [0, {end}), got none of {first}{more}.")
