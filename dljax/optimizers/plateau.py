"""A learning rate that depends on the loss, and therefore has a state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.optimizers.leafwise import checked_learning_rate
from dljax.optimizers.wrapping import inner_optimizer, require_factory


class Plateau(NamedTuple):
    """What `reduce_on_plateau` remembers of the losses.

    Attributes:
      scale: What the learning rate is multiplied by, float[].
      best: Lowest mean so far, float[].
      waited: Means in a row without improvement, int32[].
      cooling: Means yet to let pass, int32[].
      total: Sum of the losses since the last mean, float[].
      count: How many these are, int32[].
    """

    scale: jax.Array
    best: jax.Array
    waited: jax.Array
    cooling: jax.Array
    total: jax.Array
    count: jax.Array


class PlateauState(NamedTuple):
    """State of `reduce_on_plateau`: the losses seen, and the state of the optimizer."""

    plateau: Plateau
    inner: Any


def reduce_on_plateau(
    optimizer: Callable[..., optax.GradientTransformation],
    learning_rate: optax.ScalarOrSchedule,
    *,
    factor: ArrayLike = 0.1,
    patience: ArrayLike = 10,
    window: ArrayLike = 1,
    cooldown: ArrayLike = 0,
    min_scale: ArrayLike = 0.0,
    threshold: ArrayLike = 1e-4,
) -> optax.GradientTransformationExtraArgs:
    """Lowers the learning rate when the loss no longer falls.

    It is the learning rate that is scaled, not the update, so that `nag` and weight decay stay
    what they are. The loss is the extra argument `value`, which `dj.trainer` supplies.

    Args:
      optimizer: A factory, called as `optimizer(learning_rate)` with a schedule.
      learning_rate: A number >= 0, or a schedule.
      factor: What the learning rate is multiplied by, in (0, 1).
      patience: Means in a row without improvement after which it is, >= 1.
      window: Updates whose losses make one mean, >= 1; losses of single batches are noisy.
      cooldown: Means after a reduction that do not count as waiting, >= 0.
      min_scale: The product of the factors stays at or above this, in [0, 1].
      threshold: A mean is an improvement where it is below best - threshold |best|, >= 0.

    Raises:
      ValueError: If a number is out of range, `optimizer` is no factory, or `update` is not given
        `value`.
    """
    require_factory(optimizer)
    checked_learning_rate(learning_rate)
    rules = {"factor": factor, "patience": patience, "window": window}
    rules |= {"cooldown": cooldown, "min_scale": min_scale, "threshold": threshold}
    for name, number in rules.items():
        require(name, number, _RANGES[name])
    rate = learning_rate if callable(learning_rate) else lambda count: learning_rate

    def scaled(scale):
        return inner_optimizer(optimizer(lambda count: scale * rate(count)))

    def init(params):
        zero, no = jnp.zeros([]), jnp.zeros([], jnp.int32)
        best = jnp.full([], jnp.finfo(zero.dtype).max)
        return PlateauState(Plateau(zero + 1, best, no, no, zero, no), scaled(1.0).init(params))

    def update(grads, state, params=None, *, value=None, **extra_args):
        if value is None:
            raise ValueError(
                "reduce_on_plateau needs the loss: call update(grads, state, params, value=loss); "
                "dj.trainer does."
            )
        plateau = _after(state.plateau, value, **rules)
        updates, inner = scaled(plateau.scale).update(
            grads, state.inner, params, value=value, **extra_args
        )
        return updates, PlateauState(plateau, inner)

    return optax.GradientTransformationExtraArgs(init, update)


_RANGES = {
    "factor": "(0, 1)",
    "patience": "[1, inf)",
    "window": "[1, inf)",
    "cooldown": "[0, inf)",
    "min_scale": "[0, 1]",
    "threshold": "[0, inf)",
}


def _after(
    s: Plateau,
    value: jax.Array,
    *,
    factor: ArrayLike,
    patience: ArrayLike,
    window: ArrayLike,
    cooldown: ArrayLike,
    min_scale: ArrayLike,
    threshold: ArrayLike,
) -> Plateau:
    """Returns what is known after one more loss."""
    count, total = s.count + 1, s.total + value
    full, mean = count >= window, total / count
    better = full & (mean < s.best - threshold * jnp.abs(s.best))
    waited = jnp.where(better | (full & (s.cooling > 0)), 0, s.waited + full)
    reduced = full & (waited >= patience)
    new = Plateau(
        scale=jnp.where(reduced, jnp.maximum(factor * s.scale, min_scale), s.scale),
        best=jnp.where(better, mean, s.best),
        waited=jnp.where(reduced, 0, waited),
        cooling=jnp.where(reduced, cooldown, jnp.maximum(s.cooling - full, 0)),
        total=jnp.where(full, 0, total),
        count=jnp.where(full, 0, count),
    )
    return optax.tree.cast_like(new, s)
