"""What does it matter where the zero of an input is, and what its unit?

Question: LeCun et al. 1998, "Efficient backprop", section 4.3, ask for inputs of mean 0, equal
variance and no correlation. What does each of the three buy, and whom?
Method: linear regression of the diabetes data, 442 rows a step, from weights of 0. Affine inputs
express the same functions: the loss at the start and the minimum are the same, the Hessian
2 E[(x, 1) (x, 1)^T] is not. Counted are the steps until the loss has fallen by 99 % of all it can
fall, at the best of 22 learning rates from 1e-6 to 10; inf is more than 3,000.

Command: python experiments/conditioning.py
Expect, in two minutes on two cores, for raw, scaled, centred, standardized and whitened inputs the
condition numbers 5e7, 2e5, 8e4, 470 and 1, and steps of sgd: inf, inf, inf, 9, 1; of momentum: inf,
inf, 2840, 26, 1; of adam: inf, 2200, 128, 30, 29; of newton_cg: 34, 5, 3, 2, 1, for 655, 101, 49,
12 and 3.3 gradients. Only both together save sgd; adam minds a mean more than a unit.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import dljax as dj

OPTIMIZERS = {
    "sgd": dj.optimizers.sgd,
    "momentum": dj.optimizers.momentum,
    "adam": dj.optimizers.adam,
    "newton_cg": partial(dj.optimizers.newton_cg, max_iterations=11),  # as many as weights
}
LEARNING_RATES, HORIZON, SHARE = np.logspace(-6, 1, 22), 3000, 0.99


def versions(x):
    """Returns the inputs [N, D] in five versions, each with a column of ones for the bias."""
    centred = x - x.mean(axis=0)
    whitened = np.linalg.svd(centred, full_matrices=False)[0] * np.sqrt(len(x))
    found = {"raw": x, "scaled": x / x.std(axis=0), "centred": centred}
    found |= {"standardized": centred / x.std(axis=0), "whitened": whitened}
    return {name: np.column_stack([z, np.ones(len(x))]) for name, z in found.items()}


def member(x, y, *, inputs, learning_rate, optimizer):
    """One run: loss and cost at every step."""
    task = dj.Task(
        init=lambda key, batch: {"params": jnp.zeros(x.shape[-1])},
        predict=lambda variables, batch, **_: (batch["x"] @ variables["params"], variables),
        loss=lambda f, batch: dj.losses.squared_error(f, batch["y"]),
        measure=lambda f, batch: {"loss": dj.losses.squared_error(f, batch["y"])},
    )
    fit = dj.trainer(task, optimizer(learning_rate), {"x": x[inputs], "y": y})
    history = dj.run(fit, fit.init(jax.random.key(0)), num_steps=HORIZON, eval_every=1)[1]
    return {"loss": history["train_loss"], "cost": history["cost"]}


def main():
    dj.configure()
    data = dj.datasets.load("diabetes")
    x = versions(data["x"].astype(np.float64))
    y = (data["y"] - data["y"].mean()) / data["y"].std()
    condition = [np.linalg.cond(z) ** 2 for z in x.values()]
    minimum = np.mean((y - x["whitened"] @ np.linalg.lstsq(x["whitened"], y)[0]) ** 2)
    target = 1 - SHARE * (1 - minimum)  # the loss at the start is the variance of y, 1
    shared = np.stack(list(x.values())).astype(np.float32), y.astype(np.float32)
    axes = {"inputs": np.arange(len(x)), "learning_rate": LEARNING_RATES}
    runs = dj.study(member, *shared, axes=axes, static={"optimizer": OPTIMIZERS}, width=55).results
    met = runs["loss"] <= target  # [optimizers, inputs, learning rates, steps]; NaN does not
    first = np.where(met, np.arange(HORIZON + 1), np.inf).min(axis=(2, 3))
    cost = np.where(met, runs["cost"], np.inf).min(axis=(2, 3))
    rows = {"condition": condition, **dict(zip(OPTIMIZERS, first)), "its gradients": cost[-1]}
    table = pd.DataFrame([list(row) for row in rows.values()], rows, x)
    print(table.to_string(float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
