"""Kronecker factors of the Fisher matrix, layer by layer, from what linen modules compute."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dljax.modules import Conv, patches
from dljax.types import PyTree


class Factors(NamedTuple):
    """Kronecker factors of a layer's Fisher block, E[a a^T x g g^T], which is taken for A x G.

    Attributes:
      A: E[a a^T], float[D + 1, D + 1]: a the inputs of the layer and a last 1 for the bias
        (float[D, D] without a bias); summed over the places of a convolution.
      G: E[g g^T], float[F, F]: g the derivative of log p(y | f) with respect to the outputs of the
        layer; averaged over the places of a convolution.
    """

    A: jax.Array
    G: jax.Array


def kronecker_factors(
    outputs_of: Callable[[PyTree], jax.Array],
    params: PyTree,
    share: jax.Array,
    cotangents: Callable[[jax.Array], jax.Array],
) -> dict[str, Factors]:
    """Computes the factors of every `flax.linen.Dense` and `dj.modules.Conv` of a model, by path.

    Martens & Grosse 2015, arXiv:1503.05671, section 3, for dense layers; Grosse & Martens 2016,
    arXiv:1602.01407, section 3, for convolutions.

    Args:
      outputs_of: Outputs of all rows, float[B, ...], at parameters.
      params: The parameters.
      share: Share w_b of each row in the batch, float[B].
      cotangents: `cotangents(f) -> u`, float[S, B, ...], with sum_s u_s u_s^T of each row the
        Fisher matrix of its outputs (on average, if u is random).

    Raises:
      ValueError: If a layer is called more than once.
    """

    def nudged(nudges):
        """Outputs, where `nudges` are added to those of the layers; and what the layers see."""
        seen = {}

        def intercept(call, args, kwargs, context):
            y, layer = call(*args, **kwargs), context.module
            if not isinstance(layer, nn.Dense | Conv) or context.method_name != "__call__":
                return y
            path = "/".join(layer.path)
            if path in seen:
                raise ValueError(f"kfac must see each layer called once, got {path!r} twice.")
            x = patches(args[0], layer.kernel) if isinstance(layer, Conv) else args[0]
            seen[path] = (x, y)
            return y + nudges[path] if path in nudges else y

        with nn.intercept_methods(intercept):
            return outputs_of(params), seen

    _, shapes = jax.eval_shape(nudged, {})
    zeros = {path: jnp.zeros(y.shape, y.dtype) for path, (_, y) in shapes.items()}
    f, pull, seen = jax.vjp(nudged, zeros, has_aux=True)
    gs = jax.vmap(lambda u: pull(u)[0])(cotangents(f))  # {path: float[S, B, ..., F]}
    return {
        path: Factors(_input_factor(x, share, _has_bias(params, path)), _output_factor(g, share))
        for (path, g), (x, _) in zip(gs.items(), (seen[path] for path in gs), strict=True)
    }


def _input_factor(x: jax.Array, share: jax.Array, has_bias: bool) -> jax.Array:
    a = x.reshape(x.shape[0], -1, x.shape[-1])  # [B, places, D]
    if has_bias:
        a = jnp.concatenate([a, jnp.ones_like(a[..., :1])], axis=-1)
    total = share.sum()
    share = share / jnp.where(total > 0, total, 1)
    return jnp.einsum("b,btd,bte->de", share, a, a)


def _output_factor(g: jax.Array, share: jax.Array) -> jax.Array:
    g = g.reshape(*g.shape[:2], -1, g.shape[-1])  # [S, B, places, F]
    return jnp.einsum("b,sbtf,sbte->fe", share, g, g) / g.shape[2]


def _has_bias(params: Any, path: str) -> bool:
    for name in path.split("/") if path else ():
        params = params[name]
    return "bias" in params
