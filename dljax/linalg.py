"""Factorizations of matrices that many members may take at once.

On a CPU, jaxlib hands a batch of matrices to the threads of the very pool it is called from, and
waits for them there: two programs at a time on two cores wait for each other for ever (seen with
jaxlib 0.10.2, batched Cholesky). One matrix at a time is factorized in the calling thread, so on a
CPU a batch is a loop here; an accelerator takes it whole. So are products, whose last bits would
depend on how many of them there are.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap

# flops over n^3; Golub & Van Loan 2013, "Matrix computations", sections 4.2, 5.2 and 8.3
CHOLESKY_FLOPS, QR_FLOPS, EIGH_FLOPS = 1 / 3, 8 / 3, 9.0  # Q or the vectors included


def _looped_on_cpu(f: Callable) -> Callable:
    looped = sequential_vmap(f)
    return lambda *matrices: lax.platform_dependent(*matrices, cpu=looped, default=f)


_eigh = _looped_on_cpu(lambda H: tuple(jnp.linalg.eigh(H)))
_qr = _looped_on_cpu(lambda X: jnp.linalg.qr(X)[0])
_svd = _looped_on_cpu(lambda X: tuple(jnp.linalg.svd(X, full_matrices=False)))
_solve = _looped_on_cpu(lambda F, b: jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(F), b))

# devices that would multiply in less than float32 do it in full
_product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)
_matmul = _looped_on_cpu(_product)


@jax.custom_jvp
def matmul(X: jax.Array, Y: jax.Array) -> jax.Array:
    """Returns X Y in all digits, one product at a time on a CPU.

    Args:
      X: float[n, k].
      Y: float[k, m] or float[k].
    """
    return _matmul(X, Y)


@matmul.defjvp
def _matmul_jvp(primals, tangents):
    (X, Y), (dX, dY) = primals, tangents
    return _matmul(X, Y), _product(dX, Y) + _product(X, dY)


def svd(X: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns U, s and V^T of X = U diag(s) V^T; with r = min(n, m) values s, descending.

    Args:
      X: float[n, m].

    Returns:
      float[n, r], float[r] and float[r, m].
    """
    return _svd(X)


@jax.custom_jvp
def eigh(H: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the eigenvalues x, ascending, float[n], and vectors, columns of Q, float[n, n].

    Derivatives leave out the turning of vectors whose eigenvalues are equal, which has none.

    Args:
      H: float[n, n], symmetric.
    """
    return _eigh(H)


@eigh.defjvp
def _eigh_jvp(primals, tangents):
    """dx_i = q_i^T dH q_i, and dq_j = sum_i q_i (q_i^T dH q_j) / (x_j - x_i)."""
    x, Q = _eigh(*primals)
    D = Q.T @ tangents[0] @ Q
    gap = x[None, :] - x[:, None]
    turn = jnp.where(gap == 0, 0.0, D / jnp.where(gap == 0, 1.0, gap))
    return (x, Q), (jnp.diagonal(D), Q @ turn)


def orthogonal(X: jax.Array) -> jax.Array:
    """Returns the Q of X = Q R, float[n, n]; no derivative comes through."""
    return _qr(lax.stop_gradient(X))


def solve_positive(F: jax.Array, b: jax.Array) -> jax.Array:
    """Solves F x = b by Cholesky factors.

    Args:
      F: float[n, n], symmetric and positive definite.
      b: float[n, m].
    """
    product = lambda x: F @ x  # noqa: E731
    solve = lambda _, b: _solve(lax.stop_gradient(F), b)  # noqa: E731
    return lax.custom_linear_solve(product, b, solve, symmetric=True)
