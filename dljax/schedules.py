"""Schedules: functions of the count of updates (int32[...], from 0) to the learning rate.

Each is given as the `learning_rate` of an optimizer, ours or optax's. All their numbers may be
traced, so a study may vary them and a gradient may be taken in them. `reduce_on_plateau` alone
depends on the loss and therefore has a state: it wraps an optimizer.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.optimizers.plateau import reduce_on_plateau

__all__ = [
    "constant",
    "cosine",
    "exponential_decay",
    "from_epochs",
    "one_cycle",
    "polynomial",
    "reduce_on_plateau",
    "restarts",
    "step_down",
    "warmup",
    "warmup_stable_decay",
]

Schedule = Callable[[ArrayLike], jax.Array]


def constant(learning_rate: ArrayLike) -> Schedule:
    """Always returns `learning_rate`, >= 0."""
    require("learning_rate", learning_rate, "[0, inf)")
    return lambda count: learning_rate * jnp.ones(jnp.shape(count))


def exponential_decay(
    learning_rate: ArrayLike, decay: ArrayLike, num_steps: ArrayLike = 1
) -> Schedule:
    """Multiplies the learning rate by `decay` every `num_steps` updates, smoothly and for ever.

        learning_rate decay^(count / num_steps)

    Args:
      learning_rate: Of the first update, >= 0.
      decay: Factor, > 0; above 1 the learning rate grows.
      num_steps: Updates, > 0.
    """
    require("learning_rate", learning_rate, "[0, inf)")
    require("decay", decay, "(0, inf)")
    require("num_steps", num_steps, "(0, inf)")
    return lambda count: learning_rate * decay ** (count / num_steps)


def step_down(
    learning_rate: ArrayLike, boundaries: Sequence[ArrayLike], factor: ArrayLike = 0.1
) -> Schedule:
    """Multiplies the learning rate by `factor` from each boundary on: piecewise constant.

        learning_rate prod {factor_i : boundary_i <= count}

    Args:
      learning_rate: Of the first updates, >= 0.
      boundaries: Counts of updates, [K], in any order.
      factor: >= 0, one for all or one for each boundary, [K].
    """
    require("learning_rate", learning_rate, "[0, inf)")
    if not isinstance(boundaries, Sequence | jax.Array | np.ndarray):
        raise ValueError(f"boundaries must be a list of counts, got {boundaries!r}.")
    for boundary in boundaries:  # each may be traced
        require("a boundary", boundary, "[0, inf)")
    require("factor", factor, "[0, inf)")
    boundaries, factor = jnp.asarray(boundaries), jnp.asarray(factor)
    if factor.shape not in ((), (1,), boundaries.shape):
        raise ValueError(
            f"factor must be one number or {len(boundaries)}, one for each boundary, "
            f"got {factor.size}."
        )
    factors = jnp.broadcast_to(factor, boundaries.shape)

    def schedule(count):
        rate = learning_rate * jnp.ones(jnp.shape(count))
        for i in range(len(boundaries)):
            rate = rate * jnp.where(count >= boundaries[i], factors[i], 1.0)
        return rate

    return schedule


def polynomial(
    learning_rate: ArrayLike, num_steps: ArrayLike, *, power: ArrayLike = 1.0, end: ArrayLike = 0.0
) -> Schedule:
    """Falls from `learning_rate` to `end` as a power of the updates that are left.

        end + (learning_rate - end) (1 - count / num_steps)^power

    Args:
      learning_rate: Of the first update, >= 0.
      num_steps: Updates until `end` is reached, > 0.
      power: > 0; 1 is a straight line.
      end: Of the updates from `num_steps` on, >= 0.
    """
    require("learning_rate", learning_rate, "[0, inf)")
    require("num_steps", num_steps, "(0, inf)")
    require("power", power, "(0, inf)")
    require("end", end, "[0, inf)")

    def schedule(count):
        left = jnp.clip(1 - count / num_steps, 0.0, 1.0)
        positive = jnp.where(left > 0, left, 1.0)  # 0^power has no finite gradient
        return end + (learning_rate - end) * jnp.where(left > 0, positive**power, 0.0)

    return schedule


def cosine(learning_rate: ArrayLike, num_steps: ArrayLike, *, end: ArrayLike = 0.0) -> Schedule:
    """Half a period of a cosine; Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5.

        end + (learning_rate - end) (1 + cos(pi count / num_steps)) / 2

    Args:
      learning_rate: Of the first update, >= 0.
      num_steps: Updates until `end` is reached, > 0.
      end: Of the updates from `num_steps` on, >= 0.
    """
    require("learning_rate", learning_rate, "[0, inf)")
    require("num_steps", num_steps, "(0, inf)")
    require("end", end, "[0, inf)")

    def schedule(count):
        done = jnp.clip(count / num_steps, 0.0, 1.0)
        return end + (learning_rate - end) * (1 + jnp.cos(jnp.pi * done)) / 2

    return schedule


def restarts(schedule: Schedule, num_steps: ArrayLike) -> Schedule:
    """Begins a schedule anew every `num_steps` updates, > 0; of a `cosine` this makes SGDR."""
    require("num_steps", num_steps, "(0, inf)")
    return lambda count: schedule(count % num_steps)


def warmup(
    learning_rate: optax.ScalarOrSchedule, num_steps: ArrayLike, *, start: ArrayLike = 0.0
) -> Schedule:
    """Rises in a straight line before another schedule; Goyal et al. 2017, arXiv:1706.02677, 2.2.

        start + (f(0) - start) count / num_steps    where count < num_steps
        f(count - num_steps)                        from there on

    Args:
      learning_rate: What follows: a schedule f or a number.
      num_steps: Updates to rise in, >= 0.
      start: Of the first update, >= 0; an update at 0 changes nothing but the statistics.
    """
    f = learning_rate if callable(learning_rate) else constant(learning_rate)
    require("num_steps", num_steps, "[0, inf)")
    require("start", start, "[0, inf)")

    def schedule(count):
        after = f(jnp.maximum(count - num_steps, 0))  # f(0) until then
        risen = jnp.clip(count / jnp.where(num_steps > 0, num_steps, 1), 0.0, 1.0)
        return jnp.where(count < num_steps, start + (after - start) * risen, after)

    return schedule


def one_cycle(
    learning_rate: ArrayLike,
    num_steps: ArrayLike,
    *,
    peak: ArrayLike = 0.45,
    back: ArrayLike = 0.9,
    start: ArrayLike = 1 / 25,
    end: ArrayLike = 1e-4,
) -> Schedule:
    """One cycle up and down, then far down; Smith & Topin 2018, arXiv:1708.07120.

    In straight lines:

        count / num_steps      0       peak    back    1
        rate / learning_rate   start   1       start   end

    Args:
      learning_rate: The highest, >= 0; the paper takes it from `dj.learning_rate_range`.
      num_steps: Updates of the run, > 0.
      peak: Fraction of the run at which it is reached, in [0, 1].
      back: Fraction at which the cycle is back where it began, in [peak, 1].
      start: At the beginning, as a part of `learning_rate`, >= 0.
      end: From `num_steps` on, as a part of `learning_rate`, >= 0.
    """
    _require_fractions(peak=peak, back=back)
    require("start", start, "[0, inf)")
    require("end", end, "[0, inf)")
    return _lines(learning_rate, num_steps, (0.0, peak, back, 1.0), (start, 1.0, start, end))


def warmup_stable_decay(
    learning_rate: ArrayLike,
    num_steps: ArrayLike,
    *,
    warm: ArrayLike = 0.05,
    stable: ArrayLike = 0.8,
    end: ArrayLike = 0.0,
) -> Schedule:
    """Up, level, down (WSD); Hu et al. 2024, arXiv:2404.06395, section 4, with a straight decay.

    In straight lines:

        count / num_steps      0   warm   stable   1
        rate / learning_rate   0   1      1        end

    Args:
      learning_rate: Of the level part, >= 0.
      num_steps: Updates of the run, > 0.
      warm: Fraction of the run at which the level part begins, in [0, 1].
      stable: Fraction at which it ends, in [warm, 1].
      end: From `num_steps` on, as a part of `learning_rate`, >= 0.
    """
    _require_fractions(warm=warm, stable=stable)
    require("end", end, "[0, inf)")
    return _lines(learning_rate, num_steps, (0.0, warm, stable, 1.0), (0.0, 1.0, 1.0, end))


def from_epochs(f: Callable[[jax.Array], ArrayLike], steps_per_epoch: ArrayLike) -> Schedule:
    """Turns f of the epochs gone by, float[...], into a schedule; each schedule here is such an f.

    There are `steps_per_epoch` updates to an epoch, > 0.
    """
    require("steps_per_epoch", steps_per_epoch, "(0, inf)")
    return lambda count: f(count / steps_per_epoch)


def _lines(learning_rate: ArrayLike, num_steps: ArrayLike, at: tuple, parts: tuple) -> Schedule:
    """Goes in straight lines through parts of the learning rate at fractions of the run."""
    require("learning_rate", learning_rate, "[0, inf)")
    require("num_steps", num_steps, "(0, inf)")
    stack = lambda numbers: jnp.stack([jnp.asarray(x, float) for x in numbers])  # noqa: E731
    return lambda count: learning_rate * jnp.interp(count / num_steps, stack(at), stack(parts))


def _require_fractions(**fractions: ArrayLike) -> None:
    """Raises unless the fractions lie in [0, 1] and, where all are concrete, grow."""
    for name, fraction in fractions.items():
        require(name, fraction, "[0, 1]")
    (first, low), (second, high) = fractions.items()
    if (
        not isinstance(low, jax.core.Tracer)
        and not isinstance(high, jax.core.Tracer)
        and low > high
    ):
        raise ValueError(f"{second} must be at least {first}, got {high:g} and {low:g}.")
