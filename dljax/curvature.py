"""What second-order optimizers may ask of a batch; what is not asked for costs nothing."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dljax.kronecker import Factors, kronecker_factors
from dljax.types import PyTree


class Local(NamedTuple):
    """A batch of B rows and a model at parameters p, as methods of second order see them.

    Attributes:
      params: The parameters p.
      outputs_of: `outputs_of(p) -> f`, outputs of all rows, float[B, ...].
      output_loss: `output_loss(f) -> float[]`, sum_b w_b l_b.
      outputs_of_row: `outputs_of_row(p, b) -> float[1, ...]`, of row b alone, without dropout.
      share: w_b, weight of a row over the number of real rows, float[B]; 0 for padding.
      fisher_root: See `Task`: `fisher_root(f, z) -> B z`, by rows; or `None`.
      key: For random directions.
    """

    params: PyTree
    outputs_of: Callable[[PyTree], Any]
    output_loss: Callable[[Any], jax.Array]
    outputs_of_row: Callable[[PyTree, jax.Array], Any]
    share: jax.Array | None
    fisher_root: Callable[[Any, Any], Any] | None
    key: jax.Array


def extra_args(local: Local) -> dict[str, Callable]:
    """Returns the functions that `dj.trainer` offers to an optimizer as extra arguments.

    With l_b the loss and f_b the outputs of row b, w_b its share of the batch, J_b the derivative
    of f_b with respect to p, and B_b B_b^T the Fisher matrix of f_b:

        value_fn(p)                l(p) = sum_b w_b l_b
        grad_fn(p)                 the gradient of l
        hvp_fn(v)                  (d^2 l / dp^2) v
        gauss_newton_vp(v)         sum_b w_b J_b^T (d^2 l_b / df_b^2) J_b v
        fisher_vp(v)               sum_b w_b J_b^T B_b B_b^T J_b v
        fisher_diagonal_fn(exact)  (the diagonal of that matrix, S)
        kronecker_fn(exact)        ({path of a layer: its `Factors` of that matrix}, S)

    (Schraudolph 2002, Neural Computation 14; Martens 2020, JMLR 21, sections 8 and 9.) Vectors are
    trees like the parameters. The last three are there where the task has a `fisher_root`.
    `exact` takes as many passes backward, S, as there are outputs; otherwise one random direction
    in the space of outputs is drawn for each row, which is right on average, and S is 1.
    """
    p = local.params

    def value_fn(p, **_):
        return local.output_loss(local.outputs_of(p))

    def hvp_fn(v):
        return jax.jvp(jax.grad(value_fn), (p,), (v,))[1]

    def gauss_newton_vp(v):
        f, Jv = jax.jvp(local.outputs_of, (p,), (v,))
        return _transposed(local, jax.jvp(jax.grad(local.output_loss), (f,), (Jv,))[1])

    def fisher_vp(v):
        f, Jv = jax.jvp(local.outputs_of, (p,), (v,))
        root = lambda z: local.fisher_root(f, z)  # noqa: E731
        return _transposed(local, _by_row(local.share, root(jax.linear_transpose(root, f)(Jv)[0])))

    offered = {"grad_fn": jax.grad(value_fn), "hvp_fn": hvp_fn, "gauss_newton_vp": gauss_newton_vp}
    if local.fisher_root is not None:
        offered["fisher_vp"] = fisher_vp
        offered["fisher_diagonal_fn"] = lambda exact=False: _fisher_diagonal(local, exact)
        offered["kronecker_fn"] = lambda exact=False: _kronecker(local, exact)
    # optax's line searches refuse what value_fn does not take, and hand it what it does
    ignored = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in offered]
    place = inspect.Parameter("p", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    value_fn.__signature__ = inspect.Signature([place, *ignored])
    return {**offered, "value_fn": value_fn}


def _transposed(local: Local, u: Any) -> PyTree:
    """J^T u, a tree like the parameters, of u like the outputs."""
    return jax.vjp(local.outputs_of, local.params)[1](u)[0]


def _by_row(w: jax.Array, x: jax.Array) -> jax.Array:
    return (w.reshape(-1, *[1] * (x.ndim - 1)) * x).astype(x.dtype)


def _directions(local: Local, f: jax.Array, exact: bool) -> jax.Array:
    """Vectors z, float[S, B, ...], for whose rows sum_s z_s z_s^T = I, exactly or on average."""
    if not exact:
        return jax.random.rademacher(local.key, (1, *f.shape), f.dtype)
    size = f[0].size
    basis = jnp.eye(size, dtype=f.dtype).reshape(size, 1, *f.shape[1:])
    return jnp.broadcast_to(basis, (size, *f.shape))


def _fisher_diagonal(local: Local, exact: bool) -> tuple[PyTree, int]:
    f = jax.eval_shape(local.outputs_of, local.params)
    zs = _directions(local, jnp.zeros(f.shape, f.dtype), exact)

    def one_row(b, w, zs):
        f, pull = jax.vjp(lambda p: local.outputs_of_row(p, b), local.params)
        gs = jax.vmap(lambda z: pull(local.fisher_root(f, z[None]))[0])(zs)
        return jax.tree.map(lambda g: w * (g**2).sum(axis=0), gs)

    rows = jax.vmap(one_row, (0, 0, 1))(jnp.arange(f.shape[0]), local.share, zs)
    return jax.tree.map(lambda x: x.sum(axis=0), rows), zs.shape[0]


def _kronecker(local: Local, exact: bool) -> tuple[dict[str, Factors], int]:
    f = jax.eval_shape(local.outputs_of, local.params)
    zs = _directions(local, jnp.zeros(f.shape, f.dtype), exact)
    pulled_back = lambda f: jax.vmap(lambda z: local.fisher_root(f, z))(zs)  # noqa: E731
    factors = kronecker_factors(local.outputs_of, local.params, local.share, pulled_back)
    return factors, zs.shape[0]
