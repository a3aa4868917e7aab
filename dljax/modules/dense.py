"""Fully connected networks."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
from jax.typing import ArrayLike

from dljax.modules.dropout import Dropout


class MLP(nn.Module):
    """A multilayer perceptron with rectified hidden layers.

    Attributes:
      num_outputs: Outputs of the last, linear layer.
      features: Units of each hidden layer; none makes a linear model.
      dropout: Rate of the `Dropout` after each hidden layer, in [0, 1), may be traced; `None`
        leaves it out.
      input_dropout: That of the inputs.
      kernel_init: Initializer of all kernels, `init(key, shape, dtype)`.
    """

    num_outputs: int
    features: tuple[int, ...] = ()
    dropout: ArrayLike | None = None
    input_dropout: ArrayLike | None = None
    kernel_init: Callable[..., jax.Array] = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool = True) -> jax.Array:
        """Maps float[B, ...], flattened to float[B, D], to float[B, num_outputs]."""
        x = x.reshape(x.shape[0], -1)
        if self.input_dropout is not None:
            x = Dropout(self.input_dropout, name="dropout_inputs")(x, deterministic)
        dense = partial(nn.Dense, kernel_init=self.kernel_init)
        for i, size in enumerate(self.features):
            x = nn.relu(dense(size, name=f"hidden_{i}")(x))
            if self.dropout is not None:
                x = Dropout(self.dropout, name=f"dropout_{i}")(x, deterministic)
        return dense(self.num_outputs, name="outputs")(x)
