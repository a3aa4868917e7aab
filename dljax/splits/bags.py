"""Samples of the rows with replacement, as repeats or as weights; what was not drawn selects."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dljax.splits.rows import Rows, Split, all_rows, pick, real_entries
from dljax.sums import sum_by_halves

# P(count <= k) of Poisson(1) in units of 2^-32, k = 0 .. 11; 2^-32 is about P(count > 12)
POISSON = np.cumsum([1 / math.factorial(k) for k in range(12)]) / math.e * 2.0**32


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
    return Split(train=bag, valid=pick(rows, real & (times == 0), size))


def poisson_bootstrap(key: jax.Array, rows: int | Rows) -> Split:
    """Draws every row Poisson(1) times, for itself; Hanley & MacGibbon 2006, CMPB 83(1), 57-62.

    The bag is its distinct rows c_i >= 1 times, as weights in place of repeats:

        w_i = c_i n / sum_j c_j          n distinct rows

    so that the mean of w l over the bag is the mean of l over its draws. A row that is drawn
    does not depend on how many others there are, unlike in `bootstrap`.

    Args:
      key: Draws the counts.
      rows: Number of rows N, or the rows to draw from; their weights multiply w.

    Returns:
      `train`, the rows drawn (about N (1 - 1 / e)), and `valid`, the others, each in a table of N
      slots. Either may be empty if N is small: with probability e^-N no row is drawn.
    """
    rows = all_rows(rows)
    size, real = rows.index.shape[0], real_entries(rows)
    bits = jax.random.bits(key, (size,), jnp.uint32)
    counts = (bits[:, None] >= jnp.asarray(POISSON.astype(np.uint32))[None]).sum(1)
    counts = jnp.where(real, counts, 0)
    scale = (counts > 0).sum() / jnp.maximum(counts.sum(), 1)
    weight = rows.weight * (counts * scale).astype(jnp.float32)
    bag = pick(rows._replace(weight=weight), counts > 0, size)
    return Split(train=bag, valid=pick(rows, real & (counts == 0), size))


def bayesian_bootstrap(key: jax.Array, rows: int | Rows) -> Split:
    """Draws weights, uniform over all that sum to one; Rubin 1981, Ann. Statist. 9(1), 130-134.

        w = N g / sum_i g_i,   g_i exponential          so w / N is Dirichlet(1, ..., 1)

    Args:
      key: Draws the weights.
      rows: Number of rows N, or the rows to weigh; their own weights multiply w.

    Returns:
      `train`, every row, with the mean of w one; there is no other part.
    """
    rows = all_rows(rows)
    g = jax.random.exponential(key, rows.index.shape, jnp.float32)
    g = jnp.where(real_entries(rows), g, 0.0)
    return Split(rows._replace(weight=rows.weight * g * (rows.count / sum_by_halves(g))))


def row_weights(rows: Rows, num_rows: int) -> jax.Array:
    """Returns the weight of every row of the data: of a bootstrap, how often it was drawn.

    Args:
      rows: Some of the rows, with repeats.
      num_rows: Number of rows N of the data.

    Returns:
      f32[N], the sum of the weights of a row's entries, 0 where it has none.
    """
    rows = all_rows(rows)
    return jnp.zeros(num_rows, jnp.float32).at[rows.index].add(rows.weight)
