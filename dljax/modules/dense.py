"""Fully connected networks."""

import flax.linen as nn
import jax


class MLP(nn.Module):
    """A multilayer perceptron with rectified hidden layers.

    Attributes:
      num_outputs: Outputs of the last, linear layer.
      features: Units of each hidden layer; none makes a linear model.
    """

    num_outputs: int
    features: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float[B, ...], flattened to float[B, D], to float[B, num_outputs]."""
        x = x.reshape(x.shape[0], -1)
        for i, size in enumerate(self.features):
            x = nn.relu(nn.Dense(size, name=f"hidden_{i}")(x))
        return nn.Dense(self.num_outputs, name="outputs")(x)
