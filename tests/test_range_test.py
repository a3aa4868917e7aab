"""The range test finds what is known of a quadratic, and is a pure function of its key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

import dljax as dj
from dljax.range_test import _read


def quadratic(curvature=1.0):
    """A task whose loss is curvature w^2 / 2 from w = 1, whatever the batch."""
    return dj.Task(
        init=lambda key, batch: {"params": {"w": jnp.ones(1)}},
        predict=lambda variables, batch, **_: (variables["params"]["w"], variables),
        loss=lambda w, batch: curvature * w**2 / 2,
        measure=lambda w, batch: {"loss": w**2},
    )


def found_on(task, **options):
    return dj.learning_rate_range(
        task, dj.optimizers.sgd, lambda key: {}, key=jax.random.key(0), **options
    )


def test_losses_are_those_of_gradient_descent_at_growing_rates():
    found = jax.jit(lambda: found_on(quadratic(), low=1e-3, high=10.0, num_steps=41))()
    rates = 1e-3 * 1e4 ** (np.arange(41) / 40)
    np.testing.assert_allclose(found.learning_rates, rates, rtol=1e-5)
    w = np.concatenate([[1.0], np.cumprod(1 - rates)[:-1]])
    # near rate 1 the factor 1 - rate cancels to a few digits of float32
    np.testing.assert_allclose(found.losses, w**2 / 2, rtol=1e-3)
    # the loss falls while the rate is below 2, fastest where learning has begun in earnest
    assert 1 < found.lowest < 4
    assert 0.02 < found.steepest < 0.5


def test_twice_the_curvature_is_half_the_rate():
    def suggestions(curvature):
        found = found_on(quadratic(curvature), low=1e-4, high=1e2, num_steps=121)
        return jnp.log2(jnp.stack([found.steepest, found.lowest]))

    flat, steep = jax.jit(jax.vmap(suggestions))(jnp.array([1.0, 4.0]))
    # one step is 6 / 120 decades, a factor of 2^0.17; the smoothing shifts by one or two
    np.testing.assert_allclose(flat - steep, 2.0, atol=0.4)


def test_after_divergence_losses_are_nan_and_the_suggestions_stand():
    found = jax.jit(lambda: found_on(quadratic(), low=1e-2, high=1e30, num_steps=60))()
    diverged = np.isnan(found.losses)
    first = int(np.argmax(diverged))
    assert 0 < first < 59
    assert diverged[first:].all()
    assert not diverged[:first].any()
    np.testing.assert_array_equal(np.isnan(found.smoothed), diverged)
    assert 0 < found.steepest <= found.lowest < 10
    # where nothing can be learnt, nothing is suggested
    broken = jax.jit(lambda: found_on(quadratic(jnp.nan), num_steps=3))()
    assert np.isnan([*broken.losses, broken.steepest, broken.lowest]).all()


def test_what_comes_after_training_broke_does_not_count():
    # from 1 down to 0.1, up to 50, and below 0.1 again, by luck
    losses = jnp.array([1.0] * 8 + [0.5, 0.2, 0.1, 0.1, 5.0, 50.0, 5.0, 0.01, 0.01, 0.01])
    found = jax.jit(_read)(jnp.arange(18.0), losses)
    assert found.lowest == 10
    assert found.steepest == 8


def test_seeds_map_and_minibatches_find_a_rate_that_learns():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 3)).astype(np.float32)
    data = {"x": x, "y": x @ np.float32([[1], [-2], [3]]) + 0.1}
    task = dj.supervised(small.linear_model(), lambda z, y: ((z[:, :1] - y) ** 2).sum(axis=1))

    def member(data, *, seed):
        key = dj.stream(jax.random.key(0), "member", seed)
        return dj.learning_rate_range(task, dj.optimizers.sgd, data, key=key, batch_size=8)

    found = dj.study(member, data, axes={"seed": np.arange(3)}).results
    assert found.losses.shape == (3, 100)
    assert (found.losses[0] != found.losses[1]).any()
    # the curvature of (z - y)^2 is 2 along the inputs, of variance 1: gradient descent breaks at 1
    assert ((found.steepest > 0.01) & (found.steepest <= found.lowest) & (found.lowest < 1)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0.0}, r"low must be in \(0, inf\), got 0"),
        ({"low": 1.0, "high": 0.5}, r"high / low must be in \(1, inf\), got 0.5"),
        ({"num_steps": 1}, r"num_steps must be in \[2, inf\), got 1"),
    ],
)
def test_bad_numbers_say_their_rule(options, message):
    with pytest.raises(ValueError, match=message):
        found_on(quadratic(), **options)


def test_an_optimizer_that_is_no_factory_is_refused():
    with pytest.raises(ValueError, match=r"optimizer must be a function of the learning rate"):
        dj.learning_rate_range(
            quadratic(), dj.optimizers.sgd(0.1), lambda key: {}, key=jax.random.key(0)
        )
