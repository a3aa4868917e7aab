"""How well a score tells rows like those of training from others.

`inside` are the scores of rows of the distribution of training, `outside` those of another, and a
larger score says outside: an entropy, a mutual information, a negative confidence.
"""

import jax
import jax.numpy as jnp

from dljax.predict.checks import checked_rows


def auroc(inside: jax.Array, outside: jax.Array) -> jax.Array:
    """Area under the ROC curve: P(outside > inside) + P(outside = inside) / 2.

    That is Mann & Whitney's U / (N_in N_out); Hanley & McNeil 1982, Radiology 143.

    Args:
      inside: float[N_in].
      outside: float[N_out].

    Returns:
      float[], in [0, 1]; 1/2 is chance.
    """
    inside, outside = _checked(inside, outside)
    below, below_or_equal = (_number(inside, outside, side) for side in ("left", "right"))
    return ((below + below_or_equal) / (2 * len(inside))).mean()


def aupr(inside: jax.Array, outside: jax.Array) -> jax.Array:
    """Area under the precision-recall curve of finding rows outside, the average precision.

        mean over o in outside of  #{outside >= o} / (#{outside >= o} + #{inside >= o})

    Rows of equal score count as found together. Chance is N_out / (N_in + N_out). With the rows
    inside as those to find: `aupr(-outside, -inside)`.

    Args:
      inside: float[N_in].
      outside: float[N_out].

    Returns:
      float[], in (0, 1].
    """
    inside, outside = _checked(inside, outside)
    found = len(outside) - _number(outside, outside, "left")
    false = len(inside) - _number(inside, outside, "left")
    return (found / (found + false)).mean()


def fpr95(inside: jax.Array, outside: jax.Array) -> jax.Array:
    """Share of the rows outside that pass where 95 % of the rows inside do.

    The threshold is the least at which at least 95 % of the rows inside are at or below it
    (Liang et al. 2018, arXiv:1706.02690, section 4.3: inside is "positive").

    Args:
      inside: float[N_in].
      outside: float[N_out].

    Returns:
      float[], in [0, 1]; smaller is better.
    """
    inside, outside = _checked(inside, outside)
    below = _number(inside, outside, "left")
    passes = below < -(-95 * len(inside) // 100)
    return jnp.where(jnp.isnan(below), jnp.nan, passes.astype(jnp.float32)).mean()


def _checked(inside: jax.Array, outside: jax.Array) -> list[jax.Array]:
    return [*checked_rows(inside=inside), *checked_rows(outside=outside)]


def _number(inside: jax.Array, outside: jax.Array, side: str) -> jax.Array:
    """For each of `outside` the number of `inside` below it ("left"), or not above ("right")."""
    number = jnp.searchsorted(jnp.sort(inside), outside, side=side)
    unknown = jnp.isnan(inside).any() | jnp.isnan(outside)  # traced ones may be
    return jnp.where(unknown, jnp.nan, number.astype(jnp.float32))
