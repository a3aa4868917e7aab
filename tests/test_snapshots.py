"""Snapshots and SWAG: the points of one run, their moments and draws, against float64 by hand."""

from functools import partial
from types import SimpleNamespace

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from small import blobs, classifier

import dljax as dj

KEY = jax.random.key(0)
DATA = blobs()
CYCLES, STEPS, RANK = 6, 5, 4


def fitted(factor=1.0, average=lambda optimizer: optimizer):
    """A run in cycles whose 18th update is `factor` times as long."""
    cycles = dj.schedules.restarts(dj.schedules.cosine(0.05, STEPS), STEPS)
    optimizer = dj.optimizers.momentum(lambda n: cycles(n) * jnp.where(n == 17, factor, 1.0))
    return dj.trainer(classifier(), average(optimizer), DATA, batch_size=8)


def both(state, factor):
    fit = fitted(factor)
    end, kept = dj.snapshots(fit, state, num_cycles=CYCLES, cycle_steps=STEPS)
    last, moments = dj.swag(fit, state, num_snapshots=CYCLES, snapshot_steps=STEPS, rank=RANK)
    return end, kept, last, moments


@pytest.fixture(scope="module")
def runs():
    """One program for a run and for one that diverges in the fourth cycle, and `dj.run` beside."""
    fit = fitted()
    start = jax.jit(fit.init)(KEY)
    compiled = jax.jit(both)
    sound, diverged = compiled(start, 1.0), compiled(start, jnp.inf)
    through, _ = jax.jit(partial(dj.run, fit, num_steps=CYCLES * STEPS))(start)
    return SimpleNamespace(fit=fit, start=start, sound=sound, diverged=diverged, through=through)


def points(runs):
    """theta_0 to theta_n in float64, [n + 1, P]."""
    flat = lambda tree: np.asarray(ravel_pytree(tree)[0], np.float64)  # noqa: E731
    kept = runs.sound[1]["params"]
    later = [flat(jax.tree.map(lambda x, i=i: x[i], kept)) for i in range(CYCLES)]
    return np.stack([flat(runs.start.variables["params"]), *later])


def test_the_last_snapshot_is_what_run_ends_with_bit_for_bit(runs):
    end, kept, *_ = runs.sound
    last = jax.tree.map(lambda x: x[-1], kept)
    chex.assert_trees_all_equal(last, runs.through.variables)
    chex.assert_trees_all_equal(end.variables, runs.through.variables)
    chex.assert_trees_all_equal(end.opt_state, runs.through.opt_state)
    assert end.slot == CYCLES * STEPS


def test_snapshots_are_networks_that_predict_side_by_side_and_differ(runs):
    logits = jax.vmap(lambda v: classifier().predict(v, DATA)[0])(runs.sound[1])
    assert logits.shape == (CYCLES, 47, 3)
    log_p = dj.predict.log_probabilities(logits)
    curve = dj.predict.member_curve(log_p, DATA["y"])
    assert (np.diff(curve["nll"]) < 0).all()  # strictly: no two snapshots are equal


def test_after_a_divergence_snapshots_and_moments_are_nan_and_none_is_stale(runs):
    state, kept, _, moments = runs.diverged
    assert state.diverged_at == 18
    for leaf, sound in zip(*map(jax.tree.leaves, (kept, runs.sound[1])), strict=True):
        np.testing.assert_array_equal(leaf[:3], sound[:3])  # 15 updates
        assert np.isnan(leaf[3:]).all()
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves((moments.mean, moments.variance)))


def test_the_moments_are_those_of_all_points_the_first_among_them(runs):
    theta, moments = points(runs), runs.sound[3]
    mean, variance = (ravel_pytree(x)[0] for x in (moments.mean, moments.variance))
    # float32 running moments of 7 points
    np.testing.assert_allclose(mean, theta.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, theta.var(0), rtol=1e-4, atol=1e-9)
    D = jax.vmap(lambda x: ravel_pytree(x)[0])(moments.deviations)
    running = np.cumsum(theta, axis=0) / np.arange(1, CYCLES + 2)[:, None]
    expected = (theta - running)[-RANK:]
    np.testing.assert_allclose(D, expected, rtol=1e-4, atol=1e-6)


def test_swag_moves_the_run_as_run_does(runs):
    chex.assert_trees_all_equal(runs.sound[2].variables, runs.through.variables)


def test_snapshots_of_a_weight_average_are_averages_and_the_last_is_the_mean_of_swag(runs):
    fit = fitted(average=partial(dj.optimizers.swa, start=0, every=STEPS))
    keep = partial(dj.snapshots, fit, num_cycles=CYCLES, cycle_steps=STEPS)
    state, kept = jax.jit(lambda key: keep(fit.init(key)))(KEY)
    last = jax.tree.map(lambda x: x[-1], kept["params"])
    chex.assert_trees_all_equal(last, dj.predict.eval_variables(state)["params"])
    # the two weigh the points in another order of roundings, float32
    chex.assert_trees_all_close(runs.sound[3].mean, last, rtol=1e-5, atol=1e-6)


def test_draws_have_the_mean_and_the_covariance_of_the_formula():
    draw = np.random.default_rng(0)
    D = 0.7 * draw.normal(size=(3, 4))
    tree = lambda x: {"a": jnp.float32(x[..., :3]), "b": jnp.float32(x[..., 3:])}  # noqa: E731
    mean, variance = np.array([1.0, -2, 0, 5]), np.array([0.5, 0, 1, 2])
    found = dj.Swag(tree(mean), tree(variance), tree(D))
    keys = jax.random.split(KEY, 40_000)
    for scale in (1.0, 0.5):
        drawn = jax.vmap(lambda key, scale=scale: dj.swag_sample(key, found, scale))(keys)
        sample = np.concatenate([drawn["a"], drawn["b"]], axis=1, dtype=np.float64)
        covariance = scale * (np.diag(variance) + D.T @ D / 2) / 2
        # entries have standard errors of at most sqrt(2 / 40000) of the largest variance: 4 of them
        largest = covariance.max()
        error = 4 * largest * np.sqrt(2 / 40_000)
        np.testing.assert_allclose(np.cov(sample.T), covariance, atol=error)
        error = 4 * np.sqrt(largest / 40_000)
        np.testing.assert_allclose(sample.mean(0), mean, atol=error)


def test_a_scale_of_0_draws_the_mean(runs):
    moments = runs.sound[3]
    chex.assert_trees_all_equal(dj.swag_sample(KEY, moments, 0.0), moments.mean)


def test_moments_of_half_precision_are_float32():
    class Half(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3, param_dtype=jnp.bfloat16, name="outputs")(x)

    task = dj.supervised(dj.linen_model(Half()), dj.losses.cross_entropy)
    fit = dj.trainer(task, dj.optimizers.sgd(0.1), DATA, batch_size=8)
    found = jax.eval_shape(
        lambda s: dj.swag(fit, s, num_snapshots=3, snapshot_steps=1, rank=2), fit.init(KEY)
    )[1]
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype("float32")}


def test_statistics_are_those_of_the_batches_after_a_pass():
    class Normalized(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = dj.modules.BatchNorm(momentum=0.5, name="norm")(x, train)
            return nn.Dense(3, name="outputs")(x)

    task = dj.supervised(dj.linen_model(Normalized()), dj.losses.cross_entropy)
    batches = jax.tree.map(lambda x: jnp.broadcast_to(x, (30, *x.shape)), DATA)
    variables = jax.jit(task.init)(KEY, DATA)
    moved = dj.refreshed(task, variables, batches)
    chex.assert_trees_all_equal(moved["params"], variables["params"])
    # 2^-30 of the old ones is left; float32 sums of 47 rows
    statistics = moved["batch_stats"]["norm"]
    np.testing.assert_allclose(statistics["mean"], DATA["x"].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(statistics["var"], DATA["x"].var(0, ddof=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"num_snapshots": 1}, r"num_snapshots must be in \[2, inf\), got 1"),
        ({"rank": 1}, r"rank must be in \[2, 6\], got 1"),
        ({"rank": 7}, r"rank must be in \[2, 6\], got 7"),
        ({"snapshot_steps": 0}, r"snapshot_steps must be in \[1, inf\), got 0"),
        ({"snapshot_steps": 1.5}, "snapshot_steps must be a whole number"),
    ],
    ids=["one point", "rank 1", "rank 7", "no step", "half a step"],
)
def test_sizes_that_make_no_distribution_are_refused(runs, wrong, says):
    sizes = {"num_snapshots": CYCLES, "snapshot_steps": STEPS, "rank": RANK, **wrong}
    with pytest.raises(ValueError, match=says):
        dj.swag(runs.fit, runs.start, **sizes)


def test_no_cycle_and_a_negative_scale_are_refused(runs):
    with pytest.raises(ValueError, match=r"num_cycles must be in \[1, inf\), got 0"):
        dj.snapshots(runs.fit, runs.start, num_cycles=0, cycle_steps=1)
    with pytest.raises(ValueError, match=r"scale must be in \[0, inf\), got -1"):
        dj.swag_sample(KEY, runs.sound[3], -1.0)
