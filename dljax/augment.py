"""Random changes of training rows, drawn for each member, step and row from its own key.

Images are moved and mirrored by index, so that a member never keeps a changed copy of the data.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dljax.errors import require, require_whole
from dljax.keys import stream
from dljax.types import Batch


def shift(key: jax.Array, x: jax.Array, pixels: int) -> jax.Array:
    """Moves each image by up to `pixels` up or down and left or right, zeros from outside.

    Padding by zeros and cutting out at random, as He et al. 2016, arXiv:1512.03385, section 4.2.

    Args:
      key: key[]; every row draws its own two whole numbers in [-pixels, pixels].
      x: Images [B, H, W, ...].
      pixels: Largest move, in [0, min(H, W)].

    Returns:
      Images like `x`.

    Raises:
      ValueError: If `pixels` is out of range.
    """
    size, height, width = x.shape[:3]
    require_whole("pixels", pixels, f"[0, {min(height, width)}]")
    moves = jax.random.randint(key, (2, size, 1), -pixels, pixels + 1)
    rows, columns = jnp.arange(height)[None] + moves[0], jnp.arange(width)[None] + moves[1]
    taken = x.at[jnp.arange(size)[:, None, None], rows[:, :, None], columns[:, None, :]]
    seen = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None
    ]
    return jnp.where(seen.reshape(seen.shape + (1,) * (x.ndim - 3)), taken.get(mode="clip"), 0)


def mirror(key: jax.Array, x: jax.Array, rate: float = 0.5) -> jax.Array:
    """Swaps left and right of each image with probability `rate`.

    Args:
      key: key[]; every row draws its own.
      x: Images [B, H, W, ...].
      rate: In [0, 1]; may be traced.
    """
    require("rate", rate, "[0, 1]")
    swapped = jax.random.bernoulli(key, rate, (x.shape[0],) + (1,) * (x.ndim - 1))
    return jnp.where(swapped, x[:, :, ::-1], x)


def noise(key: jax.Array, x: jax.Array, scale: float) -> jax.Array:
    """Adds independent normal numbers of standard deviation `scale`, >= 0, to float[B, ...]."""
    require("scale", scale, "[0, inf)")
    return x + jnp.asarray(scale, x.dtype) * jax.random.normal(key, x.shape, x.dtype)


def in_turn(*changes: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable:
    """Makes `augment(key, batch) -> batch`, which applies changes of `batch["x"]` one by one.

    Args:
      *changes: Functions `change(key, x) -> x`, such as `partial(shift, pixels=2)`; each draws
        from a stream of its own, so that one more never changes the others' draws.
    """

    def augment(key: jax.Array, batch: Batch) -> Batch:
        x = batch["x"]
        for number, change in enumerate(changes):
            x = change(stream(key, "change", number), x)
        return {**batch, "x": x}

    return augment
