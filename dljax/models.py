"""A model is two pure functions; adapters make it from flax modules, linen or nnx."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dljax.keys import stream
from dljax.types import Variables


class Model(NamedTuple):
    """A parametrized function.

    Attributes:
      init: `init(key, x) -> variables`: a dict with the trained parameters under "params", and
        whatever else the model keeps under other names. `x` shows the shapes, [B, ...].
      apply: `apply(variables, x, *, key=None, train=False, mask=None) -> (outputs, variables)`:
        dropout is on if and only if there is a `key`; statistics move if and only if `train`;
        `mask`, f32[B], is 0 on rows that must not enter them.
    """

    init: Callable[..., Variables]
    apply: Callable[..., tuple[Any, Variables]]


def linen_model(module) -> Model:
    """Adapts a linen module.

    Its `__call__(x)` may also take `train` (bool), `deterministic` (bool) and `mask` (f32[B]);
    what it takes by name, it is given. Collections other than "params" move if and only if `train`.

    Args:
      module: A `flax.linen.Module`.
    """
    takes = inspect.signature(type(module).__call__).parameters

    def arguments(key, train, mask):
        offered = {"train": train, "deterministic": key is None, "mask": mask}
        return {name: value for name, value in offered.items() if name in takes}

    def init(key, x):
        return dict(module.init(key, x, **arguments(None, False, None)))

    def apply(variables, x, *, key=None, train=False, mask=None):
        rngs = {} if key is None else {"dropout": key}
        moving = [name for name in variables if name != "params"] if train else []
        outputs, moved = module.apply(
            variables, x, rngs=rngs, mutable=moving, **arguments(key, train, mask)
        )
        return outputs, {**variables, **moved}

    return Model(init, apply)


def nnx_model(build: Callable[..., Any]) -> Model:
    """Adapts an nnx module: state in, state out, by `nnx.split` and `nnx.merge`.

    Args:
      build: `build(rngs) -> module`, a constructor that draws from a `flax.nnx.Rngs`. The
        module is called as `module(x)`; its modules' own `deterministic` and
        `use_running_average` are set as `Model.apply` says. nnx has no mask: do not give a module
        that keeps statistics a last batch that is only partly filled (`remainder="drop"`).
    """
    from flax import nnx

    def split(module):
        return nnx.split(module, nnx.Param, nnx.RngState, ...)

    def graph_and_streams():  # the structure, without computing any number
        graph = None

        def shapes():
            nonlocal graph
            graph, _, streams, _ = split(build(nnx.Rngs(0)))
            return streams

        return jax.eval_shape(shapes), graph

    streams, graph = graph_and_streams()

    def init(key, x):
        _, params, _, rest = split(build(nnx.Rngs(key)))
        return {"params": nnx.to_pure_dict(params), "state": nnx.to_pure_dict(rest)}

    def apply(variables, x, *, key=None, train=False, mask=None):
        key_or_any = jax.random.key(0) if key is None else key
        seeded = jax.tree_util.tree_map_with_path(
            lambda path, s: stream(key_or_any, jax.tree_util.keystr(path))
            if jnp.issubdtype(s.dtype, jax.dtypes.prng_key)
            else jnp.zeros(s.shape, s.dtype),
            streams,
        )
        abstract = jax.eval_shape(lambda: split(build(nnx.Rngs(0)))[1::2])
        params, rest = (nnx.replace_by_pure_dict(a, v) or a for a, v in zip(
            abstract, (variables["params"], variables["state"]), strict=True))  # fmt: skip
        module = nnx.merge(graph, params, seeded, rest)
        module.set_attributes(
            deterministic=key is None, use_running_average=not train, raise_if_not_found=False
        )
        outputs = module(x)
        moved = nnx.to_pure_dict(split(module)[3]) if train else variables["state"]
        return outputs, {**variables, "state": moved}

    return Model(init, apply)


def flat_lecun(model: Model) -> Model:
    """Draws all weights of a model at once, as LeCun's normal numbers.

    Every parameter of two or more dimensions is drawn from a normal distribution truncated at two
    standard deviations, of variance 1 / fan_in (LeCun et al. 1998, "Efficient backprop", eq. 16),
    where fan_in is the product of all dimensions but the last; the others keep the model's own values. That
    is linen's default for dense and convolutional kernels. One draw instead of one a layer halves
    what a small member costs to compile.

    Args:
      model: Any model; of its `init` only shapes and the parameters of fewer dimensions are used.
    """

    def init(key, x):
        variables = model.init(key, x)
        leaves, tree = jax.tree.flatten(variables["params"])
        sizes = [p.size if p.ndim >= 2 else 0 for p in leaves]
        # 0.8796...: standard deviation of the standard normal truncated at 2
        z = jax.random.truncated_normal(stream(key, "weights"), -2, 2, (sum(sizes),)) / 0.87962566
        pieces = jnp.split(z, np.cumsum(sizes[:-1])) if leaves else []
        drawn = [
            (piece.reshape(p.shape) / math.sqrt(p.size // p.shape[-1])).astype(p.dtype)
            if p.ndim >= 2
            else p
            for p, piece in zip(leaves, pieces, strict=True)
        ]
        return {**variables, "params": tree.unflatten(drawn)}

    return Model(init, model.apply)
