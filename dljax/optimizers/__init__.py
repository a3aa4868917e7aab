"""The optimizers, each an `optax.GradientTransformation` written out as its paper writes it."""

from dljax.optimizers import dialects
from dljax.optimizers.adam_variants import adamax, adamw, amsgrad, nadam
from dljax.optimizers.adaptive import adadelta, adagrad, adam, rmsprop
from dljax.optimizers.averaging import ema, lookahead, schedule_free, swa
from dljax.optimizers.eigenbasis import shampoo, soap
from dljax.optimizers.factored import adafactor
from dljax.optimizers.fisher import diagonal_fisher, kfac
from dljax.optimizers.layerwise import lamb, lars
from dljax.optimizers.leafwise import leafwise
from dljax.optimizers.matrix import muon
from dljax.optimizers.momentum import momentum, nag, sgd
from dljax.optimizers.regularization import (
    by_path,
    coupled_l2,
    decoupled_weight_decay,
    gradient_noise,
    proximal_l1,
    weight_noise,
)
from dljax.optimizers.second_order import gauss_newton, natural_gradient, newton, newton_cg
from dljax.optimizers.sharpness import sam, sam_alternating, sam_gradient
from dljax.optimizers.signs import lion, signum
from dljax.optimizers.states import eval_params, gradient_equivalents, operations
from dljax.optimizers.variance import adabelief, radam

__all__ = [
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "amsgrad",
    "by_path",
    "coupled_l2",
    "decoupled_weight_decay",
    "diagonal_fisher",
    "dialects",
    "ema",
    "eval_params",
    "gauss_newton",
    "gradient_equivalents",
    "gradient_noise",
    "kfac",
    "lamb",
    "lars",
    "leafwise",
    "lion",
    "lookahead",
    "momentum",
    "muon",
    "nadam",
    "nag",
    "natural_gradient",
    "newton",
    "newton_cg",
    "operations",
    "proximal_l1",
    "radam",
    "rmsprop",
    "sam",
    "sam_alternating",
    "sam_gradient",
    "schedule_free",
    "sgd",
    "shampoo",
    "signum",
    "soap",
    "swa",
    "weight_noise",
]
