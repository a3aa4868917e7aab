"""`dljax verify`, `dljax replay` and `dljax report`: run folders checked, run and told again."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from dljax.addresses import from_file, is_address
from dljax.errors import DataError, require
from dljax.options import Flag, Folder, Number

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
class Reproduce:
    """Make all runs of a stored comparison again, here, and say whether the two agree.

    The declaration is taken from the folder; its fingerprint must be that of the problem here. On
    the same machine the bits are the same; elsewhere final metrics may differ by the tolerance, or
    agree as distributions. Exits 1 if they do not, or if a claim turns round.
    """

    run: RunFolder = ""
    """A folder that dljax compare wrote."""
    out: Folder = ""
    """Run folder of the runs made here. By default RUN-again."""
    tolerance: Number = TOLERANCE
    """Relative, of a final metric."""
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
    from dljax.comparison.again import replay_run

    stored = _comparison(options.run)
    found = replay_run(stored, _member(options.member), _sources(options.data_dir))
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


def run_reproduce(options: Reproduce) -> None:
    """Makes a stored comparison again and prints how the two agree; exits 1 unless they do."""
    from dljax.startup import configure

    configure()
    # from here on jax may be used: what is imported below touches it
    from dljax.comparison.again import reproduced

    require("tolerance", options.tolerance, "[0, inf)")
    stored = _comparison(options.run)
    out = options.out or f"{options.run.rstrip('/')}-again"
    found = reproduced(stored, _sources(options.data_dir), out, options.tolerance)
    if options.json:
        print(json.dumps({"run": options.run, "again": out, **found}, indent=2))
    else:
        for told in found["optimizers"]:
            bits = f"{told['same_bits']} of {told['num_runs']} runs to the bit"
            apart = "" if told["largest"] is None else f", {told['largest']:.1e} apart at most"
            chosen = "" if told["chosen_alike"] else ", another point was chosen"
            print(f"{told['name']}: {told['how']} ({bits}{apart}{chosen})")
        for one in found["claims"]:
            print(f"{one['a']} against {one['b']}: {one['first']}, and now {one['again']}")
        print(f"{options.run} and {out} {'agree' if found['agrees'] else 'do not agree'}.")
    if not found["agrees"]:
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


def _comparison(run: str) -> Any:
    """Reads the folder of a comparison."""
    from dljax.store.reading import read

    stored = read(_folder(run))
    if stored.declaration["kind"] != "compare":
        raise ValueError(
            f"{run} holds a study, whose members are Python: "
            "dj.replay(run, member, *shared, seed=...) runs one again."
        )
    return stored


def _sources(data_dir: str) -> Any:
    """Finds problems and optimizers by the names that the command line takes."""
    from dljax import problems
    from dljax.comparison.again import Sources
    from dljax.comparison.space import factories

    def problem(name):
        if is_address(name):
            found = from_file(name)
            return found if isinstance(found, problems.Problem) else found()
        return problems.load(name, data_dir=data_dir or None)

    def optimizer(name):
        return from_file(name) if is_address(name) else factories([name])[name]

    return Sources(problem, optimizer)


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
