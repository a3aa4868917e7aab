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

from dljax.addresses import first_line, from_file, is_address
from dljax.errors import DataError, OtherRun
from dljax.options import Address, Count, Flag, Folder, Names, Number, Numbers, Text, Width

RUN_NAME = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{1,64}")


@dataclass
class Compare:
    """Compare optimizers on one problem: tune all alike, then report each on fresh seeds."""

    problem: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[PROBLEM]")] = "digits-mlp"
    """A problem that `dljax list` names, or your own: my_problem.py:problem."""
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
    goes on in it. By default runs/PROBLEM, or runs/PROBLEM-2 and so on where the last of these
    holds another run."""
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
    from dljax.comparison import compare, report
    from dljax.problems import Problem
    from dljax.spectrum import Curvature

    if options.distributed:
        hosts.join(*others)
    problem = _problem(options)
    if options.curvature and isinstance(problem, Problem):
        problem = problem._replace(curvature=Curvature())
    learning_rates, steps = _rates(options), options.steps
    names = _names(options)
    if options.quick:
        rounds = max(1, problem.num_steps // problem.eval_every // 3)
        steps = problem.eval_every * rounds if steps is None else steps
    how = {
        "learning_rates": learning_rates,
        "seeds": (3 if options.quick else 10) if options.seeds is None else options.seeds,
        "tuning_seeds": 1 if options.quick else 3,
        "num_steps": steps,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "search": options.search,
        "trials": options.trials,
        "widen": options.widen,
        "baseline": options.baseline or None,
        "margin": options.margin,
        "most_seeds": options.most_seeds,
        "width": _width(options.width),
        "source": {"problem": options.problem, "optimizers": _sources(names)},
    }
    run = partial(compare, problem, _optimizers(names), **how)
    name = "" if options.out else _run_name(problem.name)
    number = _last(name) if name else 1
    folder = Path(options.out) if options.out else _folder(name, number)
    try:
        comparison = run(out=folder)
    except OtherRun:
        if options.out or options.distributed:
            raise
        other, folder = folder, _folder(name, number + 1)
        print(f"dljax: {other} holds another run; this one goes to {folder}.", file=sys.stderr)
        comparison = run(out=folder)
    if jax.process_index() > 0:
        return
    if options.json:
        print(json.dumps(comparison.summary, indent=2, allow_nan=False))
    else:
        from rich.console import Console

        Console().print(report.table(comparison.summary))
    print(f"Everything is in {folder / 'report.html'} and beside it.", file=sys.stderr)


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


def _names(options: Compare) -> list[str]:
    """Returns what the command line calls each optimizer, in their dialect."""
    from dljax.comparison.space import CLASSICS

    named = options.optimizers.split(",") if options.optimizers else list(CLASSICS)
    names = [name.strip() for name in named]
    if not options.dialect:
        return names
    has_own = lambda name: is_address(name) or "." in name  # noqa: E731
    return [name if has_own(name) else f"{options.dialect}.{name}" for name in names]


def _optimizers(names: list[str]) -> dict[str, Callable]:
    from dljax.comparison.space import factories

    chosen = {}
    for name in names:
        short = name.rpartition(":")[2]
        if short in chosen:
            raise ValueError(f"--optimizers must not hold a name twice, got {short!r} twice.")
        chosen[short] = from_file(name) if is_address(name) else factories([name])[name]
    return chosen


def _sources(names: list[str]) -> dict[str, str]:
    return {name.rpartition(":")[2]: name for name in names}


def _width(text: str) -> int | str | None:
    try:
        return text if text == "auto" else int(text) if text else None
    except ValueError:
        raise ValueError(f"--width must be a whole number or auto, got {text!r}.") from None


def _rates(options: Compare) -> Any:
    """Returns the values of the learning rate, or the range that they are drawn from."""
    from dljax.comparison.search import Range

    text = options.learning_rates
    try:
        rates = [float(number) for number in text.split(",")] if text else None
    except ValueError:
        raise ValueError(
            f"--learning-rates must be numbers separated by commas, got {text!r}."
        ) from None
    if options.search == "grid":
        return rates or ([1e-4, 1e-3, 1e-2, 1e-1, 1.0] if options.quick else None)
    return rates and Range(min(rates), max(rates))
