"""The LSTM is its formula, and PyTorch's, with all its derivatives."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dljax as dj
from dljax.modules import LSTM, LSTMClassifier

KEY = jax.random.key(0)
CLOSE = {"atol": 1e-10, "rtol": 1e-10}  # float64, four steps


def normal(*shape):
    return jnp.asarray(np.random.default_rng(shape).normal(size=shape))


@pytest.fixture
def case(x64):
    params = {"kernel": normal(3, 20), "recurrent": normal(5, 20), "bias": normal(20)}
    return params, normal(2, 4, 3)


def ours(params, x):
    return LSTM(5).apply({"params": params}, x)


def formula(params, x):
    W, U, b = params["kernel"], params["recurrent"], params["bias"]
    h = c = jnp.zeros((x.shape[0], 5), x.dtype)
    states = []
    for t in range(x.shape[1]):
        i, f, g, o = jnp.split(x[:, t] @ W + h @ U + b[None], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        states.append(h)
    return jnp.stack(states, axis=1)


@pytest.mark.slow
def test_states_and_all_first_and_second_derivatives_are_those_of_the_formula(case):
    along = jax.tree.map(lambda x: jnp.cos(3 * x), case)

    def with_derivatives(f):
        def both(*at):
            gradient = jax.grad(lambda *at: (f(*at) ** 2).sum(), argnums=(0, 1))
            return jax.jvp(f, at, along), jax.jvp(gradient, at, along)

        return jax.jit(both)(*case)

    chex.assert_trees_all_close(with_derivatives(ours), with_derivatives(formula), **CLOSE)


def test_states_and_gradients_are_those_of_pytorch(case):
    torch = pytest.importorskip("torch")
    params, x = case
    towards = normal(2, 4, 5)

    @jax.jit
    def pulled(*at):
        y, pull = jax.vjp(ours, *at)
        return y, pull(towards)

    y, found = pulled(params, x)
    net = torch.nn.LSTM(3, 5, batch_first=True, dtype=torch.float64)
    theirs = {"kernel": net.weight_ih_l0, "recurrent": net.weight_hh_l0, "bias": net.bias_ih_l0}
    with torch.no_grad():
        net.bias_hh_l0.zero_()
        for name, p in theirs.items():
            p.copy_(torch.tensor(np.asarray(params[name]).T))
    tx = torch.tensor(np.asarray(x), requires_grad=True)
    ty = net(tx)[0]
    ty.backward(torch.tensor(np.asarray(towards)))
    gradients = {name: p.grad.numpy().T for name, p in theirs.items()}, tx.grad.numpy()
    chex.assert_trees_all_close(np.asarray(y), ty.detach().numpy(), **CLOSE)
    chex.assert_trees_all_close(jax.tree.map(np.asarray, found), gradients, **CLOSE)


def test_members_in_a_map_inside_a_scan_are_each_alone(case):
    params, x = case
    gradient = jax.grad(lambda p, x: ours(p, x)[:, -1].sum())

    def two_steps(params):
        step = lambda p, _: (jax.tree.map(lambda a, g: a - 0.1 * g, p, gradient(p, x)), None)  # noqa: E731
        return jax.lax.scan(step, params, None, length=2)[0]

    members = jax.tree.map(lambda p: jnp.stack([p, p + 0.1, -p]), params)
    found = jax.jit(jax.vmap(two_steps))(members)
    one = jax.jit(two_steps)(jax.tree.map(lambda p: p[1], members))
    chex.assert_trees_all_close(jax.tree.map(lambda p: p[1], found), one, **CLOSE)


def test_the_forget_gate_starts_open():
    params = jax.jit(LSTM(4).init)(KEY, jnp.ones((2, 3, 6)))["params"]
    shapes = {"kernel": (6, 16), "recurrent": (4, 16), "bias": (16,)}
    assert jax.tree.map(jnp.shape, params) == shapes
    np.testing.assert_array_equal(params["bias"], np.repeat([0, 1, 0, 0], 4))


def test_the_classifier_reads_the_last_state_and_learns_who_came_first():
    x = np.random.default_rng(0).normal(size=(128, 6, 2)).astype(np.float32)
    data = {"x": jnp.asarray(x), "y": jnp.asarray((x[:, 0, 0] > 0).astype(np.int32))}
    model = dj.linen_model(LSTMClassifier(2, 8))
    task = dj.supervised(model, dj.losses.cross_entropy, {"accuracy": dj.losses.accuracy})
    fit = dj.trainer(task, dj.optimizers.adam(0.02), data, batch_size=32)
    _, history = jax.jit(lambda key: dj.run(fit, fit.init(key), num_steps=120))(KEY)
    assert history["train_accuracy"][-1] > 0.9

    @jax.jit
    def outputs(key):
        v, longer = model.init(KEY, x), jnp.pad(x, ((0, 0), (0, 1), (0, 0)))
        dropping = dj.linen_model(LSTMClassifier(2, 8, dropout=0.5))
        return [
            f(v, a, key=key)[0]
            for f, a in ((model.apply, x), (model.apply, longer), (dropping.apply, x))
        ]

    plain, longer, dropped = outputs(KEY)
    assert not np.allclose(plain, longer)
    assert not np.allclose(plain, dropped)
