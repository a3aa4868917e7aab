"""How many members of a tile: chosen before the first one runs, bounded by the memory there is."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from dljax import machine
from dljax.costs import Cost
from dljax.errors import require_whole
from dljax.lanes import num_cores
from dljax.lifelines import meet
from dljax.programs import Program, compile_program, member_cost, run_tile
from dljax.types import Member

STEP_FLOPS = 2e7  # of all members of a tile on a CPU: the optimum is flat around it
WIDEST = 64  # of a tile on a CPU
ACCELERATOR_WIDTH = 1024
TILES_OF_A_LANE = 32  # at least, where members leave early
LONG_TILE = 5.0  # seconds; what takes longer is timed once
MEMORY_SHARE = 0.8  # of a device's memory that tiles may take together


def num_lanes(mesh: Mesh) -> int:
    """Returns how many tiles are in flight at once.

    On a CPU as many as fill the cores, each in a thread; on accelerators two for each, so that
    none waits while results are fetched.
    """
    if mesh.devices.flat[0].platform != "cpu":
        return 2 * mesh.size
    return max(num_cores(), mesh.size)


def default_width(cost: Cost, platform: str, num_members: int) -> int:
    """Returns a good width for a kind of member.

    On a CPU narrow tiles are fastest: 1 where the step is recurrent, where a loop ends at a
    condition (a wider tile would go on until its last member stops), or where it has more than
    20 MFLOP; the less it does the wider, up to 64. An accelerator is filled by width alone. No
    tile is wider than the members that one lane gets, and only a kind whose width is 1 gets 1,
    whose last bits may differ from those of all other widths.

    Args:
      cost: Of one member.
      platform: "cpu" or another.
      num_members: Members that one lane will run.
    """
    enough = max(2, 1 << (num_members - 1).bit_length())
    if platform != "cpu":
        return min(ACCELERATOR_WIDTH, enough)
    step = cost.step_flops or cost.flops
    if cost.recurrent or cost.open_ended or step > STEP_FLOPS:
        return 1
    width = 1 << int(np.log2(STEP_FLOPS / max(step, 1.0)))
    return min(max(width, 2), WIDEST, enough)


def resolve(
    member: Callable | Member,
    shared: tuple,
    cells: dict[str, Any],
    *,
    width: int | str | None,
    mesh: Mesh,
    note: Callable[[str], None] = lambda line: None,
) -> Program:
    """Chooses the width, compiles, and halves the width until it fits the memory.

    Args:
      member: See `dj.population`.
      shared: Once for each device of `mesh`.
      cells: On the host.
      width: A number, "auto" or `None`; see `dj.population`.
      mesh: Devices.
      note: Is told what was measured and what did not fit, a line each.

    Raises:
      ValueError: If the width is none of these, or not one member fits.
    """
    checked_width(width)
    num_members = len(jax.tree.leaves(cells)[0])
    share = -(-num_members // (num_lanes(mesh) * jax.process_count()))
    platform = mesh.devices.flat[0].platform
    if platform == "cpu" and isinstance(member, Member) and member.finished is not None:
        share = -(-share // TILES_OF_A_LANE)  # few slots are empty while members leave
    if isinstance(width, int | np.integer):
        return fitting(member, shared, cells, int(width), mesh, note)
    default = default_width(member_cost(member, shared[0], cells), platform, share)
    if width is None:
        return fitting(member, shared, cells, default, mesh, note)
    widest = max(1, 1 << (share - 1).bit_length())
    factor = 2 if platform == "cpu" else 4
    candidates = sorted({max(1, default // factor), default, min(default * factor, widest)})
    programs = [fitting(member, shared, cells, w, mesh, note) for w in candidates]
    programs = list({program.width: program for program in programs}.values())
    rates = [p.width / t for p, t in zip(programs, _tile_seconds(programs, shared, cells))]
    fastest = programs[int(np.argmax(rates))]
    measured = ", ".join(f"{rate:.3g} at {program.width}" for program, rate in zip(programs, rates))
    note(f"width {fastest.width}, by members a second on one lane: {measured}")
    return fastest


def agreed(
    program: Program,
    shared: tuple,
    cells: dict[str, Any],
    note: Callable[[str], None] = lambda line: None,
) -> Program:
    """Takes the least of the widths that the processes resolved; all must call it in one order."""
    width = min(meet(program.width))
    if width == program.width:
        return program
    return fitting(program.member, shared, cells, width, program.mesh, note)


def checked_width(width: int | str | None) -> None:
    """Raises a `ValueError` unless `width` is a whole number >= 1, "auto" or `None`."""
    if isinstance(width, str) and width != "auto":
        raise ValueError(f"width must be a whole number >= 1, 'auto' or None, got {width!r}.")
    if width is not None and width != "auto":
        require_whole("width", width, "[1, inf)")


def fitting(
    member: Callable | Member,
    shared: tuple,
    cells: dict[str, Any],
    width: int,
    mesh: Mesh,
    note: Callable[[str], None] = lambda line: None,
) -> Program:
    """Compiles at `width`, or at the widest half of it whose tiles fit the memory together."""
    lanes = num_lanes(mesh)
    budget = MEMORY_SHARE * machine.memory(mesh.devices.flat[0])
    if mesh.devices.flat[0].platform != "cpu":
        lanes //= mesh.size  # of one device, as each has a memory of its own
    try:
        program = compile_program(member, shared, cells, width=width, mesh=mesh)
    except jax.errors.JaxRuntimeError as error:
        if not machine.is_full(error) or width == 1:
            raise
        need = "more"  # some backends refuse to compile what cannot fit
    else:
        if lanes * program.memory <= budget:
            return program
        need = _gib(lanes * program.memory)
    if width == 1:
        raise ValueError(
            f"one member must fit in memory, got {need} where {_gib(budget)} may be used."
        )
    note(f"width {width} needs {need} of memory where {_gib(budget)} may be used: {width // 2}")
    return fitting(member, shared, cells, width // 2, mesh, note)


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.3g} GiB"


def _tile_seconds(programs: list[Program], shared: tuple, cells: dict[str, Any]) -> np.ndarray:
    """Times one tile of each, or one round of it; short ones three times in turn, the least."""

    def prepared(program):
        first = jax.tree.map(lambda x: x[: program.width], cells)
        if not isinstance(program.member, Member):
            return partial(run_tile, program, "whole", shared, 0, None, first)
        state = run_tile(program, "init", shared, 0, None, first)
        return partial(run_tile, program, "advance", shared, 0, state, first)

    runs = [prepared(program) for program in programs]
    times = np.array([[machine.seconds(run, repeats=0) for run in runs]])
    if times.max() < LONG_TILE:
        again = [[machine.seconds(run, repeats=0) for run in runs] for _ in range(3)]
        times = np.array(again)  # the first call was to warm up
    return times.min(axis=0)
