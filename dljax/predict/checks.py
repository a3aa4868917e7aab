"""What predictions must satisfy: concrete arrays are checked, traced ones pass as they are."""

import jax
import jax.numpy as jnp
import numpy as np

from dljax.errors import require

_TOLERANCE = 1e-3  # of a sum of probabilities: above the roundings of any float32 softmax


def checked_log_p(log_p: jax.Array, *, members: bool = False) -> jax.Array:
    """Returns log-probabilities as a jax array.

    Args:
      log_p: float[N, C], or float[S, N, C] where there are `members`; -inf is probability 0.
      members: Whether there is a leading axis of members.

    Raises:
      ValueError: If the shape is another, or the exponentials of a row do not sum to 1.
    """
    if jnp.ndim(log_p) != 2 + members or 0 in jnp.shape(log_p):
        axes = "[S, N, C]" if members else "[N, C]"
        raise ValueError(f"log-probabilities must be {axes}, got the shape {jnp.shape(log_p)}.")
    if not isinstance(log_p, jax.core.Tracer):
        with np.errstate(over="ignore"):
            sums = np.exp(np.asarray(log_p, np.float64)).sum(-1)
        bad = np.argwhere(~(np.abs(sums - 1) <= _TOLERANCE))  # NaN is bad, too
        if len(bad):
            place = tuple(bad[0].tolist())
            rule = "log-probabilities must have exponentials that sum to 1 in every row"
            raise ValueError(f"{rule}, got {sums[place]:.6g} at {list(place)}.")
    return jnp.asarray(log_p)


def checked_classes(
    log_p: jax.Array, labels: jax.Array, *, members: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Returns log-probabilities, see `checked_log_p`, and their labels, int[N], as jax arrays.

    Raises:
      ValueError: As `checked_log_p`, or if labels are not one class in [0, C) for every row.
    """
    log_p, labels = checked_log_p(log_p, members=members), _one_axis("labels", labels)
    num_rows, num_classes = log_p.shape[-2:]
    if len(labels) != num_rows:
        raise ValueError(f"labels must have {num_rows} rows, got {len(labels)}.")
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be whole numbers, got {labels.dtype}.")
    require("labels", labels, f"[0, {num_classes})")
    return log_p, labels


def checked_rows(num_rows: int | None = None, **arrays: jax.Array) -> list[jax.Array]:
    """Returns finite arrays [N] as jax arrays; N is `num_rows`, or any, the same for all.

    Raises:
      ValueError: If one has another shape or holds NaN or infinity.
    """
    rows = [_one_axis(name, array) for name, array in arrays.items()]
    num_rows = len(rows[0]) if num_rows is None else num_rows
    for name, array in zip(arrays, rows, strict=True):
        if len(array) != num_rows or not num_rows:
            rule = f"{num_rows} rows" if num_rows else "at least 1 row"
            raise ValueError(f"{name} must have {rule}, got {len(array)}.")
        _check_finite(name, array)
    return rows


def checked_members(**arrays: jax.Array) -> list[jax.Array]:
    """Returns finite arrays [S, N], of one shape, as jax arrays.

    Raises:
      ValueError: If one has another shape or holds NaN or infinity.
    """
    shape = jnp.shape(next(iter(arrays.values())))
    for name, array in arrays.items():
        if jnp.ndim(array) != 2 or jnp.shape(array) != shape or 0 in shape:
            rule = f"{name} must be [S, N]" + (
                f", the same {list(shape)}" if len(shape) == 2 else ""
            )
            raise ValueError(f"{rule}, got the shape {jnp.shape(array)}.")
        _check_finite(name, array)
    return [jnp.asarray(array) for array in arrays.values()]


def _one_axis(name: str, array: jax.Array) -> jax.Array:
    if jnp.ndim(array) != 1:
        raise ValueError(f"{name} must be [N], got the shape {jnp.shape(array)}.")
    return jnp.asarray(array)


def _check_finite(name: str, array: jax.Array) -> None:
    if isinstance(array, jax.core.Tracer):
        return
    numbers = np.asarray(array, np.float64)
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        place = tuple(bad[0].tolist())
        raise ValueError(f"{name} must be finite, got {numbers[place]} at {list(place)}.")
