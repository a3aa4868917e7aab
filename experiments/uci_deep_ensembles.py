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

Command: python experiments/uci_deep_ensembles.py [yacht energy concrete bostonHousing ...]
"""

import sys
import time
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

import dljax as dj
from dljax.comparison.canvas import picture
from dljax.comparison.statistics.resampled import corrected_t
from dljax.regression_tables import DEEP_ENSEMBLES_2017, dot_plot, line, row

EPOCHS, BATCH, MEMBERS, SPLITS, SEEDS = 40, 100, 5, 20, 5
RATES = [0.003, 0.005, 0.01, 0.02, 0.03, 0.05]  # 0.1, the paper's, is far worse: see below


def in_bounds(key, shape, dtype, bound):
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic=True):
        for name, size in (("hidden", 50), ("outputs", 2)):
            uniform = partial(in_bounds, bound=x.shape[-1] ** -0.5)
            x = nn.relu(x) if name == "outputs" else x
            x = nn.Dense(size, name=name, kernel_init=uniform, bias_init=uniform)(x)
        return x


def restore(outputs, scale):
    mean, variance = dj.losses.mean_and_variance(outputs)
    return {"mean": scale.mean + scale.sd * mean, "variance": scale.sd**2 * variance}


def combine(members):
    mean, variance = dj.predict.normal_mixture(members["mean"], members["variance"])
    return {"mean": mean, "variance": variance, "members": jax.tree.map(lambda x: x.T, members)}


def measure(outputs, batch):
    def scores(mean, variance):  # of S members, [S, B]
        density = dj.predict.log_likelihood(mean, variance, batch["y"])
        return density, (mean.mean(axis=0) - batch["y"]) ** 2

    density, error = scores(outputs["mean"][None], outputs["variance"][None])
    members = outputs["members"]
    one = jax.vmap(lambda m, v: scores(m[None], v[None]), 1)(members["mean"], members["variance"])
    singles = {f"error {s}": one[1][s] for s in range(MEMBERS)}
    return {"nll": -density, "error": error, "single nll": -one[0].mean(axis=0), **singles}


def main(names):
    dj.configure()
    task = dj.supervised(dj.linen_model(Net()), dj.losses.gaussian_nll)
    net = dj.learner(task, dj.optimizers.adam, num_epochs=EPOCHS, batch_size=BATCH)
    net = dj.scaled(net, target="y", restore=restore)
    five = dj.ensemble(net, MEMBERS, combine)._replace(measure=measure)
    grid = {"learning_rate": RATES}
    tuned = dj.tuned(five, grid, 1, by="nll", split=dj.datasets.first_rows)
    how = {"split": dj.datasets.published_split, "keep": lambda model: model["chosen"]}
    how |= {"axes": {"seed": np.arange(SEEDS)}, "width": SPLITS // 2}
    ours = {}
    for name in names:
        data, begun = dj.datasets.load(f"uci/{name}"), time.process_time()
        found = dj.cross_validate(tuned, data, SPLITS, **how).study.results
        seconds, scores = time.process_time() - begun, found["scores"]
        members = np.sqrt([scores[f"error {s}"] for s in range(MEMBERS)])  # [member, seed, split]
        single, rmse = members.mean(axis=(0, 1)), np.sqrt(scores["error"]).mean(axis=0)
        nll, single_nll = scores["nll"].mean(axis=0), scores["single nll"].mean(axis=0)
        ours[name], published = row(rmse, nll), DEEP_ENSEMBLES_2017[name]
        print(line(f"{name}, 2017", published))
        print(line(f"{name}, ours", ours[name], published), f" {seconds:.0f} CPU s")
        print(line(f"{name}, a member", row(single, single_nll)))
        num_rows = len(data["y"])
        sizes = {"num_train": round(0.9 * num_rows), "num_test": num_rows - round(0.9 * num_rows)}
        gains = {"RMSE": rmse - single, "nll": nll - single_nll}
        for what, gain in gains.items():
            t = corrected_t(gain, **sizes)
            print(f"  ensemble - member, {what}: {gain.mean():+.4f}, corrected t {t.t:.1f}")
        counts = np.bincount(found["kept"].ravel(), minlength=len(RATES))
        print("  chosen rates:", ", ".join(f"{r} x{n}" for r, n in zip(RATES, counts, strict=True)))
    tables = {"published": {name: DEEP_ENSEMBLES_2017[name] for name in ours}, "dljax": ours}
    out = Path("runs/uci_deep_ensembles.png")
    out.parent.mkdir(exist_ok=True)
    title = f"Deep ensembles, {MEMBERS} members, {EPOCHS} epochs, 20 splits"
    out.write_bytes(picture(dot_plot(title, tables), "png"))


if __name__ == "__main__":
    main(sys.argv[1:] or ["yacht", "energy", "concrete", "bostonHousing"])
