"""Problems to compare optimizers on: a task, its data, its split and what is reported."""

from collections.abc import Callable
from functools import partial

from dljax import losses
from dljax.errors import unknown
from dljax.functions import FUNCTIONS
from dljax.problems.formulas import analytic, quadratic_deep
from dljax.problems.images import (
    digits_autoencoder,
    digits_cnn,
    digits_lstm,
    digits_mlp,
    fashion_mnist_cnn,
    fmnist_2c2d,
    mnist_mlp,
)
from dljax.problems.problem import Problem, Target
from dljax.problems.tables import (
    breast_cancer_logistic,
    diabetes_linear,
    diabetes_mlp,
    wine_mlp,
)

__all__ = ["FUNCTIONS", "PROBLEMS", "SUITES", "Problem", "Target", "load", "suite", "summary"]

PROBLEMS: dict[str, Callable[..., Problem]] = {
    "digits-mlp": digits_mlp,
    "digits-cnn": digits_cnn,
    "digits-lstm": digits_lstm,
    "digits-autoencoder": digits_autoencoder,
    "mnist-mlp": mnist_mlp,
    "fashion-mnist-cnn": fashion_mnist_cnn,
    "fmnist-2c2d": fmnist_2c2d,
    "breast-cancer-logistic": breast_cancer_logistic,
    "wine-mlp": wine_mlp,
    "diabetes-linear": diabetes_linear,
    "diabetes-linear-huber": partial(diabetes_linear, loss=losses.huber, suffix="-huber"),
    "diabetes-mlp": diabetes_mlp,
    "quadratic-deep": quadratic_deep,
    **{f.name: partial(analytic, f) for f in FUNCTIONS},
}

SUITES: dict[str, tuple[str, ...]] = {
    # eight real problems from data that come with scikit-learn, minutes on a CPU in all
    "small": (
        "digits-mlp",
        "digits-cnn",
        "digits-lstm",
        "digits-autoencoder",
        "breast-cancer-logistic",
        "wine-mlp",
        "diabetes-linear",
        "diabetes-mlp",
    ),
    "analytic": ("quadratic", "rosenbrock", "beale", "rastrigin", "quadratic-deep"),
    # like DeepOBS's, made for a GPU
    "paper": ("quadratic-deep", "fmnist-2c2d", "mnist-mlp", "fashion-mnist-cnn"),
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


def suite(name: str, **where: str | bool | None) -> list[Problem]:
    """Builds the problems of a suite.

    Args:
      name: One of `SUITES`.
      **where: `data_dir` and `download`, as `load` takes them.

    Raises:
      ValueError: If the name is not known; the nearest one is offered.
      DataError: If a data file is missing or damaged.
    """
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return [load(problem, **where) for problem in SUITES[name]]


def summary(name: str) -> str:
    """Describes a problem in a line."""
    factory = PROBLEMS[name]
    arguments = getattr(factory, "args", ())
    described = arguments[0].value if arguments else getattr(factory, "func", factory)
    return (described.__doc__ or "").splitlines()[0]
