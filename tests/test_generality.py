"""Task and Trainer carry what comes later: statistics, two optimizers, no data set."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import small

import dljax as dj


def test_a_model_with_running_statistics_moves_them_in_training_only():
    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False, mask=None):
            mask = None if mask is None else (mask > 0)[:, None]
            norm = nn.BatchNorm(use_running_average=not train, momentum=0.5)
            return nn.Dense(3)(norm(x, mask=mask))

    data = small.blobs(20)
    data["x"] = data["x"] + 5
    task = dj.supervised(dj.linen_model(Normed()), dj.losses.cross_entropy)
    fit = dj.trainer(task, dj.optimizers.adam(0.1), data, batch_size=6)  # a remainder of 2
    start = fit.init(jax.random.key(0))
    end, history = dj.run(fit, start, num_steps=40)
    assert history["train_loss"][1] < history["train_loss"][0]
    mean = end.variables["batch_stats"]["BatchNorm_0"]["mean"]
    # momentum 0.5 averages over about two batches of six rows
    np.testing.assert_allclose(mean, data["x"].mean(axis=0), atol=2.0)
    assert (start.variables["batch_stats"]["BatchNorm_0"]["mean"] == 0).all()


def test_two_losses_and_two_optimizers_play_an_adversarial_game():
    """A saddle f(x, y) = x y + (x^2 - y^2) / 10: x descends, y ascends, both reach 0."""

    def value(params):
        x, y = params["player"], params["critic"]
        return x * y + (x**2 - y**2) / 10

    task = dj.Task(
        init=lambda key, batch: {"params": {"player": jnp.float32(1), "critic": jnp.float32(1)}},
        predict=lambda variables, batch, **_: (variables["params"], variables),
        loss=lambda params, batch: value(params)[None],
        measure=lambda params, batch: {"loss": jnp.hypot(params["player"], params["critic"])[None]},
    )
    optimizers = {"player": dj.optimizers.sgd(0.1), "critic": dj.optimizers.sgd(0.1)}
    both = optax.partition(optimizers, {name: name for name in optimizers})
    fit = dj.trainer(task, both, lambda key: {}, parts=("valid",))

    def step(state, rows):
        params = state.variables["params"]
        loss, grads = jax.value_and_grad(value)(params)
        grads = {"player": grads["player"], "critic": -grads["critic"]}
        updates, opt_state = both.update(grads, state.opt_state, params)
        variables = {"params": optax.apply_updates(params, updates)}
        return state._replace(variables=variables, opt_state=opt_state), loss

    adversarial = fit._replace(step=step)
    _, history = dj.run(adversarial, fit.init(jax.random.key(0)), num_steps=300)
    # per step |(1 - 0.02) + 0.1 i| = 0.985: 300 steps leave 1 % of the distance
    assert history["valid_loss"][1] < 0.02 * history["valid_loss"][0]


def test_a_task_without_a_data_set_draws_its_batches_from_a_key():
    def draw(key):
        x = jax.random.uniform(key, (32, 1), minval=-1.0)
        return {"x": x, "y": 3 * x[:, 0] - 1}

    task = dj.supervised(dj.linen_model(dj.modules.MLP(1)), dj.losses.squared_error)

    def member(*, seed):
        fit = dj.trainer(task, dj.optimizers.adam(0.1), draw)
        state = fit.init(dj.stream(jax.random.key(0), "member", seed))
        state, history = dj.run(fit, state, num_steps=200, eval_every=100)
        return history, state.variables["params"]["outputs"]

    history, line = dj.study(member, axes={"seed": np.arange(3)}).results
    assert history["valid_loss"].shape == (3, 3)
    np.testing.assert_allclose(line["kernel"].ravel(), 3, atol=1e-2)
    np.testing.assert_allclose(line["bias"].ravel(), -1, atol=1e-2)
