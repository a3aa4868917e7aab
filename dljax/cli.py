"""The command line: `dljax compare`, `dljax list`, `dljax check` and `dljax bench`."""

import contextlib
import inspect
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from dljax.addresses import first_line, from_file, is_address
from dljax.bench_command import Bench, run_bench
from dljax.errors import DataError, unknown
from dljax.options import Count, Flag, Folder, Names, Numbers

DONE, FAILED, USAGE, BAD_DATA, INTERRUPTED = 0, 1, 2, 3, 130


@dataclass
class Compare:
    """Compare optimizers on one problem: tune all alike, then report each on fresh seeds."""

    problem: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[PROBLEM]")] = "digits-mlp"
    """A problem that `dljax list` names, or your own: my_problem.py:problem."""
    optimizers: Names = ""
    """Optimizers, separated by commas: names that `dljax list` shows, or your own:
    adam,my_optimizer.py:mine. By default all seven."""
    learning_rates: Numbers = ""
    """Learning rates to tune over, separated by commas. By default 13 from 1e-5 to 10."""
    seeds: Count = None
    """Evaluation seeds. By default 10."""
    steps: Count = None
    """Steps of a run. By default the problem's."""
    batch_size: Count = None
    """Rows of a step. By default the problem's."""
    seed: Count = 0
    """Root of all randomness. By default 0."""
    quick: Flag = False
    """A first look: 5 learning rates, 1 tuning seed, 3 evaluation seeds, a third of the steps."""
    out: Folder = ""
    """Folder for tables, pictures and the report. By default runs/PROBLEM."""
    data_dir: Folder = ""
    """Folder of MNIST and Fashion-MNIST. By default $DLJAX_DATA, else the user's cache."""
    download: Flag = False
    """Fetch data files that are missing, and verify them."""
    json: Flag = False
    """Print the summary as JSON instead of the table."""


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
        {Compare: _compare, List: _list, Check: _check, Bench: run_bench}[type(command)](command)
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


def _compare(options: Compare) -> None:
    from dljax.startup import configure

    configure()
    # from here on jax may be used: what is imported below touches it
    from dljax.comparison import compare, report

    problem = _problem(options)
    learning_rates = _rates(options.learning_rates)
    steps = options.steps
    if options.quick:
        learning_rates = learning_rates or [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
        rounds = max(1, problem.num_steps // problem.eval_every // 3)
        steps = problem.eval_every * rounds if steps is None else steps
    folder = Path(options.out or Path("runs") / problem.name)
    comparison = compare(
        problem,
        _optimizers(options.optimizers),
        learning_rates=learning_rates,
        seeds=(3 if options.quick else 10) if options.seeds is None else options.seeds,
        tuning_seeds=1 if options.quick else 3,
        num_steps=steps,
        batch_size=options.batch_size,
        seed=options.seed,
        out=folder,
    )
    if options.json:
        print(json.dumps(comparison.summary, indent=2, allow_nan=False))
    else:
        from rich.console import Console

        Console().print(report.table(comparison.summary))
    print(f"Everything is in {folder / 'report.html'} and beside it.", file=sys.stderr)


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


def _problem(options: Compare) -> Any:
    from dljax import problems

    where = {"data_dir": options.data_dir or None, "download": options.download}
    if not is_address(options.problem):
        return problems.load(options.problem, **where)
    found = from_file(options.problem)
    if isinstance(found, problems.Problem) or not callable(found):
        return found
    try:
        return found()
    except DataError:
        raise
    except Exception as error:
        line = first_line(error)
        raise ValueError(f"{options.problem} must make a dljax.Problem, got {line}") from error


def _optimizers(names: str) -> dict[str, Callable] | None:
    from dljax.comparison.space import factories

    if not names:
        return None
    chosen = {}
    for name in (name.strip() for name in names.split(",")):
        short = name.rpartition(":")[2]
        if short in chosen:
            raise ValueError(f"--optimizers must not hold a name twice, got {short!r} twice.")
        chosen[short] = from_file(name) if is_address(name) else factories([name])[name]
    return chosen


def _rates(text: str) -> list[float] | None:
    try:
        return [float(number) for number in text.split(",")] if text else None
    except ValueError:
        raise ValueError(
            f"--learning-rates must be numbers separated by commas, got {text!r}."
        ) from None


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
    # threads may still compile or run: do not wait for what nobody will read
    os._exit(code) if code == INTERRUPTED else sys.exit(code)


if __name__ == "__main__":
    main()
