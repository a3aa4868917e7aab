"""How far the dialects of an optimizer are apart, measured where eps bites."""

import inspect
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax.typing import ArrayLike

from dljax.errors import require, unknown
from dljax.optimizers.dialects import keras, paper, tf1, torch
from dljax.optimizers.dialects import optax as optax_dialect
from dljax.optimizers.states import eval_params

DIALECTS: dict[str, ModuleType] = {
    "paper": paper,
    "optax": optax_dialect,
    "torch": torch,
    "keras": keras,
    "tf1": tf1,
}

# f(theta) = sum(h theta^2) / 2 from theta = 1: steep, flat, and so flat that eps decides
CURVATURE = (1e-6, 1e-2, 0.3, 1.0, 5.0)
START = 1.0

# one for all dialects of an optimizer, so that what differs is the formula and its numbers
LEARNING_RATES = {
    "sgd": 0.1,
    "momentum": 0.02,
    "nag": 0.02,
    "adagrad": 0.1,
    "adadelta": 1.0,
    "rmsprop": 0.01,
    "centered_rmsprop": 0.01,
    "adam": 0.01,
    "adamw": 0.01,
    "nadam": 0.01,
}

# numbers that make the nominal settings equal: what is left is the formula
MATCHED = {
    "adagrad": {"eps": 1e-8, "initial": 0.1},
    "adadelta": {"decay": 0.95, "eps": 1e-6},
    "rmsprop": {"decay": 0.9, "eps": 1e-8},
    "centered_rmsprop": {"decay": 0.9, "eps": 1e-8, "b": 0.0},
    "adam": {"eps": 1e-8},
    "adamw": {"eps": 1e-8, "weight_decay": 1e-2},
    "nadam": {"eps": 1e-8},
}


def divergence(
    name: str,
    *,
    learning_rate: optax.ScalarOrSchedule | None = None,
    num_steps: int = 50,
    **numbers: ArrayLike,
) -> pd.DataFrame:
    """Measures max |theta - theta'| between the dialects of one optimizer after some steps.

    Each runs in float64 on sum(h theta^2) / 2 with h = `CURVATURE` from theta = 1, and is read
    at the point it evaluates (`eval_params`).

    Args:
      name: An optimizer, such as "adam".
      learning_rate: The one of every dialect, or a schedule; `None` takes `LEARNING_RATES`.
      num_steps: Steps, >= 1.
      **numbers: Arguments by name, given to the dialects that take them; the others, and what is
        not given, stay at each dialect's own default.

    Returns:
      A symmetric table [dialects, dialects] of float64, of the dialects that have the optimizer.

    Raises:
      ValueError: If no dialect has the optimizer or takes an argument, or a number is out of range.
    """
    if name not in LEARNING_RATES:
        raise unknown("optimizer", name, LEARNING_RATES)
    require("num_steps", num_steps, "[1, inf)")
    rate = LEARNING_RATES[name] if learning_rate is None else learning_rate
    factories = {d: getattr(m, name) for d, m in DIALECTS.items() if hasattr(m, name)}
    takes = {d: set(inspect.signature(f).parameters) for d, f in factories.items()}
    known = set().union(*takes.values())
    if extra := sorted(set(numbers) - known):
        raise unknown("argument", extra[0], known)
    numbers = {"learning_rate": rate, **numbers}
    taken = {d: {k: v for k, v in numbers.items() if k in takes[d]} for d in factories}
    with jax.enable_x64(True):
        optimizers = [factory(**taken[dialect]) for dialect, factory in factories.items()]
        ends = np.asarray(_ends(optimizers, int(num_steps)))
    apart = np.abs(ends[:, None] - ends).max(axis=-1)
    return pd.DataFrame(apart, index=list(factories), columns=list(factories))


def matrix(*, matched: bool = False, num_steps: int = 50) -> pd.DataFrame:
    """Stacks `divergence` of every optimizer: a table [optimizer and dialect, dialect].

    Args:
      matched: Whether the dialects share their numbers (`MATCHED`), so that only formulas differ;
        otherwise each has its own defaults but for the learning rate.
      num_steps: Steps, >= 1.
    """
    tables = {
        name: divergence(name, num_steps=num_steps, **(MATCHED.get(name, {}) if matched else {}))
        for name in LEARNING_RATES
    }
    return pd.concat(tables, names=["optimizer", "dialect"]).reindex(columns=list(DIALECTS))


def _ends(optimizers: list[optax.GradientTransformation], num_steps: int) -> jax.Array:
    """Returns the points [optimizers, 5] that they evaluate after `num_steps` steps."""
    h = jnp.array(CURVATURE)
    start = jnp.full(h.shape, START)

    def end(optimizer):
        def step(carry, _):
            theta, state = carry
            u, state = optimizer.update(h * theta, state, theta)
            return (theta + u, state), None

        (theta, state), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=num_steps)
        return eval_params(state, theta)

    return jax.jit(lambda: jnp.stack([end(optimizer) for optimizer in optimizers]))()
