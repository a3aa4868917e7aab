"""Sums whose bits do not depend on how many members run side by side."""

import jax
import jax.numpy as jnp


def sum_by_halves(x: jax.Array) -> jax.Array:
    """Adds up the rows of float[N, ...], the second half to the first until one row is left.

    The order of the additions depends on N alone; XLA's own sum orders them by the width of a
    tile. The error is that of log2 N additions.
    """
    x = jnp.pad(x, [(0, (1 << (len(x) - 1).bit_length()) - len(x)), *[(0, 0)] * (x.ndim - 1)])
    while len(x) > 1:
        half = len(x) // 2
        # without the barrier the halves of halves would be written out as one expression
        x = jax.lax.optimization_barrier(x[:half] + x[half:])
    return x[0]
