"""The ends and the sum of a Hessian's spectrum, from its products with vectors."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dljax import trees
from dljax.errors import require_whole
from dljax.keys import stream
from dljax.linalg import eigh
from dljax.types import Metrics, PyTree

Product = Callable[[PyTree], PyTree]
BREAKDOWN = 100  # roundings of |H q| that a new direction must exceed


class Curvature(NamedTuple):
    """What `dj.trainer` measures of the curvature at every evaluation, see `curvature_row`.

    Attributes:
      num_iterations: Of Lanczos, >= 1; each takes one product, and stores one vector.
      num_probes: Random vectors for the trace, >= 2; each takes one product.
      part: Part of the split whose mean loss is looked at: "train", "valid" or "test".
    """

    num_iterations: int = 20
    num_probes: int = 10
    part: str = "train"


def curvature_row(
    curvature: Curvature, gradient: Callable[[PyTree], PyTree], params: PyTree, key: jax.Array
) -> Metrics:
    """Measures the Hessian H of a loss at p.

    Args:
      curvature: How.
      gradient: `gradient(p)`, of the loss, a tree like p.
      params: The parameters p.
      key: Of the random vectors: one key, the same vectors, so that two rows differ by H alone.

    Returns:
      "curvature_top": The largest eigenvalue of H, by value, from below.
      "curvature_trace", "curvature_trace_error": The trace of H, and its standard error.
      "stability_edge": 2 / curvature_top, the learning rate from which on gradient descent leaves
        the minimum of a quadratic with this H (Cohen et al. 2021, arXiv:2103.00065, section 2);
        inf where no eigenvalue is above 0. Each float[].
    """
    product = lambda v: jax.jvp(gradient, (params,), (v,))[1]  # noqa: E731
    top = top_eigenvalue(product, stream(key, "lanczos"), params, curvature.num_iterations)
    total, error = trace(product, stream(key, "hutchinson"), params, curvature.num_probes)
    edge = jnp.where(top > 0, 2 / jnp.where(top > 0, top, 1.0), jnp.inf)
    return {
        "curvature_top": top,
        "curvature_trace": total,
        "curvature_trace_error": error,
        "stability_edge": jnp.where(jnp.isnan(top), top, edge),
    }


def checked(curvature: Curvature, parts: tuple[str, ...]) -> Curvature:
    """Returns what is measured, or raises a `ValueError` where it cannot be."""
    if not isinstance(curvature, Curvature):
        raise ValueError(f"curvature must be a dj.Curvature or None, got {curvature!r}.")
    require_whole("num_iterations", curvature.num_iterations, "[1, inf)")
    require_whole("num_probes", curvature.num_probes, "[2, inf)")
    if curvature.part not in parts:
        raise ValueError(
            f"the part of a curvature must be one of {', '.join(parts)}, got {curvature.part!r}."
        )
    return curvature


def top_eigenvalue(
    product: Product, key: jax.Array, like: PyTree, num_iterations: int
) -> jax.Array:
    """Returns the largest Ritz value of `lanczos`, at most the largest eigenvalue of H; float[]."""
    return ritz_values(*lanczos(product, key, like, num_iterations))[-1]


def ritz_values(alpha: jax.Array, beta: jax.Array) -> jax.Array:
    """Returns the eigenvalues of the tridiagonal T of `lanczos`, ascending, float[k]."""
    T = jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1)
    return eigh(T)[0]


def lanczos(
    product: Product, key: jax.Array, like: PyTree, num_iterations: int
) -> tuple[jax.Array, jax.Array]:
    """The method of Lanczos 1950, J. Res. Nat. Bur. Stand. 45; all q are kept orthogonal.

        w      = H q_j
        alpha_j = q_j^T w
        beta_j q_j+1 = w - sum_i q_i (q_i^T w),   i <= j, taken twice

    (Golub & Van Loan 2013, "Matrix computations", section 10.3) from a random q_1 on the sphere.
    Where the q span all that H makes of q_1, the rest of beta is 0 and the rest of alpha repeats
    the first, which lies between the ends of the spectrum. It stores k vectors.

    Args:
      product: `product(v) -> H v` of trees like the parameters, H symmetric.
      key: Of q_1.
      like: The parameters, n real numbers; they show shapes.
      num_iterations: At most; static.

    Returns:
      The diagonal of T = Q^T H Q and what stands beside it, float[k] each with
      k = min(num_iterations, n); the last of beta leads out of T.
    """
    flat, back = trees.as_vector("lanczos", like)
    size = min(num_iterations, flat.size)
    start = jax.random.normal(key, flat.shape, flat.dtype)
    Q = jnp.zeros((size, flat.size), flat.dtype).at[0].set(start / jnp.linalg.norm(start))

    def iterate(Q, j):
        w = _along(product, back, Q[j])
        alpha, length = Q[j] @ w, jnp.linalg.norm(w)
        for _ in range(2):
            w = w - _dot(Q.T, _dot(Q, w))
        beta = jnp.linalg.norm(w)
        ends = beta <= BREAKDOWN * jnp.finfo(w.dtype).eps * length
        beta = jnp.where(ends, 0.0, beta)
        Q = Q.at[j + 1].set(jnp.where(ends, 0.0, w / jnp.where(ends, 1.0, beta)), mode="drop")
        return Q, (alpha, beta)

    Q, (alpha, beta) = lax.scan(iterate, Q, jnp.arange(size))
    return jnp.where((Q == 0).all(axis=1), alpha[0], alpha), beta


def trace(
    product: Product, key: jax.Array, like: PyTree, num_probes: int
) -> tuple[jax.Array, jax.Array]:
    """The trace of H; Hutchinson 1990, Commun. Statist. Simula. 19.

        tr H = E[z^T H z],   z of independent signs

    Args:
      product: `product(v) -> H v` of trees like the parameters, H symmetric.
      key: Of the signs.
      like: The parameters, n real numbers; they show shapes.
      num_probes: Number of z, S >= 2; static.

    Returns:
      The mean over the z, and its standard error, estimated from them, float[] each. A single
      z^T H z has the variance 2 sum_i sum_(j != i) H_ij^2.
    """
    flat, back = trees.as_vector("trace", like)

    def one_probe(i):
        z = jax.random.rademacher(stream(key, "probe", i), flat.shape, flat.dtype)
        return z @ _along(product, back, z)

    values = lax.map(one_probe, jnp.arange(num_probes))
    return values.mean(), values.std(ddof=1) / num_probes**0.5


def _along(product: Product, back: Callable[[jax.Array], PyTree], v: jax.Array) -> jax.Array:
    return trees.as_vector("curvature", product(back(v)))[0]


def _dot(A: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.matmul(A, x, precision="highest")  # what is left after it is small
