"""Convolutions and pooling are what XLA and PyTorch compute, with all their derivatives."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dljax as dj
from dljax.modules import CNN, Conv, avg_pool, global_avg_pool, max_pool, patches
from dljax.modules.primitives import contract, stored

KEY = jax.random.key(0)
# sums of at most some hundred float64 products of order 1
CLOSE = {"atol": 1e-11, "rtol": 1e-11}


def normal(*shape):
    return jnp.asarray(np.random.default_rng(shape).normal(size=shape))


def ours(x, w, b, **how):
    return Conv(w.shape[-1], w.shape[:2], **how).apply({"params": {"kernel": w, "bias": b}}, x)


def theirs(x, w, b, strides=(1, 1), padding="SAME"):
    axes = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=axes)
    return y + b.reshape(1, 1, 1, -1)


def with_derivatives(f, at, along):
    """Value, directional derivative, gradient of the sum of squares and its own derivative."""

    def both(*at):
        cost = lambda *at: (f(*at) ** 2).sum()  # noqa: E731
        gradient = jax.grad(cost, argnums=range(len(at)))
        return jax.jvp(f, at, along), jax.jvp(gradient, at, along)

    return jax.jit(both)(*at)


@pytest.mark.parametrize("axes", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_contract_is_the_product_with_derivatives_of_every_order_that_transpose_nothing(x64, axes):
    i, j = axes
    at, along = [
        (normal(4, 3) if i else normal(3, 4), normal(5, 3) + s if j else normal(3, 5) + s)
        for s in (0, 1)
    ]
    plain = lambda a, b: (a if i else a.T) @ (b.T if j else b)  # noqa: E731
    f = lambda a, b: contract(a, b, axes)  # noqa: E731
    chex.assert_trees_all_close(
        with_derivatives(f, at, along), with_derivatives(plain, at, along), **CLOSE
    )
    pulled = jax.make_jaxpr(lambda g: jax.vjp(f, *at)[1](g))(f(*at))
    assert "transpose" not in str(pulled)


def test_contract_is_mapped_over_either_matrix_or_both(x64):
    a, b = normal(2, 4, 3), normal(2, 4, 5)
    cost = lambda a, b: (contract(a, b, (0, 0)) ** 2).sum()  # noqa: E731
    plain = lambda a, b: ((a.T @ b) ** 2).sum()  # noqa: E731
    for axes, at in (((0, 0), (a, b)), ((None, 0), (a[0], b)), ((0, None), (a, b[0]))):

        def both(f, at=at, axes=axes):
            inside = jax.vmap(jax.grad(f, argnums=(0, 1)), axes)(*at)
            mapped = lambda *at: jax.vmap(f, axes)(*at).sum()  # noqa: E731
            return inside, jax.grad(mapped, argnums=(0, 1))(*at)

        chex.assert_trees_all_close(*jax.jit(lambda: (both(cost), both(plain)))(), **CLOSE)


def test_stored_is_the_identity_in_every_derivative_and_map_and_fuses_with_nothing():
    x = jnp.arange(4.0)
    f = lambda x: jnp.sin(stored(x) ** 2)  # noqa: E731
    g = lambda x: jnp.sin(x**2)  # noqa: E731
    both = [
        jax.jit(jax.vmap(lambda x: (h(x), jax.jvp(jax.grad(h), (x,), (x,)))))(x)  # noqa: B023
        for h in (f, g)
    ]
    chex.assert_trees_all_close(*both, rtol=1e-6)  # float32, two programs
    text = jax.jit(lambda x: stored(x + 1) * 2).lower(x).compile().as_text()
    assert ("call(" in text) == (jax.default_backend() == "cpu")


@pytest.mark.parametrize(
    ("size", "kernel", "channels", "strides", "padding"),
    [
        ((7, 6), (3, 3), 1, (1, 1), "SAME"),
        ((7, 6), (5, 3), 3, (1, 1), "SAME"),
        ((7, 6), (3, 3), 2, (2, 2), "SAME"),
        ((8, 6), (4, 2), 2, (3, 2), "SAME"),
        ((7, 6), (3, 2), 2, (2, 1), "VALID"),
    ],
)
def test_conv_is_that_of_xla_with_its_first_and_second_derivatives(
    x64, size, kernel, channels, strides, padding
):
    at = normal(2, *size, channels), normal(*kernel, channels, 4), normal(4)
    along = jax.tree.map(lambda x: jnp.cos(3 * x), at)
    found, expected = (
        with_derivatives(partial(f, strides=strides, padding=padding), at, along)
        for f in (ours, theirs)
    )
    chex.assert_trees_all_close(found, expected, **CLOSE)


def test_conv_mapped_over_members_is_each_member_alone(x64):
    x, w, b = normal(3, 2, 5, 4, 2), normal(3, 3, 3, 2, 4), normal(3, 4)
    gradient = jax.jit(jax.grad(lambda *at: jnp.sin(ours(*at)).sum(), argnums=(0, 1, 2)))
    for axes in ((0, 0, 0), (None, 0, 0)):
        at = [v if axis == 0 else v[0] for v, axis in zip((x, w, b), axes, strict=True)]
        found = jax.jit(jax.vmap(gradient, axes))(*at)
        alone = [gradient(x[m if axes[0] == 0 else 0], w[m], b[m]) for m in range(3)]
        expected = jax.tree.map(lambda *rows: jnp.stack(rows), *alone)
        chex.assert_trees_all_close(found, expected, **CLOSE)


def test_a_block_is_that_of_pytorch_with_its_gradients(x64):
    torch = pytest.importorskip("torch")
    x, w, b = normal(3, 7, 8, 2), normal(3, 3, 2, 4), normal(4)
    towards = normal(3, 3, 4, 4)

    @jax.jit
    def block(*at):
        y, pull = jax.vjp(lambda *at: jax.nn.relu(max_pool(ours(*at))), *at)
        return y, pull(towards)

    y, pulled = block(x, w, b)
    tensors = [torch.tensor(np.asarray(v), requires_grad=True) for v in (x, w, b)]
    tx, tw, tb = tensors
    ty = torch.nn.functional.conv2d(tx.permute(0, 3, 1, 2), tw.permute(3, 2, 0, 1), tb, padding=1)
    ty = torch.nn.functional.max_pool2d(ty, 2).relu().permute(0, 2, 3, 1)
    ty.backward(torch.tensor(np.asarray(towards)))
    chex.assert_trees_all_close(np.asarray(y), ty.detach().numpy(), **CLOSE)
    gradients = tuple(v.grad.numpy() for v in tensors)
    chex.assert_trees_all_close(tuple(map(np.asarray, pulled)), gradients, **CLOSE)


def test_a_padding_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match=r"""padding must be "SAME" or "VALID", got 'same'\."""):
        patches(jnp.ones((1, 4, 4, 1)), (3, 3), padding="same")


def test_patches_are_in_the_order_of_a_kernel(x64):
    x, w = normal(2, 5, 6, 3), normal(3, 2, 3, 4)
    how = ((2, 1), "VALID")
    y = patches(x, (3, 2), *how) @ w.reshape(-1, 4)
    chex.assert_trees_all_close(y, theirs(x, w, jnp.zeros(4), *how), **CLOSE)


def test_the_first_of_equal_numbers_gets_the_gradient_of_a_maximum():
    x = jnp.array([[1.0, 1.0, 0.0, 5.0], [1.0, 0.0, 5.0, 5.0]]).reshape(1, 2, 4, 1)
    gradient = jax.grad(lambda x: (max_pool(x) * jnp.array([2.0, 3.0]).reshape(1, 1, 2, 1)).sum())
    expected = [[2, 0, 0, 3], [0, 0, 0, 0]]
    np.testing.assert_array_equal(gradient(x)[0, :, :, 0], expected)
    assert jnp.isnan(max_pool(x.at[0, 1, 1, 0].set(jnp.nan))[0, 0, 0, 0])


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_means_are_those_of_the_blocks_and_an_odd_edge_is_left_out(x64, size):
    x = normal(2, *size, 3)
    blocks = x[:, :4, :6].reshape(2, 2, 2, 3, 2, 3)
    chex.assert_trees_all_close(avg_pool(x), blocks.mean((2, 4)), **CLOSE)
    chex.assert_trees_all_close(max_pool(x), blocks.max((2, 4)), **CLOSE)
    chex.assert_trees_all_close(global_avg_pool(x), x.reshape(2, -1, 3).mean(1), **CLOSE)


def test_a_cnn_is_its_layers_and_has_a_gauss_newton_product(x64):
    net, x = CNN(3, (2, 4), 5), normal(2, 8, 8)
    params = jax.tree.map(lambda s: normal(*s.shape), jax.eval_shape(net.init, KEY, x)["params"])

    def layers(params):
        h = x[..., None]
        for i in range(2):
            h = jax.nn.relu(theirs(h, *(params[f"conv_{i}"][name] for name in ("kernel", "bias"))))
            b, height, width, c = h.shape
            h = h.reshape(b, height // 2, 2, width // 2, 2, c).max((2, 4))
        h = h.reshape(2, -1)
        for name in ("hidden", "outputs"):
            h = h @ params[name]["kernel"] + params[name]["bias"][None]
            h = jax.nn.relu(h) if name == "hidden" else h
        return h

    run = lambda params: net.apply({"params": params}, x)  # noqa: E731
    along = jax.tree.map(jnp.cos, params)

    def product(f):
        y, Jv = jax.jvp(f, (params,), (along,))
        return y, Jv, jax.vjp(f, params)[1](Jv)[0]

    # sums over the layers of some hundred float64 numbers of up to 1e3
    found, expected = jax.jit(lambda: (product(run), product(layers)))()
    chex.assert_trees_all_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_a_cnn_takes_batch_norm_and_dropout_and_padded_rows_do_not_reach_the_others():
    model = dj.linen_model(CNN(3, (2,), 5, batch_norm=True, dropout=0.3))
    x = jax.random.normal(KEY, (6, 8, 8))
    mask = jnp.array([1.0, 1, 1, 1, 0, 0])
    variables = jax.jit(model.init)(KEY, x)
    assert set(variables["batch_stats"]) == {"norm_0"}
    apply = jax.jit(lambda x: model.apply(variables, x, key=KEY, train=True, mask=mask))
    runs = [apply(jnp.where(mask.reshape(-1, 1, 1) > 0, x, junk)) for junk in (0.0, 1e3)]
    outputs, moved = zip(*runs, strict=True)
    chex.assert_trees_all_close(outputs[0][:4], outputs[1][:4], atol=1e-6)  # float32
    chex.assert_trees_all_close(*moved, atol=1e-6)
    assert (moved[0]["batch_stats"]["norm_0"]["var"] != 1).all()
    still, same = model.apply(variables, x)
    chex.assert_trees_all_equal(same, variables)
    assert not np.allclose(still, outputs[0])
