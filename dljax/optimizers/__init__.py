"""The optimizers, each an `optax.GradientTransformation` written out as its paper writes it."""

from dljax.optimizers.adaptive import adadelta, adagrad, adam, rmsprop
from dljax.optimizers.leafwise import eval_params, leafwise
from dljax.optimizers.momentum import momentum, nag, sgd

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "eval_params",
    "leafwise",
    "momentum",
    "nag",
    "rmsprop",
    "sgd",
]
