"""From a rule for one array to an optax transformation of a whole tree."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike

from dljax import trees
from dljax.errors import require
from dljax.types import PyTree


class RuleState(NamedTuple):
    """State of a leafwise optimizer.

    Attributes:
      count: Updates applied so far, int32[].
      stats: Statistics of the rule: a `NamedTuple` whose fields are trees like the parameters. A
        field `shift`, where there is one, is what `eval_params` adds to the parameters.
    """

    count: jax.Array
    stats: Any


def leafwise(
    init: Callable[[jax.Array], Any],
    update: Callable[..., tuple[jax.Array, Any]],
    learning_rate: optax.ScalarOrSchedule | Callable[[jax.Array], Any] = 1.0,
) -> optax.GradientTransformationExtraArgs:
    """Applies a rule for one array to every array of a tree.

    The rule computes in float32 at least, whatever the parameters are; its statistics stay so, and
    its updates are cast back. A complex array is the pair of its real and imaginary parts: the
    rule sees real[2, ...], and its statistics of that shape are kept as complex ones. A leaf that
    is `None`, or whose gradient is, is left alone.

    Args:
      init: `init(p) -> s`, the statistics of one parameter array: a `NamedTuple` of arrays, or of
        trees of arrays, of any shapes.
      update: `update(g, s, p, t, learning_rate) -> (u, s)`: from the gradient `g`, the statistics
        and the parameters (`None` where optax is given none) at step `t` = 1, 2, ... (int32[])
        to the update that is added to `p`, and the new statistics.
      learning_rate: A number, which may be traced, or a schedule, which sees the count of updates
        applied so far, from 0; the rule is given what it returns.

    Returns:
      The transformation; its updates have the dtypes of the gradients. It ignores extra arguments.
    """
    stats_type = type(jax.eval_shape(init, jax.ShapeDtypeStruct((), jnp.float32)))

    def by_field(tree, rows):
        columns = ([row[i] for row in rows] for i in range(len(stats_type._fields)))
        return stats_type(*(tree.unflatten(column) for column in columns))

    def init_leaf(p):
        if p is None:
            return [None] * len(stats_type._fields)
        if isinstance(p, jax.ShapeDtypeStruct):  # abstract parameters, as optax takes them
            p = jnp.zeros(p.shape, p.dtype)
        return [_kept(field, p) for field in init(_parts(p))]

    def init_fn(params: PyTree) -> RuleState:
        leaves, tree = jax.tree.flatten(params, is_leaf=_is_none)
        return RuleState(jnp.zeros([], jnp.int32), by_field(tree, [init_leaf(p) for p in leaves]))

    def update_leaf(g, row, p, t, rate):
        s = stats_type(*(_rule_sees(field, g) for field in row))
        u, s = update(_parts(g), s, None if p is None else _parts(p), t, rate)
        u = _kept(u, g)
        chex.assert_equal_shape([u, g])
        keep = lambda new, old: jnp.asarray(_kept(new, g), old.dtype)  # noqa: E731
        return jnp.asarray(u, jnp.result_type(g)), list(jax.tree.map(keep, list(s), row))

    once_a_shape = jax.jit(update_leaf)  # leaves of one shape are traced and lowered once

    def update_fn(grads: PyTree, state: RuleState, params: PyTree = None, **extra_args):
        del extra_args
        gs, tree = jax.tree.flatten(grads, is_leaf=_is_none)
        columns = [trees.aligned(grads, field) for field in state.stats]
        ps = [None] * len(gs) if params is None else trees.aligned(grads, params, shapes=True)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        t = optax.safe_increment(state.count)
        # outside of a trace it would compile for each new optimizer, injected numbers for instance
        step = once_a_shape if isinstance(state.count, jax.core.Tracer) else update_leaf
        us, rows = [], []
        for i, (g, p) in enumerate(zip(gs, ps, strict=True)):
            row = [column[i] for column in columns]
            u, row = (None, row) if g is None else step(g, row, p, t, rate)
            us.append(u)
            rows.append(row)
        return tree.unflatten(us), RuleState(t, by_field(tree, rows))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def one_minus_power(b: ArrayLike, t: jax.Array) -> jax.Array:
    """Computes 1 - b^t without the loss of digits near b^t = 1.

    Args:
      b: Decay in [0, 1), any float; may be traced, and the gradient at 0 is finite.
      t: Step, int32[], at least 1.
    """
    positive = jnp.where(b > 0, b, 1.0)  # log(0) would make the gradient NaN
    return jnp.where(b > 0, -jnp.expm1(t * jnp.log(positive)), 1.0)


def checked_learning_rate(learning_rate: optax.ScalarOrSchedule) -> optax.ScalarOrSchedule:
    """Returns the learning rate; raises a `ValueError` unless >= 0, traced or a schedule."""
    if not callable(learning_rate):
        require("learning_rate", learning_rate, "[0, inf)")
    return learning_rate


def checked_decay(name: str, b: ArrayLike) -> ArrayLike:
    """Returns a decay in [0, 1); raises a `ValueError` where a concrete one is not.

    `optax.inject_hyperparams` casts numbers to the dtype of the parameters, and in bfloat16 0.999
    is 1: a 1 that is traced or of half precision is taken for the largest float32 below, so that
    a corrected average is the plain mean instead of 0 / 0.
    """
    require(name, b, "[0, 1]" if _is_half(b) else "[0, 1)")
    return jnp.where(b < 1, _wide(b), 1 - 2.0**-24) if isinstance(b, jax.Array) else b


def checked_eps(name: str, eps: ArrayLike) -> ArrayLike:
    """Returns a number > 0; raises a `ValueError` where a concrete one is not.

    A 0 that is traced or of half precision (float16 makes it of 1e-16, see `checked_decay`) is
    taken for the smallest normal float32: a gradient of zero still gives an update of zero.
    """
    require(name, eps, "[0, inf)" if _is_half(eps) else "(0, inf)")
    tiny = jnp.finfo(jnp.float32).tiny
    return jnp.maximum(_wide(eps), tiny) if isinstance(eps, jax.Array) else eps


def given(rule: str, params: PyTree) -> PyTree:
    """Returns the parameters; raises a `ValueError` where the caller of `rule` gave none."""
    if params is None:
        raise ValueError(f"{rule} needs the parameters: call update(grads, state, params).")
    return params


def _is_half(x: ArrayLike) -> bool:
    return isinstance(x, jax.Array) and x.dtype.itemsize == 2


def _parts(x: ArrayLike) -> jax.Array:
    """Returns what a rule sees of an array: float32 at least, complex[...] as real[2, ...]."""
    x = _wide(x)
    return jnp.stack([x.real, x.imag]) if jnp.iscomplexobj(x) else x


def _kept(statistics: PyTree, like: ArrayLike) -> PyTree:
    """Undoes `_parts` for what has the shape of a complex parameter's parts."""
    if not jnp.iscomplexobj(like):
        return statistics
    shape = (2, *jnp.shape(like))
    return jax.tree.map(lambda x: lax.complex(*x) if x.shape == shape else x, statistics)


def _rule_sees(statistics: PyTree, like: ArrayLike) -> PyTree:
    return jax.tree.map(_parts, statistics) if jnp.iscomplexobj(like) else statistics


def _wide(x: ArrayLike) -> jax.Array:
    return jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32))


def _is_none(x: PyTree) -> bool:
    return x is None
