"""Folds of rows that are alike: shuffled, repeated, one row each, and in the order of time."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.errors import require, require_whole
from dljax.keys import stream
from dljax.splits.rows import Rows, Split, all_rows, pick, real_entries, shuffled


def kfold(key: jax.Array, rows: int | Rows, num_folds: int, fold: ArrayLike) -> Split:
    """Holds out one of `num_folds` near-equal parts of the shuffled rows.

    Fold k of K is every K-th row from the k-th of one random order: the folds partition the rows,
    and the first N mod K of them have one row more, as scikit-learn's.

    Args:
      key: Shuffles the rows; give every fold of one study the same key.
      rows: Number of rows N, or the rows to divide.
      num_folds: Number of folds K, 2 <= K <= N.
      fold: Which part is held out, in [0, K); int32[], may be traced.

    Returns:
      `train` with N - N // K slots and `valid` with ceil(N / K), each an index table int32[M] whose
      first `count` entries are real.

    Raises:
      ValueError: If `num_folds` is outside [2, N], or a concrete `fold` outside [0, K).
    """
    require_folds(rows, num_folds, fold)
    return every_kth(shuffled(key, rows), num_folds, fold)


def require_folds(rows: int | Rows, num_folds: int, fold: ArrayLike) -> None:
    """Raises unless there are as many rows as folds, and the fold is one of them."""
    size = rows.index.shape[0] if isinstance(rows, Rows) else rows
    require("num_folds", num_folds, f"[2, {size}]")
    require("fold", fold, f"[0, {num_folds})")


def every_kth(rows: Rows, num_folds: int, fold: ArrayLike) -> Split:
    """Holds out every K-th of the rows, from the `fold`-th on."""
    size = rows.index.shape[0]
    position = jnp.arange(size)
    held_out = (position % num_folds == fold) & (position < rows.count)
    real = position < rows.count
    return Split(
        train=pick(rows, real & ~held_out, size - size // num_folds),
        valid=pick(rows, held_out, -(-size // num_folds)),
    )


def repeated_kfold(
    key: jax.Array, rows: int | Rows, num_folds: int, fold: ArrayLike, repeat: ArrayLike
) -> Split:
    """Holds out one fold of one of several shuffles: `kfold` of `stream(key, "repeat", repeat)`.

    A repeat is an axis like a fold: `axes=dict(repeat=np.arange(10), fold=np.arange(10))`. What
    the repeats say together is no larger sample of rows: `corrected_t`.

    Args:
      key: Shuffles the rows, once a repeat; give all folds and repeats the same key.
      rows: Number of rows N, or the rows to divide.
      num_folds: Number of folds K, 2 <= K <= N.
      fold: Which part is held out, in [0, K); int32[], may be traced.
      repeat: Number of the shuffle, in [0, 2**32); int32[], may be traced.

    Returns:
      As `kfold`.

    Raises:
      ValueError: As `kfold`, or if a concrete `repeat` is out of its range.
    """
    require("repeat", repeat, f"[0, {2**32})")
    return kfold(stream(key, "repeat", repeat), rows, num_folds, fold)


def leave_one_out(rows: int | Rows, fold: ArrayLike) -> Split:
    """Holds out one row; as many folds as rows.

    Args:
      rows: Number of rows N, or the rows to divide, N >= 2.
      fold: Position of the row that is held out, in [0, N); int32[], may be traced.

    Returns:
      `train` with N - 1 slots and `valid` with one, in the order of the rows.

    Raises:
      ValueError: If there is one row only, or a concrete `fold` is outside [0, N).
    """
    rows = all_rows(rows)
    size = rows.index.shape[0]
    require("the number of rows", size, "[2, inf)")
    require("fold", fold, f"[0, {size})")
    real = real_entries(rows)
    held_out = (jnp.arange(size) == fold) & real
    return Split(train=pick(rows, real & ~held_out, size - 1), valid=pick(rows, held_out, 1))


def time_series_split(
    rows: int | Rows,
    num_folds: int,
    fold: ArrayLike,
    *,
    gap: int = 0,
    test_size: int | None = None,
    max_train_size: int | None = None,
) -> Split:
    """Holds out rows that come after those that train; scikit-learn's `TimeSeriesSplit`.

        valid = [v, v + T),  v = N - (K - fold) T;    train = [max(0, v - G - R), v - G)

    Args:
      rows: Number of rows N in the order of time, or such rows.
      num_folds: Number of folds K, in [2, N - 1].
      fold: Which part is held out, in [0, K), the last the latest; int32[], may be traced.
      gap: Rows G left out between the parts, >= 0.
      test_size: Rows T held out, >= 1; by default floor(N / (K + 1)).
      max_train_size: The most rows R that train, >= 1; all earlier ones by default.

    Returns:
      `train` with min(R, N - T - G) slots and `valid` with T, in the order of time.

    Raises:
      ValueError: If an argument is out of its range, or no row is left to train the first fold.
    """
    rows = all_rows(rows)
    size, count = rows.index.shape[0], rows.count
    require_whole("num_folds", num_folds, f"[2, {size - 1}]")
    require("fold", fold, f"[0, {num_folds})")
    require_whole("gap", gap, "[0, inf)")
    if test_size is not None:
        require_whole("test_size", test_size, "[1, inf)")
    if max_train_size is not None:
        require_whole("max_train_size", max_train_size, "[1, inf)")
    num_valid = size // (num_folds + 1) if test_size is None else test_size
    if size - gap - num_folds * num_valid < 1:
        raise ValueError(
            f"num_folds * test_size + gap must be below the {size} rows, "
            f"got {num_folds} * {num_valid} + {gap}."
        )
    num_train = size - num_valid - gap
    longest = num_train if max_train_size is None else min(num_train, max_train_size)
    position, real = jnp.arange(size), real_entries(rows)
    length = count // (num_folds + 1) if test_size is None else test_size
    start = count - (num_folds - fold) * length
    end = start - gap
    is_train = (position >= end - longest) & (position < end)
    is_valid = (position >= start) & (position < start + length)
    return Split(pick(rows, real & is_train, longest), pick(rows, real & is_valid, num_valid))
