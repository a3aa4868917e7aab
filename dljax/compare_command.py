"""`dljax compare`: the comparison of optimizers, as a table or as JSON, and a folder of files."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from dljax.compare_options import (
    arguments_of,
    names_of,
    optimizers_of,
    problems_of,
    shaped,
    sources_of,
)
from dljax.errors import OtherRun
from dljax.options import Address, Count, Flag, Folder, Names, Number, Numbers, Text, Width

RUN_NAME = re.compile(r"(?!\.+$)[A-Za-z0-9._+-]{1,64}")


@dataclass
class Compare:
    """Compare optimizers: tune all alike, report each on fresh seeds, say what can be claimed."""

    problem: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[PROBLEM]")] = "digits-mlp"
    """A problem that `dljax list` names, or your own: my_problem.py:problem; or several, separated
    by commas."""
    suite: Text = ""
    """Compare on several problems and over them: small, analytic, paper, or a list of your own,
    my_problems.py:problems."""
    optimizers: Names = ""
    """Optimizers, separated by commas: names that `dljax list` shows, or your own:
    adam,my_optimizer.py:mine. By default all seven."""
    learning_rates: Numbers = ""
    """Learning rates to tune over, separated by commas; where points are drawn, the smallest and
    the largest. By default 13 from 1e-5 to 10."""
    dialect: Text = ""
    """Take the optimizers as paper, optax, torch, keras or tf1 compute them; adam, say, is then
    tf1.adam. A name may carry its dialect itself."""
    search: Text = "grid"
    """How learning rates are found: grid; random or sobol points; or zoom, random points in rounds,
    each closer around the best."""
    trials: Count = None
    """Points of each optimizer, where they are drawn. By default 25."""
    widen: Count = 0
    """How many times a grid is continued whose best value lies on its edge. By default 0."""
    baseline: Text = ""
    """The optimizer that the others are compared with. By default every pair is compared."""
    margin: Number = None
    """The smallest difference of the final test metric that matters. By default a standard
    deviation over seeds."""
    most_seeds: Count = None
    """Add evaluation seeds, as many as --seeds at a time, until every claim is resolved or there
    are so many; the error holds however often one looks."""
    curvature: Flag = False
    """Measure the largest eigenvalue and the trace of the Hessian at every evaluation."""
    seeds: Count = None
    """Evaluation seeds. By default 10."""
    steps: Count = None
    """Steps of a run. By default the problem's."""
    batch_size: Count = None
    """Rows of a step. By default the problem's."""
    seed: Count = 0
    """Root of all randomness. By default 0."""
    width: Width = ""
    """Runs of a tile on one device, or auto, which times two or three. By default by what a run
    costs; at one width the bits of a run are always the same."""
    quick: Flag = False
    """A first look: 5 learning rates, 1 tuning seed, 3 evaluation seeds, a third of the steps."""
    out: Folder = ""
    """Run folder: every run as it finishes, tables, pictures and the report. The same command again
    goes on in it. By default runs/PROBLEM (or SUITE), or runs/PROBLEM-2 and so on where the last of
    these holds another run."""
    data_dir: Folder = ""
    """Folder of MNIST and Fashion-MNIST. By default $DLJAX_DATA, else the user's cache."""
    download: Flag = False
    """Fetch data files that are missing, and verify them."""
    json: Flag = False
    """Print the summary as JSON instead of the table."""
    distributed: Flag = False
    """Share the work with other processes that run this command. They find each other under SLURM,
    Kubernetes and on TPU pods; elsewhere the next three options tell each."""
    coordinator: Address = ""
    """Where process 0 is reached: a free port of its machine."""
    num_processes: Count = None
    """Processes in all."""
    process_id: Count = None
    """Which of them this one is, from 0."""


def run_compare(options: Compare) -> None:
    """Compares as the command line says; of several processes the first writes and prints."""
    from dljax.startup import configure

    others = (options.coordinator or None, options.num_processes, options.process_id)
    if not options.distributed and others != (None, None, None):
        raise ValueError(
            "--coordinator, --num-processes and --process-id must come with --distributed."
        )
    configure()
    # from here on jax may be used: what is imported below touches it
    import jax

    from dljax import hosts

    if options.distributed:
        hosts.join(*others)
    found = {name: shaped(one, options) for name, one in problems_of(options).items()}
    names = names_of(options)
    run, table = _one(found, names, options) if len(found) == 1 else _many(found, names, options)
    name = "" if options.out else _run_name(_title(found, options))
    comparison, folder = _kept(run, name, options)
    if jax.process_index() > 0:
        return
    if options.json:
        print(json.dumps(comparison.summary, indent=2, allow_nan=False))
    else:
        from rich.console import Console

        Console().print(table(comparison.summary))
    print(f"Everything is in {folder / 'report.html'} and beside it.", file=sys.stderr)


def _one(found: dict[str, Any], names: list[str], options: Compare) -> tuple[Callable, Callable]:
    """Returns what compares on one problem, given a folder, and what lays out its table."""
    from dljax.comparison import compare, report

    ((name, problem),) = found.items()
    source = {"problem": name, "optimizers": sources_of(names)}
    chosen = optimizers_of(names)
    return partial(compare, problem, chosen, source=source, **arguments_of(options)), report.table


def _many(found: dict[str, Any], names: list[str], options: Compare) -> tuple[Callable, Callable]:
    """Returns what compares on several problems, given a folder, and what lays out their table."""
    from dljax.comparison import suite_report
    from dljax.comparison.suite import compare_suite

    told = {"optimizers": sources_of(names)}
    sources = {
        getattr(one, "name", ""): {**told, "problem": None if options.suite.count(":") else name}
        for name, one in found.items()
    }
    how = {"sources": sources, **arguments_of(options)}
    return partial(compare_suite, found.values(), optimizers_of(names), **how), suite_report.table


def _title(found: dict[str, Any], options: Compare) -> str:
    """Returns the name of a run folder: of the suite, or of the problems."""
    if options.suite:
        return options.suite.rpartition(":")[2]
    return "+".join(getattr(one, "name", "problem") for one in found.values())


def _kept(run: Callable, name: str, options: Compare) -> tuple[Any, Path]:
    """Runs in the folder that was named, or in the last or next one of that name."""
    number = _last(name) if name else 1
    folder = Path(options.out) if options.out else _folder(name, number)
    try:
        return run(out=folder), folder
    except OtherRun:
        if options.out or options.distributed:
            raise
    other, folder = folder, _folder(name, number + 1)
    print(f"dljax: {other} holds another run; this one goes to {folder}.", file=sys.stderr)
    return run(out=folder), folder


def _run_name(name: str) -> str:
    """Returns the name of a problem as one of a folder, which it may have from anywhere."""
    if not RUN_NAME.fullmatch(name):
        raise ValueError(
            f"the name of a problem must match {RUN_NAME.pattern} to name its run folder, "
            f"got {name!r}; give --out."
        )
    return name


def _last(name: str) -> int:
    """Returns the number of the last run folder of a name, 1 if there is none."""
    number = 1
    while _folder(name, number + 1).exists():
        number += 1
    return number


def _folder(name: str, number: int) -> Path:
    return Path("runs") / (name if number == 1 else f"{name}-{number}")
