"""The learning-rate range test: one run in which the learning rate grows until training breaks."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dljax import trees
from dljax.errors import require
from dljax.optimizers.wrapping import require_factory
from dljax.schedules import exponential_decay
from dljax.splits import Split
from dljax.tasks import Task
from dljax.training import trainer
from dljax.types import Batch, Data


class RangeTest(NamedTuple):
    """What `learning_rate_range` finds.

    Attributes:
      learning_rates: Of each step, float[S].
      losses: Of each step's batch before the step, float[S]; NaN from divergence on.
      smoothed: Mean of the losses up to S // 20 steps before and after each, float[S].
      steepest: Where the loss falls fastest before its minimum, by a line through S // 10 steps
        before and after, float[]: a learning rate to begin with, if batches are not too noisy.
      lowest: Where it is lowest, float[]: above the highest learning rate to try. What comes
        after training broke does not count: after the smoothed loss was both above where it began
        and above four times its lowest until then.
    """

    learning_rates: jax.Array
    losses: jax.Array
    smoothed: jax.Array
    steepest: jax.Array
    lowest: jax.Array


def learning_rate_range(
    task: Task,
    optimizer: Callable[..., optax.GradientTransformation],
    data: Data | Callable[[jax.Array], Batch],
    split: Split | None = None,
    *,
    key: jax.Array,
    low: float = 1e-6,
    high: float = 10.0,
    num_steps: int = 100,
    batch_size: int | None = None,
) -> RangeTest:
    """Trains once while the learning rate grows; Smith 2017, arXiv:1506.01186, section 3.3.

        learning_rate_i = low (high / low)^(i / (S - 1)),  i = 0, ..., S - 1

    The growth is exponential, where the paper's is linear, to look at several decades at once.
    The function is pure: it may be part of a member, and be mapped over keys.

    Args:
      task: What is learnt.
      optimizer: A factory, called as `optimizer(learning_rate)` with a schedule.
      data: Arrays [N, ...], or `data(key) -> batch`; as in `dj.trainer`.
      split: Its training rows are learnt from; all rows where it is `None`.
      key: Of the initial weights and the batches, key[].
      low: First learning rate, > 0; may be traced.
      high: Last learning rate, above `low`; may be traced.
      num_steps: Steps S, >= 2; a decade should have ten or more.
      batch_size: Rows of a step, all batches being of one size and drawn with replacement; `None`
        is full batch.

    Returns:
      The `RangeTest`; where the first step diverges, `steepest` and `lowest` are NaN.

    Raises:
      ValueError: If a number is out of range, or `optimizer` is not a factory.
    """
    require("low", low, "(0, inf)")
    require("high / low", high / low, "(1, inf)")
    require("num_steps", num_steps, "[2, inf)")
    require_factory(optimizer)
    rate = exponential_decay(low, high / low, num_steps - 1)
    order = "reshuffle" if batch_size is None else "replacement"
    fit = trainer(task, optimizer(rate), data, split, batch_size=batch_size, order=order, parts=())

    def step(state, rows):
        new, loss = fit.step(state, rows)
        alive = (state.diverged_at < 0) & jnp.isfinite(loss)
        sound = alive & trees.all_finite(new.variables["params"])
        slot = state.slot + 1
        diverged_at = jnp.where((state.diverged_at < 0) & ~sound, slot, state.diverged_at)
        kept = trees.where(sound, new, state)._replace(slot=slot, diverged_at=diverged_at)
        return kept, jnp.where(alive, loss, jnp.nan)

    state = fit.init(key)
    losses = jax.lax.scan(step, state, fit.draw(state, num_steps))[1]
    return _read(rate(jnp.arange(num_steps)), losses)


def _read(learning_rates: jax.Array, losses: jax.Array) -> RangeTest:
    step, alive = jnp.arange(losses.size), jnp.isfinite(losses)
    smoothed, _ = _lines(losses, losses.size // 20)
    best = jax.lax.cummin(jnp.where(alive, smoothed, jnp.inf))
    broken = smoothed > jnp.maximum(smoothed[0], best + 3 * jnp.abs(best))
    sound = alive & (jnp.cumsum(broken) == 0)
    lowest = jnp.argmin(jnp.where(sound, smoothed, jnp.inf))
    _, slope = _lines(losses, losses.size // 10)  # wider, as a slope is the noisier
    steepest = jnp.argmin(jnp.where((step <= lowest) & (slope < jnp.inf), slope, jnp.inf))
    found = lambda i: jnp.where(alive.any(), learning_rates[i], jnp.nan)  # noqa: E731
    return RangeTest(learning_rates, losses, smoothed, found(steepest), found(lowest))


def _lines(losses: jax.Array, reach: int) -> tuple[jax.Array, jax.Array]:
    """Returns mean and least-squares slope of the losses up to `reach` steps (>= 1) from each.

    Windows end: a mean that decays would carry an explosion far back.
    """
    step, alive = jnp.arange(losses.size), jnp.isfinite(losses)
    away = step[None] - step[:, None]
    near = (jnp.abs(away) <= max(reach, 1)) & alive[None]
    count = jnp.maximum(near.sum(axis=1), 1)
    mean = jnp.where(near, losses[None], 0.0).sum(axis=1) / count
    centre = jnp.where(near, away, 0).sum(axis=1) / count
    away = jnp.where(near, away - centre[:, None], 0.0)
    slope = (away * jnp.where(near, losses[None], 0.0)).sum(axis=1)
    slope = slope / jnp.maximum((away**2).sum(axis=1), 0.5)
    return jnp.where(alive, mean, jnp.nan), jnp.where(alive, slope, jnp.inf)
