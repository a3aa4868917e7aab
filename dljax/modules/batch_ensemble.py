"""Several networks that share their weight matrices up to factors of rank one."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def random_signs(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """Draws -1 and 1, equally likely, float[*shape]."""
    return jax.random.rademacher(key, shape, dtype)


class BatchEnsembleDense(nn.Module):
    """A dense layer of S members; Wen, Tran & Ba 2020, arXiv:2002.06715, eq. 1 and 5.

        W_s = W * (r_s s_s^T),  Y = (X * R) W * S + b

    with * element by element: rows R and S of a member are its r_s and s_s, its own as is its bias.
    Of m inputs and n outputs these are m n + S (m + 2 n) parameters, of S layers S (m n + n).

    Attributes:
      features: Outputs n.
      num_members: Number of members S, >= 1.
    """

    features: int
    num_members: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float[B, S, m], or float[B, 1, m] where members have one input, to [B, S, n]."""
        m, n, members = x.shape[-1], self.features, self.num_members
        W = self.param("kernel", nn.initializers.lecun_normal(), (m, n))
        R = self.param("r", random_signs, (members, m))
        S = self.param("s", random_signs, (members, n))
        b = self.param("bias", nn.initializers.zeros, (members, n))
        return jnp.einsum("bsm,mn->bsn", x * R[None], W) * S[None] + b[None]


class BatchEnsembleMLP(nn.Module):
    """A multilayer perceptron with rectified hidden layers, S members in one.

    All members see every row of a batch, where Wen, Tran & Ba deal the rows out; so a step
    costs what S networks cost, and what is saved are parameters. The factors begin as random
    signs. `dj.losses.over_members` makes a loss of it; outputs transposed to [S, B, C] are those of
    an ensemble, for `dj.predict`. Do not draw its weights by `dj.flat_lecun`, which takes the
    factors for kernels.

    Attributes:
      num_outputs: Outputs C of the last, linear layer.
      features: Units of each hidden layer.
      num_members: Number of members S, >= 1.
    """

    num_outputs: int
    features: tuple[int, ...] = ()
    num_members: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float[B, ...], flattened to float[B, m], to float[B, S, C]."""
        x = x.reshape(x.shape[0], 1, -1)
        for i, size in enumerate(self.features):
            x = nn.relu(BatchEnsembleDense(size, self.num_members, name=f"hidden_{i}")(x))
        return BatchEnsembleDense(self.num_outputs, self.num_members, name="outputs")(x)
