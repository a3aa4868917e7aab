"""Programs of a member made ready to be timed, and timed in turn."""

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from dljax import machine
from dljax.addresses import first_line
from dljax.axes import checked_axes, product
from dljax.errors import require_whole
from dljax.lanes import side_by_side, spread
from dljax.placement import replicated, to_host
from dljax.populations import execute
from dljax.programs import Program, member_cost, run_tile
from dljax.types import Member, PyTree
from dljax.widths import default_width, fitting, num_lanes

PRECISIONS = ("highest", "tensorfloat32", "BF16_BF16_F32")  # beside the one that is set
LEAST_SECONDS = 0.2  # of one timing
MANY = 2**30  # members, so that their number does not bound the width

Say = Callable[[str], None]


class Case(NamedTuple):
    """A member to time, its name in the table, and what `dj.throughput.bench` takes with it."""

    name: str
    member: Callable[..., PyTree] | Member
    shared: tuple
    axes: Mapping[str, Any]
    num_steps: int | None = None


class Run(NamedTuple):
    """A compiled program and what it is timed on.

    Attributes:
      case: The member.
      label: By what it differs from those it is compared with.
      program: The program.
      shared: What all members see, once for each device.
      compile_seconds: What tracing and compiling took.
      lanes: Tiles at once.
      note: What else there is to say.
    """

    case: Case
    label: str
    program: Program
    shared: tuple
    compile_seconds: float
    lanes: int
    note: str = ""


def timed(compared: str, runs: list[Run], repeats: int, say: Say) -> list[tuple[float, ...]]:
    """Times runs in turn, forth and back, each for a fifth of a second or more.

    Returns:
      Of each run and repeat, steps of members a second, or members where no number of steps is
      given.
    """
    tiles, rates = [], [[] for _ in runs]
    for run in runs:
        seconds = machine.seconds(lambda r=run: _run_tiles(r, r.lanes), repeats=1)
        tiles.append(run.lanes * max(1, round(LEAST_SECONDS / seconds)))
    order = list(enumerate(runs))
    for repeat in range(repeats if runs else 0):
        say(f"times by {compared}, {repeat + 1} of {repeats}")
        for i, run in order[:: (-1) ** repeat]:
            started = time.perf_counter()
            _run_tiles(run, tiles[i])
            seconds = time.perf_counter() - started
            members = tiles[i] * run.program.width
            rates[i].append(members * (run.case.num_steps or 1) / seconds)
    return [tuple(rate) for rate in rates]


def at_widths(case: Case, widths: Iterable[int], mesh: Mesh, say: Say) -> list[Run]:
    """Compiles a case at rising widths, until one does not fit the memory."""
    runs = []
    for width in widths:
        run = _compiled(case, width, mesh, say)
        runs += [] if runs and run.program.width < width else [run]
        if run.program.width < width:
            break
    return runs


def usual_widths(case: Case, mesh: Mesh) -> tuple[int, list[int]]:
    """Returns the default width, and five widths around it."""
    platform = mesh.devices.flat[0].platform
    shared = replicated(case.shared, mesh)[0]
    default = default_width(member_cost(case.member, shared, product(case.axes)), platform, MANY)
    factor = 2 if platform == "cpu" else 4
    least = max(1, default // factor**2)
    return default, [least * factor**power for power in range(5)]


def by_tiles_at_once(run: Run) -> list[Run]:
    """Returns the run with one tile at once and with all, where they are several."""
    if run.lanes == 1:
        return []
    return [run._replace(lanes=n, label=f"{n} at once") for n in (1, run.lanes)]


def by_devices(run: Run) -> list[Run]:
    """Returns the run on one device, and as it is, where there are several."""
    size = run.program.mesh.size
    if size == 1:
        return []
    alone = _on_one(run.program, 0)
    first = run._replace(program=alone, shared=run.shared[:1], lanes=num_lanes(alone.mesh))
    return [first._replace(label="1"), run._replace(label=str(size))]


def by_precision(run: Run, say: Say) -> list[Run]:
    """Returns the run as it is and at other precisions, each with what its bits say of it."""
    runs = [run._replace(label=str(jax.config.jax_default_matmul_precision or "default"))]
    expected = _run_tile(run)
    for name in PRECISIONS:
        try:
            with jax.default_matmul_precision(name):
                other = _compiled(run.case, run.program.width, run.program.mesh, say)
        except (ValueError, NotImplementedError, jax.errors.JaxRuntimeError) as error:
            say(f"precision {name}: {first_line(error)}")
            continue
        same = _same(_run_tile(other), expected)
        runs.append(other._replace(label=name, note="the same bits" if same else "other bits"))
    return runs


def checked(case: Case) -> Case:
    """Returns a case with checked axes, or raises a `ValueError`."""
    if not isinstance(case.member, Member) and not callable(case.member):
        raise ValueError(f"{case.name} must be a function or a dljax.Member, got {case.member!r}.")
    if case.num_steps is not None:
        require_whole("num_steps", case.num_steps, "[1, inf)")
    axes = checked_axes(case.axes)
    first = case.member.init if isinstance(case.member, Member) else case.member
    try:
        inspect.signature(first).bind(*case.shared, **axes)
    except TypeError as error:
        raise ValueError(
            f"{case.name} must take `shared` and, by their names, `axes`, got {error}."
        ) from None
    return case._replace(axes=axes)


def _compiled(case: Case, width: int, mesh: Mesh, say: Say) -> Run:
    say(f"compiles {case.name} at width {width}")
    shared = replicated(case.shared, mesh)
    started = time.perf_counter()
    program = fitting(case.member, shared, product(case.axes), width, mesh, say)
    seconds = time.perf_counter() - started
    return Run(case, str(program.width), program, shared, seconds, num_lanes(mesh))


def _run_tiles(run: Run, num_tiles: int) -> None:
    tile = spread(partial(_run_tile, run), run.program.mesh.size, run.lanes)
    for _ in side_by_side([tile] * num_tiles, run.lanes):
        pass


def _run_tile(run: Run, device: int = 0) -> PyTree:
    """Runs a tile whose members go through the axes, again and again if they are few."""
    cells = product(run.case.axes)
    slots = np.arange(run.program.width)
    tile = jax.tree.map(lambda x: x[slots % len(x)], cells)
    if isinstance(run.program.member, Member):
        alone = _on_one(run.program, device)
        return to_host(execute(alone, run.shared[device : device + 1], tile)[1])
    return run_tile(run.program, "whole", run.shared, 0, None, tile, device)


def _on_one(program: Program, device: int) -> Program:
    """Returns a program of one device of its mesh."""
    one = slice(device, device + 1)
    mesh = Mesh(program.mesh.devices[one], program.mesh.axis_names)
    stages = {name: compiled[one] for name, compiled in program.stages.items()}
    return program._replace(mesh=mesh, stages=stages)


def _same(results: PyTree, expected: PyTree) -> bool:
    pairs = zip(jax.tree.leaves(results), jax.tree.leaves(expected))
    return all(x.tobytes() == y.tobytes() for x, y in pairs)
