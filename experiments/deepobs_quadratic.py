"""Do our runs agree with what DeepOBS published, and what does its replayed batch order decide?

Question: DeepOBS (arXiv:1903.05499) trained its quadratic_deep with the same order of batches in
every epoch. Does dljax give its numbers in that order, and the same conclusions in another?
Method: the problem rebuilt from its specification (initial test loss 353.4468), optimizers as
TensorFlow 1 computes them, 36 learning rates, seeds 42 to 51, 100 epochs; in the order of the first
epoch replayed, and in a new order every epoch. Test loss at the end beside the published mean and
standard deviation of ten seeds: Welch's t, Holm-adjusted over the three optimizers.

Command: python experiments/deepobs_quadratic.py
Expect, in 50 seconds on two CPU cores: replayed, all within 0.7 published standard deviations, as
many of the 36 rates diverging as published; reshuffled, momentum at its published rate is worst, at
88.2, and its best rate six times smaller; Adam's is worse by 9 deviations.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import ttest_ind_from_stats

import dljax as dj
from dljax.comparison.statistics.families import holm

RATES, SEEDS, EPOCHS = np.logspace(-5, 2, 36), np.arange(42, 52), 100
PUBLISHED = {  # learning rate, mean and standard deviation of ten seeds, rates that diverged
    "sgd": (1.585e-2, 87.3975, 0.1690, 18),
    "momentum": (2.512e-3, 87.0450, 0.0252, 16),
    "adam": (3.981e-2, 87.1119, 0.0242, 0),
}
tf1 = dj.optimizers.dialects.tf1
OPTIMIZERS = {"sgd": tf1.sgd, "momentum": lambda r: tf1.momentum(r, b=0.99), "adam": tf1.adam}
ORDERS = {"replayed": "once", "reshuffled": "reshuffle"}


def member(data, split, *, seed, learning_rate, task, optimizer, order):
    options = {"batch_size": 128, "order": order, "remainder": "drop", "parts": ("test",)}
    fit = dj.trainer(task, optimizer(learning_rate), data, split, **options)
    state = fit.init(dj.stream(jax.random.key(0), "member", seed))
    return dj.run(fit, state, num_steps=7 * EPOCHS, eval_every=7)[1]


def compared(loss, order):
    """Returns a row an optimizer; `loss` is [optimizers, seeds, rates], NaN where it diverged."""
    rows, p = [], []
    for (name, (rate, mean, sd, diverged)), runs in zip(PUBLISHED.items(), loss, strict=True):
        ours = runs[:, np.argmin(np.abs(np.log(RATES / rate)))]
        test = (mean, sd, 10, ours.mean(), ours.std(ddof=1), len(SEEDS))
        p.append(ttest_ind_from_stats(*test, equal_var=False).pvalue)
        best = RATES[np.nanargmin(np.where(np.isnan(runs).any(0), np.inf, runs.mean(0)))]
        told = {"order": order, "optimizer": name, "published": mean, "sd": sd}
        told |= {"ours": ours.mean(), "our sd": ours.std(ddof=1)}
        told |= {"apart, sd": abs(ours.mean() - mean) / sd, "rate": rate, "our best": best}
        rows.append({**told, "diverged": diverged, "ours diverged": np.isnan(runs[0]).sum()})
    return pd.DataFrame(rows).assign(p=holm(np.array(p)))


def main():
    dj.configure()
    problem = dj.problems.load("quadratic-deep")
    axes = {"seed": SEEDS, "learning_rate": RATES}
    static = {"order": ORDERS, "optimizer": OPTIMIZERS, "task": {"p1": problem.task}}
    study = dj.study(member, problem.data, problem.split, axes=axes, static=static).results
    loss = study["test_loss"][:, :, 0]
    tables = [compared(x[..., -1], order) for order, x in zip(ORDERS, loss)]
    print(f"initial test loss {loss[0, 0, 0, 0, 0]:.4f}, published 353.4468")
    print(pd.concat(tables).to_string(index=False, float_format="{:.4g}".format))
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
    for panel, name, by_order in zip(panels, OPTIMIZERS, np.swapaxes(loss, 0, 1)):
        for order, runs in zip(ORDERS, by_order):
            panel.plot(RATES, runs[..., -1].mean(axis=0), ".-", label=order)
        panel.errorbar(*PUBLISHED[name][:3], fmt="k_", label="published", zorder=3)
        panel.set(title=name, xscale="log", xlabel="learning rate", ylim=(86.8, 90))
    panels[0].legend(title="test loss after 100 epochs")
    figure.savefig("deepobs_quadratic.png", dpi=150)


if __name__ == "__main__":
    main()
