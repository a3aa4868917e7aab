"""The fast gradient sign: its closed form, its laws, and what it leaves alone."""

from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import blobs, classifier

import dljax as dj
from dljax.fast_gradient import Attacked

KEY = jax.random.key(0)
DATA = blobs()
EPSILON = np.array([0.1, 0.0, 0.3, 0.2], np.float32)


def linear(loss):
    """One output w x + b, and variables drawn for it."""
    task = dj.supervised(dj.linen_model(dj.modules.MLP(1)), loss)
    return task, jax.jit(task.init)(KEY, DATA)


def test_at_epsilon_zero_the_loss_is_twice_the_loss():
    task = classifier()
    attacked = dj.adversarial(task, 0.0)
    variables = jax.jit(task.init)(KEY, DATA)
    outputs, _ = attacked.predict(variables, DATA, train=True)
    plain, _ = task.predict(variables, DATA, train=True)
    chex.assert_trees_all_equal(attacked.loss(outputs, DATA), 2 * task.loss(plain, DATA))


def test_evaluations_are_those_of_the_task():
    task = classifier()
    attacked = dj.adversarial(task, 0.5)
    variables = jax.jit(attacked.init)(KEY, DATA)
    chex.assert_trees_all_equal(variables, jax.jit(task.init)(KEY, DATA))
    outputs, _ = attacked.predict(variables, DATA)
    chex.assert_trees_all_equal(outputs, task.predict(variables, DATA)[0])
    chex.assert_trees_all_equal(attacked.loss(outputs, DATA), task.loss(outputs, DATA))
    chex.assert_trees_all_equal(attacked.measure(outputs, DATA), task.measure(outputs, DATA))
    assert attacked.fisher_root is None


@pytest.mark.parametrize("epsilon", [0.25, EPSILON], ids=["number", "row"])
def test_a_linear_model_is_attacked_by_epsilon_times_the_norm_of_its_weights(epsilon):
    # of z = w x + b the worst move of each |x_i' - x_i| <= eps_i changes z by sum_i eps_i |w_i|,
    # up where the loss grows with z, and down where it falls
    labels = {**DATA, "y": DATA["y"] % 2}
    targets = {**DATA, "y": DATA["x"][:, 0]}
    for loss, data in (
        (dj.losses.binary_cross_entropy, labels),
        (dj.losses.squared_error, targets),
    ):
        task, variables = linear(loss)
        outputs, _ = dj.adversarial(task, epsilon).predict(variables, data, train=True)
        w = np.asarray(variables["params"]["outputs"]["kernel"])[:, 0]
        z = np.asarray(outputs.clean)[:, 0]
        up = np.where(data["y"] == 1, -1, 1) if loss is dj.losses.binary_cross_entropy else None
        up = np.sign(z - data["y"]) if up is None else up
        expected = z + up * (epsilon * np.abs(w)).sum()
        np.testing.assert_allclose(outputs.attacked[:, 0], expected, rtol=1e-5, atol=1e-5)  # f32


def test_the_attack_is_a_constant_to_the_gradient_of_the_parameters():
    task, variables = linear(dj.losses.squared_error)
    data = {"x": DATA["x"], "y": DATA["x"][:, 0]}
    attacked = dj.adversarial(task, 0.25)

    @partial(jax.jit, static_argnums=0)
    def total(task, data):
        def f(params):
            outputs, _ = task.predict({"params": params}, data, train=True)
            return task.loss(outputs, data).sum()

        return jax.grad(f)(variables["params"])

    slope = jax.grad(lambda x: task.loss(task.predict(variables, {"x": x})[0], data).sum())(
        data["x"]
    )
    moved = {**data, "x": data["x"] + 0.25 * jnp.sign(slope)}
    both = jax.tree.map(jnp.add, total(task, data), total(task, moved))
    # float32 sums of 47 rows
    chex.assert_trees_all_close(total(attacked, data), both, rtol=1e-5, atol=1e-5)


def test_clean_and_attacked_rows_have_the_dropout_of_one_key():
    model = dj.linen_model(dj.modules.MLP(3, (16,), dropout=0.5))
    task = dj.supervised(model, dj.losses.cross_entropy)
    variables = jax.jit(task.init)(KEY, DATA)

    @jax.jit
    def by_hand(x):
        outputs = lambda x: task.predict(variables, {"x": x}, key=KEY, train=True)[0]  # noqa: E731
        slope = jax.grad(lambda x: task.loss(outputs(x), DATA).sum())(x)
        return Attacked(outputs(x), outputs(x + 0.1 * jnp.sign(slope)))

    predict = jax.jit(partial(dj.adversarial(task, 0.1).predict, train=True))
    found, _ = predict(variables, DATA, key=KEY)
    # float32 in two programs
    chex.assert_trees_all_close(found, by_hand(DATA["x"]), rtol=1e-5, atol=1e-5)
    assert (task.loss(found.attacked, DATA) >= task.loss(found.clean, DATA)).mean() > 0.9


class Normalized(nn.Module):
    """A linear model of normalized inputs."""

    @nn.compact
    def __call__(self, x, train=False, mask=None):
        x = dj.modules.BatchNorm(name="norm")(x, train, mask)
        return nn.Dense(3, name="outputs")(x)


def test_statistics_move_by_the_rows_as_they_are_and_padding_attacks_nobody():
    task = dj.supervised(dj.linen_model(Normalized()), dj.losses.cross_entropy)
    attacked = dj.adversarial(task, 0.3)
    variables = jax.jit(task.init)(KEY, DATA)
    mask = np.arange(47) < 40
    padded = {**DATA, "x": np.where(mask[:, None], DATA["x"], 100).astype(np.float32)}
    predict, plain = (jax.jit(partial(t.predict, train=True)) for t in (attacked, task))
    outputs, moved = predict(variables, padded, mask=mask.astype(np.float32))
    _, expected = plain(variables, padded, mask=mask.astype(np.float32))
    chex.assert_trees_all_close(moved, expected, rtol=1e-6)  # float32 in two programs
    alone, _ = predict(variables, jax.tree.map(lambda x: x[:40], DATA))
    # sums over 40 and over 47 rows, float32
    np.testing.assert_allclose(outputs.attacked[:40], alone.attacked, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def study():
    def member(data, *, epsilon):
        task = dj.adversarial(classifier(), epsilon)
        fit = dj.trainer(task, dj.optimizers.adam(0.02), data, batch_size=16)
        state, _ = dj.run(fit, fit.init(KEY), num_steps=150)
        variables = dj.predict.eval_variables(state)
        outputs, _ = dj.adversarial(classifier(), 0.5).predict(variables, data, train=True)
        return {
            "loss": classifier().loss(outputs.attacked, data).mean(),
            "params": variables["params"],
        }

    return dj.study(member, DATA, axes={"epsilon": [0.0, 0.5]}).results


def test_epsilon_is_an_axis_and_who_trained_on_attacks_withstands_them_better(study):
    assert study["loss"][1] < study["loss"][0]


def test_training_at_epsilon_zero_is_training_with_twice_the_loss(study):
    twice = classifier()
    twice = twice._replace(loss=lambda outputs, batch: 2 * classifier().loss(outputs, batch))
    fit = dj.trainer(twice, dj.optimizers.adam(0.02), DATA, batch_size=16)
    state, _ = jax.jit(partial(dj.run, fit, num_steps=150))(jax.jit(fit.init)(KEY))
    # 150 steps of two float32 programs
    first = jax.tree.map(lambda x: x[0], study["params"])
    chex.assert_trees_all_close(first, state.variables["params"], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("epsilon", "data", "says"),
    [
        (-0.1, DATA, r"epsilon must be in \[0, inf\), got -0.1"),
        (np.ones(3), DATA, r"epsilon must be a number or have the shape \(4,\) of a row, got \(3,"),
        (0.1, {**DATA, "x": np.ones((47, 4), np.int32)}, "x must be an array of floats .* int32"),
    ],
    ids=["negative", "shape", "whole numbers"],
)
def test_what_cannot_be_attacked_is_one_clear_line(epsilon, data, says):
    task = classifier()
    with pytest.raises(ValueError, match=says) as error:
        dj.adversarial(task, epsilon).predict(task.init(KEY, DATA), data, train=True)
    assert "\n" not in str(error.value)


def test_another_array_can_be_attacked_by_name():
    model = dj.linen_model(dj.modules.MLP(3))
    task = dj.supervised(model, dj.losses.cross_entropy, inputs=lambda batch: batch["features"])
    data = {"features": DATA["x"], "y": DATA["y"]}
    attacked = dj.adversarial(task, 0.1, name="features")
    outputs, _ = attacked.predict(task.init(KEY, data), data, train=True)
    assert isinstance(outputs, Attacked)
    assert (task.loss(outputs.attacked, data) > task.loss(outputs.clean, data)).all()
