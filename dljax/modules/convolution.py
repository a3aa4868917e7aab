"""Convolutional networks, in the form that stays fast inside a compiled loop.

XLA's CPU convolution leaves its fast path inside `scan` and is 15 to 30 times slower there, so a
convolution is written as strided slices and one matrix product, whose `vmap` over members is a
batched product instead of a grouped convolution.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Conv(nn.Module):
    """A two-dimensional convolution of stride 1 with a bias; zeros around the image.

    Attributes:
      features: Output channels F.
      kernel: Height and width of the kernel, both odd.
    """

    features: int
    kernel: tuple[int, int] = (3, 3)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float[B, H, W, C] to float[B, H, W, F]; "kernel" is float[h, w, C, F]."""
        shape = (*self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        y = patches(x, self.kernel) @ kernel.reshape(-1, self.features)
        return y + bias.reshape(1, 1, 1, -1)


def patches(x: jax.Array, kernel: tuple[int, int]) -> jax.Array:
    """Cuts out what a kernel sees at each place, zeros around the image.

    Args:
      x: float[B, H, W, C].
      kernel: Height h and width w, both odd.

    Returns:
      float[B, H, W, h w C], in the order of a kernel float[h, w, C, F].
    """
    h, w = kernel
    *_, height, width, _ = x.shape
    x = jnp.pad(x, ((0, 0), (h // 2, h // 2), (w // 2, w // 2), (0, 0)))
    seen = [x[:, i : i + height, j : j + width] for i in range(h) for j in range(w)]
    return jnp.concatenate(seen, axis=-1)


def max_pool(x: jax.Array) -> jax.Array:
    """Takes the maximum of each 2 x 2 block: float[B, H, W, C] to float[B, H // 2, W // 2, C]."""
    b, h, w, c = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


class CNN(nn.Module):
    """Blocks of convolution, rectifier and 2 x 2 maximum, then one hidden dense layer.

    LeNet's plan (LeCun et al. 1998, "Gradient-based learning applied to document recognition",
    fig. 2) with rectifiers and maxima.

    Attributes:
      num_outputs: Outputs of the last, linear layer.
      channels: Output channels of each block.
      hidden: Units of the hidden dense layer.
    """

    num_outputs: int
    channels: tuple[int, ...] = (8, 16)
    hidden: int = 64

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images float[B, H, W] or float[B, H, W, C] to float[B, num_outputs]."""
        x = x[..., None] if x.ndim == 3 else x
        for i, features in enumerate(self.channels):
            x = max_pool(nn.relu(Conv(features, name=f"conv_{i}")(x)))
        x = nn.relu(nn.Dense(self.hidden, name="hidden")(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.num_outputs, name="outputs")(x)
