"""Problems of DeepOBS (Schneider, Balles & Hennig 2019, arXiv:1903.05499), rebuilt.

What is published of them are curves of optimizers, so that a rebuilt problem can be checked: the
initial test loss of the quadratic to the last digit that was printed, 353.4468; the accuracies of
the convolutional net to within what seeds make of them.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dljax import datasets, losses, splits
from dljax.keys import stream
from dljax.models import Model, linen_model
from dljax.modules import CNN
from dljax.splits import Rows, Split
from dljax.tasks import Task, supervised

DIM = 100
NOISE = 0.6  # standard deviation of the rows
TRAIN, TEST, VALID = 42, 43, 44  # seeds; DeepOBS has no validation rows
PARTS = ((TRAIN, 1000), (VALID, 1000), (TEST, 896))  # of 1000 test rows, 7 batches of 128
FMNIST_TRAIN, FMNIST_TEST = 60_000, 9_984  # of 10,000 test rows, 78 batches of 128
SCALE = 0.05  # of the weights and biases of the convolutional net


def quadratic_deep() -> tuple[Task, dict[str, np.ndarray], Split]:
    """Returns DeepOBS's `quadratic_deep`: a noisy quadratic in 100 dimensions, from theta = 1.

        l(theta, x) = (theta - x)^T H (theta - x) / 2

    with 90 eigenvalues of H in (0, 1) and 10 in (30, 60), and rows x normal around 0. In a row are
    H x and x^T H x / 2, all that its loss needs beside theta^T H theta, so that a batch of B rows
    costs 100 B operations and not 100^2 B.
    """
    H = hessian()
    x = np.concatenate([_rows(seed)[:count] for seed, count in PARTS]).astype(np.float64)
    Hx = x @ H
    data = {"Hx": Hx.astype(np.float32), "xHx": (Hx * x).sum(axis=1).astype(np.float32)}
    curvature = H.astype(np.float32)

    def init(key, batch):
        return {"params": {"theta": jnp.ones(DIM)}}

    def predict(variables, batch, **_):
        return variables["params"]["theta"], variables

    def loss(theta, batch):
        return theta @ (curvature @ theta) / 2 - batch["Hx"] @ theta + batch["xHx"] / 2

    def measure(theta, batch):
        return {"loss": loss(theta, batch)}

    starts = np.cumsum([0, *(count for _, count in PARTS)])
    split = Split(*(_part(start, count) for start, (_, count) in zip(starts, PARTS)))
    return Task(init, predict, loss, measure), data, split


def fmnist_2c2d(*, valid: float = 0.0, **where: Any) -> tuple[Task, dict[str, np.ndarray], Split]:
    """Returns DeepOBS's `fmnist_2c2d`: Fashion-MNIST and a net of 3.3 million parameters.

    Pixels in [0, 1]; 5 x 5 convolutions to 32 and to 64 channels, each with a rectifier and 2 x 2
    maxima; 1,024 rectified units; cross-entropy of 10 logits. DeepOBS trains on all 60,000 rows in
    batches of 128, 468 an epoch, and tests on the first 9,984 of 10,000 rows, 78 such batches.

    Args:
      valid: Fraction of the 60,000 rows to hold out, in [0, 1); DeepOBS has no validation rows.
      **where: See `dj.datasets.load`.

    Raises:
      DataError: If a data file is missing or damaged.
    """
    num_rows = FMNIST_TRAIN + FMNIST_TEST
    data = {name: x[:num_rows] for name, x in datasets.load("fashion-mnist", **where).items()}
    net = CNN(10, channels=(32, 64), hidden=1024, kernel=(5, 5))
    metrics = {"accuracy": losses.accuracy}
    pixels = lambda batch: batch["x"] / jnp.float32(255)  # noqa: E731
    task = supervised(constant_scale(net), losses.cross_entropy, metrics, inputs=pixels)
    # one program instead of forty small ones
    draw = jax.jit(partial(splits.holdout, valid=valid))
    split = draw(stream(jax.random.key(0), "split of fmnist-2c2d"), splits.all_rows(FMNIST_TRAIN))
    return task, data, split._replace(test=_part(FMNIST_TRAIN, FMNIST_TEST))


def constant_scale(net: CNN) -> Model:
    """Draws weights as 0.05 z, z normal truncated at 2 and not scaled back; biases are 0.05."""
    model = linen_model(net)

    def init(key, x):
        def draw(path, p):
            if p.ndim < 2:
                return jnp.full_like(p, SCALE)
            z_key = stream(key, jax.tree_util.keystr(path))
            return SCALE * jax.random.truncated_normal(z_key, -2, 2, p.shape, p.dtype)

        variables = model.init(key, x)
        drawn = jax.tree_util.tree_map_with_path(draw, variables["params"])
        return {**variables, "params": drawn}

    return Model(init, model.apply)


def hessian() -> np.ndarray:
    """Returns H = R^T diag(eigenvalues) R, float64[100, 100], of the one random generator."""
    draw = np.random.RandomState(TRAIN)
    eigenvalues = np.concatenate([draw.uniform(0, 1, 90), draw.uniform(30, 60, 10)])
    R = _rotation(draw)
    return R.T @ (eigenvalues[:, None] * R)


def _rotation(draw: np.random.RandomState) -> np.ndarray:
    """Draws R from the Haar measure by the subgroup algorithm (Diaconis & Shahshahani 1987).

    From a rotation of the plane each dimension more is a Householder reflection that carries the
    first axis to a random direction.
    """
    angle = 2 * np.pi * draw.uniform()
    R = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for dim in range(3, DIM + 1):
        v = draw.normal(size=dim)
        axis = np.eye(dim)[0] - v / np.linalg.norm(v)
        axis /= np.linalg.norm(axis)
        wider = np.eye(dim)
        wider[1:, 1:] = R
        R = wider - 2 * np.outer(axis, axis @ wider)
    return -R


def _rows(seed: int) -> np.ndarray:
    return np.random.RandomState(seed).normal(0, NOISE, (1000, DIM)).astype(np.float32)


def _part(start: int, count: int) -> Rows:
    index = np.arange(start, start + count, dtype=np.int32)
    return Rows(index, np.int32(count), np.ones(count, np.float32))
