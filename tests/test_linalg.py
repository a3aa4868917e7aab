"""Factorizations are right, have derivatives, and never take a batch in one call on a CPU."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dljax import linalg

pytestmark = pytest.mark.usefixtures("x64")


def positive(num=3, n=5):
    root = np.random.default_rng(0).normal(size=(num, n, n))
    return jnp.asarray(root @ root.transpose(0, 2, 1) + np.eye(n))


def right_hand_sides(num=3, n=5):
    return jnp.asarray(np.random.default_rng(1).normal(size=(num, n, 2)))


def test_they_do_what_they_say_under_vmap():
    F, b = positive(), right_hand_sides()
    chex.assert_trees_all_close(F @ jax.vmap(linalg.solve_positive)(F, b), b, atol=1e-12)
    x, Q = jax.vmap(linalg.eigh)(F)
    chex.assert_trees_all_close(Q * x[:, None, :] @ Q.transpose(0, 2, 1), F, atol=1e-12)
    Q = jax.vmap(linalg.orthogonal)(F)
    eye = jnp.broadcast_to(jnp.eye(5), Q.shape)
    chex.assert_trees_all_close(Q.transpose(0, 2, 1) @ Q, eye, atol=1e-12)
    U, s, Vt = jax.vmap(linalg.svd)(b)
    assert (U.shape, s.shape, Vt.shape) == ((3, 5, 2), (3, 2), (3, 2, 2))
    chex.assert_trees_all_close(U * s[:, None] @ Vt, b, atol=1e-12)
    chex.assert_trees_all_close(jax.vmap(linalg.matmul)(F, b), F @ b, atol=1e-12)


def test_products_have_the_derivatives_of_others():
    X, Y = positive(), right_hand_sides()
    square = lambda f: jax.grad(lambda X, Y: (f(X, Y) ** 2).sum(), (0, 1))  # noqa: E731
    ours, theirs = (jax.vmap(square(f))(X, Y) for f in (linalg.matmul, jnp.matmul))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12)  # float64


@pytest.mark.slow
def test_derivatives_equal_finite_differences():
    F, b = positive()[0], right_hand_sides()[0]
    symmetric = lambda F: (F + F.T) / 2  # noqa: E731
    check_grads(lambda F, b: linalg.solve_positive(symmetric(F), b), (F, b), 2)
    root = lambda x, Q: (Q * jnp.sqrt(x)[None]) @ Q.T  # noqa: E731
    check_grads(lambda F: root(*linalg.eigh(symmetric(F))), (F,), 1)
    assert not jax.grad(lambda F: linalg.orthogonal(F).sum())(F).any()


def test_derivatives_are_finite_at_equal_eigenvalues():
    chex.assert_tree_all_finite(jax.jacobian(lambda H: linalg.eigh(H)[1])(jnp.eye(3)))


@pytest.mark.parametrize("name", ["eigh", "orthogonal", "solve_positive", "svd"])
def test_on_a_cpu_a_batch_is_a_loop_over_single_matrices(name):
    """Two programs that hand batches to one pool of threads can wait for each other for ever."""
    function = getattr(linalg, name)
    args = (positive(), right_hand_sides()) if name == "solve_positive" else (positive(),)
    compiled = jax.jit(jax.vmap(function)).lower(*args).compile().as_text()
    calls = [line for line in compiled.splitlines() if "lapack" in line and "custom-call(" in line]
    assert calls
    assert not [line for line in calls if re.search(r"f64\[3,5", line)]
