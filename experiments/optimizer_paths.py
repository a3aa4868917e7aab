"""Which ways do the optimizers take down a function of two variables?

Question: who follows a curved valley, leaves a saddle, and minds unequal curvatures?
Method: 300 steps at that of 21 learning rates (adadelta: first steps, sqrt(eps)) that ends lowest
of those never above the start. Left out: methods that need a model; gauss_newton, newton_cg where
the parameters are the outputs; and muon, adamw for a vector.

Command: python experiments/optimizer_paths.py
Expect, in 90 seconds on two cores: all follow Rosenbrock's valley; newton, newton_cg and soap reach
its end, momentum, lars, nag and lion nearly, sgd, radam, adagrad and adamax not even the bend.
All with a step for each coordinate but radam leave the saddle aslant; the rest fall to its ridge.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import dljax as dj
from dljax.comparison.canvas import canvas, look, picture, styled
from dljax.comparison.space import OPTIMIZERS
from dljax.functions import beale, rosenbrock

FUNCTIONS = ("Rosenbrock", "Beale", "saddle", "quadratic")
STARTS, MINIMA = ((-1.2, 1), (1, 1), (1e-3, 0.4), (-1, 0.4)), ((1, 1), (3, 0.5), (1, 0), (0, 0))
VIEWS = (-1.6, 1.5, -0.6, 1.7), (0.5, 4, -0.7, 1.3), (-0.3, 1.4, -0.5, 0.5), (-1.2, 0.5, -0.5, 0.5)
LEFT_OUT = ("natural_gradient", "diagonal_fisher", "kfac", "gauss_newton", "muon")
ARMS = {name: factory for name, factory in OPTIMIZERS.items() if name not in LEFT_OUT}
ARMS["adadelta"] = lambda learning_rate: dj.optimizers.adadelta(eps=learning_rate**2)
NUM_STEPS, LEARNING_RATES, OUT = 300, np.logspace(-4, 1, 21), Path("runs/optimizer_paths.png")


def values(w):
    """Returns all functions at the point or the points w, float[2, ...]."""
    saddle = (w[0] ** 2 - 1) ** 2 / 4 + 5 * w[1] ** 2
    return jnp.stack([rosenbrock(w), beale(w), saddle, (w[0] ** 2 + 100 * w[1] ** 2) / 2])


def member(*, function, learning_rate, optimizer):
    task = dj.Task(
        init=lambda key, batch: {"params": jnp.array(STARTS, jnp.float32)[function]},
        predict=lambda variables, batch, **_: (variables["params"], variables),
        loss=lambda w, batch: values(w)[function][None],
        measure=lambda w, batch: {"x": w[0], "y": w[1], "f": values(w)[function]},
    )
    fit = dj.trainer(task, optimizer(learning_rate), lambda key: {}, parts=("valid",))
    return dj.run(fit, fit.init(jax.random.key(0)), num_steps=NUM_STEPS, eval_every=1)[1]


def main():
    dj.configure()
    cells = {"function": np.arange(4), "learning_rate": LEARNING_RATES}
    runs = dj.study(member, axes=cells, static={"optimizer": ARMS}, width=42).results
    value = runs["valid_f"]  # [optimizers, functions, learning rates, steps]
    final = np.where((value <= value[..., :1]).all(axis=-1), value[..., -1], np.inf)
    best = final.argmin(axis=2)[..., None, None]
    x, y, value = (np.take_along_axis(runs[f"valid_{k}"], best, 2)[:, :, 0] for k in "xyf")
    print("at the end", *(f"{name:>10}" for name in FUNCTIONS))
    for name, final in zip(ARMS, value[:, :, -1]):
        print(f"{name:10}", *(f"{number:10.1e}" for number in final))
    with styled():
        figure = canvas(f"{NUM_STEPS} steps, each at its best learning rate", [2.8] * 4, [2.1] * 4)
        for row, arms in enumerate(np.array_split(np.arange(len(ARMS)), 4)):
            for f, axes in enumerate(figure.axes[4 * row : 4 * row + 4]):
                plane = np.meshgrid(*np.linspace(VIEWS[f][::2], VIEWS[f][1::2], 200).T)
                height = np.log10(1 + 1e3 * values(np.stack(plane))[f])
                axes.contour(*plane, height, 14, colors="#CCCCCC", linewidths=0.6)
                for index, arm in enumerate(arms):
                    axes.plot(x[arm, f], y[arm, f], **look(index), marker=".", markevery=[-1])
                axes.plot(*STARTS[f], "ko", *MINIMA[f], "k*", ms=8, mfc="white")
                axes.set(xlim=VIEWS[f][:2], ylim=VIEWS[f][2:], title="" if row else FUNCTIONS[f])
            axes.legend(np.array(list(ARMS))[arms], loc="center left", bbox_to_anchor=(1.02, 0.5))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(picture(figure, "png"))


if __name__ == "__main__":
    main()
