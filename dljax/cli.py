"""The command line: `dljax compare`, its run folders, `dljax list`, `check` and `bench`."""

import contextlib
import inspect
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import tyro

from dljax import lifelines
from dljax.addresses import first_line, from_file, is_address
from dljax.analyze_command import Analyze, run_analyze
from dljax.audit_command import Audit, run_audit
from dljax.bench_command import Bench, run_bench
from dljax.compare_command import Compare, run_compare
from dljax.errors import DataError, unknown
from dljax.folder_commands import (
    Replay,
    Report,
    Reproduce,
    Verify,
    run_replay,
    run_report,
    run_reproduce,
    run_verify,
)
from dljax.options import Flag
from dljax.store import runs
from dljax.store.files import NO_SPACE

DONE, FAILED, USAGE, BAD_DATA, DISK_FULL, SIGNALLED = 0, 1, 2, 3, 75, 128
LEAVING, PATIENCE = "dljax leaves", 60.0
_leaving = threading.Event()  # a signal came


@dataclass
class List:
    """List the problems, optimizers and data sets."""

    json: Flag = False
    """Print JSON instead of text."""


@dataclass
class Check:
    """Put an optimizer to the contract of dljax's own: what holds, what does not, and why."""

    optimizer: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OPTIMIZER")] = ""
    """One of dljax's own, such as adam, or yours: my_optimizer.py:mine, a function of
    learning_rate that returns an optax transformation."""
    json: Flag = False
    """Print JSON instead of text."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits.

    The code is 0 if done, 1 failed, 2 usage, 3 bad data, 75 no space left, 130 interrupted and 143
    terminated. A first signal ends in order, a second one at once.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number, partial(_interrupt, keeps=arguments[:1] in (["compare"], ["reproduce"]))
        )
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no plus-minus shows "?"
    command = _parse(arguments)
    try:
        COMMANDS[type(command)][1](command)
    except DataError as error:
        _end(str(error), BAD_DATA)
    except ValueError as error:
        if os.environ.get("DLJAX_TRACEBACK"):
            raise
        _end(str(error), USAGE)
    except OSError as error:
        if error.errno not in NO_SPACE:
            _fail(error)
        what = f"no space is left ({error.strerror}). What was finished is kept"
        _end(f"{what}: make room, and the same command goes on.", DISK_FULL)
    except Exception as error:
        _fail(error)


def _interrupt(number: int, _, keeps: bool) -> None:
    """Ends in a thread: an error raised here could be lost in whatever the main thread does."""
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, lambda number, _: os._exit(SIGNALLED + number))
    _leaving.set()
    leave = partial(_leave, SIGNALLED + number, keeps)
    threading.Thread(target=leave, name=LEAVING, daemon=True).start()


def _leave(code: int, keeps: bool) -> None:
    try:
        runs.close_all()
    finally:
        goes_on = " What was finished is kept: the same command goes on." if keeps else ""
        _end(f"interrupted.{goes_on}", code)


def _list(options: List) -> None:
    from dljax import datasets, problems
    from dljax.comparison.space import OPTIMIZERS

    def sentence(thing):
        return (inspect.getdoc(thing) or "").splitlines()[0]

    described = {
        "problems": {name: problems.summary(name) for name in problems.PROBLEMS},
        "optimizers": {name: sentence(factory) for name, factory in OPTIMIZERS.items()},
        "data sets": {
            name: f"{d.num_rows:,} rows, "
            + (f"{d.num_classes} classes" if d.num_classes else "regression")
            + ("; from files" if d.files else "; bundled")
            for name, d in datasets.DATASETS.items()
        },
    }
    if options.json:
        print(json.dumps(described, indent=2))
        return
    for kind, things in described.items():
        print(f"{kind}:")
        for name, text in things.items():
            print(f"  {name:24} {text}")


def _check(options: Check) -> None:
    from dljax.startup import configure

    configure(num_cpu_devices=2)  # as many as it takes to shard an array
    from dljax import contract

    name, own = options.optimizer, contract.builtin()
    if not name:
        raise ValueError(
            "an optimizer must be named, such as adam or my_optimizer.py:mine, got none."
        )
    if name.endswith(".py"):
        raise ValueError(f"an optimizer of your own must be named as {name}:NAME, got {name!r}.")
    if name == "kfac":
        raise ValueError(
            "an optimizer must take any tree of parameters to be checked, got 'kfac', which takes "
            "dense and convolutional layers of a linen model."
        )
    if not is_address(name) and name not in own:
        raise unknown("optimizer", name, [*own, "your_file.py:name"])
    factory = from_file(name) if is_address(name) else own[name]
    if not contract.told(name, factory, as_json=options.json):
        sys.exit(FAILED)


COMMANDS = {
    Compare: ("compare", run_compare),
    Report: ("report", run_report),
    Replay: ("replay", run_replay),
    Reproduce: ("reproduce", run_reproduce),
    Verify: ("verify", run_verify),
    Audit: ("audit", run_audit),
    Analyze: ("analyze", run_analyze),
    List: ("list", _list),
    Check: ("check", _check),
    Bench: ("bench", run_bench),
}


def _parse(arguments: list[str]) -> object:
    """Parses the arguments; what tyro draws in a box becomes one line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                {name: command for command, (name, _) in COMMANDS.items()},
                prog="dljax",
                description="Reproducible studies of training runs, each one compiled program.",
                args=arguments,
            )
    except SystemExit as stop:
        if stop.code == USAGE:
            lines = [line.strip("│ ") for line in said.getvalue().splitlines()[1:]]
            rule = next((i for i, line in enumerate(lines) if line.startswith("─")), len(lines))
            _end(f"{' '.join(lines[:rule])} See: dljax --help", USAGE)
        raise


def _fail(error: Exception) -> None:
    if os.environ.get("DLJAX_TRACEBACK"):
        raise error
    _end(f"{first_line(error)} (DLJAX_TRACEBACK=1 shows where)", FAILED)


def _end(line: str, code: int) -> None:
    if _leaving.is_set() and threading.current_thread().name != LEAVING:
        time.sleep(PATIENCE)  # what went wrong now comes of the end, which another thread tells
    print(f"dljax: {line}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    lifelines.give_up(code, line)
    # threads may still compile or run: do not wait for what nobody will read
    os._exit(code) if code > SIGNALLED else sys.exit(code)


if __name__ == "__main__":
    main()
