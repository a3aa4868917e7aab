"""Folds that look at what the rows are: of every class alike, or groups kept together."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.splits.classes import (
    by_class,
    class_sizes,
    classes_of,
    require_labels,
    require_rows_of_every_class,
)
from dljax.splits.folds import every_kth, require_folds
from dljax.splits.rows import Rows, Split, all_rows, order_of, pick, random_order, real_entries


def stratified_kfold(
    key: jax.Array,
    rows: int | Rows,
    num_folds: int,
    fold: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
) -> Split:
    """Holds out one of `num_folds` near-equal parts that hold near-equal parts of every class.

    Fold k of K is every K-th row from the k-th of an order by class, random within each. So folds
    are as large as those of `kfold`, and of n rows of a class every fold has floor(n / K) or
    ceil(n / K): the sizes of scikit-learn's `StratifiedKFold`, whose classes are in the order in
    which they occur.

    Args:
      key: Shuffles the rows within their class; give every fold of one study the same key.
      rows: Number of rows N, or the rows to divide.
      num_folds: Number of folds K, 2 <= K <= N.
      fold: Which part is held out, in [0, K); int32[], may be traced.
      labels: Class of each row of the data, int[N], in [0, C); may be traced.
      num_classes: Number of classes C, >= 2.

    Returns:
      `train` with N - N // K slots and `valid` with ceil(N / K), in the order of the classes. A
      traced class of fewer than K rows is missing in some of the folds; `dj.check` names it.

    Raises:
      ValueError: As `kfold`, or if concrete labels are no classes or a class has fewer than K rows.
    """
    require_labels(rows, labels, num_classes)
    require_folds(rows, num_folds, fold)
    require_rows_of_every_class(rows, labels, num_classes, num_folds)
    return every_kth(by_class(key, rows, labels, num_classes), num_folds, fold)


def group_kfold(
    key: jax.Array,
    rows: int | Rows,
    num_folds: int,
    fold: ArrayLike,
    groups: ArrayLike,
    num_groups: int,
) -> Split:
    """Holds out one of `num_folds` parts; the rows of a group are in one of them.

    The largest group not yet placed goes to the fold that has the fewest rows so far, the first
    of these, as in scikit-learn's `GroupKFold`: Graham 1969, SIAM J. Appl. Math. 17(2), whose
    largest fold is at most 4 / 3 of the least possible. The key decides between groups of one size.

    Args:
      key: Orders the groups of one size; give every fold of one study the same key.
      rows: Number of rows N, or the rows to divide.
      num_folds: Number of folds K, 2 <= K <= G.
      fold: Which part is held out, in [0, K); int32[], may be traced.
      groups: Group of each row of the data, int[N], in [0, G); may be traced.
      num_groups: Number of groups G, >= 2, each placed in turn; some may have no row.

    Returns:
      `train` and `valid` with N slots each, as one group may have nearly all rows. With fewer
      groups than folds among the rows, some folds are empty; `dj.check` says so.

    Raises:
      ValueError: If `num_folds` is outside [2, G], or a concrete fold or group out of its range.
    """
    require_labels(rows, groups, num_groups, "groups")
    require("num_folds", num_folds, f"[2, {num_groups}]")
    require("fold", fold, f"[0, {num_folds})")
    rows = all_rows(rows)
    size, real = rows.index.shape[0], real_entries(rows)
    sizes = class_sizes(rows, groups, num_groups)
    order = random_order(key, all_rows(num_groups))
    order = order[order_of(size - sizes[order])]

    def place(loads, group):
        lightest = jnp.argmin(loads)
        return loads.at[lightest].add(sizes[group]), lightest

    _, folds = jax.lax.scan(place, jnp.zeros(num_folds, jnp.int32), order)
    fold_of_group = jnp.zeros(num_groups, jnp.int32).at[order].set(folds.astype(jnp.int32))
    fold_of_row = fold_of_group.at[classes_of(rows, groups, num_groups)].get(mode="clip")
    held_out = real & (fold_of_row == fold)
    return Split(pick(rows, real & ~held_out, size), pick(rows, held_out, size))
