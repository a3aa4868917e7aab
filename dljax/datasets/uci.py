"""The 20 splits on which MC-dropout, deep ensembles and their successors were published."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dljax.errors import require, require_whole
from dljax.splits import Rows, Split


def published_orders(num_rows: int, num_splits: int = 20) -> np.ndarray:
    """Returns the random orders of the rows that the published splits cut.

    They come from numpy's legacy generator with seed 1, one `choice` of all rows a split
    (Hernandez-Lobato & Adams 2015, arXiv:1502.05336, section 5.1, and its code); the first
    round(0.9 N) rows of an order train, the others test.

    Args:
      num_rows: Number of rows N of the data set, >= 2.
      num_splits: Number of splits S; a smaller one has the first ones.

    Returns:
      int32[S, N].
    """
    require_whole("num_rows", num_rows, "[2, inf)")
    require_whole("num_splits", num_splits, "[1, inf)")
    draw = np.random.RandomState(1)
    orders = [draw.choice(num_rows, num_rows, replace=False) for _ in range(num_splits)]
    return np.stack(orders).astype(np.int32)


def published_split(key: jax.Array, rows: int, num_folds: int, fold: ArrayLike) -> Split:
    """Holds out the tenth of the rows that a published split tests; for `dj.cross_validate`.

    Args:
      key: Not used: the splits are fixed.
      rows: Number of rows N of the data set, not `Rows`.
      num_folds: Number of splits S, 20 in the papers; they overlap.
      fold: Which split, in [0, S); int32[], may be traced.
    """
    require("fold", fold, f"[0, {num_folds})")
    order = jnp.asarray(published_orders(rows, num_folds))[fold]
    train = round(0.9 * rows)
    return Split(_table(order[:train]), _table(order[train:]))


def first_rows(
    key: jax.Array, rows: Rows, num_folds: int, fold: ArrayLike, *, share: float = 0.8
) -> Split:
    """Trains on the first floor(share M) entries and holds out the others; for `dj.tuned`.

    The inner split of the code that Gal & Ghahramani's tables were made with in 2018.

    Args:
      key: Not used: the rows come in a random order already.
      rows: Training rows of a published split, M entries, all real.
      num_folds: 1.
      fold: 0.
      share: Of the entries that train, in (0, 1).
    """
    require("share", share, "(0, 1)")
    train = int(share * len(rows.index))
    return Split(_table(rows.index[:train]), _table(rows.index[train:]))


def _table(index: jax.Array) -> Rows:
    return Rows(index, jnp.int32(len(index)), jnp.ones(len(index), jnp.float32))
