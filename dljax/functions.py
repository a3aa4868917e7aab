"""Test functions of unconstrained optimization, with their minima.

Problem numbers are those of Moré, Garbow & Hillstrom 1981, "Testing unconstrained optimization
software", ACM TOMS 7.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Function(NamedTuple):
    """A function float[D] -> float[].

    Attributes:
      name: What it is called.
      value: The function.
      minimum: Where its lowest value, 0, lies.
      start: The usual starting point; runs start at `start + spread z` with z standard normal.
      spread: Standard deviation of the start in each variable.
      target: A value that counts as solved.
    """

    name: str
    value: Callable[[jax.Array], jax.Array]
    minimum: tuple[float, ...]
    start: tuple[float, ...]
    spread: float
    target: float


def quadratic(w: jax.Array) -> jax.Array:
    """sum(h w^2) / 2 with curvatures h from 0.01 to 10: condition number 1,000.

    Gradient descent converges if and only if learning_rate < 2 / max(h) = 0.2.
    """
    return (jnp.logspace(-2.0, 1.0, 10) * w**2).sum() / 2


def rosenbrock(w: jax.Array) -> jax.Array:
    """(1 - x)^2 + 100 (y - x^2)^2, a curved valley; Moré et al. 1981, problem 1."""
    x, y = w
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def beale(w: jax.Array) -> jax.Array:
    """sum_i (c_i - x (1 - y^i))^2, c = 1.5, 2.25, 2.625; Moré et al. 1981, problem 5."""
    x, y = w
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def rastrigin(w: jax.Array) -> jax.Array:
    """sum(w^2 + 10 (1 - cos 2 pi w)), a minimum near every integer point; Rastrigin 1974."""
    return (w**2 + 10 * (1 - jnp.cos(2 * jnp.pi * w))).sum()


FUNCTIONS = (
    Function("quadratic", quadratic, (0.0,) * 10, (1.0,) * 10, 0.1, 1e-3),
    Function("rosenbrock", rosenbrock, (1.0, 1.0), (-1.2, 1.0), 0.1, 1e-2),
    Function("beale", beale, (3.0, 0.5), (1.0, 1.0), 0.1, 1e-2),
    Function("rastrigin", rastrigin, (0.0, 0.0), (0.0, 0.0), 1.5, 2.0),
)
