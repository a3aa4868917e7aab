"""What the benchmarks train: five small nets, the data they see, and how one run is written."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_diabetes, load_wine

import dljax as dj

LEARNING_RATE = 1e-3


class Workload(NamedTuple):
    """One kind of member; all train with Adam and evaluate on the last fifth of the rows, once.

    Attributes:
      about: Sizes, in a line.
      net: A linen module in dljax's form, which is fast inside compiled loops.
      usual: The same net of flax's own layers.
      sizes: Widths of all layers where the net is a plain perceptron; `None` elsewhere.
      x: Inputs, float32[N, ...].
      y: Labels, int32[N], or targets, float32[N].
      batch_size: Rows of a step.
      num_steps: Steps of a run.
    """

    about: str
    net: nn.Module
    usual: nn.Module
    sizes: tuple[int, ...] | None
    x: np.ndarray
    y: np.ndarray
    batch_size: int
    num_steps: int


class UsualCNN(nn.Module):
    """`dj.modules.CNN` of flax's own layers."""

    @nn.compact
    def __call__(self, x):
        x = x[..., None]
        for features in (8, 16):
            x = nn.max_pool(nn.relu(nn.Conv(features, (3, 3))(x)), (2, 2), (2, 2))
        return nn.Dense(10)(nn.relu(nn.Dense(64)(x.reshape(x.shape[0], -1))))


class UsualLSTM(nn.Module):
    """A recurrent layer of flax and a linear layer on its last output."""

    @nn.compact
    def __call__(self, x):
        h = nn.RNN(nn.OptimizedLSTMCell(32, name="cell"), name="layer")(x)
        return nn.Dense(10, name="outputs")(h[:, -1])


def mlp() -> Workload:
    """The perceptron of `dj.problems`."""
    data = dj.datasets.load("digits")
    x = np.asarray(data["x"], np.float32).reshape(-1, 64) / 16
    about = "MLP 64-128-128-10 on 1,797 digits, batch 64"
    return _perceptron(about, (64, 128, 128, 10), x, data["y"], 64, 300)


def cnn() -> Workload:
    """Images as large as those of Fashion-MNIST, but of noise."""
    x, y = _noise(28, 28)
    about = "two 3 x 3 convolutions of 8 and 16 channels, 64 units, on 28 x 28, batch 64"
    return Workload(about, dj.modules.CNN(10), UsualCNN(), None, x, y, 64, 30)


def lstm() -> Workload:
    """Sequences of noise."""
    x, y = _noise(64, 8)
    about = "LSTM of 32 units over 64 steps of 8 numbers, batch 32"
    return Workload(about, UsualLSTM(), UsualLSTM(), None, x, y, 32, 30)


def tiny() -> Workload:
    """A net whose step is mostly overhead."""
    wine = load_wine()
    order = np.random.default_rng(0).permutation(len(wine.target))
    x = ((wine.data - wine.data.mean(0)) / wine.data.std(0)).astype(np.float32)
    y = wine.target.astype(np.int32)
    about = "MLP 13-32-3 on 178 wines, batch 32"
    return _perceptron(about, (13, 32, 3), x[order], y[order], 32, 1000)


def uci() -> Workload:
    """One of the regressions, with 50 hidden units, that Bayesian nets are compared on."""
    data = load_diabetes()
    x = (data.data / data.data.std(0)).astype(np.float32)
    y = ((data.target - data.target.mean()) / data.target.std()).astype(np.float32)
    about = "MLP 10-50-1 on 442 diabetes patients, regression, batch 32"
    return _perceptron(about, (10, 50, 1), x, y, 32, 500)


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "mlp": mlp,
    "cnn": cnn,
    "lstm": lstm,
    "tiny": tiny,
    "uci": uci,
}


def task(workload: Workload, net: nn.Module) -> dj.Task:
    """What a net of the workload learns."""
    classes = workload.y.dtype.kind == "i"
    loss = dj.losses.cross_entropy if classes else dj.losses.squared_error
    return dj.supervised(dj.linen_model(net), loss)


def study_member(workload: Workload) -> tuple[Callable, tuple]:
    """The workload as one writes it for `dj.study`: the member, and what it shares.

    The member returns its loss on the last fifth of the rows.
    """
    count = num_train(workload)
    rows = [np.arange(count), np.arange(count, len(workload.y))]
    tables = [dj.Rows(jnp.asarray(r, jnp.int32), jnp.int32(len(r)), jnp.ones(len(r))) for r in rows]
    learnt, data = task(workload, workload.net), {"x": workload.x, "y": workload.y}

    def member(data, split, *, seed):
        adam = dj.optimizers.adam(LEARNING_RATE)
        fit = dj.trainer(
            learnt, adam, data, split, batch_size=workload.batch_size, parts=("valid",)
        )
        state = fit.init(dj.stream(jax.random.key(0), "member", seed))
        return dj.run(fit, state, num_steps=workload.num_steps)[1]["valid_loss"][-1]

    return member, (data, dj.Split(*tables))


def num_train(workload: Workload) -> int:
    """Rows that train: all but the last fifth."""
    return len(workload.y) - len(workload.y) // 5


def _perceptron(about, sizes, x, y, batch_size, num_steps) -> Workload:
    net = dj.modules.MLP(sizes[-1], sizes[1:-1])
    return Workload(about, net, net, sizes, x, np.asarray(y), batch_size, num_steps)


def _noise(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((2048, *shape), np.float32)
    return x, draw.integers(0, 10, len(x)).astype(np.int32)
