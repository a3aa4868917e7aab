"""Does a wider network vary more?

Question: the classical U (Geman, Bienenstock & Doursat 1992) says that variance grows with the
number of parameters; Neal et al. (2018, arXiv:1810.08591) found that of networks it falls again.
What do bias and variance of a small network do over a range of widths?
Method: 40 training sets of 50 rows, y = exp(-x^2) + 1.5 exp(-(x - 2)^2) + 0.1 z with x uniform in
[-5, 5], each also with initial weights of its own; one hidden layer of rectifiers, full batches,
2000 steps of Adam at 0.01. Parts of the squared error at 200 inputs by `dj.diagnose`, against f
itself; the noise, 0.01 more, is known. One program a width, all training sets side by side.

Command: python experiments/bias_variance.py
Expect, in two minutes on two busy cores, runs/bias_variance.png and a variance that rises and falls
again: 0.033, 0.052, 0.015, 0.009, 0.008, 0.008 and 0.013 at the widths 1, 2, 4, 8, 16, 64 and 256,
beside a bias of 0.184, 0.057, 0.017, 0.013, 0.010, 0.010 and 0.013. Neither is a U of width.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import dljax as dj
from dljax.comparison.canvas import picture
from dljax.diagnose import squared_error_parts
from dljax.diagnose_pictures import parts_picture

OUT = Path("runs/bias_variance.png")
WIDTHS = (1, 2, 4, 8, 16, 64, 256)
SETS, ROWS, NOISE, NUM_STEPS = 40, 50, 0.1, 2000


def truth(x):
    return jnp.exp(-(x**2)) + 1.5 * jnp.exp(-((x - 2) ** 2))


def member(grid, *, width, seed):
    """Predictions float[N] of a fit to a training set of its own."""
    key = dj.stream(jax.random.key(0), "member", seed)
    x = jax.random.uniform(dj.stream(key, "x"), (ROWS,), minval=-5, maxval=5)
    y = truth(x) + NOISE * jax.random.normal(dj.stream(key, "noise"), (ROWS,))
    task = dj.supervised(width, dj.losses.squared_error)
    fit = dj.trainer(task, dj.optimizers.adam(0.01), {"x": x[:, None], "y": y}, parts=())
    state, _ = dj.run(fit, fit.init(key), num_steps=NUM_STEPS)
    return fit.predict(state, {"x": grid[:, None]})[:, 0]


def main():
    dj.configure()
    grid = np.linspace(-5, 5, 200, dtype=np.float32)
    models = {str(width): dj.linen_model(dj.modules.MLP(1, (width,))) for width in WIDTHS}
    axes = {"seed": np.arange(SETS)}
    predictions = dj.study(member, grid, axes=axes, static={"width": models}).results
    parts = [squared_error_parts(p, truth(grid)) for p in predictions]
    parts = [p._replace(error=p.error + NOISE**2, noise=p.noise + NOISE**2) for p in parts]
    print("width  error    bias     variance noise")
    for width, part in zip(WIDTHS, parts):
        print(f"{width:5} ", *(f"{x.mean():.5f} " for x in part))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(picture(parts_picture(WIDTHS, parts, varied="width"), "png"))


if __name__ == "__main__":
    main()
