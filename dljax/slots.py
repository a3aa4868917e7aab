"""How slots are gone through: in rounds between evaluations, up to the first unsound step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from dljax import trees
from dljax.costs import ONCE
from dljax.errors import require
from dljax.types import PyTree


def go_through(
    step: Callable[[PyTree, PyTree], tuple[PyTree, jax.Array]],
    learnt: PyTree,
    slots: PyTree,
    *,
    idle: jax.Array,
    alive: jax.Array,
) -> tuple[PyTree, jax.Array]:
    """Steps through slots up to the first that is not sound.

    A choice between the old and the new state in every step would copy both. So the first pass
    goes on after a step that is not sound; where a member had one, all go through the slots again
    and it holds still from there. Both passes run one compiled loop, in which only the slots where
    some member holds still cost a choice: no member's bits depend on what happens to another.

    Args:
      step: `step(learnt, slot) -> (learnt, sound)`, bool[].
      learnt: Where to begin.
      slots: What the steps consume, leading axis [num_slots].
      idle: Slots that are no step, bool[num_slots].
      alive: Whether to go anywhere at all, bool[].

    Returns:
      Where the sound steps led, and the number of slots before the first that is not sound,
      int32[], `num_slots` where all are.
    """
    num_slots = idle.size
    number = jnp.arange(num_slots, dtype=jnp.int32)

    def one_slot(carry, inputs):
        slot, held_before, any_held = inputs
        # what is kept matters of members alone that hold still in this slot
        hold = lambda new, kept: (trees.where(held_before, kept, new),) * 2  # noqa: E731
        learnt, kept = jax.lax.cond(any_held, hold, lambda *both: both, *carry)
        learnt, sound = step(learnt, slot)
        return (learnt, kept), sound

    def one_pass(held):
        held_before = jnp.append(False, held[:-1])
        inputs = (slots, held_before, _any_member(alive & (held | held_before)))
        (new, kept), sound = jax.lax.scan(one_slot, (learnt, learnt), inputs)
        taken = jnp.where(sound | idle, num_slots, number).min()
        return trees.where(held[-1], kept, new), taken

    def maybe_pass(end, first):
        taken = end[1]
        needed = checkpoint_name(first, ONCE) | _any_member(alive & (taken < num_slots))
        held = idle | ~alive | (number >= taken)
        return jax.lax.cond(needed, lambda: one_pass(held), lambda: end), None

    start = learnt, jnp.full_like(number[0], num_slots)
    return jax.lax.scan(maybe_pass, start, jnp.array([True, False]))[0]


def checked_rounds(num_steps: int, eval_every: int | None) -> int:
    """Returns `eval_every`, or raises a `ValueError` where it does not divide `num_steps`."""
    require("the number of steps", num_steps, "[1, inf)")
    eval_every = num_steps if eval_every is None else eval_every
    require("eval_every", eval_every, f"[1, {num_steps}]")
    if num_steps % eval_every:
        raise ValueError(
            f"eval_every must divide the number of steps, got {eval_every} and {num_steps}."
        )
    return eval_every


@jax.custom_batching.custom_vmap
def _any_member(x: jax.Array) -> jax.Array:
    """Says of each place whether it is true for any member under `vmap`: the same for all."""
    return x


@_any_member.def_vmap
def _any_of_batch(axis_size, in_batched, x):
    return _any_member(x.any(axis=0)), False
