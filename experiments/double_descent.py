"""Does the test error fall again once a model is wider than it has rows?

Question: Belkin et al. (2019, PNAS 116; arXiv:1812.11118) and Nakkiran et al. (2020,
arXiv:1912.02292) find a peak of the test error where a model is just able to interpolate noisy
labels. Where is it, how high, and does a ridge take it away?
Method: random rectifiers and least squares of least norm (`dj.random_features`) on 500 of the 1797
digits, of which each gets another label, a wrong one, with a probability of 20 %; tested on the
others, whose labels are right. Five seeds draw rows, noise and features; one
program a width, in which one decomposition serves all ridges.

Command: python experiments/double_descent.py
Expect, in some minutes on two busy cores, runs/double_descent.png and test errors without a ridge
of 0.142, 0.118, 0.257, 0.656, 0.715, 0.670, 0.355 and 0.200 at the widths 50, 100, 300, 500, 550,
600, 1000 and 4000: the peak is at 550, 3.6 times the widest. A ridge of 0.001 halves it, one of 0.1
removes it: 0.139, then ever less, to 0.067 at 4000.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import dljax as dj
from dljax.comparison.canvas import picture
from dljax.diagnose_pictures import descent
from dljax.learners import score

OUT = Path("runs/double_descent.png")
WIDTHS = (50, 100, 200, 300, 400, 450, 500, 550, 600, 800, 1000, 2000, 4000)
RIDGES = np.array([0.0, 1e-3, 0.1], np.float32)
ROWS, NOISE, SEEDS = 500, 0.2, 5


def member(data, *, width, seed):
    """Errors with each ridge: of test rows, and of noisy training rows."""
    key = dj.stream(jax.random.key(0), "member", seed)
    num_rows = len(data["y"])
    split = dj.holdout(dj.stream(key, "rows"), num_rows, valid=1 - ROWS / num_rows)
    flip = jax.random.bernoulli(dj.stream(key, "flip"), NOISE, (num_rows,))
    other = jax.random.randint(dj.stream(key, "other"), (num_rows,), 1, 10)
    noisy = {**data, "y": jnp.where(flip, (data["y"] + other) % 10, data["y"])}

    def errors(ridge):
        model = width.fit(dj.stream(key, "fit"), noisy, split, ridge=ridge)
        train, test = (
            score(width, model, noisy, split.train),
            score(width, model, data, split.valid),
        )
        return {"train": train["error"], "test": test["error"]}

    return jax.vmap(errors)(RIDGES)  # of one singular value decomposition


def main():
    dj.configure()
    data = dj.datasets.load("digits")
    data = {**data, "x": data["x"] / 16}
    learners = {str(width): dj.random_features(width, num_classes=10) for width in WIDTHS}
    found = dj.study(member, data, axes={"seed": np.arange(SEEDS)}, static={"width": learners})
    test, train = (found.results[name] for name in ("test", "train"))  # [width, seed, ridge]
    print("width   train ", *(f"ridge {ridge:g}" for ridge in RIDGES))
    for width, errors, fitted in zip(WIDTHS, test.mean(axis=1), train.mean(axis=1)):
        print(f"{width:5} {fitted[0]:7.3f}  ", *(f"{error:.3f}   " for error in errors))
    peak = test[..., 0].mean(axis=1)
    print(f"peak at {WIDTHS[peak.argmax()]}, {peak.max() / peak[-1]:.1f} times the widest")
    errors = {f"ridge {ridge:g}": test[..., i] for i, ridge in enumerate(RIDGES)}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(picture(descent(WIDTHS, errors, ROWS, measure="test error"), "png"))
    return test


if __name__ == "__main__":
    main()
