"""Which rows train, select and test: index tables that a traced member can build for itself."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dljax.errors import require


class Rows(NamedTuple):
    """Some rows of a data set, as a table of static size.

    Attributes:
      index: Rows of the data, int32[M], repeats allowed; entries from `count` on are padding and
        repeat the first.
      count: How many entries are real, int32[], in [0, M].
      weight: Weight of each row in a loss, f32[M], 0 on padding.
    """

    index: jax.Array
    count: jax.Array
    weight: jax.Array


class Split(NamedTuple):
    """Disjoint parts of a data set; a part that is not there is `None`."""

    train: Rows
    valid: Rows | None = None
    test: Rows | None = None


def all_rows(rows: int | Rows) -> Rows:
    """Returns the `Rows` of a number of rows N, in order, or `rows` themselves as jax arrays."""
    if isinstance(rows, Rows):
        return Rows(*map(jnp.asarray, rows))
    require("the number of rows", rows, "[1, inf)")
    return Rows(jnp.arange(rows, dtype=jnp.int32), jnp.int32(rows), jnp.ones(rows, jnp.float32))


def random_order(key: jax.Array, rows: Rows) -> jax.Array:
    """Draws an order of the real entries, every one equally likely, int32[M]; padding stays last.

    One stable sort by 32 random bits: ties, N^2 / 2^33 expected, keep their order. Bits and index
    make one number of 64, as XLA sorts one array seven times as fast on a CPU as several.
    """
    index = jnp.arange(rows.index.shape[0], dtype=jnp.uint32)
    bits = jax.random.bits(key, index.shape, jnp.uint32)
    bits = jnp.where(index < rows.count, bits, jnp.uint32(2**32 - 1))
    with jax.enable_x64(True):
        both = (bits.astype(jnp.uint64) << np.uint64(32)) | index.astype(jnp.uint64)
        return jax.lax.sort(both).astype(jnp.uint32).astype(jnp.int32)


def _shuffled(key: jax.Array, rows: int | Rows) -> Rows:
    rows = all_rows(rows)
    order = random_order(key, rows)
    return Rows(rows.index[order], rows.count, rows.weight[order])


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
    rows = all_rows(rows)
    size = rows.index.shape[0]
    require("num_folds", num_folds, f"[2, {size}]")
    require("fold", fold, f"[0, {num_folds})")
    rows = _shuffled(key, rows)
    position = jnp.arange(size)
    held_out = (position % num_folds == fold) & (position < rows.count)
    real = position < rows.count
    return Split(
        train=_pick(rows, real & ~held_out, size - size // num_folds),
        valid=_pick(rows, held_out, -(-size // num_folds)),
    )


def holdout(key: jax.Array, rows: int | Rows, *, valid: float = 0.2, test: float = 0.0) -> Split:
    """Holds out random fractions of the rows for selection and for the final test.

    Args:
      key: Shuffles the rows.
      rows: Number of rows N, or the rows to divide.
      valid: Fraction for `Split.valid`, in [0, 1): floor(valid N) rows; `None` instead of 0 rows.
      test: Fraction for `Split.test`, likewise; valid + test < 1.

    Returns:
      A `Split` whose parts share no row; `train` holds the rest.

    Raises:
      ValueError: If a fraction is out of its range, or so small that its part would be empty.
    """
    rows = _shuffled(key, rows)
    size = rows.index.shape[0]
    require("valid", valid, "[0, 1)")
    require("test", test, "[0, 1)")
    require("valid + test", valid + test, "[0, 1)")
    # 0.29 * 100 is 28.999999999999996
    num_valid, num_test = int(valid * size + 1e-9), int(test * size + 1e-9)
    for name, fraction, number in (("valid", valid, num_valid), ("test", test, num_test)):
        if fraction > 0 and number == 0:
            raise ValueError(
                f"{name} must hold at least one of the {size} rows, got the fraction {fraction}."
            )
    # evenly spaced places in a random order are a random part, and take their share of a table
    # that is only partly filled
    places = np.arange(size)
    valid_places = _spread(places, num_valid)
    test_places = _spread(np.setdiff1d(places, valid_places), num_test)
    is_valid = jnp.asarray(np.isin(places, valid_places)) & (places < rows.count)
    is_test = jnp.asarray(np.isin(places, test_places)) & (places < rows.count)
    is_train = (places < rows.count) & ~is_valid & ~is_test
    return Split(
        train=_pick(rows, is_train, size - num_valid - num_test),
        valid=_pick(rows, is_valid, num_valid) if num_valid else None,
        test=_pick(rows, is_test, num_test) if num_test else None,
    )


def bootstrap(key: jax.Array, rows: int | Rows) -> Split:
    """Draws as many rows as there are, with replacement; Efron 1979, Ann. Statist. 7, section 2.

    Args:
      key: Draws the bag.
      rows: Number of rows N, or the rows to draw from.

    Returns:
      `train`, N rows with repeats, and `valid`, the rows never drawn (out of bag, about N / e),
      in a table of N slots. A further split of `train` may put repeats of a row on both sides.
    """
    rows = all_rows(rows)
    size = rows.index.shape[0]
    drawn = jax.random.randint(key, (size,), 0, jnp.maximum(rows.count, 1))
    real = jnp.arange(size) < rows.count
    times = jnp.zeros(size, jnp.int32).at[drawn].add(real.astype(jnp.int32))
    drawn = jnp.where(real, drawn, drawn[0])
    bag = Rows(rows.index[drawn], rows.count, jnp.where(real, rows.weight[drawn], 0.0))
    return Split(train=bag, valid=_pick(rows, real & (times == 0), size))


def _spread(places: np.ndarray, number: int) -> np.ndarray:
    return places[(np.arange(number) * len(places)) // max(number, 1)]


def _pick(rows: Rows, chosen: jax.Array, num_slots: int) -> Rows:
    """Keeps the rows where `chosen`, bool[M], in their order, in a table of `num_slots`."""
    order = jnp.argsort(~chosen, stable=True)[:num_slots]
    count = jnp.sum(chosen, dtype=jnp.int32)
    real = jnp.arange(num_slots) < count
    index = rows.index[order]
    # padding repeats a row of the part itself: a row of another part never enters a computation
    return Rows(jnp.where(real, index, index[0]), count, jnp.where(real, rows.weight[order], 0.0))
