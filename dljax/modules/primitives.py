"""Two operations that JAX lacks, for what a CPU stores and in which order it does so."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def contract(a: jax.Array, b: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Sums over an axis of each of two matrices; what is left of `a` comes first.

        contract(a, b, (0, 0)) = a^T b     (1, 0) = a b     (1, 1) = a b^T

    `dot_general` does the same, but JAX writes the derivative with respect to b in a^T b as
    (g^T a^T)^T: a CPU then stores a matrix of a few rows and millions of columns by columns, and
    whatever reads it next jumps. Here it is a g. All derivatives are again of this form, so that
    they exist in both directions and in every order.

    Args:
      a: float[M, N].
      b: float[K, L].
      axes: The axis of `a` and the axis of `b` that are summed over.

    Returns:
      float[.., ..], the other axis of `a` and the other axis of `b`.
    """
    dtype = jnp.result_type(a, b)
    return _contract_p.bind(a.astype(dtype), b.astype(dtype), axes=axes)


def stored(x: jax.Array) -> jax.Array:
    """Returns x, which a CPU then computes once and stores, and so its gradient.

    XLA for CPUs computes what is cheap anew in every loop that reads it: what comes before a
    3 x 3 convolution nine times, a dropout mask and all. (It drops `optimization_barrier` before
    it decides so.) On other backends this is nothing.
    """
    return _stored_p.bind(x)


def _product(a, b, *, axes):
    i, j = axes
    return jax.lax.dot_general(a, b, (((i,), (j,)), ((), ())))


def _shape_of_product(a, b, *, axes):
    return jax.core.ShapedArray((a.shape[1 - axes[0]], b.shape[1 - axes[1]]), a.dtype)


def _derivative_of_a(g, a, b, *, axes):
    i, j = axes
    return contract(b, g, (1 - j, 1)) if i == 0 else contract(g, b, (1, 1 - j))


def _derivative_of_b(g, a, b, *, axes):
    i, j = axes
    return contract(a, g, (1 - i, 0)) if j == 0 else contract(g, a, (0, 1 - i))


def _mapped_product(matrices, mapped_axes, *, axes):
    return jax.vmap(partial(_product, axes=axes), mapped_axes)(*matrices), 0


_contract_p = Primitive("contract")
_contract_p.def_impl(jax.jit(_product, static_argnames="axes"))
_contract_p.def_abstract_eval(_shape_of_product)
ad.defbilinear(_contract_p, _derivative_of_a, _derivative_of_b)
batching.primitive_batchers[_contract_p] = _mapped_product
mlir.register_lowering(_contract_p, mlir.lower_fun(_product, multiple_results=False))


def _same(x):
    return x


def _called(x):
    # a call that is not inlined: loops are fused within a computation, never across a call
    with set_xla_metadata(inlineable="false"):
        return jax.jit(_same)(x)


_stored_p = Primitive("stored")
_stored_p.def_impl(_same)
_stored_p.def_abstract_eval(_same)
ad.deflinear2(_stored_p, lambda g, x: [stored(g)])
batching.defvectorized(_stored_p)
mlir.register_lowering(_stored_p, mlir.lower_fun(_same, multiple_results=False))
mlir.register_lowering(_stored_p, mlir.lower_fun(_called, multiple_results=False), platform="cpu")
