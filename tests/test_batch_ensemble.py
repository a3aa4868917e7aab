"""BatchEnsemble: one network is S dense ones whose weights differ by factors of rank one."""

import itertools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import blobs

import dljax as dj

KEY = jax.random.key(0)
DATA = blobs()
S, HIDDEN = 3, (8, 5)
MODEL = dj.linen_model(dj.modules.BatchEnsembleMLP(3, HIDDEN, S))


@pytest.fixture(scope="module")
def params():
    """Drawn as by the module, with biases that are not 0."""
    params = jax.jit(MODEL.init)(KEY, DATA["x"])["params"]
    draw = np.random.default_rng(0)
    return {
        name: {**layer, "bias": jnp.float32(draw.normal(size=layer["bias"].shape))}
        for name, layer in params.items()
    }


@jax.jit
def outputs(params):
    return MODEL.apply({"params": params}, DATA["x"])[0]


def test_member_s_is_the_network_of_weights_times_the_outer_product_of_its_factors(params):
    found = outputs(params)
    assert found.shape == (47, S, 3)
    for member in range(S):
        x = DATA["x"].astype(np.float64)
        for name, layer in params.items():
            W, r, s, b = (np.float64(layer[part]) for part in ("kernel", "r", "s", "bias"))
            x = x @ (W * np.outer(r[member], s[member])) + b[member]
            x = x if name == "outputs" else np.maximum(x, 0)
        # float32 sums of up to 8 terms, three layers deep
        np.testing.assert_allclose(found[:, member], x, rtol=1e-4, atol=1e-5)


def test_the_module_names_its_layers_in_the_order_in_which_they_compute(params):
    assert list(params) == ["hidden_0", "hidden_1", "outputs"]


def test_members_of_equal_factors_and_biases_are_equal_and_a_plain_network(params):
    ones = {
        name: {
            **layer,
            "r": jnp.ones_like(layer["r"]),
            "s": jnp.ones_like(layer["s"]),
            "bias": jnp.broadcast_to(layer["bias"][:1], layer["bias"].shape),
        }
        for name, layer in params.items()
    }
    found = outputs(ones)
    plain = {
        name: {"kernel": layer["kernel"], "bias": layer["bias"][0]} for name, layer in ones.items()
    }
    mlp = dj.linen_model(dj.modules.MLP(3, HIDDEN)).apply({"params": plain}, DATA["x"])[0]
    for member in range(S):
        np.testing.assert_array_equal(found[:, member], found[:, 0])
        np.testing.assert_allclose(found[:, member], mlp, rtol=1e-5, atol=1e-6)  # float32


def test_a_layer_has_m_n_plus_s_m_plus_2_n_parameters(params):
    sizes = [4, *HIDDEN, 3]
    expected = sum(m * n + S * (m + 2 * n) for m, n in itertools.pairwise(sizes))
    assert sum(x.size for x in jax.tree.leaves(params)) == expected


def test_factors_begin_as_signs_that_differ_between_members_and_layers():
    wide = dj.linen_model(dj.modules.BatchEnsembleMLP(3, (64,), 16))
    layers = jax.jit(wide.init)(KEY, DATA["x"])["params"]
    signs = np.concatenate([np.ravel(layer[part]) for layer in layers.values() for part in "rs"])
    assert set(signs) == {-1.0, 1.0}
    # 2160 fair signs: a deviation is 0.022
    assert abs(signs.mean()) < 0.09
    assert len({tuple(row) for row in np.asarray(layers["hidden_0"]["s"])}) == 16


def test_a_loss_over_members_is_the_mean_of_their_losses(params):
    logits = outputs(params)
    loss = dj.losses.over_members(dj.losses.cross_entropy)(logits, DATA["y"])
    each = [dj.losses.cross_entropy(logits[:, s], DATA["y"]) for s in range(S)]
    np.testing.assert_allclose(loss, np.mean(each, axis=0), rtol=1e-6)  # float32
    with pytest.raises(AssertionError):
        dj.losses.over_members(dj.losses.cross_entropy)(logits[:, 0], DATA["y"])


def test_heads_of_one_and_two_outputs_have_losses_over_members():
    draw = np.random.default_rng(0)
    f, y = jnp.float32(draw.normal(size=(9, S, 2))), jnp.float32(draw.normal(size=9))
    normal = dj.losses.over_members(dj.losses.gaussian_nll)(f, y)
    squared = dj.losses.over_members(dj.losses.squared_error)(f[..., :1], y)
    assert normal.shape == squared.shape == (9,)
    np.testing.assert_allclose(squared, ((f[..., 0] - y[:, None]) ** 2).mean(1), rtol=1e-5)  # f32


@pytest.mark.slow
def test_members_learn_and_their_ensemble_is_better_than_the_mean_of_them():
    task = dj.supervised(MODEL, dj.losses.over_members(dj.losses.cross_entropy))
    fit = dj.trainer(task, dj.optimizers.adam(0.02), DATA, batch_size=16)
    run = partial(dj.run, fit, num_steps=100)
    state, history = jax.jit(lambda key: run(fit.init(key)))(KEY)
    assert history["train_loss"][-1] < 0.5 * history["train_loss"][0]
    members = fit.predict(state, DATA).transpose(1, 0, 2)
    nll = dj.predict.member_curve(dj.predict.log_probabilities(members), DATA["y"])["nll"]
    np.testing.assert_allclose(nll[0], history["train_loss"][-1], rtol=1e-4)  # float32
    assert nll[-1] < nll[0]
    chex.assert_tree_all_finite(state.variables)
