"""Decay, sparsity and noise equal their formulas, and act on the parameters they should."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dljax import optimizers

P = {"hidden_0": {"kernel": np.linspace(-2, 2, 6).reshape(2, 3), "bias": np.array([0.5, -1.0])}}
KEY = jax.random.key(3)


def run(optimizer, p, steps=5, gradient=lambda p: jax.tree.map(lambda x: x - 0.3, p)):
    """Returns the last parameters, those to evaluate, and the state."""
    p = jax.tree.map(jnp.asarray, p)

    def step(carry, _):
        p, state = carry
        updates, state = optimizer.update(gradient(p), state, p)
        return (optax.apply_updates(p, updates), state), None

    run_all = jax.jit(lambda c: jax.lax.scan(step, c, length=steps)[0])
    p, state = run_all((p, optimizer.init(p)))
    return p, optimizers.eval_params(state, p), state


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_decoupled_decay_equals_adamw_and_coupled_decay_equals_torch():
    rate = lambda count: 0.1 / (1 + count)  # noqa: E731
    decay = optimizers.decoupled_weight_decay(rate, 0.2)
    ours = run(optax.chain(optimizers.adam(rate, eps=1e-16), decay), P)[0]
    theirs = run(optax.adamw(rate, eps=0, eps_root=1e-16, weight_decay=0.2), P)[0]
    # optax adds eps after the correction of v: a relative 1e-13 of gradients above 0.01
    chex.assert_trees_all_close(ours, theirs, rtol=1e-9)
    torch = pytest.importorskip("torch")
    p = torch.tensor(P["hidden_0"]["kernel"], requires_grad=True)
    there = torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.2)
    for _ in range(5):
        p.grad = p.detach() - 0.3
        there.step()
    ours = run(optax.chain(optimizers.coupled_l2(0.2), optimizers.momentum(0.1)), P)[0]
    np.testing.assert_allclose(ours["hidden_0"]["kernel"], p.detach(), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_the_two_decays_agree_after_sgd_and_not_after_adam():
    def both(factory):
        last, first = optimizers.decoupled_weight_decay(0.1, 0.5), optimizers.coupled_l2(0.5)
        chains = optax.chain(factory(0.1), last), optax.chain(first, factory(0.1))
        return [run(chain, P)[0]["hidden_0"]["kernel"] for chain in chains]

    np.testing.assert_allclose(*both(optimizers.sgd), rtol=1e-12)
    assert np.abs(np.subtract(*both(optimizers.adam))).max() > 0.01


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.usefixtures("x64")
def test_proximal_l1_makes_weights_exactly_zero_and_solves_the_lasso(dtype):
    target = jnp.array([3.0, -0.7, 0.2, -0.1, 0.0], dtype)
    optimizer = optax.chain(optimizers.sgd(0.25), optimizers.proximal_l1(0.25, 0.5))
    p = run(optimizer, jnp.ones(5, dtype), 60, gradient=lambda p: p - target)[0]
    assert p.dtype == dtype
    np.testing.assert_array_equal(p == 0, [False, False, True, True, True])
    # the minimum of |p - target|^2 / 2 + |p|_1 / 2: 60 steps leave 0.75^60 of the way, but in
    # bfloat16 an update below half a unit of the last place, 2^-8, is lost: 4 times that of 2.5
    slack = 0.05 if dtype == jnp.bfloat16 else 1e-6
    np.testing.assert_allclose(p.astype(float)[:2], [2.5, -0.2], atol=slack)


@pytest.mark.usefixtures("x64")
def test_proximal_l1_equals_ista_in_numpy():
    draw = np.random.default_rng(0)
    A, b = draw.normal(size=(8, 5)), draw.normal(size=8)
    optimizer = optax.chain(optimizers.sgd(0.02), optimizers.proximal_l1(0.02, 2.0))
    ours = run(optimizer, np.zeros(5), 50, gradient=lambda x: A.T @ (A @ x - b))[0]
    x = np.zeros(5)
    for _ in range(50):
        w = x - 0.02 * A.T @ (A @ x - b)
        x = np.sign(w) * np.maximum(np.abs(w) - 0.04, 0)
    np.testing.assert_allclose(ours, x, rtol=1e-12)
    np.testing.assert_array_equal(ours == 0, x == 0)


def test_gradient_noise_has_the_variance_of_the_paper():
    noise = optimizers.gradient_noise(KEY, 0.3, 0.55)
    p, state = {"a": jnp.zeros(20_000), "b": jnp.zeros(20_000)}, None
    seen = []
    state = noise.init(p)
    for t in range(3):
        grads, state = noise.update(p, state)
        # the variance of 20,000 draws is off by a relative sqrt(2 / 20,000) = 1 %: 4 times that
        np.testing.assert_allclose(jnp.var(grads["a"]), 0.3 / (1 + t) ** 0.55, rtol=0.04)
        seen += [grads["a"], grads["b"]]
    correlations = np.corrcoef(np.stack(seen)) - np.eye(6)
    assert np.abs(correlations).max() < 4 / np.sqrt(20_000)  # by path and by step


@pytest.mark.usefixtures("x64")
def test_weight_noise_takes_gradients_beside_the_weights_and_evaluates_the_weights():
    optimizer = optimizers.weight_noise(optimizers.momentum(0.1), KEY, 0.5)
    p = jnp.array([1.0, -2.0])
    W, a, state = p, jnp.zeros(2), optimizer.init(p)
    for _ in range(5):
        g = p**2
        updates, state = optimizer.update(g, state, p)
        p = p + updates
        a = 0.9 * a + g
        W = W - 0.1 * a
        np.testing.assert_allclose(optimizers.eval_params(state, p), W, rtol=1e-12)
        assert jnp.all(jnp.abs(p - W) > 1e-3)


def test_weight_noise_has_its_deviation_and_steps_draw_anew():
    optimizer = optimizers.weight_noise(optimizers.sgd(0.0), KEY, 0.5)
    p, seen = jnp.zeros(20_000), []
    state = optimizer.init(p)
    for _ in range(2):
        updates, state = optimizer.update(p, state, p)
        p = p + updates
        np.testing.assert_allclose(jnp.std(p), 0.5, rtol=0.02)  # 4 standard errors
        np.testing.assert_allclose(jnp.std(state.rule.stats.shift), 0.5, rtol=0.02)
        seen.append(p)
    assert abs(np.corrcoef(np.stack(seen))[0, 1]) < 4 / np.sqrt(20_000)


@pytest.mark.usefixtures("x64")
def test_weight_noise_without_noise_is_the_optimizer_and_holds_nag():
    inner = optimizers.nag(0.1)
    quiet = run(optimizers.weight_noise(inner, KEY, 0.0), P)
    chex.assert_trees_all_close(quiet[:2], run(inner, P)[:2], rtol=1e-12)


def test_noise_depends_on_the_key_the_path_and_the_step_alone():
    noise = optimizers.gradient_noise(KEY, 1.0)
    p = {"a": jnp.zeros(3), "b": jnp.zeros(3)}
    alone, both = (noise.update(x, noise.init(x))[0] for x in ({"b": p["b"]}, p))
    chex.assert_trees_all_equal(alone["b"], both["b"])
    assert (both["a"] != both["b"]).all()
    other = optimizers.gradient_noise(jax.random.key(4), 1.0)
    assert (other.update(p, other.init(p))[0]["b"] != both["b"]).all()


def test_every_number_may_be_traced_and_has_a_finite_gradient_at_zero():
    def loss(x):
        optimizer = optax.chain(
            optimizers.coupled_l2(x),
            optimizers.gradient_noise(KEY, x, x),
            optimizers.weight_noise(optimizers.sgd(0.1), KEY, x),
            optimizers.decoupled_weight_decay(x, x),
            optimizers.proximal_l1(x, x),
        )
        p = jnp.zeros(2)
        updates, _ = optimizer.update(p, optimizer.init(p), p)
        return ((p + updates) ** 2).sum()

    slopes = jax.jit(jax.vmap(jax.grad(loss)))(jnp.array([0.0, 0.5]))
    assert jnp.isfinite(slopes).all()


def test_half_precision_none_masked_and_complex_leaves_are_kept():
    p = {"half": jnp.ones(3, jnp.bfloat16), "none": None, "masked": optax.MaskedNode()}
    p["complex"] = jnp.ones(2, jnp.complex64)
    optimizer = optax.chain(
        optimizers.coupled_l2(0.0),
        optimizers.gradient_noise(KEY, 0.0),
        optimizers.weight_noise(optimizers.sgd(0.0), KEY, 0.25),
        optimizers.decoupled_weight_decay(0.1, 0.0),
        optimizers.proximal_l1(0.1, 0.0),
    )
    state = optimizer.init(p)
    updates, state = optimizer.update(p, state, p)
    chex.assert_trees_all_equal_dtypes(updates, p)
    moved = optax.apply_updates(p, updates)
    assert (moved["half"] != 1).any()
    # the shift is what was really applied to bfloat16 parameters
    weights = optimizers.eval_params(state, moved)
    chex.assert_trees_all_close(weights, p, rtol=1e-6)


def test_by_path_chooses_the_parameters_of_a_link():
    p = jax.tree.map(jnp.float32, P)
    decay = optimizers.decoupled_weight_decay(1.0, 0.5)
    optimizer = optax.masked(decay, optimizers.by_path("*/kernel"))
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, p), optimizer.init(p), p)
    expected = {"kernel": -0.5 * p["hidden_0"]["kernel"], "bias": jnp.zeros(2)}
    chex.assert_trees_all_equal(updates, {"hidden_0": expected})
    assert optimizers.by_path("a/?", "b")({"a": [1, 2], "b": 3, "c": 4}) == {
        "a": [True, True],
        "b": True,
        "c": False,
    }
    with pytest.raises(ValueError, match=r"got 'kernel' for hidden_0/bias, hidden_0/kernel\."):
        optimizers.by_path("*bias", "kernel")(p)


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: optimizers.decoupled_weight_decay(-1, 0.1), "learning_rate must be in .*, got -1"),
        (lambda: optimizers.decoupled_weight_decay(1, -0.1), "weight_decay must be in .*got -0.1"),
        (lambda: optimizers.coupled_l2(-0.1), r"weight_decay must be in \[0, inf\), got -0.1"),
        (lambda: optimizers.proximal_l1(1, -0.1), r"strength must be in \[0, inf\), got -0.1"),
        (lambda: optimizers.gradient_noise(KEY, -1), r"eta must be in \[0, inf\), got -1"),
        (lambda: optimizers.gradient_noise(KEY, 1, -1), r"gamma must be in \[0, inf\), got -1"),
        (lambda: optimizers.weight_noise(optax.sgd(1), KEY, -1), r"sigma must be in .*, got -1"),
    ],
)
def test_a_number_out_of_range_says_its_name_its_rule_and_what_came(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


@pytest.mark.parametrize("name", ["decoupled_weight_decay", "proximal_l1", "coupled_l2"])
def test_missing_parameters_are_said(name):
    arguments = (0.1,) if name == "coupled_l2" else (0.1, 0.1)
    optimizer = getattr(optimizers, name)(*arguments)
    with pytest.raises(ValueError, match=f"^{name} needs the parameters: call update"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
