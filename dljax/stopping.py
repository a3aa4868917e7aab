"""Early stopping: train until it no longer helps, and keep the best state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dljax import trees
from dljax.errors import require, unknown
from dljax.training import Trainer, TrainState, advance, checked_rounds, history_row
from dljax.types import Metrics


def run_until(
    fit: Trainer,
    state: TrainState,
    *,
    max_steps: int,
    eval_every: int,
    patience: int,
    monitor: str = "valid_loss",
    goal: str = "min",
) -> tuple[TrainState, Metrics]:
    """Trains until `monitor` has not improved for `patience` evaluations; keeps the best state.

    Goodfellow, Bengio & Courville 2016, "Deep learning", algorithm 7.1. Under `vmap` a finished
    member is frozen while others go on; alone it stops computing.

    Args:
      fit: The way of learning.
      state: Where to begin.
      max_steps: Steps at most, >= 1.
      eval_every: Steps between evaluations; it must divide `max_steps`.
      patience: Evaluations in a row without improvement after which the run stops, >= 1.
      monitor: Name of a measure of `fit.evaluate`.
      goal: "min" or "max" of it.

    Returns:
      The state at the best evaluation, and the history as of `run`, whose rows repeat the last
      one after the stop; with "stopped_at", the step of the last evaluation, and "best_step",
      int32[].
    """
    eval_every = checked_rounds(max_steps, eval_every)
    require("patience", patience, "[1, inf)")
    if goal not in ("min", "max"):
        raise ValueError(f"goal must be 'min' or 'max', got {goal!r}.")
    sign = 1 if goal == "min" else -1
    first = history_row(fit, state)
    if monitor not in first:
        raise unknown("measure to monitor", monitor, first)
    num_rows = max_steps // eval_every + 1
    rows = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_rows, *x.shape)), first)
    value = sign * first[monitor]
    value = jnp.where(jnp.isnan(value), jnp.inf, value)  # anything is better than NaN
    start = _Search(state, state, value, jnp.int32(0), jnp.int32(1), rows)

    def unfinished(s):
        return (s.number < num_rows) & (s.waited < patience) & (s.state.diverged_at < 0)

    def one_round(s):
        state = advance(fit, s.state, eval_every)
        row = history_row(fit, state)
        value = sign * row[monitor]
        better = value < s.value
        rows = jax.tree.map(
            lambda all_rows, x: jnp.where(_from(s.number, all_rows), x, all_rows), s.rows, row
        )
        return _Search(
            state,
            trees.where(better, state, s.best),
            jnp.where(better, value, s.value),
            jnp.where(better, 0, s.waited + 1),
            s.number + 1,
            rows,
        )

    end = jax.lax.while_loop(unfinished, one_round, start)
    history = {
        **end.rows,
        "diverged_at": end.state.diverged_at,
        "stopped_at": end.state.slot,
        "best_step": end.best.slot,
    }
    return end.best, history


class _Search(NamedTuple):
    state: TrainState
    best: TrainState
    value: jax.Array  # of the best, lower is better
    waited: jax.Array  # evaluations since
    number: jax.Array  # of the next row
    rows: Metrics


def _from(number: jax.Array, rows: jax.Array) -> jax.Array:
    return (jnp.arange(rows.shape[0]) >= number).reshape(-1, *[1] * (rows.ndim - 1))
