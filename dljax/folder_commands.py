"""`dljax verify`, `dljax replay` and `dljax report`: run folders checked, run and told again."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from dljax.addresses import from_file, is_address
from dljax.errors import DataError
from dljax.options import Flag, Folder

RunFolder = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
TOLERANCE = 1e-3  # relative, of a member that was stored in another environment


@dataclass
class Verify:
    """Check every digest of a run folder: what is damaged, file by file."""

    run: RunFolder = ""
    """A folder that dj.study or dljax compare wrote."""
    json: Flag = False
    """Print JSON instead of text."""


@dataclass
class Replay:
    """Compute one run of a stored comparison again, alone, and compare it with what was stored.

    The bits must be the same. Where the environment is another, what differs is listed, and the
    numbers may differ by a thousandth of the largest.
    """

    run: RunFolder = ""
    """A folder that dljax compare wrote."""
    member: Annotated[str, tyro.conf.arg(metavar="NAME=VALUE,...", help_behavior_hint="")] = ""
    """Which run: seed=3,learning_rate=0.01,optimizer=adam."""
    data_dir: Folder = ""
    """Folder of MNIST and Fashion-MNIST. By default $DLJAX_DATA, else the user's cache."""
    json: Flag = False
    """Print JSON instead of text."""


@dataclass
class Report:
    """Make tables and pictures again from what a run folder holds, and print the table."""

    run: RunFolder = ""
    """A folder that dj.study or dljax compare wrote."""
    json: Flag = False
    """Print the summary as JSON instead of the table."""


def run_verify(options: Verify) -> None:
    """Prints what is damaged, and raises a `DataError` if anything is."""
    from dljax.store.reading import damages, read

    wrong = damages(_folder(options.run))
    stored = None if wrong else read(options.run)
    if options.json:
        print(json.dumps({"run": options.run, "damages": wrong}, indent=2))
    else:
        for sentence in wrong:
            print(sentence)
    if wrong:
        raise DataError(f"{options.run} has {len(wrong)} damage(s); the same command mends blocks.")
    if not options.json:
        files = sum("file" in entry for entry in stored.entries)
        print(f"{options.run}: {stored.num_stored():,} members, {files} files, all whole.")


def run_replay(options: Replay) -> None:
    """Runs a member again and prints how it compares; exits 1 unless it is what was stored."""
    from dljax.startup import configure

    configure()
    # from here on jax may be used: what is imported below touches it
    from dljax import problems
    from dljax.comparison.again import Sources, replay_run
    from dljax.comparison.space import factories
    from dljax.store.reading import read

    stored = read(_folder(options.run))
    if stored.declaration["kind"] != "compare":
        raise ValueError(
            f"{options.run} holds a study, whose members are Python: "
            "dj.replay(run, member, *shared, seed=...) runs one again."
        )

    def problem(name):
        if is_address(name):
            found = from_file(name)
            return found if isinstance(found, problems.Problem) else found()
        return problems.load(name, data_dir=options.data_dir or None)

    def optimizer(name):
        return from_file(name) if is_address(name) else factories([name])[name]

    found = replay_run(stored, _member(options.member), Sources(problem, optimizer))
    within = found.is_same or (bool(found.differs) and found.difference <= TOLERANCE)
    if options.json:
        told = {"is_same": found.is_same, "difference": found.difference, "differs": found.differs}
        print(json.dumps({"member": options.member, **told}, indent=2))
    else:
        print(_compared(options.member, found))
        for phrase in found.differs:
            print(f"  differs: {phrase}")
    if not within:
        sys.stdout.flush()
        sys.exit(1)


def run_report(options: Report) -> None:
    """Writes the tables and pictures of a run folder again."""
    from dljax import archive
    from dljax.comparison import Comparison, report
    from dljax.comparison.study_page import write_report
    from dljax.folders import Part, write
    from dljax.store.reading import read
    from dljax.store.runs import Run

    stored = read(_folder(options.run))
    found, told = archive.load(options.run), stored.declaration
    how = (told["kind"], told["declared"], told["axes"], told["about"])
    with Run(options.run, *how, computes=False) as run:
        if not isinstance(found, Comparison):
            write(Part(run, "study", is_whole=True), found)
            run.record(write_report(found, run.folder.name, run.folder))
            told = json.loads((run.folder / "summary.json").read_text())
        else:
            run.record(report.write(found, options.run))
            told = found.summary
    if options.json or not isinstance(found, Comparison):
        print(json.dumps(told, indent=2, allow_nan=False))
    else:
        from rich.console import Console

        Console().print(report.table(told))
    print(f"Everything is in {Path(options.run) / 'report.html'} and beside it.", file=sys.stderr)


def _folder(run: str) -> str:
    if not run:
        raise ValueError("a run folder must be named, such as runs/digits-mlp, got none.")
    return run


def _member(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if not pairs or not all(name and equals and value for name, equals, value in pairs):
        raise ValueError(
            "--member must name a run, such as seed=3,learning_rate=0.01,optimizer=adam, "
            f"got {text!r}."
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _compared(member: str, found: Any) -> str:
    if found.is_same:
        count = sum(np.size(x) for x in found.results.values())
        return f"{member}: the same bits, all {count} numbers."
    return f"{member}: other bits, apart by {found.difference:.2g} of the largest number."
