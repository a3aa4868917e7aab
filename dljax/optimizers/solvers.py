"""Directions and step lengths for methods of second order, on flat vectors float[n]."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.linalg import EIGH_FLOPS, eigh

MAX_PARAMETERS = 4096  # a matrix of 4096^2 float32 numbers takes 64 MiB
SUFFICIENT = 1e-4  # share of the promised decrease that a step must bring

Product = Callable[[jax.Array], jax.Array]
Solved = tuple[jax.Array, dict[str, ArrayLike]]  # a direction, and counts of `Operations`


def solve_exactly(product: Product, g: jax.Array, damping: ArrayLike) -> Solved:
    """Returns d = -(|H| + damping I)^-1 g, and what it took: n products and the eigenvalues.

    |H| has the eigenvectors of H and the absolute values of its eigenvalues; directions in which
    |H| + damping is 0 to working precision are left out.

    Args:
      product: `product(v) -> H v`, H symmetric.
      g: The gradient, float[n].
      damping: In units of H, >= 0.

    Raises:
      ValueError: If n is more than 4,096.
    """
    if g.size > MAX_PARAMETERS:
        raise ValueError(
            f"a method that forms its matrix must have at most {MAX_PARAMETERS:,} parameters, got "
            f"{g.size:,}: take newton_cg, solver='cg' or kfac."
        )
    H = jax.vmap(product)(jnp.eye(g.size, dtype=g.dtype))
    values, Q = eigh((H + H.T) / 2)
    size = jnp.abs(values) + damping
    nothing = g.size * jnp.finfo(g.dtype).eps * jnp.max(size, initial=0.0)
    inverse = jnp.where(size > nothing, 1 / jnp.where(size > nothing, size, 1), 0)
    took = {"products": g.size, "solves": 1, "solve_flops": EIGH_FLOPS * g.size**3}
    return -Q @ (inverse * (Q.T @ g)), took


def conjugate_gradients(
    product: Product,
    g: jax.Array,
    damping: ArrayLike,
    tolerance: ArrayLike,
    max_iterations: int,
) -> Solved:
    """Solves (H + damping I) d = -g by conjugate gradients; Nocedal & Wright 2006, algorithm 7.1.

    Ends where the residual is at most tolerance |g|, or where the curvature along a search
    direction is not positive: with what there is by then, or with -g if that is the first one.

    Args:
      product: `product(v) -> H v`, H symmetric.
      g: The gradient, float[n].
      damping: In units of H, >= 0.
      tolerance: Relative residual, >= 0.
      max_iterations: Iterations at most.

    Returns:
      d, and what it took: products, int32[].
    """
    enough = (tolerance**2) * (g @ g)

    def unfinished(carry):
        _, r, _, stopped, j = carry
        return (r @ r > enough) & ~stopped & (j < max_iterations)

    def iterate(carry):
        d, r, s, _, j = carry
        Hs = product(s) + damping * s
        curvature = s @ Hs
        bent = curvature <= 0
        alpha = (r @ r) / jnp.where(bent, 1, curvature)
        new_r = r + alpha * Hs
        beta = (new_r @ new_r) / (r @ r)
        flat_start = jnp.where(j == 0, -g, d)
        new = (d + alpha * s, new_r, -new_r + beta * s)
        kept = (flat_start, r, s)
        d, r, s = (jnp.where(bent, old, x) for old, x in zip(kept, new, strict=True))
        return d, r, s, bent, j + 1

    start = (jnp.zeros_like(g), g, -g, jnp.array(False), jnp.int32(0))
    d, _, _, _, j = jax.lax.while_loop(unfinished, iterate, start)
    return d, {"products": j}


def backtrack(
    along: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    learning_rate: ArrayLike,
    d: jax.Array,
    g: jax.Array,
    max_halvings: int,
) -> tuple[jax.Array, jax.Array]:
    """Returns the first sufficient step; Nocedal & Wright 2006, algorithm 3.1 with halvings.

    Args:
      along: `along(u) -> l(p + u)`, float[].
      start: l(p).
      learning_rate: First step length, alpha.
      d: Direction.
      g: Gradient at p.
      max_halvings: Halvings at most; if none suffices, the step is 0.

    Returns:
      u = alpha d, and the number of values it took, int32[].
    """
    slope = g @ d

    def sufficient(alpha):
        return along(alpha * d) <= start + SUFFICIENT * alpha * slope

    def unfinished(carry):
        _, found, j = carry
        return ~found & (j <= max_halvings)

    def halve(carry):
        alpha, _, j = carry
        alpha = jnp.where(j == 0, alpha, alpha / 2)
        return alpha, sufficient(alpha), j + 1

    first = (jnp.asarray(learning_rate, d.dtype), jnp.array(False), jnp.int32(0))
    alpha, found, j = jax.lax.while_loop(unfinished, halve, first)
    return jnp.where(found, alpha, 0) * d, j
