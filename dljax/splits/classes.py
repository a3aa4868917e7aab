"""Rows in the order of their class, and what labels must be."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dljax.errors import require, require_whole
from dljax.splits.rows import Rows, order_of, real_entries, shuffled


def by_class(key: jax.Array, rows: int | Rows, labels: ArrayLike, num_classes: int) -> Rows:
    """Returns the rows class by class, in a random order within each; padding stays last."""
    rows = shuffled(key, rows)
    order = order_of(classes_of(rows, labels, num_classes))
    return Rows(rows.index[order], rows.count, rows.weight[order])


def classes_of(rows: Rows, labels: ArrayLike, num_classes: int) -> jax.Array:
    """Returns the class of every entry, int32[M]; `num_classes` for padding."""
    labels = jnp.asarray(labels)[rows.index].astype(jnp.int32)
    return jnp.where(real_entries(rows), labels, num_classes)


def class_sizes(rows: Rows, labels: ArrayLike, num_classes: int) -> jax.Array:
    """Returns how many entries each class has, int32[C]."""
    entries = jnp.zeros(num_classes, jnp.int32).at[classes_of(rows, labels, num_classes)]
    return entries.add(1, mode="drop")


def require_labels(
    rows: int | Rows, labels: ArrayLike, num_classes: int, name: str = "labels"
) -> None:
    """Raises unless the labels are int[N] in [0, C) as far as that is known while tracing."""
    require_whole("num_classes" if name == "labels" else "num_groups", num_classes, "[2, inf)")
    shape, dtype = jnp.shape(labels), jnp.result_type(labels)
    if len(shape) != 1 or not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(f"{name} must be integers [N], got {dtype}{list(shape)}.")
    if not isinstance(rows, Rows) and shape[0] != rows:
        raise ValueError(f"{name} must have one number for each of {rows} rows, got {shape[0]}.")
    require(name, labels, f"[0, {num_classes})")


def smaller(sizes: Iterable[int], at_least: int) -> str:
    """Names the classes that have fewer rows: `"class 3: 1, class 7: 4"`; `""` if none has."""
    small = [f"class {c}: {n}" for c, n in enumerate(sizes) if n < at_least]
    return ", ".join(small[:10]) + (", ..." if len(small) > 10 else "")


def require_rows_of_every_class(
    rows: int | Rows, labels: ArrayLike, num_classes: int, num_folds: int
) -> None:
    """Raises if concrete labels of all rows have a class too small to be in every fold."""
    if isinstance(rows, Rows) or isinstance(labels, jax.core.Tracer):
        return
    small = smaller(np.bincount(np.asarray(labels), minlength=num_classes), num_folds)
    if small:
        raise ValueError(f"every class must have a row for each of {num_folds} folds, got {small}.")
