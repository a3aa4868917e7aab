"""The table of rows that every split returns, its random order, and how a part is taken of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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

    One stable sort by 32 random bits: ties, N^2 / 2^33 expected, keep their order.
    """
    index = jnp.arange(rows.index.shape[0], dtype=jnp.uint32)
    bits = jax.random.bits(key, index.shape, jnp.uint32)
    return _ordered(jnp.where(index < rows.count, bits, jnp.uint32(2**32 - 1)), index)


def order_of(number: jax.Array) -> jax.Array:
    """Returns the stable ascending order of int[M], all in [0, 2^32), as int32[M]."""
    return _ordered(number.astype(jnp.uint32), jnp.arange(len(number), dtype=jnp.uint32))


def _ordered(number: jax.Array, index: jax.Array) -> jax.Array:
    """Sorts by `number`, then `index`, uint32[M]; returns the index.

    Both make one number of 64 bits, as XLA sorts one array seven times as fast on a CPU as several.
    """
    with jax.enable_x64(True):
        both = (number.astype(jnp.uint64) << np.uint64(32)) | index.astype(jnp.uint64)
        return jax.lax.sort(both).astype(jnp.uint32).astype(jnp.int32)


def shuffled(key: jax.Array, rows: int | Rows) -> Rows:
    """Returns the rows in a random order."""
    rows = all_rows(rows)
    order = random_order(key, rows)
    return Rows(rows.index[order], rows.count, rows.weight[order])


def real_entries(rows: Rows) -> jax.Array:
    """Returns which entries are no padding, bool[M]."""
    return jnp.arange(rows.index.shape[0]) < rows.count


def pick(rows: Rows, chosen: jax.Array, num_slots: int) -> Rows:
    """Keeps the rows where `chosen`, bool[M], in their order, in a table of `num_slots`."""
    order = jnp.argsort(~chosen, stable=True)[:num_slots]
    count = jnp.sum(chosen, dtype=jnp.int32)
    real = jnp.arange(num_slots) < count
    index = rows.index[order]
    # padding repeats a row of the part itself: a row of another part never enters a computation
    return Rows(jnp.where(real, index, index[0]), count, jnp.where(real, rows.weight[order], 0.0))


def without(rows: Rows, held_out: Rows, num_rows: int) -> Rows:
    """Leaves out all entries of rows of the data that occur among the real entries of `held_out`.

    Args:
      rows: Some rows, repeats allowed.
      held_out: What is left out of them, in a table of any size.
      num_rows: Number of rows N of the data that both are of.

    Returns:
      The other entries in their order, with their weights, in a table of the size of `rows`.
    """
    index = jnp.where(real_entries(held_out), held_out.index, num_rows)
    is_out = jnp.zeros(num_rows, bool).at[index].set(True, mode="drop")
    return pick(rows, real_entries(rows) & ~is_out[rows.index], len(rows.index))


def evenly_spaced(number: jax.Array, count: jax.Array, num_slots: int) -> jax.Array:
    """Chooses `number` of the first `count` places, bool[num_slots].

    Any n places in a row then hold between floor and ceil of n number / count chosen ones.
    """
    with jax.enable_x64(True):  # place times number passes 2^32
        place = jnp.arange(num_slots, dtype=jnp.uint64)
        number, count = number.astype(jnp.uint64), count.astype(jnp.uint64)
        steps = jnp.maximum(count, 1)
        before, after = place * number // steps, (place + 1) * number // steps
        return (after > before) & (place < count)


def share_of(count: jax.Array, part: int, whole: int) -> jax.Array:
    """Returns floor(count part / whole), int32[]; exact where the product passes 2^31."""
    with jax.enable_x64(True):
        return (count.astype(jnp.uint64) * part // whole).astype(jnp.int32)
