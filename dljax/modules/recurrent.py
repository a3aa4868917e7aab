"""Recurrent networks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.modules.dropout import Dropout
from dljax.modules.primitives import contract


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000).

    With s the logistic function, * by elements, h_0 = c_0 = 0:

        [i f g o] = x_t W + h_{t-1} U + b
        c_t       = s(f) * c_{t-1} + s(i) * tanh(g)
        h_t       = s(o) * tanh(c_t)

    The bias of the forget gate starts at 1 (Jozefowicz et al. 2015, ICML). All derivatives exist,
    forward and in reverse.

    Attributes:
      features: Units H.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float[B, T, D] to all h_t, float[B, T, H], of which the last is `[:, -1]`.

        Parameters are "kernel" W, float[D, 4 H], "recurrent" U, float[H, 4 H], and "bias" b,
        float[4 H], with the gates in the order of the formula.
        """
        size, normal = self.features, nn.initializers.lecun_normal()
        W = self.param("kernel", normal, (x.shape[-1], 4 * size))
        U = self.param("recurrent", normal, (size, 4 * size))
        b = self.param("bias", _forget_gate_at_1, (4 * size,))
        V = jnp.concatenate([b[None], U])  # a column of ones adds the bias and sums its gradient

        def step(state, x):
            h, c = state
            seen = jnp.concatenate([jnp.ones_like(h[:, :1]), h], axis=1)
            h, c = _gated(contract(x, W, (1, 0)) + contract(seen, V, (1, 0)), c)
            return (h, c), h

        zeros = jnp.zeros((x.shape[0], size), jnp.result_type(x, W))
        return jax.lax.scan(step, (zeros, zeros), x.swapaxes(0, 1))[1].swapaxes(0, 1)


class LSTMClassifier(nn.Module):
    """An `LSTM` whose last state is read by a linear layer.

    Attributes:
      num_outputs: Outputs of the last, linear layer.
      hidden: Units of the LSTM.
      dropout: Rate of the `Dropout` of the last state, in [0, 1), may be traced; `None` leaves it
        out.
    """

    num_outputs: int
    hidden: int = 64
    dropout: ArrayLike | None = None

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool = True) -> jax.Array:
        """Maps sequences float[B, T, D] to float[B, num_outputs]."""
        h = LSTM(self.hidden, name="lstm")(x)[:, -1]
        if self.dropout is not None:
            h = Dropout(self.dropout, name="dropout")(h, deterministic)
        return nn.Dense(self.num_outputs, name="outputs")(h)


@jax.custom_jvp
def _gated(a, c):
    """New state and memory (h, c) from the sums of the gates, float[B, 4 H], and the old memory."""
    h, c, _ = _gates(a, c)
    return h, c


@_gated.defjvp
def _gated_jvp(at, tangents):
    # by hand, so that a step keeps the six factors below for the way back and nothing else
    (a, c0), (da, dc0) = at, tangents
    h, c, (i, f, g, o, m) = _gates(a, c0)
    di, df, dg, do = jax.lax.split(da, [c.shape[1]] * 4, axis=1)
    dc = f * dc0 + c0 * f * (1 - f) * df + g * i * (1 - i) * di + i * (1 - g**2) * dg
    return (h, c), (m * o * (1 - o) * do + o * (1 - m**2) * dc, dc)


def _gates(a, c):
    i, f, g, o = jnp.split(a, 4, axis=1)
    i, f, o = (jnp.tanh(z / 2) / 2 + 0.5 for z in (i, f, o))  # the logistic function: one tanh
    g = jnp.tanh(g)
    c = f * c + i * g
    m = jnp.tanh(c)
    return o * m, c, (i, f, g, o, m)


def _forget_gate_at_1(key, shape, dtype=jnp.float32):
    return (jnp.arange(shape[0]) // (shape[0] // 4) == 1).astype(dtype)
