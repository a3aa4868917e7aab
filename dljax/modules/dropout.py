"""Dropout whose masks cost a tenth of a small training step, where threefry's cost a half."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.errors import require


def dropout_mask(key: jax.Array, rate: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """Draws which numbers to keep, each with probability 1 - rate.

    Number i, counted in C order, is kept if u_i < 1 - rate, where u_i are the upper 24 bits of
    `hash_words`. A float32 at most 1 less a float32 is a multiple of 2^-24, so that no rate is
    rounded further than float32 does. The mask depends on the key alone, never on what is batched
    beside it.

    Args:
      key: Where the mask comes from, key[]; one key, one mask.
      rate: Probability of dropping a number, in [0, 1); float[], may be traced. Rates above
        1 - 2^-24 count as that.
      shape: Shape of the mask, of at most 2^32 numbers.

    Returns:
      bool[*shape], true where a number is kept.

    Raises:
      ValueError: If a rate that is not traced is outside [0, 1).
    """
    u = hash_words(key, shape) >> 8
    return u < (_keep(rate) * 2.0**24).astype(jnp.uint32)


def hash_words(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Computes a word of 32 bits for each position by a hash of its number and a key.

    Two words k of threefry stand for the key. Position i goes through the permutation "lowbias32"
    of C. Wellons (github.com/skeeto/hash-prospector, README, "Two round functions"), which flips
    each bit of x with probability 1/2 where a bit of i flips, but for 0.2 %; k_1 comes in between
    its rounds, so that words of two keys are no permutations of each other:

        x = i ^ k_0
        x = (x ^ x >> 16) * 7feb352d ^ k_1
        x = (x ^ x >> 15) * 846ca68b
        x =  x ^ x >> 16

    Not for cryptography, and not for integrals: for masks.

    Args:
      key: key[].
      shape: Shape of the words, of at most 2^32 positions.

    Returns:
      uint32[*shape].
    """
    k = jax.random.bits(key, (2, *[1] * len(shape)), jnp.uint32)
    x = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape) ^ k[0]
    x = (x ^ x >> 16) * jnp.uint32(0x7FEB352D) ^ k[1]
    x = (x ^ x >> 15) * jnp.uint32(0x846CA68B)
    return x ^ x >> 16


class Dropout(nn.Module):
    """Sets numbers to 0 at random and scales the others up, so that the mean stays.

    y = x / (1 - rate) where `dropout_mask` keeps x, and 0 elsewhere (Srivastava et al. 2014, JMLR
    15, section 10, with the scale at training time). The key is `make_rng("dropout")`: each layer
    has its own by its name. There is no derivative with respect to the rate.

    Attributes:
      rate: Probability of dropping a number, in [0, 1); may be traced, so that a study may vary it.
    """

    rate: ArrayLike

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """Maps float[...] to float[...]; to itself if `deterministic`."""
        if deterministic:
            return x
        mask = dropout_mask(self.make_rng("dropout"), self.rate, x.shape)
        keep = _keep(self.rate).astype(jnp.promote_types(x.dtype, jnp.float32))
        return jnp.where(mask, x * (1 / keep).astype(x.dtype), 0)


def _keep(rate: ArrayLike) -> jax.Array:
    """1 - rate, float32[], a multiple of 2^-24 and not 0."""
    require("the dropout rate", rate, "[0, 1)")
    keep = jnp.maximum(1 - jnp.asarray(rate, jnp.float32), 2.0**-24)
    return jax.lax.stop_gradient(keep)
