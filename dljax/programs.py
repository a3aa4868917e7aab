"""A member as compiled programs: a tile of `width` members on one device.

Every path to a member is such a tile, a population of one included, and every device has the same
program, so that neither the number of members, nor their order, nor the devices can reach a
member's bits.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.sharding import Mesh

from dljax import machine
from dljax.costs import Cost, cost
from dljax.errors import require_whole
from dljax.lanes import num_cores, side_by_side
from dljax.placement import to_device, to_host
from dljax.shapes import bare, of_member, of_tile, shapes
from dljax.types import Member, PyTree

WHOLE, ROUNDS = ("whole",), ("init", "advance", "result")
NUMBER = jax.ShapeDtypeStruct((), np.int32)  # of a round
KEPT = 64  # stages of members that stay traced and compiled for the next study


class Program(NamedTuple):
    """A member, compiled.

    Attributes:
      member: What was compiled.
      mesh: Devices that tiles run on, each tile on one.
      width: Members of a tile, W.
      stages: The compiled programs, "whole", or "init", "advance" and "result", one a device.
      cost: What one member costs, all rounds.
      memory: Bytes of one tile, the shared data included.
    """

    member: Callable[..., PyTree] | Member
    mesh: Mesh
    width: int
    stages: dict[str, tuple[jax.stages.Compiled, ...]]
    cost: Cost
    memory: int


class Outline(NamedTuple):
    """What a member computes, traced and not compiled.

    Attributes:
      jaxprs: Of each stage.
      out: Shapes and types of what each stage returns, of one member.
    """

    jaxprs: dict[str, Any]
    out: dict[str, PyTree]

    @property
    def results(self) -> PyTree:
        """Shapes and types of the results."""
        return list(self.out.values())[-1]


def outlined(member: Callable | Member, shared: tuple, cells: dict[str, Any]) -> Outline:
    """Traces a member; `shared` lies on one device."""
    states = _states(member, shared, cells)
    traced = {
        name: _traced(name, member, shared, states[name], cells) for name in _stage_names(member)
    }
    jaxprs = {name: one.jaxpr for name, one in traced.items()}
    return Outline(jaxprs, {name: bare(one.out_info) for name, one in traced.items()})


def without_stages(
    member: Callable | Member, shared: tuple, cells: dict[str, Any], *, width: int, mesh: Mesh
) -> Program:
    """Describes the program of members that need not run."""
    return Program(member, mesh, width, {}, member_cost(member, shared[0], cells), 0)


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
    """Compiles a member for tiles of `width`; what was compiled lately is not compiled again.

    Args:
      member: See `dj.population`.
      shared: As `replicated` gives it: once for each device of the mesh.
      cells: On the host.
      width: Members of a tile.
      mesh: Devices; their programs are traced once and compile side by side.
    """
    first, stages = shared[0], {}
    states = _states(member, first, cells)
    for name in _stage_names(member):
        traced = _traced(name, member, first, states[name], cells)
        tile = _jitted(name, member)[1]
        lowered = [
            tile.lower(
                shapes(own),
                NUMBER,
                *of_tile((states[name], of_member(cells)), width, device),
                jaxpr=traced.jaxpr,
                out_tree=jax.tree.structure(traced.out_info),
            )
            for own, device in zip(shared, mesh.devices.flat, strict=True)
        ]
        compiling = side_by_side([one.compile for one in lowered], min(mesh.size, num_cores()))
        stages[name] = tuple(compiling)
    memory = max(machine.planned(compiled[0]) for compiled in stages.values())
    return Program(member, mesh, width, stages, member_cost(member, first, cells), memory)


def run_tile(
    program: Program,
    name: str,
    shared: tuple,
    number: int,
    state: PyTree,
    cells: PyTree,
    device: int = 0,
) -> PyTree:
    """Runs one stage for at most a tile of members; all trees but `shared` lie on the host.

    Padding repeats the last member, whose results are dropped. `device` is a position in the mesh.
    """
    count = len(jax.tree.leaves(cells)[0])
    slots = np.minimum(np.arange(program.width), count - 1)
    rows = jax.tree.map(lambda x: x[slots], (state, cells))
    tile = to_device(rows, program.mesh.devices.flat[device])
    results = to_host(program.stages[name][device](shared[device], np.int32(number), *tile))
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


@lru_cache(maxsize=KEPT)
def _jitted(name: str, member: Callable | Member) -> tuple[Callable, Callable]:
    """Returns a stage of one member and of a tile, jitted.

    What they traced and compiled is let go with them: a cache of jax's own would keep every member
    and what it closes over for as long as the process lives.
    """

    def one(shared, number, state, cell):
        return _STAGES[name](member, shared, number, state, cell)

    def tile(shared, number, state, cells, *, jaxpr, out_tree):
        # maps the jaxpr of one member, so that its Python is run once, not once more for a tile
        run = jaxpr_as_fun(jaxpr)

        def mapped(state, cell):
            return out_tree.unflatten(run(*jax.tree.leaves((shared, number, state, cell))))

        return jax.vmap(mapped)(state, cells)

    donated = ("state",) if name == "advance" else ()
    static = ("jaxpr", "out_tree")
    return jax.jit(one), jax.jit(tile, static_argnames=static, donate_argnames=donated)


def _traced(name, member, shared, state, cells) -> jax.stages.Traced:
    """Traces a stage of one member; the second time jax remembers."""
    return _jitted(name, member)[0].trace(bare(shared), NUMBER, state, of_member(cells))


def _states(member: Callable | Member, shared: tuple, cells: dict[str, Any]) -> dict[str, PyTree]:
    """Returns the shapes of one member's state as each stage takes it."""
    if not isinstance(member, Member):
        return {"whole": None}
    require_whole("num_rounds", member.num_rounds, "[1, inf)")

    def after(name, state):
        return bare(_traced(name, member, shared, state, cells).out_info)

    state = after("init", None)
    new, report, _ = after("advance", state)
    if jax.tree.flatten(new) != jax.tree.flatten(state):
        raise ValueError(
            "advance must return a state of the shapes and types it was given, "
            f"got {new} for {state}."
        )
    reports = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((member.num_rounds, *x.shape), x.dtype), report
    )
    return {"init": None, "advance": state, "result": (state, reports)}
