"""Preprocessing that is fitted inside a fold: a pure function of data and rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dljax.splits import Rows
from dljax.sums import sum_by_halves


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
    x = jnp.asarray(x)[rows.index]
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    w = rows.weight.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    used = w > 0
    total = sum_by_halves(w)
    low = jnp.where(used, x, jnp.inf).min(0)
    high = jnp.where(used, x, -jnp.inf).max(0)
    mean = sum_by_halves(jnp.where(used, w * x, 0.0)) / total
    mean = jnp.where(low == high, low, mean)
    variance = sum_by_halves(jnp.where(used, w * (x - mean[None]) ** 2, 0.0)) / total
    # tiny features may vary and have squares of 0
    return Standardizer(mean, jnp.where(variance > 0, jnp.sqrt(variance), 1.0))


def standardized(x: jax.Array, rows: Rows) -> jax.Array:
    """Returns all rows of `x`, float[N, ...], standardised by what `standardizer` fits to `rows`.

        data = {**data, "x": dj.standardized(data["x"], split.train)}

    inside a member: held-out rows are scaled as new rows would be, and decide nothing.
    """
    mean, sd = standardizer(x, rows)
    return (x - mean[None]) / sd[None]
