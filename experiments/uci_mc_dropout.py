"""Is the table of MC-dropout on the UCI regressions reproduced?

Question: Gal & Ghahramani's own code (its protocol of 2018: rate and precision tau chosen inside
each split) publishes RMSE and log-likelihood on 20 fixed splits. Do ours agree?
Method: 50 rectifiers, dropout on inputs and hidden units, Adam 1e-3, batches of 128, 4,000 epochs,
squared error of standardised targets, penalty l^2 (1 - p) / (2 N tau), 1,000 masks (theirs 10,000).
Rate and tau are those that most published splits chose; with --grid the best of 12 pairs on the
last fifth of the training rows of each split, which is then trained again. One program a set.

Command: python experiments/uci_mc_dropout.py
Expect, in 40 s on two cores (--grid: 6 minutes), the tables of docs/uci.md: RMSE 0.70, 0.54, 2.85,
negative log-likelihood 1.27, 1.21, 2.38, within 1.2 published standard errors.
"""

import sys
import time

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

import dljax as dj
from dljax.regression_tables import MC_DROPOUT_2018, MC_DROPOUT_GRIDS, draw, reported

EPOCHS, BATCH, MASKS, LENGTHSCALE, SPLITS = 4000, 128, 1000, 1e-2, 20
RATES, SETS = [0.005, 0.01, 0.05, 0.1], ["yacht", "energy", "bostonHousing"]


def task(rate):
    glorot = nn.initializers.glorot_uniform()
    mlp = dj.modules.MLP(1, (50,), dropout=rate, input_dropout=rate, kernel_init=glorot)
    return dj.supervised(dj.linen_model(mlp), dj.losses.squared_error)


def fit(key, data, split, *, rate, tau):
    rows = split.train.index.shape[0]
    l2 = dj.optimizers.coupled_l2(LENGTHSCALE**2 * (1 - rate) / (rows * tau))
    l2 = optax.masked(l2, dj.optimizers.by_path("*kernel"))
    adam = optax.chain(l2, dj.optimizers.adam(1e-3, eps=1e-7))
    fit = dj.trainer(task(rate), adam, data, split, batch_size=BATCH, parts=())
    state, _ = dj.run(fit, fit.init(key), num_steps=EPOCHS * -(-rows // BATCH))
    return {"key": state.key, "net": dj.predict.eval_variables(state), "rate": rate, "tau": tau}


def predict(model, batch):
    at = model["key"], task(model["rate"]), model["net"], batch
    draws = dj.predict.mc_dropout(*at, num_masks=MASKS)[..., 0].T
    return {"draws": draws, "variance": jnp.full(len(draws), 1 / model["tau"])}


def learner(name, grid):
    restore = lambda out, scale: {**out, "draws": scale.mean + scale.sd * out["draws"]}  # noqa: E731
    net = dj.Learner(fit, predict, dj.predict.draw_scores)
    net = dj.scaled(net, target="y", restore=restore)
    pairs = {"rate": RATES, "tau": MC_DROPOUT_GRIDS[name][0]}
    return dj.tuned(net, pairs, 1, by="nll", split=dj.datasets.first_rows) if grid else net


def main(names=(), grid=False):
    dj.configure()
    ours = {}
    for name in names or SETS:
        taus, (rate, tau) = MC_DROPOUT_GRIDS[name]
        how = {"keep": lambda m: m["numbers"]} if grid else {"axes": {"rate": [rate], "tau": [tau]}}
        how |= {"split": dj.datasets.published_split, "width": 10}
        data, begun = dj.datasets.load(f"uci/{name}"), time.process_time()
        found = dj.cross_validate(learner(name, grid), data, SPLITS, **how).study.results
        note = f"{time.process_time() - begun:.0f} CPU s"
        if grid:
            edge = int((found["kept"]["tau"] > 0.99 * max(taus)).sum())
            note += f"; {edge} splits chose the largest tau, {max(taus)}"
        rmse, nll = (found["scores"][key].reshape(SPLITS) for key in ("squared_error", "nll"))
        ours[name] = reported(name, np.sqrt(rmse), nll, MC_DROPOUT_2018[name], note)
    draw("runs/uci_mc_dropout.png", "MC-dropout, 4,000 epochs", MC_DROPOUT_2018, ours)


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name != "--grid"], "--grid" in sys.argv)
