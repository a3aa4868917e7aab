"""What is compared and tuned: optimizers by name and their spaces, checked before all else."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import optax

from dljax import optimizers
from dljax.addresses import first_line
from dljax.comparison.search import Points, Range, Search, checked_range, first
from dljax.errors import require, unknown
from dljax.optimizers import dialects

Factory = Callable[..., optax.GradientTransformation]
Space = dict[str, np.ndarray | Range]

_CLASSIC = "sgd momentum nag adagrad adadelta rmsprop adam"
_MODERN = "adamw amsgrad nadam adamax adabelief radam lion signum lars lamb adafactor muon"
_SECOND_ORDER = "shampoo soap newton newton_cg gauss_newton natural_gradient diagonal_fisher kfac"

CLASSICS: dict[str, Factory] = {name: getattr(optimizers, name) for name in _CLASSIC.split()}
OPTIMIZERS: dict[str, Factory] = CLASSICS | {
    name: getattr(optimizers, name) for name in f"{_MODERN} {_SECOND_ORDER}".split()
}

# 13 values over 6 decades each; adadelta has no learning rate, and sqrt(eps) is its first step
LEARNING_RATES = np.logspace(-5, 1, 13)
ADADELTA_EPS = (-8.0, -2.0)


def factories(chosen: Mapping[str, Factory] | Iterable[str] | None) -> dict[str, Factory]:
    """Returns the optimizers by name: the seven classics for `None`, or those named or given.

    A name may carry a dialect, as in "tf1.adam".
    """
    if chosen is None:
        return dict(CLASSICS)
    if isinstance(chosen, Mapping):
        found = dict(chosen)
    else:
        names = [chosen] if isinstance(chosen, str) else list(chosen)
        found = {name: _named(name) for name in names}
    if not found:
        raise ValueError("there must be at least one optimizer to compare, got none.")
    return found


def dialect_of(name: str, factory: Factory) -> str | None:
    """Returns whose formula an optimizer is: a dialect, "dljax", or `None` for a user's own."""
    dialect, _, short = name.rpartition(".")
    if dialect in dialects.DIALECTS and getattr(getattr(dialects, dialect), short, None) is factory:
        return dialect
    return "dljax" if factory in OPTIMIZERS.values() else None


def space_of(
    name: str,
    factory: Factory,
    values: Mapping[str, Iterable[float] | Range] | None,
    learning_rates: Iterable[float] | Range | None,
    method: str,
) -> Space:
    """Returns what is tuned of an optimizer: for a grid values of each argument, else ranges.

    Args:
      name: What the optimizer is called.
      factory: Takes the arguments by name.
      values: Values or ranges of each argument to tune; `None` takes the learning rate, or
        adadelta's eps.
      learning_rates: Of the learning rate; `None` takes `LEARNING_RATES`, or their range.
      method: Of the search.

    Raises:
      ValueError: If a value or a range is not legal, or values are where ranges must be.
    """
    if not callable(factory):
        raise ValueError(
            f"optimizer {name!r} must be a function that returns an optax.GradientTransformation, "
            f"got {factory!r}."
        )
    if learning_rates is None:
        learning_rates = LEARNING_RATES if method == "grid" else Range(*LEARNING_RATES[[0, -1]])
    if not isinstance(learning_rates, Range):
        learning_rates = _numbers("learning_rates", learning_rates)
    if values is None:
        values = _default(name, factory, learning_rates)
    return {argument: _checked(argument, found, method) for argument, found in values.items()}


def points_of(
    name: str,
    factory: Factory,
    values: Mapping[str, Iterable[float]] | None,
    learning_rates: Iterable[float] | None,
) -> Points:
    """Returns every point of an optimizer's grid, checked; arguments and errors as `space_of`."""
    return checked_points(
        name, factory, first(Search(), space_of(name, factory, values, learning_rates, "grid"), 0)
    )


def checked_points(name: str, factory: Factory, points: Points) -> Points:
    """Returns the points, or raises a `ValueError` if the factory does not take one."""
    for point in points:
        made(name, factory, point)
    return points


def made(name: str, factory: Factory, point: Mapping[str, float]) -> Any:
    """Returns `factory(**point)`, or raises a `ValueError` unless it is a transformation."""
    try:
        optimizer = factory(**point)
    except ValueError as error:
        raise ValueError(f"optimizer {name!r}: {error}") from None
    except TypeError as error:
        raise ValueError(
            f"optimizer {name!r} must take the arguments {', '.join(point) or '(none)'}: {error}."
        ) from None
    except Exception as error:
        raise ValueError(
            f"optimizer {name!r} must be made without an error, got {first_line(error)}"
        ) from error
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ValueError(
            f"optimizer {name!r} must be a function that returns an optax.GradientTransformation, "
            f"got {type(optimizer).__name__}."
        )
    return optimizer


def as_axis(points: Points) -> dict[str, np.ndarray]:
    """Turns points into the tree of arrays [number of points] that is one axis of a study."""
    return {name: np.array([point[name] for point in points]) for name in points[0]}


def _named(name: str) -> Factory:
    dialect, dot, short = name.rpartition(".")
    if not dot:
        if name not in OPTIMIZERS:
            raise unknown("optimizer", name, OPTIMIZERS)
        return OPTIMIZERS[name]
    if dialect not in dialects.DIALECTS:
        raise unknown("dialect", dialect, dialects.DIALECTS)
    written = {n: f for n, f in vars(getattr(dialects, dialect)).items() if n in OPTIMIZERS}
    if short not in written:
        raise unknown(f"optimizer of {dialect}", short, written)
    return written[short]


def _default(name: str, factory: Factory, learning_rates: Any) -> dict[str, Any]:
    takes = inspect.signature(factory).parameters
    if "learning_rate" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        return {"learning_rate": learning_rates}
    if factory is optimizers.adadelta:
        if isinstance(learning_rates, Range):
            return {"eps": Range(*(10.0**end for end in ADADELTA_EPS))}
        number, middle = len(learning_rates), np.mean(ADADELTA_EPS)
        return {"eps": np.logspace(*ADADELTA_EPS, number) if number > 1 else [10.0**middle]}
    raise ValueError(
        f"optimizer {name!r} must have an argument learning_rate, or a space that says "
        f"what to tune, space={{{name!r}: {{argument: values}}}}, "
        f"got the arguments {', '.join(takes)}."
    )


def _checked(argument: str, found: Any, method: str) -> np.ndarray | Range:
    if method != "grid" and not isinstance(found, Range):
        raise ValueError(
            f"{argument} must be a dj.Range where points are drawn ({method}), got {found!r}."
        )
    if method == "grid" and isinstance(found, Range):
        raise ValueError(f"{argument} must be a list of values for a grid, got {found!r}.")
    ends = checked_range(argument, found)[:2] if method != "grid" else _numbers(argument, found)
    if argument == "learning_rate":
        require("learning_rate", ends, "[0, inf)")
    return found if method != "grid" else ends


def _numbers(name: str, values: Iterable[float]) -> np.ndarray:
    try:
        numbers = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a list of numbers, got {values!r}.") from None
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"{name} must be a list of at least one number, got {values!r}.")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite, got {numbers[~np.isfinite(numbers)][0]:g}.")
    if len(set(numbers.astype(np.float32).tolist())) < len(numbers):
        raise ValueError(f"{name} must not hold a value twice in float32, got {values!r}.")
    return numbers
