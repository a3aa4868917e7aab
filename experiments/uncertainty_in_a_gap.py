"""Do members, or dropout masks, disagree where there were no data?

Question: the spread of an ensemble is used as the part of the uncertainty that more data would
take away. Is it larger between two clouds of data than on them, for a deep ensemble
(Lakshminarayanan et al. 2017) and for MC-dropout (Gal & Ghahramani 2016)?
Method: y = sin(1.5 x) + 0.15 z at 60 inputs in [-3, -1] and 60 in [1, 3], a network of 2 x 64
rectifiers; 8 members without dropout, or 100 masks of one member that learnt with a rate of 0.1,
each mask one function of x. The noise is the mean squared residual of the training data.

Command: python experiments/uncertainty_in_a_gap.py
Expect, in half a minute on two cores, the bands of both in runs/uncertainty_in_a_gap, and the mean
epistemic standard deviation on the data, in the gap and their ratio: 0.12, 0.22 and 1.8 of
dropout, 0.04, 0.17 and 4.6 of the ensemble. Most of dropout's spread is its rate, not the data.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import dljax as dj
from dljax.comparison.canvas import picture
from dljax.predict_pictures import bands

OUT = Path("runs/uncertainty_in_a_gap")
MEMBERS, MASKS, RATE, NUM_STEPS = 8, 100, 0.1, 2000


def drawn():
    """Returns the training data and the inputs to predict at."""
    draw = np.random.default_rng(0)
    x = np.concatenate([draw.uniform(-3, -1, 60), draw.uniform(1, 3, 60)])[:, None]
    y = np.sin(1.5 * x[:, 0]) + 0.15 * draw.normal(size=120)
    data = {"x": x.astype(np.float32), "y": y.astype(np.float32)}
    return data, {"x": np.linspace(-4, 4, 201, dtype=np.float32)[:, None]}


def member(data, grid, *, seed, dropout):
    """One run: predictions [T, ...] at the data and at the grid, T = 1 without dropout."""
    key = dj.stream(jax.random.key(0), "member", seed)
    model = dj.linen_model(dj.modules.MLP(1, (64, 64), dropout=dropout))
    task = dj.supervised(model, dj.losses.squared_error)
    fit = dj.trainer(task, dj.optimizers.adam(3e-3), data, batch_size=30)
    state, _ = dj.run(fit, fit.init(key), num_steps=NUM_STEPS)
    variables = dj.predict.eval_variables(state)
    num_masks = 1 if dropout is None else MASKS

    def masked(batch):
        return dj.predict.mc_dropout(state.key, task, variables, batch, num_masks=num_masks)[..., 0]

    return masked(data), masked(grid)


def main():
    dj.configure()
    data, grid = drawn()
    x = grid["x"][:, 0]
    places = {"on the data": (abs(x) >= 1) & (abs(x) <= 3), "in the gap": abs(x) < 0.8}
    print("          ", *places, "ratio")
    for name, dropout, seeds in (("dropout", RATE, 1), ("ensemble", None, MEMBERS)):
        run = lambda data, grid, *, seed, rate=dropout: member(data, grid, seed=seed, dropout=rate)  # noqa: E731
        results = dj.population(run)((data, grid), {"seed": np.arange(seeds)})
        at_data, at_grid = (out.reshape(-1, out.shape[-1]) for out in results)
        noise = ((at_data.mean(axis=0) - data["y"]) ** 2).mean()
        parts = dj.predict.variance_parts(at_grid, jnp.full_like(at_grid, noise))
        sd = [float(np.sqrt(parts.epistemic[place]).mean()) for place in places.values()]
        print(f"{name:10} {sd[0]:.3f} {sd[1]:.3f} {sd[1] / sd[0]:.1f}")
        OUT.mkdir(parents=True, exist_ok=True)
        figure = bands(x, at_grid.mean(axis=0), parts, (data["x"], data["y"]))
        (OUT / f"{name}.png").write_bytes(picture(figure, "png"))


if __name__ == "__main__":
    main()
