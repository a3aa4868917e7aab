"""Problems to compare optimizers on: a task, its data, its split and what is reported."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dljax import datasets, deepobs, losses, splits
from dljax.errors import unknown
from dljax.functions import FUNCTIONS, Function
from dljax.keys import stream
from dljax.models import flat_lecun, linen_model
from dljax.modules import CNN, MLP
from dljax.splits import Rows, Split
from dljax.tasks import Task, supervised
from dljax.types import Batch, Data


class Target(NamedTuple):
    """A measure of the history and the value that counts as reached.

    Attributes:
      metric: Name of the measure, such as "valid_accuracy".
      value: The value.
      goal: "max" if `value` or more reaches it, "min" if `value` or less does; `None` takes "max"
        for an accuracy and "min" for anything else.
    """

    metric: str
    value: float
    goal: str | None = None


class Problem(NamedTuple):
    """All that a comparison needs to know.

    Attributes:
      name: What the problem is called.
      task: What is learnt.
      data: Arrays [N, ...], or `data(key) -> batch`.
      split: Training, validation and test rows; `None` where batches are drawn.
      batch_size: Rows of a step; `None` is full batch.
      num_steps: Steps of a run.
      eval_every: Steps between evaluations; it divides `num_steps`.
      metric: Measure of the task by which arguments are chosen.
      goal: "max" or "min" of the metric.
      target: For steps-to-target; `None` where none is stated.
      labels: Name of the array of class labels in `data`, if there is one.
      parts: Parts that are evaluated; "train" costs most.
      order: Order of the rows, and `remainder` of the last ones, as of `dj.trainer`.
    """

    name: str
    task: Task
    data: Data | Callable[[jax.Array], Batch]
    split: Split | None = None
    batch_size: int | None = None
    num_steps: int = 500
    eval_every: int = 50
    metric: str = "loss"
    goal: str = "min"
    target: Target | None = None
    labels: str | None = None
    parts: tuple[str, ...] = ("train", "valid", "test")
    order: str = "reshuffle"
    remainder: str = "keep"


def digits_mlp(**_: Any) -> Problem:
    """1,797 handwritten digits of 8 x 8 pixels, 10 classes; an MLP 64-128-128-10."""
    data = datasets.load("digits")
    return Problem(
        "digits-mlp",
        _classification(MLP(10, (128, 128)), scale=16.0),
        data,
        _holdout("digits-mlp", len(data["y"]), valid=0.2, test=0.2),
        batch_size=64,
        num_steps=400,
        eval_every=40,
        metric="accuracy",
        goal="max",
        target=Target("valid_accuracy", 0.95),
        labels="y",
    )


def mnist_mlp(**where: Any) -> Problem:
    """70,000 handwritten digits of 28 x 28 pixels, 10 classes; an MLP 784-128-128-10."""
    return _idx_images("mnist", "mlp", MLP(10, (128, 128)), 0.95, **where)


def fashion_mnist_cnn(**where: Any) -> Problem:
    """70,000 pictures of clothes of 28 x 28 pixels, 10 classes; a CNN of two convolutions."""
    return _idx_images("fashion-mnist", "cnn", CNN(10), 0.80, **where)


def breast_cancer_logistic(**_: Any) -> Problem:
    """569 tumours with 30 measurements, 2 classes; logistic regression on standardized inputs."""
    data = datasets.load("breast-cancer")
    split = _holdout("breast-cancer-logistic", len(data["y"]), valid=0.2, test=0.2)
    return Problem(
        "breast-cancer-logistic",
        supervised(
            flat_lecun(linen_model(MLP(1))),
            losses.binary_cross_entropy,
            {"accuracy": losses.accuracy},
        ),
        {**data, "x": _standardized(data["x"], split.train)},
        split,
        batch_size=32,
        num_steps=500,
        eval_every=50,
        metric="loss",
        goal="min",
        target=Target("valid_loss", 0.10),
        labels="y",
    )


def diabetes_linear(
    *, loss: Callable = losses.squared_error, suffix: str = "", **_: Any
) -> Problem:
    """442 patients with 10 measurements, disease progression; linear regression, standardized."""
    data = datasets.load("diabetes")
    split = _holdout("diabetes-linear", len(data["y"]), valid=0.2, test=0.2)
    metrics = {"squared_error": losses.squared_error, "absolute_error": losses.absolute_error}
    return Problem(
        f"diabetes-linear{suffix}",
        supervised(flat_lecun(linen_model(MLP(1))), loss, metrics),
        {name: _standardized(x, split.train) for name, x in data.items()},
        split,
        batch_size=32,
        num_steps=500,
        eval_every=50,
        target=Target("valid_squared_error", 0.55),
    )


def quadratic_deep(**_: Any) -> Problem:
    """A noisy quadratic in 100 dimensions, 10 of them steep; DeepOBS's P1, rebuilt."""
    return Problem(
        "quadratic-deep",
        *deepobs.quadratic_deep(),
        batch_size=128,
        num_steps=700,
        eval_every=70,
        target=Target("valid_loss", 87.703),
        parts=("valid", "test"),
        remainder="drop",
    )


def analytic(function: Function, **_: Any) -> Problem:
    """A function of few variables with a known minimum, from a random start near the usual one."""

    def init(key, batch):
        start = jnp.asarray(function.start)
        return {"params": {"w": start + function.spread * jax.random.normal(key, start.shape)}}

    def predict(variables, batch, **_):
        return variables["params"]["w"], variables

    def loss(w, batch):
        return function.value(w)[None]

    def measure(w, batch):
        to_minimum = jnp.linalg.norm(w - jnp.asarray(function.minimum))
        return {"loss": loss(w, batch), "distance": to_minimum[None]}

    return Problem(
        function.name,
        Task(init, predict, loss, measure),
        lambda key: {},
        num_steps=500,
        eval_every=10,
        target=Target("valid_loss", function.target),
        parts=("valid", "test"),
    )


PROBLEMS: dict[str, Callable[..., Problem]] = {
    "digits-mlp": digits_mlp,
    "mnist-mlp": mnist_mlp,
    "fashion-mnist-cnn": fashion_mnist_cnn,
    "breast-cancer-logistic": breast_cancer_logistic,
    "diabetes-linear": diabetes_linear,
    "quadratic-deep": quadratic_deep,
    "diabetes-linear-huber": partial(diabetes_linear, loss=losses.huber, suffix="-huber"),
    **{f.name: partial(analytic, f) for f in FUNCTIONS},
}


def load(name: str, *, data_dir: str | None = None, download: bool = False) -> Problem:
    """Builds a problem by name.

    Args:
      name: One of `PROBLEMS`.
      data_dir: Folder of the data sets that are not bundled; see `dj.datasets.load`.
      download: Whether missing files may be fetched.

    Raises:
      ValueError: If the name is not known; the nearest one is offered.
      DataError: If a data file is missing or damaged.
    """
    if name not in PROBLEMS:
        raise unknown("problem", name, PROBLEMS)
    return PROBLEMS[name](data_dir=data_dir, download=download)


def summary(name: str) -> str:
    """Describes a problem in a line."""
    factory = PROBLEMS[name]
    arguments = getattr(factory, "args", ())
    described = arguments[0].value if arguments else getattr(factory, "func", factory)
    return (described.__doc__ or "").splitlines()[0]


def _idx_images(name: str, model: str, module: Any, target: float, **where: Any) -> Problem:
    data = datasets.load(name, **where)
    num_test = datasets.DATASETS[name].num_test
    num_train = len(data["y"]) - num_test
    split = _holdout(f"{name}-{model}", num_train, valid=1 / 6)
    test = splits.all_rows(num_test)
    return Problem(
        f"{name}-{model}",
        _classification(module, scale=255.0),
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


def _classification(module: Any, scale: float) -> Task:
    return supervised(
        flat_lecun(linen_model(module)),
        losses.cross_entropy,
        {"accuracy": losses.accuracy},
        inputs=lambda batch: batch["x"] / jnp.float32(scale),
    )


def _split_key(name: str) -> jax.Array:
    return stream(jax.random.key(0), "split of " + name)


def _holdout(name: str, num_rows: int, **fractions: float) -> Split:
    # one program instead of forty small ones; the rows are passed, or XLA sorts constants for long
    draw = jax.jit(partial(splits.holdout, **fractions))
    return draw(_split_key(name), splits.all_rows(num_rows))


def _standardized(x: np.ndarray, train: Rows) -> np.ndarray:
    """Moves and scales to mean 0 and variance 1 over the training rows alone."""
    rows = x[np.asarray(train.index)[: int(train.count)]]
    return ((x - rows.mean(axis=0)) / rows.std(axis=0)).astype(np.float32)
