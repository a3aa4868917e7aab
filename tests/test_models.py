"""Models: flax adapters keep the contract of `Model`, and modules compute what they say."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

import dljax as dj
from dljax.modules import CNN, MLP, Conv, max_pool

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (8, 3)) + 2.0


class LinenNet(nn.Module):
    """Dense, batch normalization, dropout, dense; takes by name all that it may be told."""

    @nn.compact
    def __call__(self, x, *, train, deterministic, mask):
        x = nn.Dense(4, name="hidden")(x)
        real = None if mask is None else mask[:, None] > 0
        x = nn.BatchNorm(not train, momentum=0.9, name="norm")(x, mask=real)
        x = nn.Dropout(0.5)(x, deterministic=deterministic)
        return nn.Dense(2, name="outputs")(x)


class NnxNet(nnx.Module):
    """The same network; of what it may be told it takes the mask alone."""

    def __init__(self, rngs):
        self.hidden = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.outputs = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x, mask=None):
        real = None if mask is None else mask[:, None] > 0
        return self.outputs(self.dropout(self.norm(self.hidden(x), mask=real)))


def normal(shape):
    return jnp.asarray(np.random.default_rng(shape).normal(size=shape))


LINEN, NNX = dj.linen_model(LinenNet()), dj.nnx_model(NnxNet)
both_adapters = pytest.mark.parametrize(
    ("model", "statistics"), [(LINEN, "batch_stats"), (NNX, "state")], ids=["linen", "nnx"]
)


@both_adapters
def test_variables_are_plain_trees_of_arrays(model, statistics):
    variables = jax.jit(model.init)(KEY, X)
    hidden, outputs = ({"kernel": (n, m), "bias": (m,)} for n, m in ((3, 4), (4, 2)))
    params = {"hidden": hidden, "norm": {"scale": (4,), "bias": (4,)}, "outputs": outputs}
    expected = {"params": params, statistics: {"norm": {"mean": (4,), "var": (4,)}}}
    assert jax.tree.map(jnp.shape, variables) == expected
    chex.assert_trees_all_close(variables, model.init(KEY, X), atol=1e-6)  # jit and eager round


def test_linen_and_nnx_compute_the_same_from_the_same_variables():
    variables = NNX.init(KEY, X)
    rename = lambda v: {"params": v["params"], "batch_stats": v["state"]}  # noqa: E731
    for train in (False, True):
        outputs, new = NNX.apply(variables, X, train=train)
        expected = LINEN.apply(rename(variables), X, train=train)
        # float32 rounding of two orders of the same sums
        chex.assert_trees_all_close((outputs, rename(new)), expected, atol=1e-6)


@both_adapters
def test_dropout_is_on_iff_there_is_a_key_and_depends_on_the_key_alone(model, statistics):
    variables = model.init(KEY, X)
    off, _ = model.apply(variables, X)
    keys = [*jax.random.split(KEY, 9), jax.random.split(KEY, 9)[0]]
    *on, again = [model.apply(variables, X, key=key)[0] for key in keys]
    assert len(np.unique([off, *on], axis=0)) == 10
    chex.assert_trees_all_equal(again, on[0])


@both_adapters
@pytest.mark.parametrize("num_real", [8, 5])
def test_statistics_of_the_real_rows_move_iff_train(model, statistics, num_real):
    variables = model.init(KEY, X)
    mask = jnp.float32(jnp.arange(8) < num_real)
    x = jnp.where(mask[:, None] > 0, X, 1e6)
    h = X[:num_real] @ variables["params"]["hidden"]["kernel"]  # the bias starts at 0
    expected = {"norm": {"mean": 0.1 * h.mean(0), "var": 0.9 + 0.1 * h.var(0)}}
    for key in (None, KEY):
        chex.assert_trees_all_equal(model.apply(variables, x, key=key, mask=mask)[1], variables)
        _, moved = model.apply(variables, x, key=key, train=True, mask=mask)
        chex.assert_trees_all_equal(moved["params"], variables["params"])
        chex.assert_trees_all_close(moved[statistics], expected, atol=1e-6)


@both_adapters
def test_a_jitted_map_of_scans_of_gradient_steps_is_a_python_loop(model, statistics):
    @jax.jit
    def step(variables, key):
        def loss(params):
            outputs, moved = model.apply(variables | {"params": params}, X, key=key, train=True)
            return (outputs**2).mean(), moved

        grads, moved = jax.grad(loss, has_aux=True)(variables["params"])
        params = jax.tree.map(lambda p, g: p - 0.1 * g, variables["params"], grads)
        return moved | {"params": params}, None

    start, keys = model.init(KEY, X), jax.random.split(KEY, (2, 3))
    ends = jax.jit(jax.vmap(lambda keys: jax.lax.scan(step, start, keys)[0]))(keys)
    states = [functools.reduce(lambda v, key: step(v, key)[0], row, start) for row in keys]
    # float32 rounding of one program and of another over three steps
    chex.assert_trees_all_close(ends, jax.tree.map(lambda *x: jnp.stack(x), *states), atol=1e-5)


def test_a_linen_module_is_told_only_what_it_takes_by_name():
    model = dj.linen_model(nn.Dense(2))
    variables = model.init(KEY, X)
    told = model.apply(variables, X, key=KEY, train=True, mask=jnp.ones(8))
    chex.assert_trees_all_equal(told, model.apply(variables, X))


def test_nnx_computes_no_number_to_know_the_structure():
    model = dj.nnx_model(lambda rngs: nnx.Linear(10**6, 10**6, rngs=rngs))  # 4 TB
    assert jax.eval_shape(model.init, KEY, X)["params"]["kernel"].size == 10**12
    assert "random_bits" not in str(jax.make_jaxpr(NNX.apply)(NNX.init(KEY, X), X))


def test_every_nnx_dropout_layer_draws_its_own_mask():
    class Masks(nnx.Module):
        def __init__(self, rngs):
            self.single = nnx.List([nnx.Dropout(0.5, rngs=rngs) for _ in range(2)])
            dropout = nnx.vmap(lambda rngs: nnx.Dropout(0.5, rngs=rngs))
            self.stacked = nnx.split_rngs(splits=2)(dropout)(rngs)

        def __call__(self, x):
            stacked = nnx.vmap(lambda dropout, x: dropout(x), in_axes=(0, None))(self.stacked, x)
            return jnp.stack([*(dropout(x) for dropout in self.single), *stacked])

    masks, _ = dj.nnx_model(Masks).apply({"params": {}, "state": {}}, jnp.ones(64), key=KEY)
    assert len(np.unique(masks, axis=0)) == 4


def test_nnx_keeps_other_arrays_as_state_and_refuses_those_it_cannot_trace():
    class Scaled(nnx.Module):
        def __init__(self, ones):
            self.scale = ones(3, jnp.float32)

        def __call__(self, x):
            self.seen = nnx.Intermediate(x)
            return x * self.scale[None]

    model = dj.nnx_model(lambda rngs: Scaled(np.ones))
    variables = model.init(KEY, X)
    chex.assert_trees_all_equal(variables, {"params": {}, "state": {"scale": jnp.ones(3)}})
    chex.assert_trees_all_equal(model.apply(variables, X, train=True), (X, variables))
    with pytest.raises(ValueError, match=r"wrapped in nnx.data, got the bare array '0.scale'"):
        dj.nnx_model(lambda rngs: nnx.List([Scaled(jnp.ones)]))


@pytest.mark.parametrize(
    ("module", "x", "fan_in"),
    [(nn.Dense(256), (1, 64), 64), (nn.Conv(32, (3, 3)), (1, 2, 2, 64), 9 * 64)],
)
def test_flat_lecun_draws_from_the_distribution_of_linens_kernels(module, x, fan_in):
    kernel = dj.flat_lecun(dj.linen_model(module)).init(KEY, jnp.ones(x))["params"]["kernel"]
    theirs = nn.initializers.lecun_normal()(jax.random.key(1), kernel.shape)
    w = np.ravel(kernel)
    exact = scipy.stats.truncnorm(-2, 2, scale=fan_in**-0.5 / 0.87962566)
    assert scipy.stats.ks_2samp(w, np.ravel(theirs)).pvalue > 0.01
    assert scipy.stats.kstest(w, exact.cdf).pvalue > 0.01
    # of more than 16,000 numbers: standard errors of 0.8 % and below 1.1 %
    chex.assert_trees_all_close([w.mean() * fan_in**0.5, (w**2).mean() * fan_in], [0, 1], atol=0.04)
    assert np.abs(w).max() <= exact.support()[1] * (1 + 1e-6)


def test_flat_lecun_keeps_shapes_vectors_and_other_collections():
    for model, statistics in ((LINEN, "batch_stats"), (NNX, "state")):
        theirs, ours = model.init(KEY, X), dj.flat_lecun(model).init(KEY, X)
        chex.assert_trees_all_equal_shapes_and_dtypes(theirs, ours)
        chex.assert_trees_all_equal(ours[statistics], theirs[statistics])
        same = jax.tree.map(lambda p, q: bool((p == q).all()), theirs["params"], ours["params"])
        assert same == jax.tree.map(lambda p: p.ndim == 1, ours["params"])
    nothing = dj.linen_model(nn.Sequential([nn.relu]))
    assert dj.flat_lecun(nothing).init(KEY, X) == nothing.init(KEY, X) == {"params": {}}


def test_flat_lecun_leaves_one_draw_in_the_program():
    model = dj.linen_model(MLP(10, (16, 16)))
    programs = [jax.jit(m.init).lower(KEY, X).as_text() for m in (model, dj.flat_lecun(model))]
    assert [program.count("call @_truncated_normal") for program in programs] == [3, 1]


@pytest.mark.parametrize(("kernel", "channels"), [((1, 1), 3), ((3, 3), 1), ((5, 3), 3)])
def test_conv_is_the_convolution_of_xla_in_value_and_gradients(x64, kernel, channels):
    def ours(x, w, b):
        return Conv(4, kernel).apply({"params": {"kernel": w, "bias": b}}, x)

    def theirs(x, w, b):
        axes = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=axes)
        return y + b.reshape(1, 1, 1, 4)

    *at, towards = map(normal, ((2, 7, 6, channels), (*kernel, channels, 4), (4,), (2, 7, 6, 4)))
    both = lambda f: jax.jit(lambda *at: (f(*at), jax.vjp(f, *at)[1](towards)))(*at)  # noqa: E731
    # sums of at most 84 products of float64 numbers of order 1
    chex.assert_trees_all_close(both(ours), both(theirs), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (7, 3)])
def test_max_pool_is_that_of_linen_and_leaves_out_an_odd_edge(size):
    x = normal((2, *size, 3))
    chex.assert_trees_all_equal(max_pool(x), nn.max_pool(x, (2, 2), strides=(2, 2)))


@pytest.mark.parametrize("features", [(), (4, 5)])
def test_an_mlp_is_affine_maps_of_the_flat_input_with_rectifiers_between(x64, features):
    x = normal((6, 2, 3))
    shapes = jax.eval_shape(MLP(2, features).init, KEY, x)
    variables = jax.tree.map(lambda s: normal(s.shape), shapes)
    h = x.reshape(6, 6)
    for name, layer in sorted(variables["params"].items()):  # hidden_0, hidden_1, ..., outputs
        h = h @ layer["kernel"] + layer["bias"][None]
        h = h if name == "outputs" else jnp.maximum(h, 0)
    chex.assert_trees_all_close(MLP(2, features).apply(variables, x), h, rtol=1e-12)  # float64


def test_a_cnn_halves_the_image_once_a_block_and_takes_grey_images_without_a_channel():
    module, x = CNN(10, (2, 3), 5), normal((4, 9, 12))
    variables = jax.tree.map(lambda s: normal(s.shape), jax.eval_shape(module.init, KEY, x))
    assert variables["params"]["hidden"]["kernel"].shape == (2 * 3 * 3, 5)
    outputs = [module.apply(variables, images) for images in (x, x[..., None])]
    chex.assert_shape(outputs, (4, 10))
    chex.assert_trees_all_equal(*outputs)


def test_the_cnn_of_fashion_mnist_has_no_convolution_in_its_program():
    x = jnp.zeros((2, 28, 28))
    variables = jax.eval_shape(CNN(10).init, KEY, x)
    program = str(jax.make_jaxpr(jax.grad(lambda v: CNN(10).apply(v, x).sum()))(variables))
    assert "dot_general" in program
    assert "conv_general" not in program
