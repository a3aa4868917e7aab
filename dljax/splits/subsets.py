"""Fewer rows, or fewer features: at random, of every class its share, or of every class alike."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dljax.errors import require, require_whole
from dljax.splits.classes import by_class, class_sizes, classes_of, require_labels
from dljax.splits.rows import (
    Rows,
    all_rows,
    evenly_spaced,
    pick,
    random_order,
    real_entries,
    share_of,
    shuffled,
)


def subset(key: jax.Array, rows: int | Rows, size: float) -> Rows:
    """Draws some of the rows, without replacement.

    Args:
      key: Draws them; a smaller number at the same key is a part of a larger one.
      rows: Number of rows N, or the rows to draw from.
      size: A whole number of rows in [1, N], or (a float) the fraction in (0, 1] of the rows that
        there are, rounded down.

    Returns:
      The rows in random order, in a table of `size` or floor(size N) slots.

    Raises:
      ValueError: If `size` is out of its range, or so small that no row would be left.
    """
    rows = all_rows(rows)
    num_slots, number = _number_of(size, rows)
    rows = shuffled(key, rows)
    return pick(rows, jnp.arange(rows.index.shape[0]) < number, num_slots)


def stratified_subset(
    key: jax.Array, rows: int | Rows, size: float, labels: ArrayLike, num_classes: int
) -> Rows:
    """Draws the same fraction of every class, up to whole rows, without replacement.

    Of n rows of a class n size / N are drawn, rounded down or up.

    Args:
      key: Draws them within their class.
      rows: Number of rows N, or the rows to draw from.
      size: As in `subset`.
      labels: Class of each row of the data, int[N], in [0, C); may be traced.
      num_classes: Number of classes C, >= 2.

    Returns:
      The rows in the order of their classes, in a table as that of `subset`.

    Raises:
      ValueError: As `subset`, or if concrete labels are no classes.
    """
    require_labels(rows, labels, num_classes)
    rows = all_rows(rows)
    num_slots, number = _number_of(size, rows)
    rows = by_class(key, rows, labels, num_classes)
    return pick(rows, evenly_spaced(number, rows.count, rows.index.shape[0]), num_slots)


def undersample(
    key: jax.Array,
    rows: int | Rows,
    labels: ArrayLike,
    num_classes: int,
    per_class: int | None = None,
) -> Rows:
    """Draws equally many rows of every class that occurs, as many as the smallest has.

    Args:
      key: Draws them within their class.
      rows: Number of rows N, or the rows to draw from.
      labels: Class of each row of the data, int[N], in [0, C); may be traced.
      num_classes: Number of classes C, >= 2.
      per_class: The most rows to draw of a class, >= 1; it makes the table small.

    Returns:
      The rows in the order of their classes, in a table of N slots, or of C `per_class` if these
      are fewer.

    Raises:
      ValueError: If `per_class` is below 1, or concrete labels are no classes.
    """
    require_labels(rows, labels, num_classes)
    if per_class is not None:
        require_whole("per_class", per_class, "[1, inf)")
    rows = by_class(key, rows, labels, num_classes)
    slots = rows.index.shape[0]
    sizes = class_sizes(rows, labels, num_classes)
    number = jnp.min(jnp.where(sizes > 0, sizes, slots))
    if per_class is not None:
        number, slots = jnp.minimum(number, per_class), min(slots, num_classes * per_class)
    first = jnp.cumsum(sizes) - sizes
    own = classes_of(rows, labels, num_classes)
    rank = jnp.arange(rows.index.shape[0]) - first.at[own].get(mode="clip")
    return pick(rows, real_entries(rows) & (rank < number), slots)


def feature_subset(key: jax.Array, num_features: int, size: float) -> jax.Array:
    """Draws some of the features, for `x[:, features]`; Ho 1998, IEEE TPAMI 20(8), 832-844.

    Args:
      key: Draws them.
      num_features: Number of features D, >= 1.
      size: A whole number of features in [1, D], or (a float) a fraction in (0, 1], rounded down.

    Returns:
      Their numbers, int32[size], ascending, none twice.

    Raises:
      ValueError: If `size` is out of its range, or so small that no feature would be left.
    """
    require_whole("num_features", num_features, "[1, inf)")
    features = all_rows(num_features)
    number, _ = _number_of(size, features)
    return jnp.sort(random_order(key, features)[:number])


def _number_of(size: float, rows: Rows) -> tuple[int, jax.Array]:
    """Returns the slots for `size` of the rows, and how many of those that there are that is."""
    whole = rows.index.shape[0]
    if isinstance(size, int | np.integer):
        require("size", size, f"[1, {whole}]")
        return int(size), jnp.minimum(rows.count, size)
    require("size", size, "(0, 1]")
    part = int(size * whole + 1e-9)  # 0.29 * 100 is 28.999999999999996
    if part == 0:
        raise ValueError(f"size must keep at least one of {whole}, got the fraction {size}.")
    return part, share_of(rows.count, part, whole)
