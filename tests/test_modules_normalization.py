"""Batch normalization is PyTorch's, and padded rows change nothing."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dljax as dj
from dljax.modules import BatchNorm

KEY = jax.random.key(0)
CLOSE = {"atol": 1e-11, "rtol": 1e-11}  # float64


def normal(*shape):
    return jnp.asarray(np.random.default_rng(shape).normal(size=shape)) + 2


def variables(size):
    return {
        "params": {"scale": normal(size), "bias": normal(size + 1)[1:]},
        "batch_stats": {"mean": normal(size + 2)[2:], "var": 1 + normal(size + 3)[3:] ** 2},
    }


def run(variables, x, train=True, mask=None, **how):
    return BatchNorm(**how).apply(
        variables, x, train, mask, mutable=["batch_stats"] if train else []
    )


@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3), (4, 5, 2, 3)])
def test_outputs_statistics_and_gradients_are_those_of_pytorch(x64, shape):
    torch = pytest.importorskip("torch")
    x, towards, v = normal(*shape), jnp.cos(normal(*shape)), variables(3)

    @jax.jit
    def ours(p, x):
        f = lambda p, x: run(v | {"params": p}, x, momentum=0.8)  # noqa: E731
        y, pull, moved = jax.vjp(f, p, x, has_aux=True)
        return y, pull(towards), moved

    y, pulled, moved = ours(v["params"], x)
    net = torch.nn.BatchNorm2d(3, momentum=0.2, dtype=torch.float64)
    tensors = jax.tree.map(lambda a: torch.tensor(np.asarray(a)), v)
    with torch.no_grad():
        net.weight.copy_(tensors["params"]["scale"])
        net.bias.copy_(tensors["params"]["bias"])
        net.running_mean.copy_(tensors["batch_stats"]["mean"])
        net.running_var.copy_(tensors["batch_stats"]["var"])
    tx = torch.tensor(np.asarray(x), requires_grad=True)
    images = tx.reshape(shape[0], -1, 1, 3).permute(0, 3, 1, 2)
    ty = net(images).permute(0, 2, 3, 1).reshape(shape)
    ty.backward(torch.tensor(np.asarray(towards)))
    chex.assert_trees_all_close(np.asarray(y), ty.detach().numpy(), **CLOSE)
    stats = {"mean": net.running_mean.numpy(), "var": net.running_var.numpy()}
    chex.assert_trees_all_close(jax.tree.map(np.asarray, moved["batch_stats"]), stats, **CLOSE)
    gradients = {"scale": net.weight.grad.numpy(), "bias": net.bias.grad.numpy()}, tx.grad.numpy()
    chex.assert_trees_all_close(jax.tree.map(np.asarray, pulled), gradients, **CLOSE)
    net.eval()
    still = run(v | moved, x, train=False)[0]
    chex.assert_trees_all_close(
        np.asarray(still), net(images).permute(0, 2, 3, 1).reshape(shape).detach().numpy(), **CLOSE
    )


@pytest.mark.parametrize("shape", [(5, 3), (5, 2, 2, 3)])
def test_padded_rows_change_nothing_whatever_they_hold(x64, shape):
    x, v = normal(*shape), variables(3)
    mask, real = jnp.array([1.0, 0, 1, 1, 0]), np.array([0, 2, 3])

    def cost(p, x, mask, rows):
        y, moved = run(v | {"params": p}, x, mask=mask)
        return jnp.sin(y[rows]).sum(), moved

    gradients = jax.jit(jax.value_and_grad(cost, argnums=(0, 1), has_aux=True))
    value, (of_params, of_x) = gradients(v["params"], x[real], None, np.arange(3))
    of_x = jnp.zeros_like(x).at[real].set(of_x)
    for junk in (0.0, 1e6, np.inf, np.nan):
        padded = jnp.where(mask.reshape(-1, *[1] * (len(shape) - 1)) > 0, x, junk)
        found = gradients(v["params"], padded, mask, real)
        chex.assert_trees_all_close(found, (value, (of_params, of_x)), **CLOSE)


def test_a_batch_without_real_rows_leaves_the_statistics_and_everything_finite():
    x, v = normal(4, 3).astype(jnp.float32), variables(3)

    def cost(p, x):
        y, moved = run(v | {"params": p}, x, mask=jnp.zeros(4))
        return y.sum(), moved

    gradient = jax.jit(jax.value_and_grad(cost, argnums=(0, 1), has_aux=True))
    (value, moved), gradients = gradient(v["params"], x)
    chex.assert_trees_all_equal(moved["batch_stats"], v["batch_stats"])
    chex.assert_tree_all_finite((value, gradients))


def test_a_single_row_and_constant_features_stay_finite():
    v = variables(3)
    for x in (normal(1, 3), jnp.ones((4, 3))):
        both = jax.jit(lambda x: (run(v, x), jax.grad(lambda x: run(v, x)[0].sum())(x)))
        chex.assert_tree_all_finite(both(x))


def test_statistics_move_iff_train_and_the_momentum_may_be_an_axis():
    model, x = dj.linen_model(BatchNorm()), normal(6, 3)
    v = model.init(KEY, x)
    chex.assert_trees_all_equal(v["batch_stats"], {"mean": jnp.zeros(3), "var": jnp.ones(3)})
    chex.assert_trees_all_equal(model.apply(v, x)[1], v)
    momenta = jnp.array([0.0, 0.9])
    moved = lambda m: run(v, x, momentum=m)[1]["batch_stats"]["mean"]  # noqa: E731
    mean = jax.jit(jax.vmap(moved))(momenta)
    # float32: means of six numbers around 2
    chex.assert_trees_all_close(mean, jnp.outer(1 - momenta, x.mean(0)), atol=1e-6)


def test_half_precision_inputs_keep_their_type_and_float32_statistics():
    x = normal(64, 3).astype(jnp.bfloat16)
    v = BatchNorm().init(KEY, x)
    y, moved = run(v, x)
    assert y.dtype == jnp.bfloat16
    assert {s.dtype for s in jax.tree.leaves(moved)} == {jnp.dtype("float32")}


def test_hessian_products_see_the_statistics_as_functions_of_the_batch(x64):
    x, along, v = normal(5, 2), jnp.cos(normal(5, 2)), variables(2)
    gradient = jax.jit(jax.grad(lambda x: jnp.sin(run(v, x)[0]).sum()))
    exact = jax.jit(lambda x: jax.jvp(gradient, (x,), (along,))[1])(x)
    step = 1e-5  # central differences: errors of step^2 and of 1e-16 / step
    differences = (gradient(x + step * along) - gradient(x - step * along)) / (2 * step)
    chex.assert_trees_all_close(exact, differences, atol=1e-7)
