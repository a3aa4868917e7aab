"""What is tuned: the grid of every optimizer, checked before anything compiles."""

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import optax

from dljax import optimizers
from dljax.addresses import first_line
from dljax.errors import require, unknown

Factory = Callable[..., optax.GradientTransformation]
Points = list[dict[str, float]]

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
    """Returns the optimizers by name: the seven classics for `None`, or those named or given."""
    if chosen is None:
        return dict(CLASSICS)
    if isinstance(chosen, Mapping):
        found = dict(chosen)
    else:
        names = [chosen] if isinstance(chosen, str) else list(chosen)
        if missing := [name for name in names if name not in OPTIMIZERS]:
            raise unknown("optimizer", missing[0], OPTIMIZERS)
        found = {name: OPTIMIZERS[name] for name in names}
    if not found:
        raise ValueError("there must be at least one optimizer to compare, got none.")
    return found


def points_of(
    name: str,
    factory: Factory,
    values: Mapping[str, Iterable[float]] | None,
    learning_rates: Iterable[float] | None,
) -> Points:
    """Returns every point of an optimizer's grid, `{argument: value}`, the product of its values.

    Args:
      name: What the optimizer is called.
      factory: Takes the arguments by name.
      values: Values of each argument to tune; `None` takes the learning rate, or adadelta's eps.
      learning_rates: The grid of the learning rate; `None` takes `LEARNING_RATES`.

    Raises:
      ValueError: If a value is not legal, or the factory does not make an optax transformation.
    """
    learning_rates = (
        LEARNING_RATES if learning_rates is None else _numbers("learning_rates", learning_rates)
    )
    require("learning_rate", learning_rates, "[0, inf)")
    if not callable(factory):
        raise ValueError(
            f"optimizer {name!r} must be a function that returns an optax.GradientTransformation, "
            f"got {factory!r}."
        )
    if values is None:
        takes = inspect.signature(factory).parameters
        if factory is optimizers.adadelta:
            middle = np.mean(ADADELTA_EPS)
            grid = np.logspace(*ADADELTA_EPS, len(learning_rates))
            values = {"eps": grid if len(grid) > 1 else [10.0**middle]}
        elif "learning_rate" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values()):
            values = {"learning_rate": learning_rates}
        else:
            raise ValueError(
                f"optimizer {name!r} must have an argument learning_rate, or a space that says "
                f"what to tune, space={{{name!r}: {{argument: values}}}}, "
                f"got the arguments {', '.join(takes)}."
            )
    axes = {argument: _numbers(argument, grid) for argument, grid in values.items()}
    points = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
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
