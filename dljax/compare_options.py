"""What the words of `dljax compare` mean: problems, optimizers, arguments of a comparison."""

from collections.abc import Callable
from typing import Any

from dljax.addresses import first_line, from_file, is_address
from dljax.errors import DataError


def problems_of(options: Any) -> dict[str, Any]:
    """Returns the problems that are meant, by the words they can be found by again, if any.

    Raises:
      ValueError: If a name is not known, or a file does not make problems.
      DataError: If data are missing or damaged.
    """
    from dljax import problems

    where = {"data_dir": options.data_dir or None, "download": options.download}
    if not options.suite:
        named = [name.strip() for name in options.problem.split(",")]
        found = {name: _problem(name, where) for name in named}
        if len(found) < len(named):
            raise ValueError(f"a problem must not be named twice, got {options.problem}.")
        return found
    if not is_address(options.suite):
        return {one.name: one for one in problems.suite(options.suite, **where)}
    made = _made(options.suite)
    if not isinstance(made, list | tuple) or not made:
        raise ValueError(f"{options.suite} must make a list of dljax.Problem, got {made!r}.")
    made = [problems.load(one, **where) if isinstance(one, str) else one for one in made]
    return {f"{options.suite} {number}": one for number, one in enumerate(made)}


def _problem(name: str, where: dict[str, Any]) -> Any:
    from dljax import problems

    return _made(name) if is_address(name) else problems.load(name, **where)


def _made(address: str) -> Any:
    from dljax.problems import Problem

    found = from_file(address)
    if isinstance(found, Problem) or not callable(found):
        return found
    try:
        return found()
    except DataError:
        raise
    except Exception as error:
        line = first_line(error)
        raise ValueError(f"{address} must make a dljax.Problem, got {line}") from error


def shaped(problem: Any, options: Any) -> Any:
    """Returns a problem as `--quick` and `--curvature` change it."""
    from dljax.problems import Problem
    from dljax.spectrum import Curvature

    if not isinstance(problem, Problem):
        return problem  # refused by `compare`, with the rule
    if options.quick and options.steps is None:
        rounds = max(1, problem.num_steps // problem.eval_every // 3)
        problem = problem._replace(num_steps=problem.eval_every * rounds)
    return problem._replace(curvature=Curvature()) if options.curvature else problem


def arguments_of(options: Any) -> dict[str, Any]:
    """Returns the arguments of `dj.compare` that do not depend on the problem."""
    return {
        "learning_rates": _rates(options),
        "seeds": (3 if options.quick else 10) if options.seeds is None else options.seeds,
        "tuning_seeds": 1 if options.quick else 3,
        "num_steps": options.steps,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "search": options.search,
        "trials": options.trials,
        "widen": options.widen,
        "baseline": options.baseline or None,
        "margin": options.margin,
        "most_seeds": options.most_seeds,
        "width": _width(options.width),
    }


def names_of(options: Any) -> list[str]:
    """Returns what the command line calls each optimizer, in their dialect."""
    from dljax.comparison.space import CLASSICS

    named = options.optimizers.split(",") if options.optimizers else list(CLASSICS)
    names = [name.strip() for name in named]
    if not options.dialect:
        return names
    has_own = lambda name: is_address(name) or "." in name  # noqa: E731
    return [name if has_own(name) else f"{options.dialect}.{name}" for name in names]


def optimizers_of(names: list[str]) -> dict[str, Callable]:
    from dljax.comparison.space import factories

    chosen = {}
    for name in names:
        short = name.rpartition(":")[2]
        if short in chosen:
            raise ValueError(f"--optimizers must not hold a name twice, got {short!r} twice.")
        chosen[short] = from_file(name) if is_address(name) else factories([name])[name]
    return chosen


def sources_of(names: list[str]) -> dict[str, str]:
    return {name.rpartition(":")[2]: name for name in names}


def _width(text: str) -> int | str | None:
    try:
        return text if text == "auto" else int(text) if text else None
    except ValueError:
        raise ValueError(f"--width must be a whole number or auto, got {text!r}.") from None


def _rates(options: Any) -> Any:
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
