"""What a study will run: said before it starts, kept with its results."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import jax

from dljax import machine
from dljax.costs import Cost
from dljax.lanes import num_cores
from dljax.programs import Program
from dljax.progress import progress_line
from dljax.widths import num_lanes

UNFUSED = 0.25  # of the operations, and of the bytes they move one by one, what fusion leaves


class ProgramPlan(NamedTuple):
    """One program of a study.

    Attributes:
      width: Members of a tile, W, at which all its members ran.
      num_parameters: Numbers that `dj.trainer` trains, of one member.
      memory: Bytes of one tile, the shared data included, as XLA plans them.
      flops: Floating-point operations of one member in matrix products and convolutions; where a
        loop ends at a condition, its body is counted once.
    """

    width: int
    num_parameters: int
    memory: int
    flops: float


class Plan(NamedTuple):
    """What a study runs on, and its programs.

    Attributes:
      num_members: Members of each program, P.
      programs: Each program by its labels of the static axes.
      device: Kind of device.
      num_devices: Devices that tiles run on, of one process.
      num_lanes: Tiles in flight at once in one process.
      num_processes: Processes that share the members.
    """

    num_members: int
    programs: dict[tuple[str, ...], ProgramPlan]
    device: str
    num_devices: int
    num_lanes: int
    num_processes: int


def planned(programs: dict[tuple[str, ...], Program], num_members: int) -> Plan:
    """Takes down what compiled programs are."""
    mesh = next(iter(programs.values())).mesh
    each = {
        names: ProgramPlan(p.width, p.cost.parameters, p.memory, p.cost.flops)
        for names, p in programs.items()
    }
    kind = mesh.devices.flat[0].device_kind
    return Plan(num_members, each, kind, mesh.size, num_lanes(mesh), jax.process_count())


def described(plan: Plan, num_programs: int, seconds: float) -> str:
    """Says in a line what the first of a study's programs promises of all of them."""
    first = next(iter(plan.programs.values()))
    devices = f"{plan.num_devices} x {plan.device}, {_count(plan.num_lanes, 'tile')} at once"
    processes = f", {plan.num_processes} processes" if plan.num_processes > 1 else ""
    members = _count(plan.num_members * num_programs, "member")
    parameters = f"{first.num_parameters:,} parameters, " if first.num_parameters else ""
    return (
        f"{members} in {_count(num_programs, 'program')}, "
        f"tiles of {first.width} on {devices}{processes}; {parameters}"
        f"{_amount(first.flops, 'FLOP')} a member, {_amount(first.memory, 'B')} a tile; "
        f"roughly {seconds:,.0f} s to run"
    )


def estimated_seconds(cost: Cost, program: Program, num_members: int) -> float:
    """Estimates how long the members of a program run, from what the device was measured to do.

    The sum of the times that its products, its other operations' bytes and its operations' overhead
    would take one after the other, a quarter of the latter two, as the rest is fused; within a
    factor of three where it was compared (`benchmarks/RESULTS.md`).
    """
    mesh = program.mesh
    device = mesh.devices.flat[0]
    best = machine.limits(device)
    num_devices = jax.process_count() * (mesh.size if device.platform != "cpu" else 1)
    lanes = num_cores() if device.platform == "cpu" else 1  # that compute at the same time
    work = cost.flops / best.flops + UNFUSED * cost.bytes / best.bytes
    overhead = UNFUSED * cost.operations * best.overhead / (program.width * lanes)
    return num_members * (work + overhead) / num_devices


class Watch(NamedTuple):
    """Where a study tells how far it is; `names` are a program's labels."""

    compiles: Callable[[tuple[str, ...]], None]
    runs: Callable[[tuple[str, ...], Program], None]
    done: Callable[[tuple[str, ...], float], None]
    ends: Callable[[tuple[str, ...]], None]
    note: Callable[[str], None]


@contextmanager
def watched(
    progress: bool | Callable[[str, float, int], None],
    programs: list[tuple[str, ...]],
    num_members: int,
) -> Iterator[Watch]:
    """Shows a study's progress as `dj.study` says it; of several processes the first does."""
    if progress is True and jax.process_index() > 0:
        progress = False
    total = num_members * len(programs)
    finished = dict.fromkeys(programs, 0.0)
    said = []

    def say(line):
        if progress:
            print(f"dljax: {line}", file=sys.stderr, flush=True)

    with _line(progress, total) as show:

        def runs(names, program):
            if progress is True and not said:
                seconds = estimated_seconds(program.cost, program, total)
                say(described(planned({names: program}, num_members), len(programs), seconds))
                said.append(names)
            tell(names, "run")

        def tell(names, stage):
            show(names, stage, finished[names], sum(finished.values()))

        def done(names, members):
            finished[names] += members
            tell(names, "run")

        def ends(names):
            finished[names] = num_members
            tell(names, "done")

        yield Watch(lambda names: tell(names, "compile"), runs, done, ends, say)


@contextmanager
def _line(progress, total) -> Iterator[Callable]:
    if progress is True:
        with progress_line(total, "members") as report:
            named = lambda names: ", ".join(map(str, names)) or "study"  # noqa: E731
            yield lambda names, stage, own, _: report(named(names), stage, own)
    elif progress:
        yield lambda _, stage, __, done: stage == "done" or progress(stage, done, total)
    else:
        yield lambda *_: None


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _amount(number: float, unit: str) -> str:
    power = min(5, max(0, int(math.log10(max(number, 1.0)) // 3)))
    return f"{number / 1000**power:.3g} {' kMGTP'[power].strip()}{unit}"
