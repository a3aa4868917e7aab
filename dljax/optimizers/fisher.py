"""Approximations of the natural gradient that scale: a diagonal Fisher matrix, and K-FAC."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.linalg import CHOLESKY_FLOPS, solve_positive
from dljax.optimizers.leafwise import checked_decay, checked_learning_rate, one_minus_power
from dljax.optimizers.second_order import needed, whole_tree
from dljax.optimizers.states import CostState, more, none_yet
from dljax.types import PyTree


class Averaged(NamedTuple):
    """State of `diagonal_fisher` and `kfac`, inside a `CostState`.

    Attributes:
      count: Updates applied so far, int32[].
      F: Decayed sum of what was measured of the Fisher matrix, float32 at least.
    """

    count: jax.Array
    F: Any


def diagonal_fisher(
    learning_rate: optax.ScalarOrSchedule,
    *,
    decay: ArrayLike = 0.95,
    damping: ArrayLike = 1e-3,
    exact: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """The natural gradient with the diagonal of the Fisher matrix alone; Martens 2020, JMLR 21.

        F = decay F + (1 - decay) diag(Fisher)
        u = -learning_rate g / (F / (1 - decay^t) + damping)

    The labels in the Fisher matrix are the model's own: squares of the gradients of the data's
    labels, as in Adam, are another matrix, the "empirical Fisher".

    Args:
      learning_rate: Step size, >= 0, dimensionless; a schedule sees 0 first.
      decay: Decay of `F`, in [0, 1), per step.
      damping: Added to every entry, > 0.
      exact: Whether to sum over all outputs, or to draw one direction in their space.

    The extra argument `fisher_diagonal_fn(exact)` is needed, which takes each row without dropout
    and without moving statistics. It costs 1/3 + 2/3 S gradients, S the outputs if `exact`, else 1.
    """
    checked_learning_rate(learning_rate)
    decay = checked_decay("decay", decay)
    require("damping", damping, "(0, inf)")

    def init_fn(params):
        zeros = jax.tree.map(lambda p: jnp.zeros_like(_wide(p)), params)
        return _start(zeros, "gradients", "backwards")

    def update_fn(grads, state, params=None, **extra_args):
        whole_tree("diagonal_fisher", grads, extra_args)
        measured, S = needed("diagonal_fisher", "fisher_diagonal_fn", extra_args)(exact)
        corrected, state = _averaged(state, measured, decay, S)
        rate = learning_rate(state.inner.count - 1) if callable(learning_rate) else learning_rate
        u = lambda g, F: jnp.asarray(-rate * _wide(g) / (F + damping), g.dtype)  # noqa: E731
        return jax.tree.map(u, grads, corrected), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def kfac(
    learning_rate: optax.ScalarOrSchedule,
    *,
    decay: ArrayLike = 0.95,
    damping: ArrayLike = 1e-3,
    max_kl: ArrayLike = 1e-3,
    exact: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """K-FAC for dense and convolutional layers; Martens & Grosse 2015, arXiv:1503.05671.

    For each layer with weights W, whose last row is the bias, and factors A and G of its block of
    the Fisher matrix (section 3 there; Grosse & Martens 2016, arXiv:1602.01407, for convolutions):

        A = decay A + (1 - decay) E[a a^T],   G = decay G + (1 - decay) E[g g^T]
        U = -learning_rate (A + pi sqrt(damping) I)^-1 dl/dW (G + sqrt(damping) / pi I)^-1
        pi^2 = (tr A / dim A) / (tr G / dim G)

    with A and G over 1 - decay^t, and the factored damping of section 6.3. All U together are
    shrunk to sqrt(max_kl / K) U where the change of the model's distribution that they promise,
    K = 1/2 sum tr(U^T A U G), is more than `max_kl` (after Ba, Grosse & Martens 2017, ICLR). The
    momentum of section 7 is left to `optax.chain`.

    Args:
      learning_rate: Step size, >= 0, dimensionless; a schedule sees 0 first.
      decay: Decay of A and G, in [0, 1), per step.
      damping: In units of the Fisher matrix, > 0.
      max_kl: Largest Kullback-Leibler divergence of a step, > 0, in nats; `jnp.inf` for none.
      exact: Whether to sum over all outputs, or to draw one direction in their space.

    Every parameter must be the "kernel" or "bias" of a `flax.linen.Dense` or a `dj.modules.Conv`
    that the model calls once; `optax.partition` gives others to another optimizer. The extra
    argument `kronecker_fn(exact)` is needed. It costs
    1/3 + 2/3 S gradients, S the number of outputs if `exact`, else 1.

    Raises:
      ValueError: If there is another parameter, with its path.
    """
    checked_learning_rate(learning_rate)
    decay = checked_decay("decay", decay)
    require("damping", damping, "(0, inf)")
    require("max_kl", max_kl, "(0, inf]")

    def init_fn(params):
        factors = {path: _zero_factors(layer) for path, layer in _layers(params).items()}
        return _start(factors, "gradients", "backwards", "solves", "solve_flops")

    def update_fn(grads, state, params=None, **extra_args):
        measured, S = needed("kfac", "kronecker_fn", extra_args)(exact)
        layers = _layers(grads)
        if missing := set(layers) - set(measured):
            raise ValueError(
                "kfac must see every layer called, by a linen model, got no call of "
                f"{min(missing) or 'the root'!r}."
            )
        measured = {path: tuple(measured[path]) for path in layers}
        corrected, state = _averaged(state, measured, decay, S)
        sizes = [len(F) for factors in measured.values() for F in factors]
        flops = CHOLESKY_FLOPS * sum(n**3 for n in sizes)
        state = state._replace(spent=more(state.spent, solves=len(sizes), solve_flops=flops))
        rate = learning_rate(state.inner.count - 1) if callable(learning_rate) else learning_rate
        Us = {path: -rate * _direction(layers[path], *corrected[path], damping) for path in layers}
        K = sum(_quadratic_form(U, *corrected[path]) for path, U in Us.items()) / 2
        shrink = jnp.minimum(1, jnp.sqrt(max_kl / jnp.maximum(K, jnp.finfo(K.dtype).tiny)))
        steps = {path: _as_layer(shrink * U, layers[path]) for path, U in Us.items()}
        return _replaced(grads, steps), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _start(F: PyTree, *counted: str) -> CostState:
    return CostState(none_yet(*counted), Averaged(jnp.zeros([], jnp.int32), F))


def _averaged(
    state: CostState, measured: PyTree, decay: ArrayLike, S: int
) -> tuple[PyTree, CostState]:
    """Returns the corrected average, and the state after one more measurement."""
    t = optax.safe_increment(state.inner.count)
    F = jax.tree.map(
        lambda old, new: jnp.asarray(decay * old + (1 - decay) * new, old.dtype),
        state.inner.F,
        measured,
    )
    corrected = jax.tree.map(lambda x: x / one_minus_power(decay, t), F)
    return corrected, CostState(more(state.spent, gradients=1, backwards=S - 1), Averaged(t, F))


def _layers(tree: PyTree, path: str = "") -> dict[str, Mapping[str, jax.Array]]:
    """Finds the layers of a tree of parameters or gradients, by paths such as "block/conv_0"."""
    if isinstance(tree, Mapping) and "kernel" in tree and set(tree) <= {"kernel", "bias"}:
        masked = isinstance(tree["kernel"], optax.MaskedNode)
        return {} if masked else {path: tree}
    if tree is None or isinstance(tree, optax.MaskedNode):
        return {}
    if not isinstance(tree, Mapping):
        raise ValueError(
            "kfac must have nothing but kernels and biases of dense and convolutional layers, got "
            f"a parameter at {path or 'the root'!r}; optax.partition gives it another."
        )
    found = {}
    for name, child in tree.items():
        found |= _layers(child, f"{path}/{name}" if path else name)
    return found


def _zero_factors(layer: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    W = _matrix(layer)
    A, G = (jnp.zeros((n, n), W.dtype) for n in W.shape)
    return A, G


def _matrix(layer: Mapping[str, jax.Array]) -> jax.Array:
    """Kernel float[..., F] and bias float[F] as one matrix, float[D + 1, F]."""
    kernel = _wide(layer["kernel"])
    rows = [kernel.reshape(-1, kernel.shape[-1])]
    return jnp.concatenate([*rows, *([_wide(layer["bias"])[None]] if "bias" in layer else [])])


def _direction(
    layer: Mapping[str, jax.Array], A: jax.Array, G: jax.Array, damping: ArrayLike
) -> jax.Array:
    sizes = jnp.trace(A) / len(A), jnp.trace(G) / len(G)
    known = (sizes[0] > 0) & (sizes[1] > 0)  # a dead layer has no gradients
    pi = jnp.sqrt(jnp.where(known, sizes[0], 1) / jnp.where(known, sizes[1], 1))
    left = _solved(A, pi * jnp.sqrt(damping), _matrix(layer))
    return _solved(G, jnp.sqrt(damping) / pi, left.T).T


def _quadratic_form(U: jax.Array, A: jax.Array, G: jax.Array) -> jax.Array:
    return jnp.sum(U * (A @ U @ G))


def _as_layer(U: jax.Array, layer: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Undoes `_matrix`."""
    kernel, num_rows = layer["kernel"], layer["kernel"].size // U.shape[1]
    step = {"kernel": U[:num_rows].reshape(kernel.shape), "bias": U[-1]}
    return {name: step[name].astype(g.dtype) for name, g in layer.items()}


def _solved(F: jax.Array, damping: ArrayLike, g: jax.Array) -> jax.Array:
    return solve_positive(F + damping * jnp.eye(len(F), dtype=F.dtype), g)


def _replaced(tree: PyTree, layers: dict[str, dict[str, jax.Array]], path: str = "") -> PyTree:
    """Puts `layers` at their paths, in containers of the tree's own types."""
    if not isinstance(tree, Mapping):
        return tree
    if path in layers:
        return type(tree)({name: layers[path][name] for name in tree})
    below = lambda name: f"{path}/{name}" if path else name  # noqa: E731
    return type(tree)({name: _replaced(x, layers, below(name)) for name, x in tree.items()})


def _wide(x: jax.Array) -> jax.Array:
    return jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))
