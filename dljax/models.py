"""A model is two pure functions; adapters make it from flax modules, linen or nnx."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dljax.keys import stream
from dljax.types import PyTree, Variables


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


def linen_model(module: nn.Module) -> Model:
    """Adapts a linen module.

    Its `__call__(x)` may also take `train` (bool), `deterministic` (bool, whether dropout is off)
    and `mask` (f32[B] or `None`); what it takes by name, it is given. Collections other than
    "params" move if and only if `train`.

    Args:
      module: A `flax.linen.Module`.
    """

    def init(key, x):
        return {"params": {}, **module.init(key, x, **_taken(module, None, False, None))}

    def apply(variables, x, *, key=None, train=False, mask=None):
        rngs = {} if key is None else {"dropout": key}
        moving = [name for name in variables if name != "params"] if train else []
        outputs, moved = module.apply(
            variables, x, rngs=rngs, mutable=moving, **_taken(module, key, train, mask)
        )
        return outputs, {**variables, **moved}

    return Model(init, apply)


def nnx_model(build: Callable[[nnx.Rngs], nnx.Module]) -> Model:
    """Adapts an nnx module: state in, state out, by `nnx.split` and `nnx.merge`.

    Variables are "params", every `nnx.Param` as a plain tree of arrays, and "state", every other
    array but those of random streams. Each stream starts anew at every call, from the key and its
    own place in the module (without a key from a fixed one), so that masks depend on `key` alone.

    Args:
      build: `build(rngs) -> module`, a constructor that draws from a `flax.nnx.Rngs`. Attributes
        `deterministic` and `use_running_average` of all its parts are set as `Model.apply` says;
        its own `__call__(x)` is given `train`, `deterministic` and `mask` where it takes them by
        name, as in `linen_model`.

    Raises:
      ValueError: If a jax array is a bare attribute of a module, which nnx cannot trace.
    """

    def structure():
        module = build(nnx.Rngs(0))
        graph, params, streams, state = _split(module)
        _refuse_bare_arrays(module, (params, streams, state))
        return graph, streams

    graph, streams = jax.eval_shape(structure)  # shapes alone: no number is computed

    def init(key, x):
        _, params, _, state = _split(build(nnx.Rngs(key)))
        return jax.tree.map(jnp.asarray, {"params": params, "state": state})

    def apply(variables, x, *, key=None, train=False, mask=None):
        started = _start_streams(streams, jax.random.key(0) if key is None else key)
        module = nnx.merge(graph, variables["params"], started, variables["state"])
        module.set_attributes(
            deterministic=key is None, use_running_average=not train, raise_if_not_found=False
        )
        outputs = module(x, **_taken(module, key, train, mask))
        *_, moved = _split(module)
        return outputs, {**variables, "state": moved if train else variables["state"]}

    return Model(init, apply)


def flat_lecun(model: Model) -> Model:
    """Draws all weights of a model at once, as LeCun's normal numbers.

    Every parameter of two or more dimensions is drawn from a normal distribution truncated at two
    standard deviations, of variance 1 / fan_in (LeCun et al. 1998, "Efficient backprop", eq. 16),
    where fan_in is the product of all dimensions but the last; the others keep the model's own
    values. That is linen's default for dense and convolutional kernels. One draw instead of one a
    layer halves what a small member costs to compile.

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


def _taken(module: nn.Module | nnx.Module, key: Any, train: bool, mask: Any) -> dict[str, Any]:
    """Picks, of what `Model.apply` is told, the arguments that a module's call takes by name."""
    offered = {"train": train, "deterministic": key is None, "mask": mask}
    parameters = inspect.signature(type(module).__call__).parameters
    return {name: value for name, value in offered.items() if name in parameters}


def _split(module: nnx.Module) -> tuple[nnx.GraphDef, PyTree, PyTree, PyTree]:
    """Takes a module apart: its graph, parameters, random streams and other state."""
    graph, params, streams, _, state = nnx.split(
        module, nnx.Param, nnx.RngState, nnx.Intermediate, ...
    )
    return graph, *map(nnx.to_pure_dict, (params, streams, state))


def _start_streams(shapes: PyTree, key: jax.Array) -> PyTree:
    """Makes the state of a module's random streams: a key each by its place, and counts of 0."""

    def start(path, s):
        if not jnp.issubdtype(s.dtype, jax.dtypes.prng_key):
            return jnp.zeros(s.shape, s.dtype)
        place = jax.tree_util.keystr(path, simple=True, separator="/")
        return jax.random.split(stream(key, place), s.shape)

    return jax.tree_util.tree_map_with_path(start, shapes)


def _refuse_bare_arrays(module: nnx.Module, leaves: PyTree) -> None:
    # under a trace nnx takes a bare jax array for a part of the graph, and the trace would leak
    kept = {id(leaf) for leaf in jax.tree.leaves(leaves)}
    for path, part in nnx.iter_modules(module):
        for name, value in vars(part).items():
            if isinstance(value, jax.core.Tracer) and id(value) not in kept:
                where = ".".join(map(str, (*path, name)))
                raise ValueError(
                    "arrays of an nnx module must be variables or wrapped in nnx.data, "
                    f"got the bare array {where!r}."
                )
