"""The table of optimizers for the tests of the contract, and its exceptions, each with a reason."""

import functools

from dljax import contract

PROPERTIES = {prop.__name__: prop for prop in contract.PROPERTIES}
WRAPPERS = [prop.__name__ for prop in contract.WRAPPERS]

# K-FAC takes the layers of a model: its tests prove it on models.
NAMES = [name for name in contract.builtin() if name != "kfac"]

# Loops and branches inside the update: minutes.
HEAVY = {"newton", "newton_cg", "gauss_newton", "natural_gradient", "shampoo", "soap"}

# One of each kind is put to everything at every change, the others to what differs most; all of it
# is in `slow`.
TELLING = {"one_trace", "stable_types", "traced_numbers", "bfloat16", "float16", "mixed_dtypes"}
TELLING |= {"none_leaves", "wrong_trees", "extra_arguments", "donation"}
DISTINCT = {"nag", "adadelta", "adam", "lamb", "adafactor", "muon", "ema", "schedule_free"}

NO_RATE = "it has no learning rate"
NEEDS_EXTRAS = "its extra arguments are functions of all parameters, or not passed on"
ALL_AT_ONCE = "a norm, or a random draw, joins the leaves"
SECOND_ORDER = ("newton", "newton_cg", "gauss_newton", "natural_gradient", "diagonal_fisher")
STARVING = ("partition", "masked", "lookahead", "flatten", "train_state")
DOES_NOT_APPLY = {
    **{
        (name, prop): NO_RATE
        for name in ("adadelta", "coupled_l2", "gradient_noise")
        for prop in ("learning_rate_kinds", "schedules")
    },
    **{(name, prop): NEEDS_EXTRAS for name in (*SECOND_ORDER, "sam") for prop in STARVING},
    **{(name, "none_gradients"): "products are of whole trees" for name in SECOND_ORDER},
    **{(name, "complex_parameters"): "refused" for name in SECOND_ORDER[:4]},
    **{
        (name, "leaf_by_leaf"): ALL_AT_ONCE
        for name in ("gradient_noise", "newton_cg", "natural_gradient", "sam", "sam_alternating")
    },
    ("weight_noise", "leaf_by_leaf"): ALL_AT_ONCE,
}

LOOP = "a loop that ends when it has converged has no derivative backward"
FAILS = {
    **{
        (name, prop): LOOP
        for name in SECOND_ORDER[:4]
        for prop in ("finite_hypergradients", "exact_hypergradients")
    },
    **{(name, "sharding"): "all parameters are one vector inside" for name in SECOND_ORDER[:4]},
    # the first gradient is diagonal in its own eigenbasis: beside the diagonal stands rounding,
    # which is divided by its own size
    ("soap", "vmapped_numbers"): "its first update holds rounding in float32",
    ("soap", "inject_hyperparams"): "its first update holds rounding in float32",
}


def expected(name, prop, dtype="float32"):
    """What a property finds: `True`, `False`, or `None` where it does not apply."""
    if prop == "flatten" and dtype == "mixed":
        return None  # one array of one dtype
    if (name, prop) in DOES_NOT_APPLY:
        return None
    return (name, prop) not in FAILS


@functools.cache  # so that what an optimizer compiles serves all of its tests
def subject_of(name):
    return contract.subject_of(contract.builtin()[name], name)


def put_to(name, prop, dtype="float32"):
    return contract.find(PROPERTIES[prop], subject_of(name)._replace(dtype=dtype))
