"""Muon: the update of a matrix is made orthogonal, so that all its directions move as far."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax.errors import require, require_whole
from dljax.optimizers.adam_variants import checked_numbers
from dljax.optimizers.leafwise import checked_decay, given, leafwise, one_minus_power
from dljax.optimizers.states import Operations, more, none_yet


class MuonMoments(NamedTuple):
    """Statistics of `muon`; each is a tree shaped like the parameters, `()` where there is none."""

    m: jax.Array  # decayed sum of the gradients of a matrix, mean of those of another array
    v: jax.Array | tuple[()]  # mean of the squared gradients of an array that is no matrix
    spent: Operations | tuple[()]  # on a matrix


def muon(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b: ArrayLike = 0.95,
    weight_decay: ArrayLike = 0.01,
    adam_ratio: ArrayLike = 0.015,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.95,
    eps: ArrayLike = 1e-16,
    num_iterations: int = 5,
) -> optax.GradientTransformationExtraArgs:
    """Muon; Jordan et al. 2024, kellerjordan.github.io/posts/muon, with the code's scale and decay.

        m = b m + g
        X = (g + b m) / sqrt(|g + b m|^2 + eps)
        X = a X + (b' A + c A^2) X with A = X X^T, `num_iterations` times
        u = -learning_rate (sqrt(max(1, columns / rows)) X + weight_decay p)

    with a, b', c = 3.4445, -4.7750, 2.0315, which bring every singular value of X that is not tiny
    to 0.7 - 1.2 in five iterations. The author's scale has rows over columns, but of torch's
    kernels [out, in]; ours are [in, out]. Kernels of convolutions [h, w, C, F] are matrices
    [h w C, F]; arrays of other than 2 or 4 axes go to `adamw`. By the author's advice so should
    embeddings and the last layer: see `optax.partition`.

    Args:
      learning_rate: Step size of a matrix, >= 0, in singular values; a schedule sees 0 first.
      b: Decay of `m` of a matrix, in [0, 1), per step.
      weight_decay: Decay of all parameters, >= 0, per step and unit of their learning rate.
      adam_ratio: Learning rate of `adamw` over that of the matrices, >= 0; the default is the
        author's 3e-4 over 0.02.
      b1: Decay of `m` in `adamw`, in [0, 1), per step.
      b2: Decay of `v` in `adamw`, in [0, 1), per step.
      eps: Added under the roots, > 0, in units of the squared gradient.
      num_iterations: Iterations towards an orthogonal matrix, >= 1; static.
    """
    b1, b2, eps = checked_numbers(learning_rate, b1, b2, eps)
    b = checked_decay("b", b)
    require("weight_decay", weight_decay, "[0, inf)")
    require("adam_ratio", adam_ratio, "[0, inf)")
    require_whole("num_iterations", num_iterations, "[1, inf)")

    def init(p):
        if _is_matrix(p):
            return MuonMoments(jnp.zeros_like(p), (), none_yet("solves", "solve_flops"))
        return MuonMoments(jnp.zeros_like(p), jnp.zeros_like(p), ())

    def update_matrix(g, s, p, learning_rate):
        m = b * s.m + g
        G = (g + b * m).reshape(-1, g.shape[-1])
        rows, columns = G.shape
        X = math.sqrt(max(1, columns / rows)) * _orthogonal(G, eps, num_iterations)
        n = min(rows, columns)
        flops = num_iterations * (4.0 * n * G.size + 2 * n**3)  # A, A^2 and times X
        spent = more(s.spent, solves=1, solve_flops=flops)
        return -learning_rate * (X.reshape(g.shape) + weight_decay * p), MuonMoments(m, (), spent)

    def update_other(g, s, p, t, learning_rate):
        m = b1 * s.m + (1 - b1) * g
        v = b2 * s.v + (1 - b2) * g**2
        c = jnp.sqrt(one_minus_power(b2, t)) / one_minus_power(b1, t)
        d = c * m / jnp.sqrt(v + eps)
        return -learning_rate * (d + weight_decay * p), MuonMoments(m, v, ())

    def update(g, s, p, t, learning_rate):
        p = given("muon", p)
        if _is_matrix(g):
            return update_matrix(g, s, p, learning_rate)
        return update_other(g, s, p, t, adam_ratio * learning_rate)

    return leafwise(init, update, learning_rate)


def _is_matrix(p: jax.Array) -> bool:
    return p.ndim in (2, 4) and p.size > 0


def _orthogonal(G: jax.Array, eps: ArrayLike, num_iterations: int) -> jax.Array:
    """Returns nearly U V^T of G = U S V^T, by a quintic iteration on the singular values."""
    a, b, c = 3.4445, -4.7750, 2.0315
    X = G / jnp.sqrt(jnp.sum(G**2) + eps)
    if tall := X.shape[0] > X.shape[1]:
        X = X.T
    for _ in range(num_iterations):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if tall else X
