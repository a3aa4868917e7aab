"""Convolutional networks, in the form that stays fast inside a compiled loop.

XLA's CPU convolution leaves its fast path inside `scan` and is 15 to 30 times slower there, so a
convolution is written as strided slices and one matrix product, whose `vmap` over members is a
batched product instead of a grouped convolution. Between the layers images are float[B, H, W, C];
within them the channel comes first and the example last, so that every loop runs over neighbours
in memory. XLA cancels the transpositions between one layer and the next.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.modules.dropout import Dropout
from dljax.modules.normalization import BatchNorm
from dljax.modules.primitives import contract, stored


class Conv(nn.Module):
    """A two-dimensional convolution with a bias.

    Attributes:
      features: Output channels F.
      kernel: Height h and width w of the kernel.
      strides: Steps of the kernel downwards and to the right.
      padding: "SAME", zeros around the image and H' = ceil(H / stride); or "VALID", none and
        H' = (H - h) // stride + 1.

    Raises:
      ValueError: If `padding` is another word.
    """

    features: int
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float[B, H, W, C] to float[B, H', W', F]; "kernel" is float[h, w, C, F]."""
        shape = (*self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return _convolve(x, kernel, bias, self.strides, self.padding)


def patches(
    x: jax.Array,
    kernel: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    padding: str = "SAME",
) -> jax.Array:
    """Cuts out what a kernel sees at each place.

    Args:
      x: float[B, H, W, C].
      kernel: Height h and width w.
      strides: As in `Conv`.
      padding: As in `Conv`.

    Returns:
      float[B, H', W', h w C], in the order of a kernel float[h, w, C, F].
    """
    return _to_images(jnp.concatenate(_shifts(_to_rows(x), kernel, strides, padding)))


def max_pool(x: jax.Array) -> jax.Array:
    """Takes the maximum of each 2 x 2 block: float[B, H, W, C] to float[B, H // 2, W // 2, C].

    Among equals the first in reading order gets the gradient.
    """
    return _to_images(stored(_largest(*_quarters(x))))


def avg_pool(x: jax.Array) -> jax.Array:
    """Takes the mean of each 2 x 2 block: float[B, H, W, C] to float[B, H // 2, W // 2, C]."""
    a, b, c, d = _quarters(x)
    return _to_images((a + b + c + d) / 4)


def global_avg_pool(x: jax.Array) -> jax.Array:
    """Takes the mean of each channel: float[B, H, W, C] to float[B, C]."""
    return x.mean(axis=(1, 2))


class CNN(nn.Module):
    """Blocks of convolution, 2 x 2 maximum and rectifier, then one hidden dense layer.

    LeNet's plan (LeCun et al. 1998, "Gradient-based learning applied to document recognition",
    fig. 2) with rectifiers and maxima.

    Attributes:
      num_outputs: Outputs of the last, linear layer.
      channels: Output channels of each block.
      hidden: Units of the hidden dense layer.
      batch_norm: Whether a `BatchNorm` follows each convolution.
      dropout: Rate of the `Dropout` after each block and after the hidden layer, in [0, 1), may be
        traced; `None` leaves it out.
      kernel: Height and width of each convolution's kernel.
    """

    num_outputs: int
    channels: tuple[int, ...] = (8, 16)
    hidden: int = 64
    batch_norm: bool = False
    dropout: ArrayLike | None = None
    kernel: tuple[int, int] = (3, 3)

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        train: bool = False,
        deterministic: bool = True,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Maps images float[B, H, W] or float[B, H, W, C] to float[B, num_outputs]."""
        x = x[..., None] if x.ndim == 3 else x
        for i, features in enumerate(self.channels):
            x = Conv(features, self.kernel, name=f"conv_{i}")(x)
            if self.batch_norm:
                x = BatchNorm(name=f"norm_{i}")(x, train, mask)
            x = nn.relu(max_pool(x))  # the same as in the other order, on a quarter of the numbers
            x = self._dropped(x, deterministic, f"dropout_{i}")
        x = nn.relu(nn.Dense(self.hidden, name="hidden")(x.reshape(x.shape[0], -1)))
        x = self._dropped(x, deterministic, "dropout")
        return nn.Dense(self.num_outputs, name="outputs")(x)

    def _dropped(self, x, deterministic, name):
        return x if self.dropout is None else Dropout(self.dropout, name=name)(x, deterministic)


def _convolve(x, kernel, bias, strides, padding):
    # the one place where the form is chosen, for all backends: im2col. On an accelerator
    # lax.conv_general_dilated may win for a member alone; under vmap it is a grouped convolution
    *size, _, features = kernel.shape
    shifts = _shifts(_to_rows(x), size, strides, padding)
    ones = jnp.ones_like(shifts[0][:1])  # so that the product also adds the bias, and its gradient
    seen = jnp.concatenate([*shifts, ones])
    weights = jnp.concatenate([kernel.reshape(-1, features), bias[None]])
    y = contract(weights, seen.reshape(len(weights), -1), (0, 0))
    return _to_images(y.reshape(features, *seen.shape[1:]))


def _shifts(x, kernel, strides, padding):
    """What each tap of a kernel sees: h w times float[C, H', W', B] of float[C, H, W, B]."""
    if padding not in ("SAME", "VALID"):
        raise ValueError(f'padding must be "SAME" or "VALID", got {padding!r}.')
    (h, w), (down, right) = kernel, strides
    pads = jax.lax.padtype_to_pads(x.shape[1:3], kernel, strides, padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    _, height, width, _ = x.shape
    ends = height - h + 1, width - w + 1
    return [
        x[:, i : i + ends[0] : down, j : j + ends[1] : right] for i in range(h) for j in range(w)
    ]


def _quarters(x):
    """The four corners of each 2 x 2 block, in reading order, float[C, H // 2, W // 2, B] each."""
    x = _to_rows(x)
    c, h, w, b = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(c, h // 2, 2, w // 2, 2, b)
    # split, not index: its transpose is a concatenation instead of a sum of padded arrays
    corners = [q for half in jax.lax.split(x, (1, 1), 2) for q in jax.lax.split(half, (1, 1), 4)]
    return [q.reshape(c, h // 2, w // 2, b) for q in corners]


@jax.custom_jvp
def _largest(a, b, c, d):
    return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))


@_largest.defjvp
def _largest_jvp(corners, tangents):
    y = _largest(*corners)
    found, total = jnp.zeros_like(y, bool), jnp.zeros_like(y)
    for x, t in zip(corners, tangents, strict=True):
        total += jnp.where((x == y) & ~found, t, 0)
        found |= x == y
    return y, total


def _to_rows(x):
    """float[B, H, W, C] to float[C, H, W, B], stored, since it is read from many places."""
    return stored(x.transpose(3, 1, 2, 0))


def _to_images(x):
    """float[C, H, W, B] to float[B, H, W, C]."""
    return x.transpose(3, 1, 2, 0)
