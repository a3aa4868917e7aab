"""The one mechanism that runs many members: tiles of a compiled program, in lanes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from dljax import machine
from dljax.hosts import gathered, own_members
from dljax.lanes import side_by_side, spread
from dljax.lifelines import FULL, OutOfMemory, meet
from dljax.placement import checked_cells, checked_mesh, replicated, to_device
from dljax.programs import Program, run_tile
from dljax.types import Member, PyTree
from dljax.widths import agreed, checked_width, fitting, num_lanes, resolve

Survive = Callable[[int, PyTree, np.ndarray], np.ndarray]  # see `execute`


class Rounds(NamedTuple):
    """Where members in rounds are, leaves [P, ...] on the host.

    Attributes:
      state: Of each member.
      reports: Of the rounds behind them, leaves [P, rounds, ...].
      going: Which of them take a further round, bool[P].
    """

    state: PyTree
    reports: PyTree
    going: np.ndarray


class Keep(Protocol):
    """Who stores members as they finish, such as a run folder.

    Attributes:
      begun: Rounds that all members have behind them, and where they are; `None` begins.
    """

    begun: tuple[int, Rounds] | None

    def results(self, places: np.ndarray, results: PyTree) -> None:
        """Takes the results of some members of this process, which are at `places`, int[n]."""

    def rounds(self, number: int, rounds: Rounds) -> None:
        """Takes where all members are after `number` rounds."""

    def restart(self, width: int) -> None:
        """Hears that all members begin anew at another width."""


def population(
    member: Callable[..., PyTree] | Member,
    *,
    width: int | str | None = None,
    mesh: Mesh | None = None,
) -> Callable[[tuple, dict[str, Any]], PyTree]:
    """Turns one run into many.

    Members are run in tiles, each one call of a compiled program that maps over `width` members on
    one device; as many tiles are in flight as the devices have use for, each on whichever is free.
    What a member computes depends on its own cell, on the width and on the kind of device alone:
    not on how many members there are, on their order, or on the number of devices, cores and
    processes.

    Args:
      member: `member(*shared, **cell) -> results`, a pure function of arrays, or a `dj.Member`.
      width: Members of a tile, W >= 1. `None` takes a default by the backend and by what a step
        of the member does (`dljax.widths.default_width`); "auto" times two or three candidates on
        the first members. A width whose tiles do not fit the memory is halved.
      mesh: Devices of this process, along one axis called "members", for each of which the program
        is compiled; `None` takes all accelerators, or one CPU device, whose cores run tiles side by
        side.

    Returns:
      `f(shared, cells) -> results`: `shared` is a tuple of trees that all members see, `cells` a
      dict of trees whose leaves are [P, ...]; so are the leaves of the results, on the host.

    Raises:
      ValueError: If the width is out of range, `shared` or `cells` are not as above or hold what
        jax would change silently, or not one member fits the memory.
    """
    checked_width(width)

    def run_all(shared: tuple, cells: dict[str, Any]) -> PyTree:
        where, cells = checked_mesh(mesh), checked_cells(cells)
        shared = replicated(shared, where)
        program = agreed(resolve(member, shared, cells, width=width, mesh=where), shared, cells)
        return execute(program, shared, cells)[1]

    return run_all


def execute(
    program: Program,
    shared: tuple,
    cells: dict[str, Any],
    *,
    survive: Survive | None = None,
    done: Callable[[float], None] = lambda members: None,
    note: Callable[[str], None] = lambda line: None,
    keep: Keep | None = None,
) -> tuple[Program, PyTree]:
    """Runs every member of a compiled program.

    Where a device of any process runs out of memory, all members are begun anew in tiles of half
    the width.

    Args:
      program: What to run.
      shared: Once for each device of the program.
      cells: Trees with leaves [P, ...] on the host.
      survive: After each round, `survive(number, reports, going) -> bool[P]` says which members
        may go on, from the reports of all, leaves [P, ...], and bool[P], which still run.
      done: Is told the members' worth of work each time a tile ends; less than 0 where it is lost.
      note: Is told in a line of a width that was halved.
      keep: Stores members as they finish.

    Returns:
      The program at the width it was run at, and the results, leaves [P, ...], on the host.
    """
    num_members = len(jax.tree.leaves(cells)[0])
    own = own_members(num_members)
    run = _in_rounds if isinstance(program.member, Member) else _at_once
    told = []

    def share(members):
        told.append(members * num_members / len(own))
        done(told[-1])

    try:
        mine = jax.tree.map(lambda x: x[own], cells)
        mine = run(program, shared, mine, own, num_members, survive, share, keep)
        return program, to_device(gathered(mine, num_members))
    except OutOfMemory:
        if program.width == 1:
            raise
    # after the handler: the error's traceback holds what the failed tiles hold on the devices
    done(-sum(told))
    half = program.width // 2
    note(f"out of memory at width {program.width}: all members begin anew at {half}")
    program = fitting(program.member, shared, cells, half, program.mesh, note)
    if keep is not None:
        keep.restart(program.width)
    return execute(program, shared, cells, survive=survive, done=done, note=note, keep=keep)


def _at_once(program, shared, cells, own, num_members, survive, done, keep) -> PyTree:
    return _sweep(program, "whole", shared, 0, None, cells, done, _tiles(keep, own))


def _in_rounds(program, shared, cells, own, num_members, survive, done, keep) -> PyTree:
    """Runs rounds; members that have finished leave, and the others close ranks."""
    num_rounds = program.member.num_rounds
    share = lambda members: done(members / num_rounds)  # noqa: E731
    if begun := keep and keep.begun:
        state, reports, going = jax.tree.map(lambda x: x[own], begun[1])
        rows = [jax.tree.map(lambda x, r=r: x[:, r], reports) for r in range(begun[0])]
        share(len(own) * len(rows))
    else:
        state = _sweep(program, "init", shared, 0, None, cells)
        going, rows = np.ones(len(own), bool), []
    anyone = True  # of all processes
    for number in range(len(rows), num_rounds):
        share(np.sum(~going))
        if going.any():
            inputs = jax.tree.map(lambda x, g=going: x[g], (state, cells))
            new, report, finished = _sweep(program, "advance", shared, number, *inputs, share)
            state = _replaced(state, going, new)
            rows.append(_replaced(rows[-1], going, report) if rows else report)
            going[going] = ~finished
        else:
            rows.append(rows[-1])
        if survive is not None:
            everyone = jax.tree.map(np.copy, gathered((rows[-1], going), num_members))
            going &= _survivors(survive(number, *to_device(everyone)), num_members)[own]
        if keep is not None and anyone:
            everyone = gathered(Rounds(state, _stacked(rows), going), num_members)
            keep.rounds(number + 1, everyone)
            anyone = everyone.going.any()
    inputs = (state, _stacked(rows))
    return _sweep(program, "result", shared, 0, inputs, cells, keep=_tiles(keep, own))


def _sweep(
    program: Program,
    name: str,
    shared: tuple,
    number: int,
    state: PyTree,
    cells: dict[str, Any],
    done: Callable[[float], None] = lambda members: None,
    keep: Callable[[slice, PyTree], None] = lambda places, part: None,
) -> PyTree:
    """Runs one stage for all members given, tile by tile, in lanes."""
    num_members, width = len(jax.tree.leaves(cells)[0]), program.width
    starts, parts = range(0, num_members, width), []
    lanes = min(num_lanes(program.mesh), len(starts))
    run = spread(partial(run_tile, program, name, shared, number), program.mesh.size, lanes)

    def tile(start):
        return run(*jax.tree.map(lambda x: x[start : start + width], (state, cells)))

    jobs = (partial(tile, start) for start in starts)
    try:
        # without memory: all is begun anew, so what still runs has to have ended
        for part in side_by_side(jobs, lanes, settle=machine.is_full):
            keep(slice(len(parts) * width, (len(parts) + 1) * width), part)
            done(min(width, num_members - len(parts) * width))
            parts.append(part)
    except jax.errors.JaxRuntimeError as error:
        if not machine.is_full(error):
            raise
        meet(FULL)  # in place of the gathering that the others come to next
        raise OutOfMemory(str(error)) from error
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def _survivors(chosen: Any, num_members: int) -> np.ndarray:
    chosen = np.asarray(chosen)
    if chosen.shape != (num_members,) or chosen.dtype != bool:
        raise ValueError(
            f"survive must return bool[{num_members}], got {chosen.dtype}{list(chosen.shape)}."
        )
    return chosen


def _tiles(keep: Keep | None, own: np.ndarray) -> Callable[[slice, PyTree], None]:
    return lambda places, part: keep and keep.results(own[places], part)


def _stacked(rows: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *x: np.stack(x, axis=1), *rows)


def _replaced(old: PyTree, rows: np.ndarray, new: PyTree) -> PyTree:
    """Returns trees [n, ...] with the rows where `rows` is true taken from `new`."""

    def one(x, y):
        x = x.copy()
        x[rows] = y
        return x

    return jax.tree.map(one, old, new)
