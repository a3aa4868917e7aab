"""Which rows a step sees, and how a part of the data is averaged or added up in slices."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from dljax import trees
from dljax.errors import require
from dljax.keys import stream
from dljax.splits import Rows, Split, all_rows, random_order
from dljax.sums import sum_by_halves
from dljax.types import Batch, Data, Metrics, PyTree

EVAL_ROWS = 512  # rows evaluated at a time: memory, against the overhead of the loop
Mean = Callable[[jax.Array], jax.Array]


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
      total: `total(key, part, f)`, the sum of the trees `f(batch, mean)` over slices of a part;
        `mean(losses) -> float[]`, of float[B], is what they add to sum(w l) / M over its M rows.
      parts: Names of the parts that there are.
    """

    example: Callable[[jax.Array], Batch]
    draw: Callable[[Any, int], Any]
    idle: Callable[[Any], jax.Array] | None
    fetch: Callable[[Any], tuple[Batch, jax.Array | None, jax.Array | None]]
    average: Callable[[jax.Array, Callable[[Batch], Metrics]], Metrics]
    total: Callable[[jax.Array, str, Callable[[Batch, Mean], PyTree]], PyTree]
    parts: tuple[str, ...]


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
    there = {part: rows for part, rows in split._asdict().items() if rows is not None}
    present = {part: there[part] for part in parts if part in there}
    num_slots = split.train.index.shape[0]
    batch_size = num_slots if batch_size is None else batch_size
    require("batch_size", batch_size, f"[1, {num_slots}]")
    return Batches(
        example=lambda key: trees.take_rows(data, split.train.index[:1]),
        draw=_batch_order(split.train, batch_size, order, remainder),
        idle=lambda positions: (positions >= split.train.count).all(axis=1),
        fetch=lambda positions: _fetch(data, split.train, positions),
        average=lambda key, measure: _average(data, present, measure),
        total=lambda key, part, f: _total(data, there[part], f),
        parts=tuple(there),
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


def _fetch(data: Data, rows: Rows, positions: jax.Array) -> tuple[Batch, jax.Array, jax.Array]:
    mask = (positions < rows.count).astype(jnp.float32)
    index = rows.index.at[positions].get(mode="clip")
    weight = rows.weight.at[positions].get(mode="clip") * mask
    return trees.take_rows(data, index), weight, mask


def batch_mean(losses: jax.Array, weight: jax.Array | None, mask: jax.Array | None) -> jax.Array:
    """The loss of a batch, sum(w l) / B over its B real rows; float[]."""
    if mask is None:
        return losses.mean()
    chex.assert_equal_shape([losses, mask])
    # where, not a product: a padded row may be infinitely wrong
    return jnp.where(mask > 0, weight * losses, 0.0).sum() / jnp.maximum(mask.sum(), 1)


def share(batch: Batch, weight: jax.Array | None, mask: jax.Array | None) -> jax.Array | None:
    """Weight of each row in `batch_mean`, float[B]."""
    if mask is None:
        rows = jax.tree.leaves(batch)
        return jnp.full(len(rows[0]), 1 / len(rows[0])) if rows else None
    # in the widest float there is: 1 / 3 of float32 would be all that float64 outputs get
    return jnp.asarray(weight, jnp.result_type(float)) / jnp.maximum(mask.sum(), 1)


def _average(data: Data, parts: dict[str, Rows], measure: Callable[[Batch], Metrics]) -> Metrics:
    """Averages over several parts in one pass of equal slices over all their rows."""
    if not parts:
        return {}
    index = jnp.concatenate([rows.index for rows in parts.values()])
    slices = _in_slices(index, mode="edge")

    def one_slice(index):
        values = measure(trees.take_rows(data, index))
        chex.assert_shape(list(values.values()), index.shape)
        return values

    values = jax.lax.map(one_slice, slices)
    longest, terms, start = max(rows.index.size for rows in parts.values()), [], 0
    for rows in parts.values():
        end = start + rows.index.size
        for value in (1.0, *(x.reshape(-1)[start:end] for x in values.values())):
            term = jnp.where(rows.weight != 0, rows.weight * value, 0.0)
            terms.append(jnp.pad(term, (0, longest - term.size)))
        start = end
    sums = sum_by_halves(jnp.stack(terms, axis=1)).reshape(len(parts), -1)
    return {
        f"{part}_{name}": total / all_sums[0]
        for part, all_sums in zip(parts, sums, strict=True)
        for name, total in zip(values, all_sums[1:], strict=True)
    }


def _total(data: Data, rows: Rows, f: Callable[[Batch, Mean], PyTree]) -> PyTree:
    # in the widest float there is, as in `share`
    weight = jnp.asarray(rows.weight, jnp.result_type(float)) / jnp.maximum(rows.count, 1)

    def one_slice(index, weight):
        mean = lambda losses: jnp.where(weight != 0, weight * losses, 0.0).sum()  # noqa: E731
        return f(trees.take_rows(data, index), mean)

    slices = _in_slices(rows.index, mode="edge"), _in_slices(weight)
    shapes = jax.eval_shape(one_slice, *jax.tree.map(lambda x: x[0], slices))
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    added = lambda total, s: (jax.tree.map(jnp.add, total, one_slice(*s)), None)  # noqa: E731
    return jax.lax.scan(added, start, slices)[0]


def _in_slices(x: jax.Array, **padding: str) -> jax.Array:
    """Cuts [N] into equal slices of at most `EVAL_ROWS`, the last one padded."""
    num_slices = -(-x.size // EVAL_ROWS)
    size = -(-x.size // num_slices)
    return jnp.pad(x, (0, num_slices * size - x.size), **padding).reshape(-1, size)


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

    total = lambda key, part, f: f(draw_batch(stream(key, part)), jnp.mean)  # noqa: E731
    fetch = lambda key: (draw_batch(key), None, None)  # noqa: E731
    return Batches(draw_batch, draw, None, fetch, average, total, Split._fields)
