"""The command line: `dljax compare`, `dljax list`, `dljax check` and `dljax bench`."""

import contextlib
import inspect
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from dljax import lifelines
from dljax.addresses import first_line, from_file, is_address
from dljax.bench_command import Bench, run_bench
from dljax.compare_command import Compare, run_compare
from dljax.errors import DataError, unknown
from dljax.options import Flag

DONE, FAILED, USAGE, BAD_DATA, INTERRUPTED = 0, 1, 2, 3, 130


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
    """Runs the command line and exits: 0 done, 1 failed, 2 usage, 3 bad data, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no plus-minus shows "?"
    command = _parse(sys.argv[1:] if arguments is None else list(arguments))
    try:
        run = {Compare: run_compare, List: _list, Check: _check, Bench: run_bench}[type(command)]
        run(command)
    except DataError as error:
        _end(str(error), BAD_DATA)
    except ValueError as error:
        if os.environ.get("DLJAX_TRACEBACK"):
            raise
        _end(str(error), USAGE)
    except KeyboardInterrupt:
        _end("interrupted; nothing was written.", INTERRUPTED)
    except Exception as error:
        if os.environ.get("DLJAX_TRACEBACK"):
            raise
        _end(f"{first_line(error)} (DLJAX_TRACEBACK=1 shows where)", FAILED)


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


def _parse(arguments: list[str]) -> Compare | List | Check | Bench:
    """Parses the arguments; what tyro draws in a box becomes one line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                {"compare": Compare, "list": List, "check": Check, "bench": Bench},
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


def _end(line: str, code: int) -> None:
    print(f"dljax: {line}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    lifelines.give_up(code, line)
    # threads may still compile or run: do not wait for what nobody will read
    os._exit(code) if code == INTERRUPTED else sys.exit(code)


if __name__ == "__main__":
    main()
