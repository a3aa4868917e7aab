"""A dropout mask is one network: the same for all rows, all batches and every number of masks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dljax as dj
from dljax.modules import MLP, BatchNorm, Dropout

KEY = jax.random.key(0)
X = {"x": np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32)}


def task_of(module):
    return dj.supervised(dj.linen_model(module), dj.losses.cross_entropy)


def mlp(rate=0.5):
    return task_of(MLP(3, (16, 16), dropout=rate))


def part(data, start, stop):
    return {"x": data["x"][start:stop]}


@pytest.fixture(scope="module")
def variables():
    return jax.jit(mlp().init)(KEY, X)


def test_a_mask_is_the_same_for_all_rows_and_batches(variables):
    task = mlp()
    outputs = dj.predict.mc_dropout(KEY, task, variables, X, num_masks=4)
    assert outputs.shape == (4, 11, 3)
    for start, stop in ((0, 1), (1, 11)):
        alone = dj.predict.mc_dropout(KEY, task, variables, part(X, start, stop), num_masks=4)
        # float32: matrix products of other sizes round in another order
        np.testing.assert_allclose(alone, outputs[:, start:stop], rtol=1e-5, atol=1e-6)
    equal_rows = {"x": np.repeat(X["x"][:1], 5, axis=0)}
    same = dj.predict.mc_dropout(KEY, task, variables, equal_rows, num_masks=3)[2]
    np.testing.assert_allclose(same, np.repeat(outputs[2, :1], 5, axis=0), rtol=1e-5, atol=1e-6)
    # what training does, a mask of its own for each row, is another thing
    per_row = jax.jit(task.predict)(variables, equal_rows, key=KEY)[0]
    assert np.abs(per_row - per_row[:1]).max() > 0.1


def test_masks_differ_by_member_and_sample_and_not_by_how_many_there_are(variables):
    draw = lambda key, T: dj.predict.mc_dropout(key, mlp(), variables, X, num_masks=T)  # noqa: E731
    four, two, other = draw(KEY, 4), draw(KEY, 2), draw(dj.stream(KEY, "member", 1), 2)
    np.testing.assert_array_equal(two, four[:2])
    rows = np.concatenate([four, other])[:, 0]
    assert len(np.unique(rows, axis=0)) == 6


def test_each_layer_and_no_row_has_a_mask_of_its_own():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, deterministic):
            first = Dropout(0.5, name="first")(jnp.ones_like(x), deterministic)
            second = Dropout(0.5, name="second")(jnp.ones_like(x), deterministic)
            return jnp.stack([first, second], axis=1)

    data = {"x": np.ones((5, 64), np.float32)}
    masks = dj.predict.mc_dropout(KEY, task_of(Two()), {"params": {}}, data, num_masks=3)
    assert masks.shape == (3, 5, 2, 64)
    np.testing.assert_array_equal(masks, np.broadcast_to(masks[:, :1], masks.shape))
    assert len(np.unique(masks[:, 0].reshape(6, 64), axis=0)) == 6
    # 384 units at 1/2: six standard deviations are 59
    assert abs((masks[:, 0] > 0).sum() - 192) < 59


def test_a_rate_of_zero_predicts_as_without_dropout_and_so_does_a_model_without(variables):
    plain = jax.jit(mlp().predict)(variables, X)[0]
    for task in (mlp(0.0), task_of(MLP(3, (16, 16)))):
        outputs = dj.predict.mc_dropout(KEY, task, variables, X, num_masks=2)
        np.testing.assert_allclose(outputs, np.stack([plain, plain]), rtol=1e-5, atol=1e-6)


def test_samples_and_rates_are_axes_of_a_population(variables):
    def member(variables, batch, *, sample, rate):
        return dj.predict.thinned(KEY, mlp(rate), variables, batch, sample)

    axes = {"rate": np.array([0.1, 0.5], np.float32), "sample": np.arange(3)}
    study = dj.study(member, variables, X, axes=axes, width=2)
    assert study.results.shape == (2, 3, 11, 3)
    for results, rate in zip(study.results, axes["rate"], strict=True):
        alone = dj.predict.mc_dropout(KEY, mlp(rate), variables, X, num_masks=3)
        np.testing.assert_allclose(results, alone, rtol=1e-5, atol=1e-6)  # another program


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x, train, deterministic, mask=None):
        x = BatchNorm(name="norm")(nn.Dense(16, name="hidden")(x), train, mask)
        return nn.Dense(3, name="outputs")(Dropout(0.5, name="dropout")(x, deterministic))


def test_batch_normalization_uses_the_statistics_of_training_and_moves_none():
    task = task_of(Normalized())
    data = {**X, "y": np.arange(11, dtype=np.int32) % 3}
    fit = dj.trainer(task, dj.optimizers.nag(0.05), data, batch_size=4)

    @jax.jit
    def one_step(key):
        state = fit.init(key)
        return fit.step(state, jax.tree.map(lambda rows: rows[0], fit.draw(state, 1)))[0]

    state = one_step(KEY)
    learnt = dj.predict.eval_variables(state)
    predict = jax.jit(lambda variables: task.predict(variables, X)[0])
    expected = jax.jit(fit.predict)(state, X)
    np.testing.assert_allclose(predict(learnt), expected, rtol=1e-6)
    assert np.abs(predict(state.variables) - expected).max() > 1e-4  # nag carries another point
    before = jax.tree.map(np.array, learnt)
    together = dj.predict.mc_dropout(state.key, task, learnt, X, num_masks=2)
    jax.tree.map(np.testing.assert_array_equal, learnt, before)
    # statistics of the batch would make a row depend on the others
    alone = dj.predict.mc_dropout(state.key, task, learnt, part(X, 3, 4), num_masks=2)
    np.testing.assert_allclose(alone[:, 0], together[:, 3], rtol=1e-5, atol=1e-6)


def test_modules_of_nnx_and_convolutions_have_one_mask_for_all_rows_too():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(4, 16, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.dropout(nnx.relu(self.hidden(x)))

    dense = dj.supervised(dj.nnx_model(Net), dj.losses.cross_entropy)
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype(np.float32)
    convolution = task_of(dj.modules.CNN(3, (4,), dropout=0.5))
    for task, row in ((dense, X["x"][:1]), (convolution, image)):
        data = {"x": np.repeat(row, 3, axis=0)}
        outputs = dj.predict.mc_dropout(KEY, task, jax.jit(task.init)(KEY, data), data, num_masks=2)
        np.testing.assert_allclose(outputs, outputs[:, :1] + 0 * outputs, rtol=1e-5, atol=1e-6)
        assert np.abs(outputs[0] - outputs[1]).max() > 1e-3


def test_the_mean_over_masks_of_a_linear_layer_is_the_layer(variables):
    class Linear(nn.Module):
        @nn.compact
        def __call__(self, x, deterministic):
            return Dropout(0.5)(x, deterministic).sum(axis=1)

    data = {"x": np.ones((1, 8), np.float32)}
    outputs = dj.predict.mc_dropout(KEY, task_of(Linear()), {"params": {}}, data, num_masks=500)
    # 2 x binomial(8, 1/2): mean 8, variance 8; five standard errors, and 8 sqrt(2 / 500) is 0.5
    assert abs(outputs.mean() - 8) < 5 * np.sqrt(8 / 500)
    assert abs(outputs.var() - 8) < 5 * 0.5


def test_a_number_of_masks_that_is_none_is_refused(variables):
    for number in (0, 2.5):
        with pytest.raises(ValueError, match="num_masks must be"):
            dj.predict.mc_dropout(KEY, mlp(), variables, X, num_masks=number)
