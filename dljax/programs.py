"""A member as compiled programs: a tile of `width` members on each device of a mesh.

Every path to a member is such a tile, a population of one included, so that neither the number of
members nor their order can reach a member's bits.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dljax.costs import Cost, cost
from dljax.errors import require_whole
from dljax.placement import AXIS, HostKeys, to_device, to_host
from dljax.types import Member, PyTree

WHOLE, ROUNDS = ("whole",), ("init", "advance", "result")


class Program(NamedTuple):
    """A member, compiled.

    Attributes:
      member: What was compiled.
      mesh: Devices that one tile lies on.
      width: Members of a tile on one device, W.
      stages: The compiled programs: "whole", or "init", "advance" and "result".
      cost: What one member costs, all rounds.
      memory: Bytes of one tile on one device, the shared data included.
    """

    member: Callable[..., PyTree] | Member
    mesh: Mesh
    width: int
    stages: dict[str, jax.stages.Compiled]
    cost: Cost
    memory: int


def member_cost(member: Callable | Member, shared: tuple, cells: dict[str, Any]) -> Cost:
    """Counts what one member costs, without compiling."""
    parts = []
    states = _states(member, shared, cells)
    for name in _stage_names(member):
        traced = _traced(name, member, shared, states[name], cells)
        turns = member.num_rounds if name == "advance" else 1
        parts.append((turns, cost(traced.jaxpr)))
    _, hottest = max(parts, key=lambda part: part[0] * part[1].flops)
    return hottest._replace(
        flops=sum(turns * part.flops for turns, part in parts),
        bytes=sum(turns * part.bytes for turns, part in parts),
        operations=sum(turns * part.operations for turns, part in parts),
        open_ended=any(part.open_ended for _, part in parts),
        parameters=max(part.parameters for _, part in parts),
    )


def compile_program(
    member: Callable | Member, shared: tuple, cells: dict[str, Any], *, width: int, mesh: Mesh
) -> Program:
    """Compiles a member for tiles of `width`; what was compiled before is not compiled again."""
    size, stages, memory = mesh.size * width, {}, 0
    states = _states(member, shared, cells)
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    for name in _stage_names(member):
        inputs = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((size, *x.shape), x.dtype, sharding=sharding),
            (states[name], _row(cells)),
        )
        traced = _traced(name, member, shared, states[name], cells)
        run = _advance_tile if name == "advance" else _run_tile
        lowered = run.lower(
            _shapes(shared),
            _number(),
            *inputs,
            jaxpr=traced.jaxpr,
            out_tree=jax.tree.structure(traced.out_info),
            mesh=mesh,
        )
        stages[name] = lowered.compile()
        memory = max(memory, _memory(stages[name]))
    return Program(member, mesh, width, stages, member_cost(member, shared, cells), memory)


def run_tile(
    program: Program, name: str, shared: tuple, number: int, state: PyTree, cells: PyTree
) -> PyTree:
    """Runs one stage for at most a tile of members; all trees but `shared` lie on the host.

    Padding repeats the last member, whose results are dropped.
    """
    count = len(jax.tree.leaves(cells)[0])
    slots = np.minimum(np.arange(program.mesh.size * program.width), count - 1)
    sharding = NamedSharding(program.mesh, PartitionSpec(AXIS))
    tile = to_device(jax.tree.map(lambda x: x[slots], (state, cells)), sharding)
    results = to_host(program.stages[name](shared, np.int32(number), *tile))
    return jax.tree.map(lambda x: x[:count], results)


def _whole(member, shared, number, state, cell):
    return member(*shared, **cell)


def _init(member, shared, number, state, cell):
    return member.init(*shared, **cell)


def _advance(member, shared, number, state, cell):
    returned = member.advance(*shared, state, number, **cell)
    if not isinstance(returned, tuple) or len(returned) != 2:
        what = jax.tree.map(jnp.shape, returned)
        raise ValueError(f"advance must return (state, report), got the shapes {what}.")
    state, report = returned
    finished = False if member.finished is None else member.finished(state)
    if jnp.shape(finished) != ():
        raise ValueError(f"finished must return bool[], got shape {jnp.shape(finished)}.")
    return state, report, jnp.asarray(finished, bool)


def _result(member, shared, number, state, cell):
    state, reports = state
    return member.result(*shared, state, reports, **cell)


_STAGES = {"whole": _whole, "init": _init, "advance": _advance, "result": _result}


def _stage_names(member: Callable | Member) -> tuple[str, ...]:
    return ROUNDS if isinstance(member, Member) else WHOLE


@partial(jax.jit, static_argnames=("stage", "member"))
def _one(shared, number, state, cell, *, stage, member):
    return stage(member, shared, number, state, cell)


def _traced(name, member, shared, state, cells) -> jax.stages.Traced:
    """Traces a stage of one member; the second time jax remembers."""
    return _one.trace(
        _bare(shared), _number(), state, _row(cells), stage=_STAGES[name], member=member
    )


def _tile(shared, number, state, cells, *, jaxpr, out_tree, mesh):
    """Maps the jaxpr of one member, so that its Python is run once, not once more for a tile."""
    run = jaxpr_as_fun(jaxpr)

    def one_device(shared, number, state, cells):
        def one(state, cell):
            return out_tree.unflatten(run(*jax.tree.leaves((shared, number, state, cell))))

        return jax.vmap(one)(state, cells)

    return jax.shard_map(
        one_device,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(AXIS), PartitionSpec(AXIS)),
        out_specs=PartitionSpec(AXIS),
        check_vma=False,  # a member that scans is not understood by the check
    )(shared, number, state, cells)


_STATIC = ("jaxpr", "out_tree", "mesh")
_run_tile = jax.jit(_tile, static_argnames=_STATIC)
_advance_tile = jax.jit(_tile, static_argnames=_STATIC, donate_argnames=("state",))


def _states(member: Callable | Member, shared: tuple, cells: dict[str, Any]) -> dict[str, PyTree]:
    """Returns the shapes of one member's state as each stage takes it."""
    if not isinstance(member, Member):
        return {"whole": None}
    require_whole("num_rounds", member.num_rounds, "[1, inf)")

    def shapes(name, state):
        return _bare(_traced(name, member, shared, state, cells).out_info)

    state = shapes("init", None)
    after, report, _ = shapes("advance", state)
    if jax.tree.flatten(after) != jax.tree.flatten(state):
        raise ValueError(
            "advance must return a state of the shapes and types it was given, "
            f"got {after} for {state}."
        )
    reports = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((member.num_rounds, *x.shape), x.dtype), report
    )
    return {"init": None, "advance": state, "result": (state, reports)}


def _shapes(tree: PyTree) -> PyTree:
    """Forgets values; of arrays on devices it keeps where they are."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None)),
        tree,
    )


def _bare(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _row(cells: dict[str, Any]) -> dict[str, Any]:
    """Returns the shapes of one member's coordinates."""

    def row(x):
        if isinstance(x, HostKeys):
            return _shapes(
                jax.eval_shape(partial(jax.random.wrap_key_data, impl=x.impl), x.data[0])
            )
        return jax.ShapeDtypeStruct(x.shape[1:], jax.dtypes.canonicalize_dtype(x.dtype))

    return jax.tree.map(row, cells, is_leaf=lambda x: isinstance(x, HostKeys))


def _number() -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((), np.int32)


def _memory(stage: jax.stages.Compiled) -> int:
    used = stage.memory_analysis()
    if used is None:
        return 0
    return (
        used.argument_size_in_bytes
        + used.output_size_in_bytes
        + used.temp_size_in_bytes
        - used.alias_size_in_bytes
    )
