"""The axes of a study: checked lists of values, and their product."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def checked_axes(axes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns axes as numpy arrays in the types that members see.

    Raises:
      ValueError: If there is none, or one is empty, not finite, holds a value twice or is a seed
        out of range.
    """
    if not axes:
        raise ValueError("axes must name at least one axis, such as seed=np.arange(10), got none.")
    return {name: _checked(name, values) for name, values in axes.items()}


def checked_static(static: Mapping[str, Any] | None, axes: Mapping[str, Any]) -> dict[str, dict]:
    """Returns static axes as dicts; raises a `ValueError` unless each is one, and named once."""
    for name, choices in (static or {}).items():
        if not isinstance(choices, Mapping) or not choices:
            raise ValueError(
                f"static axis {name!r} must be {{label: value}} of one label at least, "
                f"got {choices!r}."
            )
        if name in axes:
            raise ValueError(f"an axis must be in axes or in static, got {name!r} in both.")
    return {name: dict(choices) for name, choices in (static or {}).items()}


def product(axes: dict[str, Any]) -> dict[str, Any]:
    """Returns the product of the axes as trees of arrays [P], the last axis running fastest."""
    index = np.indices([length(values) for values in axes.values()]).reshape(len(axes), -1)
    return {
        name: jax.tree.map(lambda leaf, i=i: leaf[i], values)
        for (name, values), i in zip(axes.items(), index, strict=True)
    }


def length(values: Any) -> int:
    return len(values) if isinstance(values, tuple) else len(jax.tree.leaves(values)[0])


def _checked(name: str, values: Any) -> Any:
    """Returns an axis as numpy arrays in the types that members see."""
    try:
        tree = _tree(values)
    except ValueError:  # numpy's, of lists of several lengths
        tree = np.zeros(())
    axis = jax.tree.map(partial(_canonical, name), tree)
    lengths = {x.shape for x in jax.tree.leaves(axis)}
    if len(lengths) != 1 or len(shape := lengths.pop()) != 1 or shape[0] == 0:
        raise ValueError(
            f"axis {name!r} must be a list of values, or a tree of lists of one length, "
            f"got {values!r}."
        )
    rows = list(zip(*(x.tolist() for x in jax.tree.leaves(axis)), strict=True))
    if len(set(rows)) < len(rows):
        twice = Counter(rows).most_common(1)[0][0]
        shown = twice[0] if len(twice) == 1 else twice
        raise ValueError(f"axis {name!r} must not hold a value twice, got {shown} twice.")
    return axis


def _canonical(name: str, leaf: np.ndarray) -> np.ndarray:
    if leaf.dtype == jnp.bfloat16:
        leaf = leaf.astype(np.float32)
    if leaf.dtype.kind not in "biuf":
        raise ValueError(f"axis {name!r} must hold numbers, got {leaf.dtype}.")
    if name == "seed" and leaf.size and leaf.dtype.kind not in "iu":
        raise ValueError(f"axis 'seed' must hold whole numbers, got {leaf.dtype}.")
    if leaf.dtype.kind == "f":
        with np.errstate(over="ignore"):
            seen = leaf.astype(jax.dtypes.canonicalize_dtype(np.float64))
        if not np.isfinite(seen).all():
            wrong = leaf[~np.isfinite(seen)][0]
            raise ValueError(f"axis {name!r} must be finite, got {wrong} as {seen.dtype}.")
        return seen
    if leaf.dtype.kind == "b":
        return leaf
    low, high = (0, 2**32) if name == "seed" else (-(2**31), 2**31)
    outside = leaf[(leaf < low) | (leaf >= high)]
    if outside.size:
        raise ValueError(f"axis {name!r} must be in [{low}, {high}), got {outside[0]}.")
    return leaf.astype(np.uint32 if name == "seed" else np.int32)


def _tree(values: Any) -> Any:
    """Takes a mapping as a tree and anything else as one list of values."""
    if isinstance(values, Mapping):
        return {name: _tree(value) for name, value in values.items()}
    return values if isinstance(values, np.ndarray) else np.asarray(values)
