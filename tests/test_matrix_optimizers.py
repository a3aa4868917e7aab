"""Muon orthogonalizes, Shampoo takes roots of matrices, SOAP is Adam in another basis."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads
from test_adam_variants import short_problem
from test_optimizers import run_ours

import dljax as dj


def first_update(optimizer, g, p=None):
    p = jnp.zeros_like(g) if p is None else p
    return optimizer.update(g, optimizer.init(p), p)[0]


def normal(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape))


@pytest.mark.usefixtures("x64")
def test_muon_equals_optax_without_momentum():
    case = [part["matrix"] for part in short_problem()]
    # with momentum the two look ahead differently: optax corrects a mean, the author sums
    ours = dj.optimizers.muon(0.02, b=0.0, eps=1e-40, weight_decay=0.1)
    theirs = optax.contrib.muon(0.02, beta=0.0, eps=1e-20, weight_decay=0.1)
    # the iteration enlarges small singular values, and roundings with them, by 3.4^5
    np.testing.assert_allclose(run_ours(ours, *case)[0], run_ours(theirs, *case)[0], rtol=1e-10)


@pytest.mark.parametrize("shape", [(6, 6), (3, 8), (8, 3)])
def test_the_singular_values_of_muons_update_are_near_one(shape):
    updates = first_update(dj.optimizers.muon(1.0), normal(*shape))
    scale = np.sqrt(max(1, shape[1] / shape[0]))
    values = np.linalg.svd(updates / scale, compute_uv=False)
    # the band of the author's quintic, which does not converge to 1
    assert (values > 0.65).all(), values
    assert (values < 1.25).all(), values


def test_muon_takes_the_kernel_of_a_convolution_for_a_matrix_of_its_outputs():
    optimizer, g = dj.optimizers.muon(0.1), normal(2, 2, 3, 5)
    flat = first_update(optimizer, g.reshape(12, 5))
    np.testing.assert_allclose(first_update(optimizer, g), flat.reshape(2, 2, 3, 5), rtol=1e-6)


def test_muon_leaves_all_but_matrices_to_adamw():
    params = {"scalar": normal(), "vector": normal(3), "cube": normal(2, 3, 2)}
    grads = jax.tree.map(jnp.cos, params)
    ours = first_update(dj.optimizers.muon(0.1, adam_ratio=0.5), grads, params)
    theirs = first_update(dj.optimizers.adamw(0.05, b2=0.95), grads, params)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_shampoo_begins_with_the_closed_form_of_a_matrix():
    g, eps = normal(3, 5), 0.01
    U, S, Vt = np.linalg.svd(g, full_matrices=False)
    updates = first_update(dj.optimizers.shampoo(0.1, eps=eps), g)
    # each side divides a singular value s by (eps + s^2)^(1/4)
    expected = -0.1 * (U * (S / np.sqrt(eps + S**2))) @ Vt
    np.testing.assert_allclose(updates, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_shampoo_of_a_vector_is_adagrad_with_its_whole_matrix():
    g, optimizer = normal(20, 4), dj.optimizers.shampoo(0.1, eps=0.01)
    state, step = optimizer.init(g[0]), jax.jit(optimizer.update)
    for row in g:
        updates, state = step(row, state)
    x, Q = np.linalg.eigh(0.01 * np.eye(4) + g.T @ g)
    np.testing.assert_allclose(updates, -0.1 * Q @ (Q.T @ g[-1] / np.sqrt(x)), rtol=1e-11)


def test_shampoo_keeps_the_diagonal_of_axes_that_are_too_long():
    case = [np.float32(part["vector"]) for part in short_problem()]
    shampoo, _ = run_ours(dj.optimizers.shampoo(0.3, eps=1e-4, max_size=4), *case)
    adagrad, _ = run_ours(dj.optimizers.adagrad(0.3, eps=1e-4), *case)
    np.testing.assert_allclose(shampoo, adagrad, rtol=1e-5)  # a power and a root in float32
    state = dj.optimizers.shampoo(0.3, max_size=4).init(jnp.ones((3, 7)))
    assert [h.shape for h in state.stats.H] == [(3, 3), (7,)]


def test_shampoo_computes_its_powers_only_when_they_are_due():
    optimizer = dj.optimizers.shampoo(0.1, every=3)
    state, step = optimizer.init(jnp.ones(2)), jax.jit(optimizer.update)
    powers = []
    for _ in range(5):
        _, state = step(jnp.ones(2), state)
        powers.append(np.asarray(state.stats.P[0]))
    same = [np.array_equal(a, b) for a, b in zip(powers[1:], powers)]
    assert same == [True, True, False, True]


@pytest.mark.usefixtures("x64")
def test_shampoo_has_its_derivative_at_equal_eigenvalues_too():
    def updates(g, eps):
        optimizer = dj.optimizers.shampoo(1.0, eps=eps)
        return optimizer.update(g, optimizer.init(g))[0]

    g = jnp.diag(jnp.array([1.0, 1.0, 2.0]))
    # finite differences of 1e-4 leave about 1e-8
    check_grads(jax.jit(updates), (g, 0.1), 1, modes=("rev",), eps=1e-4, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("part", ["matrix", "vector"])
def test_soap_is_adam_where_it_keeps_the_basis(part):
    case = [np.float32(p[part]) for p in short_problem()]
    max_size = 0 if part == "matrix" else 1024  # of a vector the basis is kept in any case
    soap, _ = run_ours(dj.optimizers.soap(0.05, max_size=max_size), *case)
    adam, _ = run_ours(dj.optimizers.adam(0.05, b1=0.95, b2=0.95), *case)
    np.testing.assert_allclose(soap, adam, rtol=1e-5)  # the same sums in another order


@pytest.mark.usefixtures("x64")
def test_soap_begins_with_an_orthogonal_step():
    g = normal(3, 3)
    U, _, Vt = np.linalg.svd(g)
    # in its own singular vectors g is diagonal, and Adam's first step is its sign; eps counts
    # 1e-16 beside 0.05 s^2, and what should be 0 is 1e-16 / 1e-8
    np.testing.assert_allclose(first_update(dj.optimizers.soap(0.1), g), -0.1 * U @ Vt, atol=1e-7)


def test_soap_turns_its_bases_only_when_they_are_due_and_they_stay_orthogonal():
    optimizer, g = dj.optimizers.soap(0.1, every=3), normal(5, 3, 4)
    state, step = optimizer.init(g[0]), jax.jit(optimizer.update)
    bases = []
    for g_t in g:
        _, state = step(g_t, state)
        bases.append([np.asarray(Q) for Q in state.stats.Q])
    same = [np.array_equal(a[0], b[0]) for a, b in zip(bases[1:], bases)]
    assert same == [True, True, False, True]
    for Q in bases[-1]:
        np.testing.assert_allclose(Q.T @ Q, np.eye(len(Q)), atol=1e-5)


@pytest.mark.parametrize("name", ["muon", "shampoo", "soap"])
def test_a_complex_array_is_a_real_one_of_one_more_axis(name):
    optimizer = getattr(dj.optimizers, name)(0.1)
    g = normal(2, 3)
    real, both = first_update(optimizer, g), first_update(optimizer, jax.lax.complex(*g))
    assert both.dtype == jnp.complex64
    np.testing.assert_allclose(jnp.stack([both.real, both.imag]), real, rtol=1e-6)
