"""Early stopping: train until it no longer helps, and keep the best state."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dljax import trees
from dljax.errors import require, unknown
from dljax.slots import checked_rounds
from dljax.training import Trainer, TrainState, advance, history_row
from dljax.types import Member, Metrics, PyTree


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
    rule = _rule(max_steps, eval_every, patience, monitor, goal)
    start = _start(fit, state, rule)
    end = jax.lax.while_loop(
        lambda s: _unfinished(s, rule), lambda s: _one_evaluation(fit, s, rule), start
    )
    return end.best, _history(end)


def run_in_rounds(
    setup: Callable[..., tuple[Trainer, jax.Array]],
    *,
    num_steps: int,
    eval_every: int,
    num_rounds: int | None = None,
    patience: int | None = None,
    monitor: str = "valid_loss",
    goal: str = "min",
    keep: Callable[[TrainState, Metrics], PyTree] = lambda best, history: history,
) -> Member:
    """Makes a member of `run_until`, in rounds of some evaluations each.

    A population drops members that have stopped or diverged after each round, so that little is
    computed for them, and `dj.successive_halving` goes on from the states of those that survive.

    Args:
      setup: `setup(*shared, **cell) -> (fit, key)`, the way of learning and the run's key, from
        which `fit.init(key)` begins.
      num_steps: Steps at most, >= 1.
      eval_every: Steps between evaluations; it must divide `num_steps`.
      num_rounds: Rounds, a divisor of the number of evaluations; `None` takes that number.
      patience: As of `run_until`; `None` never stops early.
      monitor: Name of a measure of `fit.evaluate`.
      goal: "min" or "max" of it.
      keep: `keep(best, history) -> results`, of what `run_until` returns.

    Returns:
      The `Member`; its reports are the last row of each round's history.

    Raises:
      ValueError: If a number is out of range or does not divide another.
    """
    rule = _rule(num_steps, eval_every, patience, monitor, goal)
    num_evaluations = rule.num_rows - 1
    num_rounds = num_evaluations if num_rounds is None else num_rounds
    require("num_rounds", num_rounds, f"[1, {num_evaluations}]")
    if num_evaluations % num_rounds:
        raise ValueError(
            f"num_rounds must divide the evaluations, got {num_rounds} and {num_evaluations}."
        )
    num_turns = num_evaluations // num_rounds

    def init(*shared, **cell):
        fit, key = setup(*shared, **cell)
        return _start(fit, fit.init(key), rule)

    def one_turn(fit, search):
        # a member that has diverged in this round waits for its end
        return trees.where(_unfinished(search, rule), _one_evaluation(fit, search, rule), search)

    def advance(*shared_and_state, **cell):
        *shared, search, number = shared_and_state
        fit, _ = setup(*shared, **cell)
        last = 1 + (number + 1) * num_turns
        if num_turns == 1:
            search = _one_evaluation(fit, search, rule)
        elif patience is None:
            search = jax.lax.fori_loop(0, num_turns, lambda _, s: one_turn(fit, s), search)
        else:
            search = jax.lax.while_loop(
                lambda s: (s.number < last) & _unfinished(s, rule),
                lambda s: _one_evaluation(fit, s, rule),
                search,
            )
        return search, jax.tree.map(lambda rows: rows[-1], search.rows)

    def result(*shared_state_reports, **cell):
        *_, search, _ = shared_state_reports
        return keep(search.best, _history(search))

    return Member(init, advance, result, num_rounds, lambda s: ~_unfinished(s, rule))


class _Rule(NamedTuple):
    num_rows: int
    eval_every: int
    patience: int | None
    monitor: str
    sign: int  # of what is lowered


class _Search(NamedTuple):
    state: TrainState
    best: TrainState
    value: jax.Array  # of the best, lower is better
    waited: jax.Array  # evaluations since
    number: jax.Array  # of the next row
    rows: Metrics  # those to come repeat the last one


def _rule(num_steps, eval_every, patience, monitor, goal) -> _Rule:
    eval_every = checked_rounds(num_steps, eval_every)
    if patience is not None:
        require("patience", patience, "[1, inf)")
    if goal not in ("min", "max"):
        raise ValueError(f"goal must be 'min' or 'max', got {goal!r}.")
    return _Rule(
        num_steps // eval_every + 1, eval_every, patience, monitor, 1 if goal == "min" else -1
    )


def _start(fit: Trainer, state: TrainState, rule: _Rule) -> _Search:
    first = history_row(fit, state)
    if rule.monitor not in first:
        raise unknown("measure to monitor", rule.monitor, first)
    rows = jax.tree.map(lambda x: jnp.broadcast_to(x, (rule.num_rows, *x.shape)), first)
    value = rule.sign * first[rule.monitor]
    value = jnp.where(jnp.isnan(value), jnp.inf, value)  # anything is better than NaN
    return _Search(state, state, value, jnp.int32(0), jnp.int32(1), rows)


def _unfinished(s: _Search, rule: _Rule) -> jax.Array:
    waits = True if rule.patience is None else s.waited < rule.patience
    return (s.number < rule.num_rows) & waits & (s.state.diverged_at < 0)


def _one_evaluation(fit: Trainer, s: _Search, rule: _Rule) -> _Search:
    state = advance(fit, s.state, rule.eval_every)
    row = history_row(fit, state)
    value = rule.sign * row[rule.monitor]
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


def _history(end: _Search) -> Metrics:
    return {
        **end.rows,
        "diverged_at": end.state.diverged_at,
        "stopped_at": end.state.slot,
        "best_step": end.best.slot,
    }


def _from(number: jax.Array, rows: jax.Array) -> jax.Array:
    return (jnp.arange(rows.shape[0]) >= number).reshape(-1, *[1] * (rows.ndim - 1))
