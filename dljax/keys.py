"""Named random streams: what is drawn depends on a seed and a name, on nothing else."""

import zlib

import jax
from jax.typing import ArrayLike


def stream(key: jax.Array, name: str, *ids: ArrayLike) -> jax.Array:
    """Derives the random stream `name` of `key`, and within it the stream of each id in turn.

    Adding a stream never changes another one, and the order of the calls does not matter:

        stream(key, name, i, j) = fold_in(fold_in(fold_in(key, crc32(name)), i), j)

    Args:
      key: A key of `jax.random.key`, key[].
      name: What is drawn; its CRC-32 is the same on every machine and in every process.
      *ids: Numbers in [0, 2**32), such as a seed, an epoch or a step; int[], may be traced.

    Returns:
      The derived key, key[].
    """
    key = jax.random.fold_in(key, zlib.crc32(name.encode()))
    for i in ids:
        key = jax.random.fold_in(key, i)
    return key
