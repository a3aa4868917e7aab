"""Normalization by the statistics of a batch."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class BatchNorm(nn.Module):
    """Batch normalization; Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2.

    With mu and s2 the mean and the variance of each feature over the real rows of the batch (and
    over all places of an image), n numbers each:

        y    = scale (x - mu) / sqrt(s2 + eps) + bias
        mean = momentum mean + (1 - momentum) mu
        var  = momentum var  + (1 - momentum) n / (n - 1) s2

    Without `train` the running mean and var, in "batch_stats", stand for mu and s2. A batch of
    which no row is real leaves them as they are. Statistics are float32 at least.

    Attributes:
      momentum: Share of the running statistics that stays, in [0, 1), per step; may be traced.
      eps: Added to the variance, > 0, in units of x^2; may be traced.
    """

    momentum: ArrayLike = 0.9
    eps: ArrayLike = 1e-5

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, mask: jax.Array | None = None
    ) -> jax.Array:
        """Maps float[B, ..., F] to the same shape; rows b with mask[b] = 0 are not counted."""
        dtype, features = jnp.promote_types(x.dtype, jnp.float32), x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, features)
        bias = self.param("bias", nn.initializers.zeros, features)
        mean = self.variable("batch_stats", "mean", jnp.zeros, features, dtype)
        var = self.variable("batch_stats", "var", jnp.ones, features, dtype)
        z = _by_feature(x.astype(dtype))
        if train:
            real = jnp.ones(len(x), bool) if mask is None else mask > 0
            # whatever a padded row holds, not even 0 times it shall enter a gradient
            z = z if mask is None else jnp.where(real.reshape(*[1] * (z.ndim - 1), -1), z, 0)
            mu = _mean(z, real)
            d = z - _spread(mu, z)
            s2 = _mean(d**2, real)
            if not self.is_initializing():
                n = real.sum(dtype=dtype) * (z[0].size // z.shape[-1])
                mean.value = _moved(mean.value, mu, self.momentum, n)
                var.value = _moved(var.value, n / jnp.maximum(n - 1, 1) * s2, self.momentum, n)
        else:
            d, s2 = z - _spread(mean.value, z), var.value
        y = d * _spread(scale * jax.lax.rsqrt(s2 + self.eps), z) + _spread(bias, z)
        return _by_feature(y).astype(x.dtype)


def _mean(z, real):
    """Mean of each feature over the places and the real rows of float[F, ..., B]."""
    rows = z.mean(range(1, z.ndim - 1))
    return jnp.where(real[None], rows, 0).sum(1) / jnp.maximum(real.sum(dtype=z.dtype), 1)


def _by_feature(x):
    """float[B, ..., F] to float[F, ..., B] and back; the order in which convolutions compute."""
    return x.transpose(x.ndim - 1, *range(1, x.ndim - 1), 0)


def _spread(v, z):
    """Repeats float[F] for every row of float[F, ..., B], to be repeated for every place.

    The factors keep XLA from making one sum of the two that the gradient takes, first over places
    and then over rows: a CPU adds the numbers of one sum one by one, those of the first side by
    side.
    """
    v = (v / 2).reshape(-1, *[1] * (z.ndim - 1))
    return 2 * jnp.broadcast_to(v, (*v.shape[:-1], z.shape[-1]))


def _moved(old, new, momentum, n):
    return jnp.where(n > 0, momentum * old + (1 - momentum) * new, old)
