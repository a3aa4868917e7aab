"""Does a convolutional net learn here as fast as DeepOBS published?

Question: DeepOBS (arXiv:1903.05499) trained its fmnist_2c2d, a net of two convolutions on
Fashion-MNIST, with tuned SGD, momentum and Adam. Do the same settings give the same accuracies?
Method: the problem rebuilt (all 60,000 training rows, batches of 128 in one order that is replayed
every epoch, tested on 9,984 rows), optimizers as TensorFlow 1 computes them, at the published best
learning rates. Test accuracy beside the published mean and standard deviation of ten seeds: after
epochs 1 and 2, of one seed, on a CPU; on a GPU ten seeds and also after all 100 epochs.

Command: python experiments/deepobs_fmnist.py
with DLJAX_DATA set to the folder that has Fashion-MNIST.

Expect, in 16 minutes of CPU time over two cores: all six accuracies within one published standard
deviation of the mean.
"""

import jax
import numpy as np
import pandas as pd

import dljax as dj
from dljax import deepobs

SEEDS, EPOCHS = (
    (np.arange(42, 43), 2) if jax.default_backend() == "cpu" else (np.arange(42, 52), 100)
)
STEPS = 468  # of an epoch
PUBLISHED = {  # optimizer: mean and standard deviation of the test accuracy of ten seeds, by epoch
    "sgd": {1: (0.8545, 0.0118), 2: (0.8754, 0.0091), 100: (0.92273, 0.00184)},
    "momentum": {1: (0.8517, 0.0084), 2: (0.8800, 0.0055), 100: (0.92144, 0.00212)},
    "adam": {1: (0.8526, 0.0057), 2: (0.8761, 0.0033), 100: (0.92342, 0.00294)},
}
tf1 = dj.optimizers.dialects.tf1
OPTIMIZERS = {  # rates of DeepOBS's grid of 36, five a decade
    "sgd": tf1.sgd(10**-0.8),
    "momentum": tf1.momentum(10**-2.6, b=0.99),
    "adam": tf1.adam(10**-3.6),
}


def member(data, split, *, seed, task, optimizer):
    options = {"batch_size": 128, "order": "once", "remainder": "drop", "parts": ("test",)}
    fit = dj.trainer(task, optimizer, data, split, **options)
    state = fit.init(dj.stream(jax.random.key(0), "member", seed))
    return dj.run(fit, state, num_steps=STEPS * EPOCHS, eval_every=STEPS)[1]


def compared(accuracy):
    """Returns a row an optimizer and epoch; `accuracy` is [optimizers, seeds, epochs + 1]."""
    rows = []
    for (name, published), runs in zip(PUBLISHED.items(), accuracy, strict=True):
        for epoch, (mean, sd) in published.items():
            if epoch < runs.shape[1]:
                ours = runs[:, epoch].mean()
                told = {"optimizer": name, "epoch": epoch, "published": mean, "sd": sd}
                rows.append({**told, "ours": ours, "apart, sd": (ours - mean) / sd})
    return pd.DataFrame(rows)


def main():
    dj.configure()
    task, data, split = deepobs.fmnist_2c2d()
    static = {"optimizer": OPTIMIZERS, "task": {"p3": task}}
    study = dj.study(member, data, split, axes={"seed": SEEDS}, static=static).results
    table = compared(study["test_accuracy"][:, 0])
    print(table.to_string(index=False, float_format="{:.4f}".format))
    return table


if __name__ == "__main__":
    main()
