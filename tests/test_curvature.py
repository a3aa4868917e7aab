"""What `dj.trainer` offers to methods of second order is what it says it is."""

import itertools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from jax.flatten_util import ravel_pytree

import dljax as dj
from dljax import losses

pytestmark = pytest.mark.usefixtures("x64")


def asker(task, data, ask, split=None):
    """Returns `f(state)`, what `ask(params, **extra_args)` gives on a state's next batch."""
    answers = []

    def update(grads, state, params=None, **extra_args):
        answers.append(ask(params, **extra_args))
        return jax.tree.map(jnp.zeros_like, grads), state

    optimizer = optax.GradientTransformationExtraArgs(lambda params: (), update)
    fit = dj.trainer(task, optimizer, data, split, parts=())

    def answer(state):
        fit.step(state, jax.tree.map(lambda x: x[0], fit.draw(state, 1)))
        return answers.pop()

    return fit, answer


def asked(task, data, ask, split=None):
    """Returns what `ask(params, **extra_args)` gives on the first, full batch in float64."""
    is_float = lambda x: jnp.issubdtype(x.dtype, jnp.floating)  # noqa: E731
    double = lambda x: jnp.asarray(x, jnp.float64) if is_float(x) else jnp.asarray(x)  # noqa: E731
    fit, answer = asker(task, jax.tree.map(double, data), ask, split)
    state = fit.init(jax.random.key(0))
    return jax.jit(answer)(state._replace(variables=jax.tree.map(double, state.variables)))


def matrix(product, params):
    """Forms a matrix from its products with the unit vectors."""
    flat, unravel = ravel_pytree(params)
    return jax.vmap(lambda v: ravel_pytree(product(unravel(v)))[0])(jnp.eye(flat.size))


def mlp(num_outputs, features, loss):
    return dj.supervised(dj.linen_model(dj.modules.MLP(num_outputs, features)), loss)


def regression(num_rows=12, num_features=3):
    draw = np.random.default_rng(3)
    return {"x": draw.normal(size=(num_rows, num_features)), "y": draw.normal(size=num_rows)}


def images(num_rows=4):
    draw = np.random.default_rng(4)
    return {"x": draw.normal(size=(num_rows, 4, 4)), "y": np.arange(num_rows) % 2}


CASES = {
    "softmax": (mlp(3, (4,), losses.cross_entropy), small.blobs(12)),
    "logistic": (mlp(1, (3,), losses.binary_cross_entropy), small.blobs(12, num_classes=2)),
    "squared": (mlp(1, (3,), losses.squared_error), regression()),
}
every_case = pytest.mark.parametrize("case", list(CASES))


@every_case
def test_the_hessian_vector_product_is_the_hessian_times_the_vector(case):
    def ask(params, *, hvp_fn, value_fn, **_):
        flat, unravel = ravel_pytree(params)
        return matrix(hvp_fn, params), jax.hessian(lambda p: value_fn(unravel(p)))(flat)

    ours, reference = asked(*CASES[case], ask)
    chex.assert_trees_all_close(ours, reference, rtol=1e-9, atol=1e-12)


@every_case
def test_gauss_newton_is_the_jacobian_on_both_sides_of_the_output_hessian(case):
    task, data = CASES[case]

    def ask(params, *, gauss_newton_vp, **_):
        flat, unravel = ravel_pytree(params)
        outputs = lambda p: task.predict({"params": unravel(p)}, data)[0].reshape(-1)  # noqa: E731
        J, shape = jax.jacobian(outputs)(flat), (len(data["y"]), -1)
        H = jax.hessian(lambda f: task.loss(f.reshape(shape), data).mean())(outputs(flat))
        return matrix(gauss_newton_vp, params), J.T @ H @ J

    data = {name: jnp.asarray(x, float if name == "x" else x.dtype) for name, x in data.items()}
    ours, reference = asked(task, data, ask)
    chex.assert_trees_all_close(ours, reference, rtol=1e-9, atol=1e-12)


@every_case
def test_fisher_equals_gauss_newton_for_losses_with_natural_parameters(case):
    ask = lambda params, *, fisher_vp, gauss_newton_vp, **_: (  # noqa: E731
        matrix(fisher_vp, params),
        matrix(gauss_newton_vp, params),
    )
    chex.assert_trees_all_close(*asked(*CASES[case], ask), rtol=1e-9, atol=1e-12)


def test_the_softmax_root_squares_to_the_mean_outer_product_of_gradients_of_drawn_labels():
    logits = jnp.array([[0.3, -1.0, 2.0], [30.0, 0.0, -30.0]])
    root = losses.FISHER_ROOTS[losses.cross_entropy]
    for f in logits:
        B = jax.vmap(lambda z, f=f: root(f[None], z[None])[0])(jnp.eye(3)).T
        g = jax.vmap(
            lambda y, f=f: jax.grad(lambda f: losses.cross_entropy(f[None], y[None])[0])(f)
        )
        gs = g(jnp.arange(3))
        expected = jnp.einsum("y,yi,yj->ij", jax.nn.softmax(f), gs, gs)
        chex.assert_trees_all_close(B @ B.T, expected, atol=1e-14)


def test_the_roots_of_one_output_square_to_the_fisher_information():
    f, one = jnp.array([0.7]), jnp.ones(1)
    p = jax.nn.sigmoid(f)
    information = {losses.binary_cross_entropy: p * (1 - p), losses.squared_error: 2 * one}
    # a Laplace distribution of scale 1 has the information 1
    information[losses.absolute_error] = one
    for loss, expected in information.items():
        chex.assert_trees_all_close(losses.FISHER_ROOTS[loss](f, one) ** 2, expected, rtol=1e-14)
    assert losses.huber not in losses.FISHER_ROOTS


@every_case
def test_the_exact_fisher_diagonal_is_the_diagonal(case):
    def ask(params, *, fisher_vp, fisher_diagonal_fn, **_):
        diagonal, _ = fisher_diagonal_fn(True)
        return ravel_pytree(diagonal)[0], jnp.diag(matrix(fisher_vp, params))

    chex.assert_trees_all_close(*asked(*CASES[case], ask), rtol=1e-9, atol=1e-14)


def test_a_drawn_direction_gives_the_fisher_diagonal_and_the_factors_on_average():
    task, data = CASES["softmax"]

    def ask(params, *, fisher_diagonal_fn, kronecker_fn, **_):
        both = [(fisher_diagonal_fn(exact)[0], kronecker_fn(exact)[0]) for exact in (False, True)]
        return tuple(both)

    fit, answer = asker(task, data, ask)
    state = fit.init(jax.random.key(0))
    one = lambda slot: answer(state._replace(slot=slot))  # noqa: E731
    drawn, expected = jax.jit(jax.vmap(one))(jnp.arange(2000))
    mean = jax.tree.map(lambda x: x.mean(axis=0), drawn)
    expected = jax.tree.map(lambda x: x[0], expected)
    # 2,000 draws of 12 rows: a standard error of about 1 % of the largest entries
    largest = max(float(x.max()) for x in jax.tree.leaves(expected[0]))
    chex.assert_trees_all_close(mean[0], expected[0], atol=0.05 * largest)
    for path, factors in expected[1].items():
        chex.assert_trees_all_close(mean[1][path].G, factors.G, atol=0.05 * float(factors.G.max()))


class Linear(nn.Module):
    """Dense layers with nothing between them."""

    sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        for i, size in enumerate(self.sizes):
            x = nn.Dense(size, name=f"layer_{i}")(x)
        return x


@pytest.mark.parametrize("features", [(), (4,), (4, 2)], ids=["one", "two", "three"])
def test_kronecker_factors_give_the_exact_fisher_blocks_of_a_linear_net(features):
    """With squared error the gradients of the outputs do not depend on the inputs."""

    def ask(params, *, fisher_vp, kronecker_fn, **_):
        F = matrix(fisher_vp, params)
        index = ravel_pytree(params)[1](jnp.arange(len(F), dtype=float))
        return F, index, kronecker_fn(True)[0]

    model = dj.linen_model(Linear((*features, 1)))
    F, index, factors = asked(dj.supervised(model, losses.squared_error), regression(), ask)
    assert len(factors) == len(features) + 1
    for name, (A, G) in factors.items():
        rows = jnp.concatenate([index[name]["kernel"], index[name]["bias"][None]])
        where = rows.reshape(-1).astype(int)
        chex.assert_trees_all_close(F[where][:, where], jnp.kron(A, G), rtol=1e-10, atol=1e-12)


class Summed(nn.Module):
    """A convolution whose outputs are summed over the places."""

    @nn.compact
    def __call__(self, x):
        return dj.modules.Conv(2, (3, 3), name="conv")(x[..., None]).sum(axis=(1, 2))


@pytest.mark.slow
def test_the_factors_of_a_convolution_sum_inputs_and_average_gradients_over_places():
    data = images()
    task = dj.supervised(dj.linen_model(Summed()), losses.cross_entropy)

    def ask(params, *, kronecker_fn, **_):
        return kronecker_fn(True)[0]["conv"], task.predict({"params": params}, data)[0]

    data = {**data, "x": jnp.asarray(data["x"])}
    (A, G), logits = asked(task, data, ask)
    padded = np.pad(data["x"], ((0, 0), (1, 1), (1, 1)))
    seen = [
        np.append(padded[b, i : i + 3, j : j + 3].reshape(-1), 1.0)
        for b, i, j in itertools.product(range(4), range(4), range(4))
    ]
    chex.assert_trees_all_close(A, sum(np.outer(a, a) for a in seen) / 4, rtol=1e-12)
    # every place has the gradient of the logits themselves
    p = jax.nn.softmax(logits)
    fisher = jax.vmap(lambda p: jnp.diag(p) - jnp.outer(p, p))(p)
    chex.assert_trees_all_close(G, fisher.mean(axis=0), rtol=1e-9)


def test_padding_rows_count_for_nothing():
    task, data = CASES["softmax"]
    padded = {
        name: np.concatenate([x, 9 * np.ones_like(x[:4])]).astype(x.dtype)
        for name, x in data.items()
    }
    padded["y"][12:] = 0
    index = jnp.arange(16)
    split = dj.Split(dj.Rows(index, jnp.int32(12), jnp.ones(16)))

    def ask(params, *, fisher_vp, kronecker_fn, fisher_diagonal_fn, hvp_fn, **_):
        return (
            matrix(fisher_vp, params),
            matrix(hvp_fn, params),
            kronecker_fn(True)[0],
            fisher_diagonal_fn(True)[0],
        )

    chex.assert_trees_all_close(
        asked(task, padded, ask, split=split), asked(task, data, ask), rtol=1e-10, atol=1e-14
    )
