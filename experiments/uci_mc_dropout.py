"""Do we reproduce the table of MC-dropout on the UCI regressions, split by split?

Question: Gal & Ghahramani's own code (the protocol of 2018: rate and precision tau chosen inside
each split) publishes RMSE and log-likelihood on 20 fixed splits. Do ours agree?
Method: one hidden layer of 50 rectifiers, dropout on inputs and hidden units, Adam 1e-3, batches
of 128, 4,000 epochs, squared error of standardised targets, penalty l^2 (1 - p) / (2 N tau),
l = 0.01. The log-likelihood is that of a mixture of 1,000 normals of variance 1 / tau (theirs:
10,000). By default rate and tau are those that the published runs chose most often; with --grid
all 12 pairs are trained on the first 80 % of the training rows of every split, the best log-
likelihood on the others decides, and the split is trained again. 20 splits are one program.

Command: python experiments/uci_mc_dropout.py [--grid] [yacht energy bostonHousing ...]
"""

import sys
import time
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import dljax as dj
from dljax.comparison.canvas import picture
from dljax.regression_tables import MC_DROPOUT_2018, dot_plot, line, row

EPOCHS, BATCH, MASKS, LENGTHSCALE, SPLITS = 4000, 128, 1000, 1e-2, 20
RATES = [0.005, 0.01, 0.05, 0.1]
TAUS = {  # the grid, and (rate, tau) that most published splits chose
    "yacht": ([0.25, 0.5, 0.75], (0.005, 0.75)),
    "energy": ([0.25, 0.5, 0.75], (0.005, 0.75)),
    "bostonHousing": ([0.1, 0.15, 0.2], (0.05, 0.2)),
    "concrete": ([0.025, 0.05, 0.075], (0.005, 0.075)),
    "wine-quality-red": ([2.5, 3.0, 3.5], (0.05, 3.0)),
    "kin8nm": ([150.0, 200.0, 250.0], (0.005, 250.0)),
    "power-plant": ([0.05, 0.1, 0.15], (0.005, 0.1)),
}


class Net(nn.Module):
    rate: jax.Array

    @nn.compact
    def __call__(self, x, deterministic=True):
        dense = {"kernel_init": nn.initializers.glorot_uniform()}
        x = dj.modules.Dropout(self.rate, name="inputs")(x, deterministic)
        x = nn.relu(nn.Dense(50, name="hidden", **dense)(x))
        x = dj.modules.Dropout(self.rate, name="units")(x, deterministic)
        return nn.Dense(1, name="outputs", **dense)(x)


def fit(key, data, split, *, rate, tau):
    rows = split.train.index.shape[0]
    penalty = LENGTHSCALE**2 * (1 - rate) / (2 * rows * tau)
    weights = dj.optimizers.by_path("*kernel")
    l2 = optax.masked(dj.optimizers.coupled_l2(2 * penalty), weights)
    adam = optax.chain(l2, dj.optimizers.adam(1e-3, eps=1e-7))
    fit = dj.trainer(task(rate), adam, data, split, batch_size=BATCH, parts=())
    state, _ = dj.run(fit, fit.init(key), num_steps=EPOCHS * -(-rows // BATCH))
    return {"state": state, "rate": rate, "tau": tau}


def task(rate):
    return dj.supervised(dj.linen_model(Net(rate)), dj.losses.squared_error)


def predict(model, batch):
    state = model["state"]
    variables = dj.predict.eval_variables(state)
    at = (state.key, task(model["rate"]), variables, batch)
    draws = dj.predict.mc_dropout(*at, num_masks=MASKS)[..., 0].T  # [B, T]
    return {"draws": draws, "tau": jnp.full(len(draws), model["tau"])}


def restore(outputs, scale):
    return {**outputs, "draws": scale.mean + scale.sd * outputs["draws"]}


def measure(outputs, batch):
    draws, variance = outputs["draws"].T, 1 / outputs["tau"]
    density = dj.predict.log_likelihood(draws, jnp.broadcast_to(variance, draws.shape), batch["y"])
    return {"squared_error": (draws.mean(axis=0) - batch["y"]) ** 2, "log_likelihood": density}


def main(grid, names):
    dj.configure()
    net = dj.scaled(dj.Learner(fit, predict, measure), target="y", restore=restore)
    ours = {}
    for name in names:
        taus, (rate, tau) = TAUS[name]
        data = dj.datasets.load(f"uci/{name}")
        choice = {"rate": RATES, "tau": taus}
        tuned = dj.tuned(
            net, choice, 1, by="log_likelihood", largest=True, split=dj.datasets.first_rows
        )
        how = {"split": dj.datasets.published_split, "width": SPLITS // 2}
        if grid:
            how |= {"keep": lambda model: model["numbers"]}
        else:
            how |= {"axes": {"rate": [rate], "tau": [tau]}}
        begun = time.process_time()
        found = dj.cross_validate(tuned if grid else net, data, SPLITS, **how).study
        seconds = time.process_time() - begun
        scores = {key: x.reshape(SPLITS) for key, x in found.results["scores"].items()}
        ours[name] = row(np.sqrt(scores["squared_error"]), -scores["log_likelihood"])
        print(line(f"{name}, 2018", MC_DROPOUT_2018[name]))
        print(line(f"{name}, ours", ours[name], MC_DROPOUT_2018[name]), f" {seconds:.0f} CPU s")
        if grid:
            edge = int(np.isclose(found.results["kept"]["tau"], max(taus)).sum())
            cap = np.log(max(taus) / 2 / np.pi) / 2
            print(f"  {edge} of {SPLITS} splits chose the largest tau: nll >= {-cap:.3f} there")
    tables = {"published": {name: MC_DROPOUT_2018[name] for name in ours}, "dljax": ours}
    out = Path("runs/uci_mc_dropout.png")
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(picture(dot_plot(f"MC-dropout, {EPOCHS} epochs, 20 splits", tables), "png"))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    chosen = [name for name in arguments if name != "--grid"]
    main("--grid" in arguments, chosen or ["yacht", "energy", "bostonHousing"])
