"""What does curvature buy: in steps, in gradients, and in seconds?

Question: is the gain in steps still there when products, factors and values are counted as well?
Method: a perceptron 64-32-10 learns the digits, all 1,079 rows a step, at that of 12 learning
rates, or of 3 with 4 dampings, which ends with the least training loss. Gradients are counted as in
`dj.optimizers.gradient_equivalents`; seconds are the least of six runs of the chosen one, compiled
and alone, spread evenly over its steps. One seed: all start alike.

Command: python experiments/second_order.py
Expect, in three minutes on two quiet cores (six on busy ones), a loss of 0.01 after 7 steps of
gauss_newton, 16 of newton_cg, 17 of natural_gradient, 27 of kfac, 60 of momentum and 100 of adam,
or 290, 290, 697, 54, 60 and 100 gradients; diagonal_fisher ends at 0.19. In seconds momentum and
adam lead down to a loss of about 0.001, gauss_newton beyond; those of kfac hang most on the load.
"""

from functools import partial
from pathlib import Path
from timeit import repeat

import jax
import numpy as np
import pandas as pd

import dljax as dj
from dljax.comparison.canvas import canvas, legend, look, picture, styled
from dljax.comparison.space import OPTIMIZERS, as_axis, points_of

# what is tuned, and steps
FIRST = {"learning_rate": np.logspace(-3, 0.3, 12)}, 1000
SECOND = {"learning_rate": [0.01, 0.3, 1.0], "damping": [1e-6, 1e-5, 1e-4, 1e-3]}, 50
METHODS = {"momentum": FIRST, "adam": FIRST, "diagonal_fisher": SECOND, "kfac": SECOND}
METHODS |= dict.fromkeys(("natural_gradient", "gauss_newton", "newton_cg"), SECOND)
SCALES = {"step": "steps", "cost": "gradients", "seconds": "seconds, measured"}
NUM_ROUNDS, TARGET, OUT = 50, 0.01, Path("runs/second_order.png")


def member(data, split, *, point, name, num_steps):
    """One run: loss and cost after every round of steps."""
    model = dj.flat_lecun(dj.linen_model(dj.modules.MLP(10, features=(32,))))
    task = dj.supervised(model, dj.losses.cross_entropy, inputs=lambda batch: batch["x"] / 16)
    fit = dj.trainer(task, OPTIMIZERS[name](**point), data, split, parts=("train",))
    every = num_steps // NUM_ROUNDS
    return dj.run(fit, fit.init(jax.random.key(0)), num_steps=num_steps, eval_every=every)[1]


def best_run(name, *shared):
    """Returns the best trial's arguments and what it took to the target, and its history."""
    space, num_steps = METHODS[name]
    points = points_of(name, OPTIMIZERS[name], space, None)
    run = jax.jit(partial(member, name=name, num_steps=num_steps))
    final = dj.study(run, *shared, axes={"point": as_axis(points)}).results["train_loss"][:, -1]
    best = points[np.nanargmin(final)]
    alone = lambda: jax.block_until_ready(run(*shared, point=best))  # noqa: E731
    history = alone()
    history["seconds"] = min(repeat(alone, number=1, repeat=6)) * history["step"] / num_steps
    met = history["train_loss"] <= TARGET
    first = {x: np.where(met, history[x], np.inf).min() for x in SCALES}
    return {**best, **first, "final loss": history["train_loss"][-1]}, history


def main():
    dj.configure()
    problem = dj.problems.load("digits-mlp")
    runs = {name: best_run(name, problem.data, problem.split) for name in METHODS}
    table = pd.DataFrame({name: row for name, (row, _) in runs.items()}).T
    print(table.to_string(float_format="{:.3g}".format))
    with styled():
        figure = canvas("Training loss on digits, the best of 12 trials", [3.2] * 3, [3.2])
        for axes, (x, label) in zip(figure.axes, SCALES.items()):
            for index, (_, history) in enumerate(runs.values()):
                axes.plot(history[x][1:], history["train_loss"][1:], **look(index))
            axes.set(xscale="log", yscale="log", xlabel=label)
        legend(figure, list(runs))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(picture(figure, "png"))


if __name__ == "__main__":
    main()
