"""Do five networks together beat one, and is the table of deep ensembles reproduced?

Question: Lakshminarayanan et al. 2017 (arXiv:1612.01474, table 1) publish RMSE and negative
log-likelihood of five networks on 20 fixed splits. Do ours agree, and is the gain real?
Method: 50 rectifiers, mean and variance as outputs, 40 epochs of Adam in batches of 100, weights
and biases uniform in +-1/sqrt(inputs). The rate is chosen inside each split by the ensemble's
likelihood on the last fifth of its training rows. Five seeds, 3,500 networks, are one program;
differences are means over seeds, paired by split, with the variance of Nadeau & Bengio.

Command: python experiments/uci_deep_ensembles.py
Expect, in three and a half minutes on two cores, the tables of docs/uci.md: RMSE 1.07, 2.08, 5.57,
3.16, and the ensemble better than a member on all four, corrected t -5.4 to -10.9. The paper's
literal rate, RATES = [0.1], gives 3.9, 5.7, 5.9, 23.8: it does not reproduce the table.
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
        dense = lambda size, fan, **name: nn.Dense(  # noqa: E731
            size, kernel_init=partial(in_bounds, fan), bias_init=partial(in_bounds, fan), **name
        )
        x = nn.relu(dense(50, x.shape[-1], name="hidden")(x))
        return dense(2, 50, name="outputs")(x)


def in_bounds(fan, key, shape, dtype):
    return jax.random.uniform(key, shape, dtype, -(fan**-0.5), fan**-0.5)


def five_networks():
    task = dj.supervised(dj.linen_model(Net()), dj.losses.gaussian_nll)
    net = dj.learner(task, dj.optimizers.adam, num_epochs=EPOCHS, batch_size=BATCH)
    net = dj.scaled(net, target="y", restore=dj.predict.normal_outputs)
    five = dj.ensemble(net, MEMBERS, dj.predict.normal_ensemble)
    five = five._replace(measure=dj.predict.normal_scores)
    return dj.tuned(five, {"learning_rate": RATES}, 1, by="nll", split=dj.datasets.first_rows)


def main(names=()):
    dj.configure()
    ours, learner, axes = {}, five_networks(), {"seed": np.arange(SEEDS)}
    how = {"split": dj.datasets.published_split, "axes": axes, "width": 10}
    how["keep"] = lambda model: model["chosen"]
    for name in names or SETS:
        data, begun = dj.datasets.load(f"uci/{name}"), time.process_time()
        found = dj.cross_validate(learner, data, SPLITS, **how).study.results
        scores, note = found["scores"], f"{time.process_time() - begun:.0f} CPU s"
        rmse = np.sqrt(scores["squared_error"]).mean(axis=0)
        single = np.sqrt(scores["member_squared_error"]).mean(axis=(0, 2))
        nll, single_nll = scores["nll"].mean(axis=0), scores["member_nll"].mean(axis=(0, 2))
        ours[name] = reported(name, rmse, nll, DEEP_ENSEMBLES_2017[name], note)
        print(line(f"{name}, a member", row(single, single_nll)))
        for what, gain in {"RMSE": rmse - single, "nll": nll - single_nll}.items():
            t = corrected_t(gain, 9, 1).t  # nine tenths of the rows train
            print(f"  ensemble - member, {what}: {gain.mean():+.4f}, corrected t {t:.1f}")
        counts = np.bincount(found["kept"].ravel(), minlength=len(RATES))
        print("  chosen rates:", *(f"{r} x{n}" for r, n in zip(RATES, counts, strict=True)))
    draw("runs/uci_deep_ensembles.png", "Deep ensembles, 40 epochs", DEEP_ENSEMBLES_2017, ours)


if __name__ == "__main__":
    main(sys.argv[1:])
