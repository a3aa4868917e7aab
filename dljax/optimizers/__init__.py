"""The optimizers, each an `optax.GradientTransformation` written out as its paper writes it."""

from dljax.optimizers.adaptive import adadelta, adagrad, adam, rmsprop
from dljax.optimizers.leafwise import leafwise
from dljax.optimizers.momentum import momentum, nag, sgd
from dljax.optimizers.states import eval_params, gradient_equivalents

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "eval_params",
    "gradient_equivalents",
    "leafwise",
    "momentum",
    "nag",
    "rmsprop",
    "sgd",
]
