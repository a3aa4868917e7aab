"""What a user reads when an input is wrong: one line with the rule, then what came."""

import difflib
from collections.abc import Iterable

import jax
import numpy as np
from jax.typing import ArrayLike


class DataError(ValueError):
    """A data file that is missing, damaged or not fit for the task (exit code 3)."""


class OtherRun(ValueError):
    """A run folder that holds another run than the one that is asked for."""


def require(name: str, value: ArrayLike, interval: str) -> None:
    """Raises unless every entry of `value` lies in `interval`; traced values pass.

    Args:
      name: What the user calls the value.
      value: A number or an array of numbers of any shape; NaN lies in no interval.
      interval: The rule in the notation of mathematics, such as `"[0, 1)"` or `"(0, inf)"`.

    Raises:
      ValueError: If a concrete entry lies outside `interval`.
    """
    if isinstance(value, jax.core.Tracer):
        return
    low, high = (float(end) for end in interval[1:-1].split(","))
    try:
        if value is None or isinstance(value, str):
            raise TypeError
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number in {interval}, got {value!r}.") from None
    above = numbers >= low if interval[0] == "[" else numbers > low
    below = numbers <= high if interval[-1] == "]" else numbers < high
    outside = numbers[~(above & below)]
    if outside.size:
        raise ValueError(f"{name} must be in {interval}, got {outside.flat[0]:g}.")


def require_whole(name: str, value: int, interval: str) -> None:
    """Raises unless `value` is a whole number in `interval`, known before anything is traced."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name} must be a whole number that is not traced; "
            f"for optax.inject_hyperparams that is static_args={name!r}."
        )
    require(name, value, interval)
    if value != int(value):
        raise ValueError(f"{name} must be a whole number in {interval}, got {value:g}.")


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Returns the error for a `name` that is not `known`, with the nearest name offered."""
    known = sorted(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}."
    return ValueError(f"unknown {kind} {name!r}; {hint}")
