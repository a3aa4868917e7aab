"""Which rows a step sees, how slots are gone through, and how a part of the data is averaged."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from dljax import trees
from dljax.costs import ONCE
from dljax.errors import require
from dljax.keys import stream
from dljax.splits import Rows, Split, all_rows, random_order
from dljax.types import Batch, Data, Metrics, PyTree

EVAL_ROWS = 512  # rows evaluated at a time: memory, against the overhead of the loop


class Batches(NamedTuple):
    """A source of batches.

    Attributes:
      example: `example(key) -> batch`, which shows the shapes.
      draw: `draw(state, num_slots)`, what the next slots consume, leading axis [num_slots].
      idle: `idle(rows) -> bool[num_slots]`, which slots have no real row; `None`: none.
      fetch: `fetch(rows) -> (batch, weight f32[B], mask f32[B])`, of one slot; weight and mask
        are `None` where every row counts alike.
      average: `average(key, measure) -> {f"{part}_{name}": float[]}`, the weighted mean of
        `measure(batch) -> {name: float[B]}` over each part.
    """

    example: Callable[[jax.Array], Batch]
    draw: Callable[[Any, int], Any]
    idle: Callable[[Any], jax.Array] | None
    fetch: Callable[[Any], tuple[Batch, jax.Array | None, jax.Array | None]]
    average: Callable[[jax.Array, Callable[[Batch], Metrics]], Metrics]


def batches(
    data: Data | Callable[[jax.Array], Batch],
    split: Split | None,
    *,
    batch_size: int | None,
    order: str,
    remainder: str,
    parts: tuple[str, ...],
) -> Batches:
    """Makes the source of batches that `trainer` describes."""
    for name, value, known in (
        ("order", order, ("reshuffle", "once", "replacement")),
        ("remainder", remainder, ("keep", "drop")),
        *(("a part", part, Split._fields) for part in parts),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}.")
    if callable(data):
        return _drawn_batches(data, [part for part in parts if part != "train"])
    num_rows = {len(x) for x in jax.tree.leaves(data)}
    if len(num_rows) != 1:
        raise ValueError(f"all arrays must have one number of rows, got {sorted(num_rows)}.")
    split = Split(all_rows(num_rows.pop())) if split is None else jax.tree.map(jnp.asarray, split)
    present = {part: rows for part in parts if (rows := getattr(split, part)) is not None}
    num_slots = split.train.index.shape[0]
    batch_size = num_slots if batch_size is None else batch_size
    require("batch_size", batch_size, f"[1, {num_slots}]")
    return Batches(
        example=lambda key: trees.take_rows(data, split.train.index[:1]),
        draw=_batch_order(split.train, batch_size, order, remainder),
        idle=lambda positions: (positions >= split.train.count).all(axis=1),
        fetch=lambda positions: _fetch(data, split.train, positions),
        average=lambda key, measure: _average(data, present, measure),
    )


def _batch_order(rows: Rows, batch_size: int, order: str, remainder: str) -> Callable:
    """Makes `draw(state, num_slots)`, positions in the table of rows, int32[num_slots, B].

    Positions from `rows.count` on are padding. All epochs that the slots touch are drawn at once,
    so that no branch depends on the slot, which differs between members that stop early.
    """
    size = rows.index.shape[0]
    keep = remainder == "keep"
    num_slots_an_epoch = -(-size // batch_size) if keep else size // batch_size
    slots_and_rest = num_slots_an_epoch * batch_size - size  # < 0 where the remainder is dropped

    def one_epoch(key, epoch):
        if batch_size == size:
            return jnp.arange(size)[None]  # the order of a full batch does not matter
        epoch = 0 if order == "once" else epoch
        positions = random_order(stream(key, "batches", epoch), rows)
        positions = jnp.pad(positions, (0, max(slots_and_rest, 0)), constant_values=size)
        positions = positions[: num_slots_an_epoch * batch_size].reshape(-1, batch_size)
        full = (jnp.arange(num_slots_an_epoch) + 1) * batch_size <= rows.count
        return positions if keep else jnp.where(full[:, None], positions, size)

    def by_epochs(state, num_slots):
        num_epochs = (num_slots + num_slots_an_epoch - 2) // num_slots_an_epoch + 1
        epochs = state.slot // num_slots_an_epoch + jnp.arange(num_epochs)
        table = jax.vmap(one_epoch, (None, 0))(state.key, epochs).reshape(-1, batch_size)
        first = state.slot % num_slots_an_epoch
        return jax.lax.dynamic_slice_in_dim(table, first, num_slots)

    def with_replacement(state, num_slots):
        def one_slot(slot):
            key = stream(state.key, "batches", slot)
            return jax.random.randint(key, (batch_size,), 0, jnp.maximum(rows.count, 1))

        return jax.vmap(one_slot)(state.slot + jnp.arange(num_slots))

    return with_replacement if order == "replacement" else by_epochs


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


@jax.custom_batching.custom_vmap
def _any_member(x: jax.Array) -> jax.Array:
    """Says of each place whether it is true for any member under `vmap`: the same for all."""
    return x


@_any_member.def_vmap
def _any_of_batch(axis_size, in_batched, x):
    return _any_member(x.any(axis=0)), False


def _fetch(data: Data, rows: Rows, positions: jax.Array) -> tuple[Batch, jax.Array, jax.Array]:
    mask = (positions < rows.count).astype(jnp.float32)
    index = rows.index.at[positions].get(mode="clip")
    weight = rows.weight.at[positions].get(mode="clip") * mask
    return trees.take_rows(data, index), weight, mask


def _average(data: Data, parts: dict[str, Rows], measure: Callable[[Batch], Metrics]) -> Metrics:
    """Averages over several parts in one pass of equal slices over all their rows."""
    if not parts:
        return {}
    index = jnp.concatenate([rows.index for rows in parts.values()])
    num_slices = -(-index.size // EVAL_ROWS)
    size = -(-index.size // num_slices)
    slices = jnp.pad(index, (0, num_slices * size - index.size), mode="edge").reshape(-1, size)

    def one_slice(index):
        values = measure(trees.take_rows(data, index))
        chex.assert_shape(list(values.values()), (size,))
        return values

    values = jax.lax.map(one_slice, slices)
    longest, terms, start = max(rows.index.size for rows in parts.values()), [], 0
    for rows in parts.values():
        end = start + rows.index.size
        for value in (1.0, *(x.reshape(-1)[start:end] for x in values.values())):
            term = jnp.where(rows.weight != 0, rows.weight * value, 0.0)
            terms.append(jnp.pad(term, (0, longest - term.size)))
        start = end
    sums = _row_sums(jnp.stack(terms)).reshape(len(parts), -1)
    return {
        f"{part}_{name}": total / all_sums[0]
        for part, all_sums in zip(parts, sums, strict=True)
        for name, total in zip(values, all_sums[1:], strict=True)
    }


def _row_sums(x: jax.Array) -> jax.Array:
    """Adds up rows of float[K, N] by halves: XLA's own sum orders its terms by a tile's width."""
    x = jnp.pad(x, ((0, 0), (0, (1 << max(x.shape[1] - 1, 0).bit_length()) - x.shape[1])))
    while x.shape[1] > 1:
        half = x.shape[1] // 2
        # without the barrier the halves of halves would be written out as one expression
        x = jax.lax.optimization_barrier(x[:, :half] + x[:, half:])
    return x[:, 0]


def _drawn_batches(draw_batch: Callable[[jax.Array], Batch], parts: list[str]) -> Batches:
    """Batches drawn from keys: of a step by its slot, of a part by its name."""

    def draw(state, num_slots):
        slots = state.slot + jnp.arange(num_slots)
        return jax.vmap(lambda slot: stream(state.key, "batches", slot))(slots)

    def average(key, measure):
        return {
            f"{part}_{name}": value.mean()
            for part in parts
            for name, value in measure(draw_batch(stream(key, part))).items()
        }

    return Batches(draw_batch, draw, None, lambda key: (draw_batch(key), None, None), average)
