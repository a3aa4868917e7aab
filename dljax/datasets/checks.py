"""What data must satisfy before a study starts; each failure is one line that names the place."""

from collections.abc import Mapping
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np

from dljax.errors import DataError, unknown
from dljax.splits.classes import smaller
from dljax.types import Data


def check(
    data: Data,
    *,
    labels: str | None = None,
    num_folds: int | None = None,
    num_classes: int | None = None,
    targets: str | None = None,
    weights: str | None = None,
    groups: str | None = None,
) -> None:
    """Raises unless the concrete arrays of `data` are fit for training.

    They must be numbers, finite, with one common number of rows N >= 1.

    Args:
      data: Named arrays [N, ...] of numpy or jax.
      labels: Name of the array of class labels, if there is one: integers in [0, C), of at
        least 2 classes, and every class occurs; of int[N], in K rows or more.
      num_folds: Number of folds K that will divide the rows, 2 <= K <= N.
      num_classes: Number of classes C, >= 2; by default the largest label + 1.
      targets: Name of the array of numbers to predict: no column of it is constant.
      weights: Name of the array of weights of the rows: none negative, and not all 0.
      groups: Name of the array of groups that folds keep together: integers [N] >= 0, at least
        K of them different.

    Raises:
      DataError: If the data break a rule.
      ValueError: If a name is of no array, or `num_folds` or `num_classes` is out of range.
    """
    num_rows = _count_rows(data)
    if num_folds is not None:
        _require_integer("num_folds", num_folds, 2, num_rows)
    for name in (labels, targets, weights, groups):
        if name is not None and name not in data:
            raise unknown("array", name, data)
    if num_classes is not None:
        if labels is None:
            raise ValueError(f"num_classes needs labels, got num_classes={num_classes} alone.")
        _require_integer("num_classes", num_classes, 2)
    for name, array in data.items():
        _check_finite(name, array)
    if labels is not None:
        _check_labels(labels, np.asarray(data[labels]), num_classes)
        _check_folds_of_classes(labels, np.asarray(data[labels]), num_folds)
    if targets is not None:
        _check_targets(targets, np.asarray(data[targets]))
    if weights is not None:
        _check_weights(weights, np.asarray(data[weights]))
    if groups is not None:
        _check_groups(groups, np.asarray(data[groups]), num_folds)


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


def _check_folds_of_classes(name: str, array: np.ndarray, num_folds: int | None) -> None:
    """Raises if a class of int[N] has too few rows to be in every fold; names each that has."""
    small = smaller(np.bincount(array), num_folds) if num_folds and array.ndim == 1 else ""
    if small:
        raise DataError(
            f"{name} must hold {num_folds} or more rows of every class for {num_folds} folds, "
            f"got {small}."
        )


def _check_targets(name: str, array: np.ndarray) -> None:
    """Raises if a column of [N, ...] says the same in every row."""
    constant = (array == array[:1]).all(axis=0)
    if constant.any():
        where = np.argwhere(constant)[0].tolist()
        column = f" in column {', '.join(map(str, where))}" if where else ""
        value = array[(0, *where)]
        raise DataError(f"{name} must not be constant, got only {value:g}{column}.")


def _check_weights(name: str, array: np.ndarray) -> None:
    """Raises unless all weights are >= 0 and one is above."""
    if (array < 0).any():
        row = np.argwhere(array < 0)[0][0]
        raise DataError(f"{name} must be >= 0, got {array[array < 0][0]:g} in row {row}.")
    if not (array > 0).any():
        raise DataError(f"{name} must not sum to 0, got {array.size} weights of 0.")


def _check_groups(name: str, array: np.ndarray, num_folds: int | None) -> None:
    """Raises unless int[N] holds numbers >= 0, of which as many differ as there are folds."""
    if not np.issubdtype(array.dtype, np.integer) or array.ndim != 1:
        raise DataError(f"{name} must be integers [N], got {array.dtype}{list(array.shape)}.")
    if (array < 0).any():
        row = np.flatnonzero(array < 0)[0]
        raise DataError(f"{name} must be >= 0, got {array[row]} in row {row}.")
    num_groups = len(np.unique(array))
    if num_folds is not None and num_groups < num_folds:
        raise DataError(
            f"{name} must hold {num_folds} or more groups for {num_folds} folds, got {num_groups}."
        )
