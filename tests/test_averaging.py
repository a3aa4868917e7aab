"""Averages, lookahead and sharpness-aware steps equal their formulas and optax's."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

import dljax as dj
from dljax import optimizers

P = {"W": np.linspace(-1, 1, 6).reshape(2, 3), "b": np.array([0.5, -2.0])}
NOISE = np.random.default_rng(0).normal(size=(12, 2))
WRAPPERS = {
    "ema": partial(optimizers.ema, decay=0.8),
    "swa": partial(optimizers.swa, start=2, every=2),
    "lookahead": partial(optimizers.lookahead, k=3, alpha=0.5),
    "schedule_free": lambda optimizer: optimizers.schedule_free(lambda _: optimizer, 0.1),
    "sam": partial(optimizers.sam, rho=0.1),
    "sam_alternating": partial(optimizers.sam_alternating, rho=0.1),
}
every_wrapper = pytest.mark.parametrize("name", WRAPPERS)


def gradient(p, noise=0.0):
    """Of a curved function; `noise` shifts every gradient."""
    return jax.tree.map(lambda x: x + 0.1 * x**3 + noise, p)


def run(optimizer, p=P, steps=12, noise=True):
    """Returns the points to evaluate after every update, the initial one first, and the last p."""
    optimizer = optax.with_extra_args_support(optimizer)

    def step(carry, noise):
        p, state = carry
        grads = partial(gradient, noise=noise)
        updates, state = optimizer.update(grads(p), state, p, grad_fn=grads)
        p = optax.apply_updates(p, updates)
        return (p, state), optimizers.eval_params(state, p)

    p = jax.tree.map(jnp.asarray, p)
    state = optimizer.init(p)
    first = optimizers.eval_params(state, p)
    shifts = jnp.asarray(NOISE[:steps, 0] * noise, p["W"].dtype)
    (p, _), points = jax.jit(lambda c: jax.lax.scan(step, c, shifts))((p, state))
    points = jax.tree.map(lambda a, b: np.concatenate([np.asarray(a)[None], b]), first, points)
    return points, jax.tree.map(np.asarray, p)


def at(points, t):
    return jax.tree.map(lambda x: x[t], points)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("inner", [optimizers.sgd(0.1), optimizers.nag(0.1)], ids=["sgd", "nag"])
def test_ema_is_the_weighted_mean_of_the_points_of_the_inner_optimizer(inner):
    points, p = run(inner)
    averages, same = run(optimizers.ema(inner, decay=0.8))
    chex.assert_trees_all_equal(same, p)  # training is untouched
    for t in (1, 2, 12):
        weights = 0.8 ** (t - np.arange(1, t + 1))
        expected = jax.tree.map(
            lambda x, t=t, w=weights: np.tensordot(w / w.sum(), x[1 : t + 1], 1), points
        )
        # a dozen roundings of float64
        chex.assert_trees_all_close(at(averages, t), expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("start", "every"), [(0, 1), (2, 1), (3, 4)])
def test_swa_is_the_plain_mean_of_the_points_that_count(start, every):
    points, p = run(optimizers.sgd(0.1))
    averages, same = run(optimizers.swa(optimizers.sgd(0.1), start=start, every=every))
    chex.assert_trees_all_equal(same, p)
    for t in range(13):
        counted = [i for i in range(start, t + 1) if (i - start) % every == 0] or [t]
        expected = jax.tree.map(lambda x, c=counted: np.mean(x[np.array(c)], axis=0), points)
        chex.assert_trees_all_close(at(averages, t), expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_lookahead_equals_optax_and_at_alpha_1_the_inner_optimizer():
    ours, fast = run(optimizers.lookahead(optimizers.momentum(0.1), k=3, alpha=0.5))
    theirs = optax.lookahead(optax.sgd(0.1, momentum=0.9), sync_period=3, slow_step_size=0.5)
    pair = optax.LookaheadParams.init_synced(jax.tree.map(jnp.asarray, P))
    state = theirs.init(pair)
    for t in range(12):
        updates, state = theirs.update(gradient(pair.fast, NOISE[t, 0]), state, pair)
        pair = optax.apply_updates(pair, updates)
        slow = at(ours, t + 1)
        chex.assert_trees_all_close(slow, pair.slow, rtol=1e-12)
    chex.assert_trees_all_close(fast, pair.fast, rtol=1e-12)
    alone = run(optimizers.momentum(0.1))[1]
    one = run(optimizers.lookahead(optimizers.momentum(0.1), k=3, alpha=1.0))[1]
    chex.assert_trees_all_equal(one, alone)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("b1", [0.5, 0.9])
def test_schedule_free_equals_optax(b1):
    ours, y = run(optimizers.schedule_free(optimizers.sgd, 0.1, b1=b1))
    theirs = optax.contrib.schedule_free(optax.sgd(0.1), 0.1, b1=b1)
    p = jax.tree.map(jnp.asarray, P)
    state = theirs.init(p)
    for t in range(12):
        updates, state = theirs.update(gradient(p, NOISE[t, 0]), state, p)
        p = optax.apply_updates(p, updates)
        x = optax.contrib.schedule_free_eval_params(state, p)
        # theirs gets x back from y by a difference that costs digits
        chex.assert_trees_all_close(at(ours, t + 1), x, rtol=1e-9)
    chex.assert_trees_all_close(y, p, rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_schedule_free_without_interpolation_is_the_mean_of_the_optimizers_points():
    points, p = run(optimizers.sgd(0.1))
    averages, z = run(optimizers.schedule_free(optimizers.sgd, 0.1, b1=0.0))
    chex.assert_trees_all_close(z, p, rtol=1e-12)
    expected = jax.tree.map(lambda x: np.mean(x[1:], axis=0), points)
    last = at(averages, -1)
    chex.assert_trees_all_close(last, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_schedule_free_at_b1_1_takes_its_gradients_at_the_average_and_weighs_by_squared_rates():
    def rate(count):
        return 0.1 * count / 4  # 0 first: no weight yet

    averages, y = run(optimizers.schedule_free(optimizers.sgd, rate, b1=1.0))
    x = z = P
    total = 0.0
    for t in range(12):
        z = jax.tree.map(lambda z, g, t=t: z - rate(t) * g, z, gradient(x, NOISE[t, 0]))
        total += rate(t) ** 2
        c = rate(t) ** 2 / total if total else 1.0
        x = jax.tree.map(lambda x, z, c=c: (1 - c) * x + c * z, x, z)
    last = at(averages, -1)
    chex.assert_trees_all_close((last, y), (x, x), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_sam_equals_optax_and_costs_two_gradients_an_update():
    climb = optax.chain(optax.contrib.normalize(), optax.sgd(0.3))
    theirs = optax.contrib.sam(optax.sgd(0.1, momentum=0.9), climb, opaque_mode=True)
    ours = optimizers.sam(optimizers.momentum(0.1), rho=0.3)
    a = b = jax.tree.map(jnp.asarray, P)
    s, t = ours.init(a), theirs.init(b)
    for _ in range(3):
        updates, s = ours.update(gradient(a), s, a, grad_fn=gradient)
        a = optax.apply_updates(a, updates)
        updates, t = theirs.update(gradient(b), t, b, grad_fn=lambda p, _: gradient(p))
        b = optax.apply_updates(b, updates)
    chex.assert_trees_all_close(a, b, rtol=1e-12)
    assert optimizers.gradient_equivalents(s, jnp.int32(3)) == 6


@pytest.mark.usefixtures("x64")
def test_sam_takes_the_gradient_at_distance_rho_uphill():
    seen = []

    def spy(p):
        seen.append(p)
        return gradient(p)

    result = optimizers.sam_gradient(spy, P, 0.3)
    away = jax.tree.map(lambda q, p: q - p, seen[1], P)
    np.testing.assert_allclose(optax.tree.norm(away), 0.3, rtol=1e-12)
    g = gradient(P)
    along = optax.tree.vdot(away, g) / optax.tree.norm(g)
    np.testing.assert_allclose(along, 0.3, rtol=1e-12)
    chex.assert_trees_all_equal(result, gradient(seen[1]))


@pytest.mark.usefixtures("x64")
def test_two_alternating_updates_are_one_of_sam_and_evaluate_below_the_climb():
    ours = optimizers.sam_alternating(optimizers.nag(0.1), rho=0.3)
    points, p = run(ours, steps=8, noise=False)
    sam_points, sam_p = run(optimizers.sam(optimizers.nag(0.1), rho=0.3), steps=4, noise=False)
    for t in range(8):
        chex.assert_trees_all_close(
            at(points, t),
            at(sam_points, t // 2),
            rtol=1e-12,
        )
    chex.assert_trees_all_close(p, sam_p, rtol=1e-12)


@every_wrapper
def test_half_precision_zero_gradients_and_missing_leaves_are_safe(name):
    optimizer = WRAPPERS[name](optimizers.momentum(0.1))
    p = {"half": jnp.ones(3, jnp.bfloat16), "none": None, "masked": optax.MaskedNode()}
    p["complex"] = jnp.ones(2, jnp.complex64)
    state = optimizer.init(p)
    zeros = partial(jax.tree.map, jnp.zeros_like)
    for _ in range(2):
        updates, state = optimizer.update(zeros(p), state, p, grad_fn=zeros)
        chex.assert_trees_all_equal_dtypes(updates, p)
        p = optax.apply_updates(p, updates)
    chex.assert_trees_all_equal(optimizers.eval_params(state, p), {**p, "half": p["half"] * 0 + 1})
    halves = [x for x in jax.tree.leaves(state) if x.dtype == jnp.bfloat16]
    assert not halves  # statistics and averages are kept wider


@pytest.mark.parametrize("name", ["ema", "schedule_free", "sam_alternating"])
def test_the_average_follows_float32_where_parameters_are_bfloat16(name):
    half = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), P)
    single = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), half)
    optimizer = WRAPPERS[name](optimizers.sgd(0.1))
    a, b = (run(optimizer, p, noise=False)[0] for p in (half, single))
    # each update rounds the parameters, up to 2, to 8 bits: 12 times 2^-8, and slack of 2
    chex.assert_trees_all_close(jax.tree.map(lambda x: jnp.float32(x), a), b, atol=24 * 2.0**-8)


@every_wrapper
def test_is_a_good_citizen_of_optax(name):
    p = jax.tree.map(jnp.float32, P)
    alone = run(WRAPPERS[name](optimizers.sgd(0.1)), p, steps=4)
    injected = optax.inject_hyperparams(lambda rate: WRAPPERS[name](optimizers.sgd(rate)))(0.1)
    steps = optax.MultiSteps(optax.chain(optax.identity(), injected), 1)
    nested = optax.GradientTransformationExtraArgs(steps.init, steps.update)
    # rates injected as arrays, and means of one gradient, round in other places
    chex.assert_trees_all_close(run(nested, p, steps=4), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["ema", "swa", "lookahead", "schedule_free"])
def test_partition_averages_one_part_of_the_tree(name):
    p = jax.tree.map(jnp.float32, P)
    wrapped, plain = WRAPPERS[name](optimizers.sgd(0.1)), optimizers.sgd(0.1)
    parts = optax.partition({"here": wrapped, "there": plain}, {"W": "here", "b": "there"})
    both, here, there = (run(optimizer, p, steps=4) for optimizer in (parts, wrapped, plain))
    for found, mine, others in zip(both, here, there, strict=True):
        chex.assert_trees_all_close(found, {"W": mine["W"], "b": others["b"]}, rtol=1e-6)


@every_wrapper
def test_the_state_may_be_donated_together_with_the_parameters(name):
    optimizer = optax.with_extra_args_support(WRAPPERS[name](optimizers.sgd(0.1)))

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(p, state):
        updates, state = optimizer.update(p, state, p, grad_fn=lambda p: p)
        return optax.apply_updates(p, updates), state

    p = jax.tree.map(jnp.float32, P)
    step(*step(p, optimizer.init(p)))


def test_every_number_may_be_traced_and_has_a_finite_gradient():
    def loss(x):
        made = (
            optimizers.ema(optimizers.sgd(x["rate"]), decay=x["zero"]),
            optimizers.swa(optimizers.sgd(x["rate"]), start=x["zero"], every=x["rate"] + 1),
            optimizers.lookahead(optimizers.sgd(x["rate"]), k=2 + x["zero"], alpha=x["rate"]),
            optimizers.schedule_free(optimizers.sgd, x["zero"], b1=x["zero"]),
            optimizers.sam(optimizers.sgd(x["rate"]), rho=x["zero"]),
            optimizers.sam_alternating(optimizers.sgd(x["rate"]), rho=x["zero"]),
        )
        total = 0.0
        for optimizer in made:
            p, grad_fn = jnp.zeros(2), lambda p: 2 * p  # the norm of the first gradient is 0
            state = optimizer.init(p)
            for _ in range(2):
                updates, state = optimizer.update(grad_fn(p), state, p, grad_fn=grad_fn)
                p = p + updates + 1
            total += (optimizers.eval_params(state, p) ** 2).sum()
        return total

    chex.assert_tree_all_finite(jax.jit(jax.grad(loss))({"rate": 0.1, "zero": 0.0}))


def test_the_trainer_evaluates_the_average():
    data = small.blobs()
    task = dj.supervised(small.linear_model(), dj.losses.cross_entropy)

    def fitted(optimizer):
        fit = dj.trainer(task, optimizer, data)
        state, history = dj.run(fit, fit.init(jax.random.key(0)), num_steps=4)
        average = optimizers.eval_params(state.opt_state, state.variables["params"])
        there = state._replace(variables={"params": average}, opt_state=())
        return state.variables, history["train_loss"][-1], fit.evaluate(there)["train_loss"]

    def both():
        return fitted(optimizers.sgd(0.5)), fitted(optimizers.ema(optimizers.sgd(0.5), decay=0.5))

    (plain, there, _), (trained, found, average) = jax.jit(both)()
    chex.assert_trees_all_close(trained, plain, rtol=1e-6)
    np.testing.assert_allclose(found, average, rtol=1e-6)
    assert abs(found - there) > 1e-3


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda f: optimizers.ema(f, decay=1.0), r"decay must be in \[0, 1\), got 1"),
        (lambda f: optimizers.swa(f, start=-1), r"start must be in \[0, inf\), got -1"),
        (lambda f: optimizers.swa(f, start=0, every=0), r"every must be in \[1, inf\), got 0"),
        (lambda f: optimizers.lookahead(f, k=0), r"k must be in \[1, inf\), got 0"),
        (lambda f: optimizers.lookahead(f, alpha=1.5), r"alpha must be in \[0, 1\], got 1.5"),
        (
            lambda f: optimizers.schedule_free(f, 0.1),
            "optimizer must be a function of the learning",
        ),
        (lambda f: optimizers.schedule_free(optax.sgd, -1), r"learning_rate must be in .*, got -1"),
        (
            lambda f: optimizers.schedule_free(optax.sgd, 1, b1=-1),
            r"b1 must be in \[0, 1\], got -1",
        ),
        (lambda f: optimizers.sam(f, rho=-1), r"rho must be in \[0, inf\), got -1"),
        (lambda f: optimizers.sam_alternating(f, rho=-1), r"rho must be in \[0, inf\), got -1"),
    ],
)
def test_a_number_out_of_range_says_its_name_its_rule_and_what_came(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it(optimizers.sgd(0.1))


@every_wrapper
def test_missing_parameters_are_said(name):
    optimizer = WRAPPERS[name](optimizers.sgd(0.1))
    with pytest.raises(ValueError, match=f"^{name} needs the parameters: call update"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


def test_sam_says_who_supplies_the_gradient_as_a_function():
    optimizer = optimizers.sam(optimizers.sgd(0.1))
    with pytest.raises(ValueError, match=r"grad_fn=...\); dj.trainer does"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), jnp.ones(2))
