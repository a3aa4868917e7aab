"""Problems of tables that come with scikit-learn; all inputs are standardized.

Targets of the perceptrons are measured: tuned, most runs reach them, on the wines after a quarter
to a half of the steps, on diabetes after a fifth to two thirds.
"""

from collections.abc import Callable
from typing import Any

import jax

from dljax import datasets, losses
from dljax.models import flat_lecun, linen_model
from dljax.modules import MLP
from dljax.problems.problem import Problem, Target, held_out, standardized
from dljax.tasks import supervised


def breast_cancer_logistic(**_: Any) -> Problem:
    """569 tumours with 30 measurements, 2 classes; logistic regression on standardized inputs."""
    data = datasets.load("breast-cancer")
    split = held_out("breast-cancer-logistic", len(data["y"]), valid=0.2, test=0.2)
    return Problem(
        "breast-cancer-logistic",
        supervised(
            flat_lecun(linen_model(MLP(1))),
            losses.binary_cross_entropy,
            {"accuracy": losses.accuracy},
        ),
        {**data, "x": standardized(data["x"], split.train)},
        split,
        batch_size=32,
        num_steps=500,
        eval_every=50,
        metric="loss",
        goal="min",
        target=Target("valid_loss", 0.10),
        labels="y",
    )


def wine_mlp(**_: Any) -> Problem:
    """178 wines with 13 measurements, 3 classes, smoothed labels; an MLP 13-32-3, standardized."""
    data = datasets.load("wine")
    split = held_out("wine-mlp", len(data["y"]), valid=0.25, test=0.25)
    return Problem(
        "wine-mlp",
        supervised(
            flat_lecun(linen_model(MLP(3, (32,)))),
            _smoothed,
            {"accuracy": losses.accuracy},
            fisher_root=losses.FISHER_ROOTS[losses.cross_entropy],
        ),
        {**data, "x": standardized(data["x"], split.train)},
        split,
        batch_size=16,
        num_steps=120,
        eval_every=6,
        target=Target("valid_loss", 0.36),
        labels="y",
    )


def diabetes_linear(
    *, loss: Callable = losses.squared_error, suffix: str = "", **_: Any
) -> Problem:
    """442 patients with 10 measurements, disease progression; linear regression, standardized."""
    return _diabetes("linear", MLP(1), Target("valid_squared_error", 0.55), loss, suffix)


def diabetes_mlp(**_: Any) -> Problem:
    """442 patients with 10 measurements, disease progression; an MLP 10-64-64-1, standardized."""
    return _diabetes("mlp", MLP(1, (64, 64)), Target("valid_squared_error", 0.55))


def _smoothed(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy, a tenth of each label spread over all classes; Szegedy et al. 2016, section 7.

    The wines can be told apart without an error: with plain labels whatever makes the largest
    logits would be best.
    """
    spread = -jax.nn.log_softmax(logits).mean(axis=1)
    return 0.9 * losses.cross_entropy(logits, labels) + 0.1 * spread


def _diabetes(
    model: str,
    module: MLP,
    target: Target,
    loss: Callable = losses.squared_error,
    suffix: str = "",
) -> Problem:
    data = datasets.load("diabetes")
    split = held_out(f"diabetes-{model}", len(data["y"]), valid=0.2, test=0.2)
    metrics = {"squared_error": losses.squared_error, "absolute_error": losses.absolute_error}
    return Problem(
        f"diabetes-{model}{suffix}",
        supervised(flat_lecun(linen_model(module)), loss, metrics),
        {name: standardized(x, split.train) for name, x in data.items()},
        split,
        batch_size=32,
        num_steps=500,
        eval_every=50,
        target=target,
    )
