"""Small tasks and data for the tests of training."""

import jax
import jax.numpy as jnp
import numpy as np

import dljax as dj


def blobs(num_rows=47, num_features=4, num_classes=3, seed=0):
    """Classes around separate centres: float32[N, D], int32[N]."""
    draw = np.random.default_rng(seed)
    y = np.arange(num_rows) % num_classes
    centres = 2 * draw.normal(size=(num_classes, num_features))
    x = centres[y] + draw.normal(size=(num_rows, num_features))
    return {"x": x.astype(np.float32), "y": y.astype(np.int32)}


def classifier(features=(8,), num_classes=3):
    model = dj.linen_model(dj.modules.MLP(num_classes, features))
    return dj.supervised(model, dj.losses.cross_entropy, {"accuracy": dj.losses.accuracy})


def linear_model():
    """A plain-function model, x @ W + b."""

    def init(key, x):
        return {"params": {"W": 0.1 * jax.random.normal(key, (x.shape[1], 3)), "b": jnp.zeros(3)}}

    def apply(variables, x, *, key=None, train=False, mask=None):
        return x @ variables["params"]["W"] + variables["params"]["b"][None], variables

    return dj.Model(init, apply)


def member(data, *, seed, learning_rate=0.05, num_steps=20, eval_every=5, batch_size=8, **options):
    """One run with a hold-out drawn from the seed."""
    key = dj.stream(jax.random.key(0), "member", seed)
    split = dj.holdout(dj.stream(key, "split"), len(data["y"]), valid=0.25)
    fit = dj.trainer(
        classifier(),
        dj.optimizers.adam(learning_rate),
        data,
        split,
        batch_size=batch_size,
        **options,
    )
    return dj.run(fit, fit.init(key), num_steps=num_steps, eval_every=eval_every)


def history(data, **cell):
    return member(data, **cell)[1]


def spy_task(num_rows):
    """A task whose parameters count how often every row was seen, by their gradient.

    With `sgd(1.0)` and a batch of one weight each, the parameter of a row falls by 1 / B for
    each time the row is in a batch of B real rows.
    """

    def predict(variables, batch, **_):
        return variables["params"]["seen"][batch["row"]], variables

    return dj.Task(
        init=lambda key, batch: {"params": {"seen": jnp.zeros(num_rows)}},
        predict=predict,
        loss=lambda outputs, batch: outputs,
        measure=lambda outputs, batch: {"loss": outputs},
    )
