"""Preprocessing that is fitted inside a fold: a pure function of data and rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dljax.splits import Rows
from dljax.sums import sum_by_halves

BLOCK = 256  # rows added at a time: what is summed stays in the cache


class Standardizer(NamedTuple):
    """What standardises a feature x: (x - mean) / sd, in units of x."""

    mean: jax.Array
    sd: jax.Array


def standardizer(x: jax.Array, rows: Rows) -> Standardizer:
    """Fits mean and standard deviation of every feature to some of the rows.

        mean = sum_i w_i x_i / sum_i w_i,    sd^2 = sum_i w_i (x_i - mean)^2 / sum_i w_i

    over the real entries of `rows`, repeats as often as they occur; a feature that is constant
    there has sd 1 and its very value as mean. No other row of `x` is touched, whatever it holds.

    Args:
      x: float[N, ...] or int[N, ...], the rows of the data.
      rows: Those to fit, of positive weight; an empty table gives NaN.

    Returns:
      `mean` and `sd`, float[...], at least float32.
    """
    x = jnp.asarray(x)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    index, weight = _in_blocks(rows.index), _in_blocks(rows.weight.astype(dtype))
    total = sum_by_halves(rows.weight.astype(dtype))

    def weighted_mean(f):
        def add(total, block):
            index, w = block
            w = w.reshape(-1, *[1] * (x.ndim - 1))
            return total + jnp.where(w > 0, w * f(x[index].astype(dtype)), 0.0), None

        start = jnp.zeros((index.shape[1], *x.shape[1:]), dtype)
        sums, _ = jax.lax.scan(add, start, (index, weight))
        # the barrier keeps the quotient from being rounded as the width of a tile suggests
        return jax.lax.optimization_barrier(sum_by_halves(sums) / total)

    # differences from one of the rows: what is constant has a mean and a deviation without error
    origin = x[rows.index[jnp.argmax(rows.weight > 0)]].astype(dtype)
    mean = origin + weighted_mean(lambda x: x - origin[None])
    variance = weighted_mean(lambda x: (x - mean[None]) ** 2)
    return Standardizer(mean, jnp.where(variance > 0, jnp.sqrt(variance), 1.0))


def standardized(x: jax.Array, rows: Rows) -> jax.Array:
    """Returns all rows of `x`, float[N, ...], standardised by what `standardizer` fits to `rows`.

        data = {**data, "x": dj.standardized(data["x"], split.train)}

    inside a member: held-out rows are scaled as new rows would be, and decide nothing.
    """
    mean, sd = standardizer(x, rows)
    return (x - mean[None]) / sd[None]


def _in_blocks(x: jax.Array) -> jax.Array:
    """Cuts [M] into blocks of `BLOCK`, [num_blocks, BLOCK], the last one padded with zeros."""
    size = min(BLOCK, len(x))
    return jnp.pad(x, (0, -len(x) % size)).reshape(-1, size)
