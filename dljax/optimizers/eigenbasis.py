"""Shampoo and SOAP: a matrix of second moments for every axis of an array."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike

from dljax.errors import require, require_whole
from dljax.linalg import EIGH_FLOPS, QR_FLOPS, eigh, orthogonal
from dljax.optimizers.adam_variants import checked_numbers
from dljax.optimizers.leafwise import (
    checked_eps,
    checked_learning_rate,
    leafwise,
    one_minus_power,
)
from dljax.optimizers.states import Operations, more, none_yet


class Preconditioners(NamedTuple):
    """Statistics of `shampoo`; for an axis of n, f[n, n], or f[n] where n > max_size."""

    H: tuple[jax.Array, ...]  # second moments of every axis
    P: tuple[jax.Array, ...]  # H^(-1/2k) when it was last computed
    spent: Operations


class RotatedMoments(NamedTuple):
    """Statistics of `soap`; `L` and `Q` hold f[n, n] for each axis of n that is rotated."""

    m: jax.Array  # mean of the gradients
    v: jax.Array  # mean of the squared gradients in the bases Q
    L: tuple[jax.Array, ...]  # mean second moments of every axis
    Q: tuple[jax.Array, ...]  # their eigenvectors, in columns
    spent: Operations


def shampoo(
    learning_rate: optax.ScalarOrSchedule,
    *,
    eps: ArrayLike = 1e-4,
    every: ArrayLike = 1,
    max_size: int = 1024,
) -> optax.GradientTransformationExtraArgs:
    """Shampoo; Gupta, Koren & Singer 2018, arXiv:1802.09568, algorithms 1 (matrices) and 2.

        H_i = H_i + G_i G_i^T, from eps I, with G_i the gradient as a matrix [axis i, the others]
        u = -learning_rate g times H_i^(-1/2k) along every axis i = 1, ..., k

    A vector has k = 1: all of Adagrad, not its diagonal alone. An axis longer than `max_size` keeps
    the diagonal of its H_i. Derivatives come through the powers, also at equal eigenvalues.

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      eps: Start of the eigenvalues, > 0, in units of the squared gradient.
      every: The powers are computed at steps 1, 1 + every, ...; >= 1. The paper's algorithms
        have 1; a power costs 10 n^3 and more.
      max_size: Longest axis that has a matrix, >= 0; static.
    """
    checked_learning_rate(learning_rate)
    eps = checked_eps("eps", eps)
    require("every", every, "[1, inf)")
    require_whole("max_size", max_size, "[0, inf)")

    def init(p):
        starts = [(jnp.eye if n <= max_size else jnp.ones)(n, dtype=p.dtype) for n in _shape(p)]
        H = tuple(eps * I for I in starts)
        return Preconditioners(H, tuple(starts), none_yet("solves", "solve_flops"))

    def update(g, s, p, t, learning_rate):
        u = g.reshape(_shape(g))
        exponent = -1 / (2 * u.ndim)
        H = tuple(h + _gram(u, i, diagonal=h.ndim == 1) for i, h in enumerate(s.H))
        due = (t - 1) % every == 0
        P = lax.cond(due, lambda: tuple(_power(h, exponent) for h in H), lambda: s.P)
        spent = _solved(s.spent, [h for h in H if h.ndim == 2], due, EIGH_FLOPS)
        for i, A in enumerate(P):
            u = _along(A, u, i)
        return -learning_rate * u.reshape(g.shape), Preconditioners(H, P, spent)

    return leafwise(init, update, learning_rate)


def soap(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: ArrayLike = 0.95,
    b2: ArrayLike = 0.95,
    eps: ArrayLike = 1e-16,
    every: ArrayLike = 10,
    max_size: int = 1024,
) -> optax.GradientTransformationExtraArgs:
    """SOAP, `adam` in Shampoo's eigenbases; Vyas et al. 2024, arXiv:2409.11321, algorithm 3.

        L_i = b2 L_i + (1 - b2) G_i G_i^T, with G_i the gradient as a matrix [axis i, the others]
        Q_i = eigenvectors of L_i at t = 1, then the Q of L_i Q_i = Q R each `every` steps
        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) g'^2, where ' is times Q_i^T along every axis i
        u = -learning_rate sqrt(1 - b2^t) / (1 - b1^t) m' / sqrt(v + eps), times Q_i along every i

    The paper brings L and Q up to date after the step; here before it, so that the first step has
    a basis too (the authors' code skips it). Arrays of fewer than two axes, and axes longer than
    `max_size`, keep their basis: there it is Adam. No derivative comes through the bases, and so
    none of b2 by way of L.

    Args:
      learning_rate: Step size, >= 0, in units of the parameters; a schedule sees 0 first.
      b1: Decay of `m`, in [0, 1), per step.
      b2: Decay of `v` and `L`, in [0, 1), per step.
      eps: Added under the root, > 0, in units of the squared gradient.
      every: The bases turn at steps 1, 1 + every, ...; >= 1.
      max_size: Longest axis that is rotated, >= 0; static.
    """
    b1, b2, eps = checked_numbers(learning_rate, b1, b2, eps)
    require("every", every, "[1, inf)")
    require_whole("max_size", max_size, "[0, inf)")

    def axes(p):
        return [i for i, n in enumerate(p.shape) if p.ndim > 1 and p.size and n <= max_size]

    def init(p):
        I = [jnp.eye(p.shape[i], dtype=p.dtype) for i in axes(p)]
        zeros, L = jnp.zeros_like(p), tuple(0 * x for x in I)
        return RotatedMoments(zeros, zeros, L, tuple(I), none_yet("solves", "solve_flops"))

    def update(g, s, p, t, learning_rate):
        L = tuple(b2 * L + (1 - b2) * _gram(g, i) for i, L in zip(axes(g), s.L))
        L = lax.stop_gradient(L)
        turned = lambda: tuple(_eigenbasis(L_i, Q_i, t) for L_i, Q_i in zip(L, s.Q))  # noqa: E731
        due = (t - 1) % every == 0
        Q = lax.cond(due, turned, lambda: s.Q)
        spent = _solved(s.spent, L, due, jnp.where(t == 1, EIGH_FLOPS, QR_FLOPS))

        def rotated(x, back=False):
            for i, Q_i in zip(axes(g), Q):
                x = _along(Q_i if back else Q_i.T, x, i)
            return x

        m = b1 * s.m + (1 - b1) * g
        v = b2 * s.v + (1 - b2) * rotated(g) ** 2
        c = jnp.sqrt(one_minus_power(b2, t)) / one_minus_power(b1, t)
        d = rotated(c * rotated(m) / jnp.sqrt(v + eps), back=True)
        return -learning_rate * d, RotatedMoments(m, v, L, Q, spent)

    return leafwise(init, update, learning_rate)


def _shape(p: jax.Array) -> tuple[int, ...]:
    """Returns the shape of an array, a number taken for a vector of one."""
    return p.shape or (1,)


def _solved(
    spent: Operations, matrices: Sequence[jax.Array], due: jax.Array, flops: ArrayLike
) -> Operations:
    """Counts the factorization of each matrix of n, `flops` n^3, where it is due."""
    cubes = sum(float(len(A)) ** 3 for A in matrices)
    return more(spent, solves=due * len(matrices), solve_flops=due * flops * cubes)


def _gram(g: jax.Array, axis: int, diagonal: bool = False) -> jax.Array:
    """Returns G G^T, or its diagonal, of the gradient as a matrix G [axis, the others]."""
    others = [i for i in range(g.ndim) if i != axis]
    return jnp.sum(g**2, axis=others) if diagonal else jnp.tensordot(g, g, axes=(others, others))


def _along(A: jax.Array, x: jax.Array, axis: int) -> jax.Array:
    """Multiplies axis `axis` of `x` by a matrix, or by a diagonal one given as a vector."""
    if A.ndim == 1:
        return jnp.expand_dims(A, [i for i in range(x.ndim) if i != axis]) * x
    return jnp.moveaxis(jnp.tensordot(A, x, axes=(1, axis)), 0, axis)


def _eigenbasis(L: jax.Array, Q: jax.Array, t: jax.Array) -> jax.Array:
    """Returns eigenvectors of L, the largest first as the power iteration sorts them."""
    first = lambda: eigh(L)[1][:, ::-1]  # noqa: E731
    return lax.cond(t == 1, first, lambda: orthogonal(L @ Q))


def _power(H: jax.Array, exponent: float) -> jax.Array:
    return H**exponent if H.ndim == 1 else _matrix_power(H, exponent)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _matrix_power(H: jax.Array, exponent: float) -> jax.Array:
    """Returns H^exponent of a symmetric positive H, with a derivative at equal eigenvalues too."""
    x, Q = _eigh(H)
    return (Q * x[None, :] ** exponent) @ Q.T


@_matrix_power.defjvp
def _matrix_power_jvp(exponent, primals, tangents):
    """The theorem of Daleckii & Krein: divided differences of x^exponent in the eigenbasis."""
    (x, Q), dH = _eigh(*primals), tangents[0]
    f = x**exponent
    gap, mean = x[:, None] - x[None, :], (x[:, None] + x[None, :]) / 2
    # where the two errors are alike: rounding / gap of the difference, gap^2 of the slope
    near = jnp.abs(gap) < jnp.finfo(x.dtype).eps ** (1 / 3) * mean
    slope = exponent * mean ** (exponent - 1)
    F = jnp.where(near, slope, (f[:, None] - f[None, :]) / jnp.where(near, 1.0, gap))
    return (Q * f[None, :]) @ Q.T, Q @ (F * (Q.T @ dH @ Q)) @ Q.T


def _eigh(H: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns eigenvalues and -vectors; no value below what rounding leaves of the largest."""
    x, Q = eigh(H)
    return jnp.maximum(x, jnp.finfo(x.dtype).eps * jnp.max(x, initial=0.0)), Q
