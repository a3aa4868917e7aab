"""How fast a member runs on this machine, at which width, and how far that is from its limits."""

import statistics
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from dljax import machine
from dljax.errors import require_whole
from dljax.machine import Limits
from dljax.placement import checked_mesh
from dljax.plans import UNFUSED, estimated_seconds
from dljax.timings import (
    Case,
    Run,
    at_widths,
    by_devices,
    by_precision,
    by_tiles_at_once,
    checked,
    timed,
    usual_widths,
)
from dljax.types import Member, PyTree
from dljax.widths import num_lanes


class Row(NamedTuple):
    """One program, timed.

    Attributes:
      compared: What differs among the rows of this kind: "width", "tiles at once", "devices",
        "precision" or "member".
      label: Which of them this is.
      member: Name of the member.
      width: Members of a tile.
      compile_seconds: To trace and to compile.
      rate: Median of `rates`.
      rates: Of each repeat, member-steps or members a second.
      memory: Bytes of one tile, the shared data included.
      flops: Floating-point operations a second in matrix products and convolutions; `None` where a
        loop ends at a condition, as nobody knows its turns.
      flops_share: `flops` by what the devices can do.
      bytes: Bytes a second, roughly: a quarter of what all operations would move one by one.
      bytes_share: `bytes` by the bandwidth of the devices' memory; caches can serve more than 1.
      estimate: Seconds that `dj.study` would have announced, by those measured.
      note: What else there is to say.
    """

    compared: str
    label: str
    member: str
    width: int
    compile_seconds: float
    rate: float
    rates: tuple[float, ...]
    memory: int
    flops: float | None
    flops_share: float | None
    bytes: float | None
    bytes_share: float | None
    estimate: float | None
    note: str


class Throughput(NamedTuple):
    """What `bench` measured.

    Attributes:
      device: Kind of device.
      num_devices: Devices that tiles run on.
      num_lanes: Tiles in flight at once.
      unit: Of rates, a second: "member-steps", or "members" where no number of steps was given.
      limits: What one device was measured to do at best.
      default_width: That of the first member.
      rows: The programs.
      ratios: Of each repeat, the second member's rate by the first one's; empty without a second.
    """

    device: str
    num_devices: int
    num_lanes: int
    unit: str
    limits: Limits
    default_width: int
    rows: tuple[Row, ...]
    ratios: tuple[float, ...]


def bench(
    member: Callable[..., PyTree] | Member,
    *shared: PyTree,
    axes: Mapping[str, Any],
    num_steps: int | None = None,
    against: Callable[..., PyTree] | Member | None = None,
    widths: Iterable[int] | None = None,
    repeats: int = 5,
    mesh: Mesh | None = None,
    progress: bool = True,
) -> Throughput:
    """Times a member as `dj.study` would run it, compilation apart.

    At several widths; then, at the fastest of them, one tile at once, on one device of several, and
    at other precisions of matrix products. What is compared is timed in turn, forth and back. The
    axes say what members look like; they are gone through as often as it takes.

    Args:
      member: As of `dj.study`.
      *shared: As of `dj.study`.
      axes: As of `dj.study`.
      num_steps: Steps of one run, >= 1; `None` counts runs instead of steps.
      against: A second member, of the same `shared` and `axes`: both are timed at the widths, and
        then in turn, each at its fastest.
      widths: Members of a tile, each >= 1; `None` takes five, powers of 2 (on
        accelerators of 4) around the default, as far as the memory goes.
      repeats: Timings of each program, >= 1; twice as many of two members.
      mesh: Devices, see `dj.population`.
      progress: Whether to say on standard error what is going on.

    Raises:
      ValueError: If a number is out of range, the member does not take the axes, or not one member
        fits the memory.
    """
    cases = [Case("member", member, shared, axes, num_steps)]
    if against is not None:
        cases.append(Case("against", against, shared, axes, num_steps))
    return bench_cases(cases, widths=widths, repeats=repeats, mesh=mesh, progress=progress)


def bench_cases(
    cases: list[Case],
    *,
    widths: Iterable[int] | None = None,
    repeats: int = 5,
    mesh: Mesh | None = None,
    progress: bool = True,
    variants: bool = True,
) -> Throughput:
    """Times one member, or two that may differ in all, or widths alone; see `bench`."""
    require_whole("repeats", repeats, "[1, inf)")
    widths = None if widths is None else sorted(set(widths))
    for width in widths or ():
        require_whole("widths", width, "[1, inf)")
    cases = [checked(case) for case in cases]
    mesh = checked_mesh(mesh)
    say = _say if progress else lambda line: None
    say("measures what the device can do")
    device = mesh.devices.flat[0]
    limits = machine.limits(device)
    runs, fastest, ratios = [], [], ()
    for case in cases:
        _, around = usual_widths(case, mesh)
        runs += at_widths(case, around if widths is None else widths, mesh, say)
    rates = timed("width", runs, repeats, say)
    rows = _rows("width", runs, rates, limits)
    for case in cases:
        own = [i for i, run in enumerate(runs) if run.case is case]
        fastest.append(runs[max(own, key=lambda i: rows[i].rate)])
    if variants and len(cases) == 1:
        compared = {
            "tiles at once": by_tiles_at_once(*fastest),
            "devices": by_devices(*fastest),
            "precision": by_precision(*fastest, say),
        }
        for name, variants in compared.items():
            rows += _rows(name, variants, timed(name, variants, repeats, say), limits)
    elif variants:
        pair = [run._replace(label=run.case.name) for run in fastest]
        rates = timed("member", pair, 2 * repeats, say)
        rows += _rows("member", pair, rates, limits)
        ratios = tuple(np.divide(rates[1], rates[0]).tolist())
    unit = "members" if cases[0].num_steps is None else "member-steps"
    default, _ = usual_widths(cases[0], mesh)
    place = (device.device_kind, mesh.size, num_lanes(mesh))
    return Throughput(*place, unit, limits, default, tuple(rows), ratios)


def _rows(
    compared: str, runs: list[Run], rates: list[tuple[float, ...]], limits: Limits
) -> list[Row]:
    return [_row(compared, run, rate, limits) for run, rate in zip(runs, rates)]


def _row(compared: str, run: Run, rates: tuple[float, ...], limits: Limits) -> Row:
    rate, program = statistics.median(rates), run.program
    members = rate / (run.case.num_steps or 1)
    on_cpu = program.mesh.devices.flat[0].platform == "cpu"
    num_devices = 1 if on_cpu else program.mesh.size  # one CPU is all devices of it
    work = [None] * 5
    if not program.cost.open_ended:
        flops, moved = members * program.cost.flops, members * UNFUSED * program.cost.bytes
        shares = flops / limits.flops / num_devices, moved / limits.bytes / num_devices
        whole = run.lanes == num_lanes(program.mesh)
        estimate = members * estimated_seconds(program.cost, program, 1) if whole else None
        work = [flops, shares[0], moved, shares[1], estimate]
    return Row(
        compared,
        run.label,
        run.case.name,
        program.width,
        run.compile_seconds,
        rate,
        rates,
        program.memory,
        *work,
        run.note,
    )


def _say(line: str) -> None:
    print(f"dljax: {line}", file=sys.stderr, flush=True)
