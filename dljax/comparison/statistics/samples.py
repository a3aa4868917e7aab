"""What every statistic asks of its numbers: shape, how many, and that none is NaN."""

import numpy as np
from numpy.typing import ArrayLike


def finite(name: str, x: ArrayLike, at_least: int = 1, ndim: int = 1) -> np.ndarray:
    """Returns float64 numbers for a function that averages, in which a diverged run has no place.

    Raises:
      ValueError: If a number is NaN or infinite, the number of axes is not `ndim`, or the last
        axis is shorter than `at_least`.
    """
    x = ranked(name, x, at_least, ndim)
    if not np.isfinite(x).all():
        raise ValueError(
            f"{name} must be finite, got {x[~np.isfinite(x)][0]} (a diverged run?): replace it, "
            "or compare ranks, which take inf."
        )
    return x


def ranked(name: str, x: ArrayLike, at_least: int = 1, ndim: int = 1) -> np.ndarray:
    """Returns float64 numbers for a function that only orders; a diverged run is +inf there.

    Raises:
      ValueError: If a number is NaN, the number of axes is not `ndim`, or the last axis is
        shorter than `at_least`.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != ndim:
        raise ValueError(f"{name} must be of rank {ndim}, got shape {x.shape}.")
    if x.shape[-1] < at_least or x.size == 0:
        raise ValueError(f"{name} must hold {at_least} or more numbers, got shape {x.shape}.")
    if np.isnan(x).any():
        raise ValueError(f"{name} must not hold NaN; a diverged run counts as inf where ranked.")
    return x


def pairs(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns two float64[S] that were measured at the same seeds, +inf for a diverged run.

    Raises:
      ValueError: If one holds NaN, or the lengths differ.
    """
    a, b = ranked("a", a), ranked("b", b)
    if a.size != b.size:
        raise ValueError(f"paired runs must share their seeds, got {a.size} and {b.size} runs.")
    return a, b


def beats(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns 1 where `a` is lower, 1/2 where they tie (two diverged runs do), 0 elsewhere."""
    return (a < b) + 0.5 * (a == b)
