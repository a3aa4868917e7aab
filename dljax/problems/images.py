"""Problems of images: digits that come with scikit-learn, and the MNIST families from files.

Targets of the CNN, the LSTM and the autoencoder are measured: tuned, most runs of adam and of sgd
reach them, adam's after a fifth to a half of the steps, sgd's after two fifths to nine tenths.
"""

from typing import Any

import jax.numpy as jnp

from dljax import datasets, deepobs, splits
from dljax.models import flat_lecun, linen_model
from dljax.modules import CNN, MLP, LSTMClassifier
from dljax.problems.problem import Problem, Target, classification, held_out
from dljax.tasks import supervised

DIGITS_SCALE, MNIST_SCALE = 16.0, 255.0  # largest pixels
LIGHTER = {"batch_size": 32, "parts": ("valid", "test")}  # a minute or two for seven optimizers


def digits_mlp(**_: Any) -> Problem:
    """1,797 handwritten digits of 8 x 8 pixels, 10 classes; an MLP 64-128-128-10."""
    return _digits("mlp", MLP(10, (128, 128)), 0.95)


def digits_cnn(**_: Any) -> Problem:
    """1,797 handwritten digits of 8 x 8 pixels, 10 classes; a CNN of 8 and 16 channels."""
    return _digits("cnn", CNN(10, (8, 16), hidden=32), 0.94)._replace(**LIGHTER)


def digits_lstm(**_: Any) -> Problem:
    """1,797 handwritten digits read row by row, 10 classes; an LSTM of 32 units."""
    return _digits("lstm", LSTMClassifier(10, hidden=32), 0.95)._replace(**LIGHTER)


def digits_autoencoder(**_: Any) -> Problem:
    """1,797 handwritten digits of 8 x 8 pixels, to be told by 8 numbers; an MLP 64-64-8-64-64."""
    data = datasets.load("digits")
    pixels = data["x"] / DIGITS_SCALE
    return Problem(
        "digits-autoencoder",
        supervised(
            flat_lecun(linen_model(MLP(64, (64, 8, 64)))),
            lambda outputs, pixels: ((outputs - pixels) ** 2).mean(axis=1),
            fisher_root=lambda outputs, z: jnp.sqrt(2 / outputs.shape[1]).astype(z.dtype) * z,
        ),
        {"x": pixels, "y": pixels},
        held_out("digits-autoencoder", len(pixels), valid=0.2, test=0.2),
        batch_size=64,
        num_steps=400,
        eval_every=40,
        target=Target("valid_loss", 0.045),
    )


def mnist_mlp(**where: Any) -> Problem:
    """70,000 handwritten digits of 28 x 28 pixels, 10 classes; an MLP 784-128-128-10."""
    return _idx_images("mnist", "mlp", MLP(10, (128, 128)), 0.95, **where)


def fashion_mnist_cnn(**where: Any) -> Problem:
    """70,000 pictures of clothes of 28 x 28 pixels, 10 classes; a CNN of two convolutions."""
    return _idx_images("fashion-mnist", "cnn", CNN(10), 0.80, **where)


def fmnist_2c2d(**where: Any) -> Problem:
    """69,984 pictures of clothes, 10 classes; DeepOBS's P3, a CNN of 3.3 million parameters."""
    return Problem(
        "fmnist-2c2d",
        *deepobs.fmnist_2c2d(valid=1 / 6, **where),
        batch_size=128,
        num_steps=39_000,  # 100 epochs of 390 steps
        eval_every=390,
        metric="accuracy",
        goal="max",
        target=Target("valid_accuracy", 0.91981),  # as published, there of test rows
        labels="y",
        parts=("valid", "test"),
        remainder="drop",
    )


def _digits(model: str, module: Any, target: float) -> Problem:
    data = datasets.load("digits")

    def pixels(batch):
        return batch["x"].reshape(-1, 8, 8) / jnp.float32(DIGITS_SCALE)

    return Problem(
        f"digits-{model}",
        classification(module, pixels),
        data,
        held_out(f"digits-{model}", len(data["y"]), valid=0.2, test=0.2),
        batch_size=64,
        num_steps=400,
        eval_every=40,
        metric="accuracy",
        goal="max",
        target=Target("valid_accuracy", target),
        labels="y",
    )


def _idx_images(name: str, model: str, module: Any, target: float, **where: Any) -> Problem:
    data = datasets.load(name, **where)
    num_test = datasets.DATASETS[name].num_test
    num_train = len(data["y"]) - num_test
    split = held_out(f"{name}-{model}", num_train, valid=1 / 6)
    test = splits.all_rows(num_test)

    def pixels(batch):
        return batch["x"] / jnp.float32(MNIST_SCALE)

    return Problem(
        f"{name}-{model}",
        classification(module, pixels),
        data,
        split._replace(test=test._replace(index=test.index + num_train)),
        batch_size=128,
        num_steps=300,
        eval_every=100,
        metric="accuracy",
        goal="max",
        target=Target("valid_accuracy", target),
        labels="y",
        parts=("valid", "test"),
    )
