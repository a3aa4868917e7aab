"""Do five networks together beat one, and is the table of deep ensembles reproduced?

Question: Lakshminarayanan et al. 2017 (arXiv:1612.01474, table 1) publish RMSE and negative
log-likelihood of five networks on 20 fixed splits, after 40 epochs. Do ours agree, and is what the
ensemble gains over its members real, on splits that share rows?
Method: one hidden layer of 50 rectifiers, mean and variance (softplus) as outputs, the likelihood
as loss, Adam, batches of 100, standardised inputs and targets, initial weights and biases uniform
in +-1/sqrt(inputs). The learning rate is chosen inside each split: by the ensemble's likelihood
on the last fifth of the training rows; then the split is trained again. Five seeds, all splits,
rates and members, 3,500 networks, are one program. Differences are means over seeds, paired by
split, with the variance of Nadeau & Bengio.

Command: python experiments/uci_deep_ensembles.py
Expect:
"""

import sys
import time
from functools import partial

import flax.linen as nn
import jax
import numpy as np

import dljax as dj
from dljax.comparison.statistics.resampled import corrected_t
from dljax.regression_tables import DEEP_ENSEMBLES_2017, draw, line, reported, row

EPOCHS, BATCH, MEMBERS, SPLITS, SEEDS = 40, 100, 5, 20, 5
RATES = [0.003, 0.005, 0.01, 0.02, 0.03, 0.05]
SETS = ["yacht", "energy", "concrete", "bostonHousing"]


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic=True):
        for name, size in (("hidden", 50), ("outputs", 2)):
            uniform = partial(in_bounds, bound=x.shape[-1] ** -0.5)
            x = nn.relu(x) if name == "outputs" else x
            x = nn.Dense(size, name=name, kernel_init=uniform, bias_init=uniform)(x)
        return x


def in_bounds(key, shape, dtype, bound):
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def five_networks():
    task = dj.supervised(dj.linen_model(Net()), dj.losses.gaussian_nll)
    net = dj.learner(task, dj.optimizers.adam, num_epochs=EPOCHS, batch_size=BATCH)
    net = dj.scaled(net, target="y", restore=dj.predict.normal_outputs)
    five = dj.ensemble(net, MEMBERS, dj.predict.normal_ensemble)
    five = five._replace(measure=dj.predict.normal_scores)
    return dj.tuned(five, {"learning_rate": RATES}, 1, by="nll", split=dj.datasets.first_rows)


def main(names=()):
    dj.configure()
    ours, axes, chosen = {}, {"seed": np.arange(SEEDS)}, lambda model: model["chosen"]
    how = {"split": dj.datasets.published_split, "axes": axes, "keep": chosen, "width": 10}
    learner = five_networks()
    for name in names or SETS:
        data, begun = dj.datasets.load(f"uci/{name}"), time.process_time()
        found = dj.cross_validate(learner, data, SPLITS, **how).study.results
        scores = found["scores"]
        rmse = np.sqrt(scores["squared_error"]).mean(axis=0)
        single = np.sqrt(scores["member_squared_error"]).mean(axis=(0, 2))
        nll, single_nll = scores["nll"].mean(axis=0), scores["member_nll"].mean(axis=(0, 2))
        note = f"{time.process_time() - begun:.0f} CPU s"
        ours[name] = reported(name, rmse, nll, DEEP_ENSEMBLES_2017[name], note)
        print(line(f"{name}, a member", row(single, single_nll)))
        train = round(0.9 * len(data["y"]))
        for what, gain in {"RMSE": rmse - single, "nll": nll - single_nll}.items():
            t = corrected_t(gain, train, len(data["y"]) - train).t
            print(f"  ensemble - member, {what}: {gain.mean():+.4f}, corrected t {t:.1f}")
        counts = np.bincount(found["kept"].ravel(), minlength=len(RATES))
        print("  chosen rates:", *(f"{r} x{n}" for r, n in zip(RATES, counts, strict=True)))
    title = f"Deep ensembles, {MEMBERS} members, {EPOCHS} epochs, {SPLITS} splits"
    draw("runs/uci_deep_ensembles.png", title, DEEP_ENSEMBLES_2017, ours)


if __name__ == "__main__":
    main(sys.argv[1:])
