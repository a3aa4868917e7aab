"""Question: which published conclusions survive a correct protocol?

Method: DeepOBS (Schneider, Balles & Hennig 2019) replayed one order of batches every epoch, chose
the learning rate on seed 42 by the test loss, and counted that seed among the ten it reports. Each
is taken back: batches reshuffled, and the rate chosen on three seeds of their own by the median
loss on fresh rows. On its noisy quadratic and, where there is a GPU, on its Fashion-MNIST net.

Command: python experiments/which_conclusions_survive.py
A minute and a half on two CPU cores; draws which_conclusions_survive.png.

Expect, of three differences on the quadratic, one to survive: momentum beats sgd. Once batches are
reshuffled, momentum's lead over adam and adam's over sgd are unresolved, and the best rate of
momentum is six times smaller. The reused seed changes no claim.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import dljax as dj
from dljax.comparison.claims import Question, claims

TUNING, PUBLISHED = np.arange(3), np.arange(42, 52)  # seeds
tf1 = dj.optimizers.dialects.tf1
OPTIMIZERS = {"sgd": tf1.sgd, "momentum": lambda r: tf1.momentum(r, b=0.99), "adam": tf1.adam}
ORDERS = {"replayed": "once", "reshuffled": "reshuffle"}
# problem: (steps, learning rates)
PROBLEMS = {
    "quadratic-deep": (700, np.logspace(-5, 2, 36)),
    "fmnist-2c2d": (39_000, np.logspace(-5, 0, 11)),
}


def member(data, split, *, seed, learning_rate, task, optimizer, order):
    options = {"batch_size": 128, "order": order, "remainder": "drop", "parts": ("valid", "test")}
    fit = dj.trainer(task["task"], optimizer(learning_rate), data, split, **options)
    state = fit.init(dj.stream(jax.random.key(0), "member", seed))
    history = dj.run(fit, state, num_steps=task["num_steps"])[1]
    return {part: history[f"{part}_loss"][-1] for part in ("valid", "test")}


def row(loss, rates, order, seed_42):
    """Returns what one protocol chooses and claims, of losses [optimizers, seeds, rates]."""
    by = loss["test"][:, 3:4] if seed_42 == "reused" else loss["valid"][:, :3]
    best = np.argmin(np.median(np.where(np.isnan(by), np.inf, by), axis=1), axis=1)
    finals = {name: loss["test"][i, 3:, best[i]] for i, name in enumerate(OPTIMIZERS)}
    told = {"order": order, "seed 42": seed_42}
    told |= {f"rate of {name}": f"{rates[i]:.2g}" for name, i in zip(OPTIMIZERS, best)}
    told |= {name: f"{x.mean():.3f} ± {x.std(ddof=1):.3f}" for name, x in finals.items()}
    found = claims(finals, "min", Question())
    return told | {f"{one['a']} against {one['b']}": one["verdict"] for one in found}


def main():
    dj.configure()
    names = list(PROBLEMS)[: 1 + (jax.default_backend() == "gpu")]
    figure, panels = plt.subplots(len(names), 2, squeeze=False, layout="constrained")
    for name, pair in zip(names, panels):
        problem, (num_steps, rates) = dj.problems.load(name), PROBLEMS[name]
        axes = {"seed": np.append(TUNING, PUBLISHED), "learning_rate": rates}
        task = {name: {"task": problem.task, "num_steps": num_steps}}
        static = {"order": ORDERS, "optimizer": OPTIMIZERS, "task": task}
        study = dj.study(member, problem.data, problem.split, axes=axes, static=static)
        table = []
        for i, (order, panel) in enumerate(zip(ORDERS, pair)):
            loss = {part: x[i, :, 0] for part, x in study.results.items()}
            table += [row(loss, rates, order, seed_42) for seed_42 in ("reused", "apart")]
            panel.plot(rates, np.median(loss["test"][:, 3:], axis=1).T, ".-", label=OPTIMIZERS)
            low = np.nanmin(loss["test"])
            panel.set(title=f"{name}, {order}", xscale="log", ylim=(0.998 * low, 1.03 * low))
        print(f"{name}:\n{pd.DataFrame(table).T.to_string(header=False)}\n")
        pair[0].legend(title="final test loss")
    figure.savefig("which_conclusions_survive.png", dpi=150)


if __name__ == "__main__":
    main()
