"""optax's own tests, from the installed package, with our optimizers in the place of its own.

Of each of optax's test modules the source is read, its table of optimizers is replaced, and the
test cases that come out are run.
"""

import ast
import re
import types
import unittest
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

import dljax as dj
from dljax import contract

o = dj.optimizers


def fading(rate):
    """A step of fixed length never settles: these rates fall to 0 with optax's 10,000 steps."""
    return lambda count: rate * (1 - jnp.minimum(count, 9999) / 10000)


# Rates at which each is to solve optax's problems, within the steps that optax allows.
OPTIMIZERS = {
    "sgd": (o.sgd, {"learning_rate": 1e-3}),
    "momentum": (o.momentum, {"learning_rate": 1e-3}),
    "nag": (o.nag, {"learning_rate": 2e-4}),
    "adagrad": (o.adagrad, {"learning_rate": 1.0}),
    "adadelta": (o.adadelta, {"eps": 1e-4}),
    "rmsprop": (o.rmsprop, {"learning_rate": 5e-3}),
    "adam": (o.adam, {"learning_rate": 1e-1}),
    "adamw": (o.adamw, {"learning_rate": 1e-1, "weight_decay": 1e-4}),
    "amsgrad": (o.amsgrad, {"learning_rate": 1e-1}),
    "nadam": (o.nadam, {"learning_rate": 1e-2}),
    "adamax": (o.adamax, {"learning_rate": 1e-1}),
    "adabelief": (o.adabelief, {"learning_rate": 1e-2}),
    "radam": (o.radam, {"learning_rate": 5e-3}),
    "lion": (o.lion, {"learning_rate": fading(1e-2), "weight_decay": 1e-4}),
    "signum": (o.signum, {"learning_rate": fading(1e-2)}),
    "lars": (o.lars, {"learning_rate": 1.0}),
    "lamb": (o.lamb, {"learning_rate": 1e-3, "weight_decay": 0.0}),
    "adafactor": (o.adafactor, {"learning_rate": 5e-3}),
    "muon": (
        lambda learning_rate: o.muon(learning_rate, weight_decay=0.0),
        {"learning_rate": fading(1.0)},
    ),
    "shampoo": (lambda learning_rate: o.shampoo(learning_rate), {"learning_rate": 3e-1}),
    "soap": (lambda learning_rate: o.soap(learning_rate), {"learning_rate": 1e-2}),
    "ema": (o.ema, {"optimizer": o.momentum(1e-3)}),
    "lookahead": (o.lookahead, {"optimizer": o.momentum(1e-3)}),
    "swa": (o.swa, {"optimizer": o.momentum(1e-3), "start": 9000}),
    "sam_alternating": (o.sam_alternating, {"optimizer": o.momentum(1e-3), "rho": 1e-3}),
    "schedule_free": (
        lambda learning_rate: o.schedule_free(o.sgd, learning_rate),
        {"learning_rate": 1e-2},
    ),
}


# optax's alias, sharding and float64 tests; of its contributed optimizers' tests those that differ.
METHODS = {
    "test_optimization": "alias",
    "test_optimizers_accept_extra_args": "alias",
    "test_optimizers_can_be_wrapped_in_inject_hyperparams": "alias",
    "test_preserve_dtype": "alias",
    "test_state_shape_dtype_shard_stability": "alias",
    "test_gradient_accumulation": "alias",
    "test_optimizers": "contrib",
    "test_optimizers_accept_learning_rate_schedule_if_type_annotated_as_such": "contrib",
    "test_init_with_abstract_input": "sharding",
    "test_state_sharding_type_init_match_update": "sharding",
    "test_state_sharding_type_preserved_with_jit": "sharding",
    "test_mixed_dtype_input_outputs": "float64",
}
NOT_OURS = {
    "test_explicit_dtype": "our statistics have no dtype to choose: float32 at least",
    "test_microbatch_with_explicit_sharding": "it is of no optimizer",
}
NEEDS_EXTRA_ARGUMENTS = {"newton", "newton_cg", "gauss_newton", "natural_gradient", "kfac", "sam"}
NEEDS_EXTRA_ARGUMENTS |= {"diagonal_fisher"}
PARTS = {"coupled_l2", "decoupled_weight_decay", "gradient_noise", "proximal_l1", "weight_noise"}

# What fails: (optimizer, what is in the name of the test case, why).
SLOW_DESCENT = "too slow in 10,000 steps along Rosenbrock's valley"
AMBIGUOUS = "with explicit axes a contraction must be told how its result is sharded"
EXCEPTIONS = (
    ("sgd", "test_optimization.*_setup_rosenbrock.*complex", SLOW_DESCENT),
    ("adadelta", "_setup_rosenbrock", SLOW_DESCENT),
    ("muon", "test_optimization.*_setup_rosenbrock.*complex", "[2, n] is a matrix to Muon"),
    ("adafactor", "test_state_sharding_type_init_match_update", "its factors start replicated"),
    ("shampoo", "test_state_sharding_type", AMBIGUOUS),
    ("soap", "test_state_sharding_type", AMBIGUOUS),
    *(
        (name, "test_init_with_abstract_input", "its state starts from a copy of the parameters")
        for name in ("ema", "swa", "lookahead", "schedule_free", "sam_alternating")
    ),
)


class OurModule(ast.NodeTransformer):
    """An optax test module for the devices there are and the versions installed."""

    def visit_Call(self, node):
        self.generic_visit(node)
        if ast.unparse(node.func) == "jax.make_mesh":
            node.args[0] = ast.Tuple([ast.Constant(2)], ast.Load())
        return node

    def visit_If(self, node):
        # '0.10.2' < '0.7.2' as text, so the tests would be skipped
        return None if "jax.__version__" in ast.unparse(node.test) else self.generic_visit(node)

    def visit_Assign(self, node):
        # XLA_FLAGS, too late
        flags = ast.unparse(node.targets[0]).startswith("os.environ")
        return None if flags else self.generic_visit(node)


def module(path, tables, **names):
    """Executes an optax test module with other values for its tables and for names it looks up."""
    tree = OurModule().visit(ast.parse((Path(optax.__file__).parent / path).read_text()))
    last = {s.targets[0].id: s for s in tree.body if isinstance(s, ast.Assign)}
    for table in tables:
        last[table].value = ast.Name(f"our_{table}", ast.Load())
    found = types.ModuleType(f"our_{Path(path).stem}")
    vars(found).update({f"our_{table}": value for table, value in tables.items()})
    exec(compile(ast.fix_missing_locations(tree), path, "exec"), vars(found))
    vars(found).update(names)
    return found


def test_cases(kind, factory, arguments):
    """The class of optax's test cases, with one optimizer in its table."""
    ours = types.SimpleNamespace(ours=factory)
    entry = {"opt_name": "ours", "opt_kwargs": arguments}
    if kind == "alias":
        tables = {"_OPTIMIZERS_UNDER_TEST": (entry,)}
        return module("_src/alias_test.py", tables, alias=ours).AliasTest
    if kind == "contrib":
        table = ({**entry, "wrapper_name": None, "wrapper_kwargs": None},)
        tables = {"_MAIN_OPTIMIZERS_UNDER_TEST": table, "_ALL_OPTIMIZERS_UNDER_TEST": table}
        return module("contrib/_common_test.py", tables, contrib=ours).ContribTest
    if kind == "sharding":
        tables = {"OPTIMIZERS": {"_ours": factory(**arguments)}}
        return module("_src/sharding_test.py", tables).ShardingTest
    tables = {"ALL_MODULES": [("_ours", factory, arguments)]}
    return module("_src/float64_test.py", tables).Float64Test


test_cases.__test__ = False
QUICK = ("test_preserve_dtype", "test_mixed_dtype_input_outputs", "test_init_with_abstract_input")
DISTINCT = ("nag",)
CASES = [
    pytest.param(
        name,
        method,
        id=f"{name}-{method}",
        marks=[] if method in QUICK or name in DISTINCT else [pytest.mark.slow],
    )
    for name in OPTIMIZERS
    for method in METHODS
]


def is_exception(name, case):
    return any(name == other and re.search(test, str(case)) for other, test, _ in EXCEPTIONS)


def run(name, method):
    """Runs optax's cases of one test, those that are to pass and the exceptions: two results."""
    cases = test_cases(METHODS[method], *OPTIMIZERS[name])
    names = unittest.TestLoader().getTestCaseNames(cases)
    chosen = [cases(name) for name in names if re.fullmatch(rf"{method}(\d*|_ours)", name)]
    assert chosen
    results = unittest.TestResult(), unittest.TestResult()
    for case in chosen:
        case.run(results[is_exception(name, case)])
    return results


@pytest.fixture
def restored():
    """The float64 tests leave jax as they set it where they fail."""
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("name", "method"), CASES)
def test_optax_own_test_passes_with_ours_but_for_the_listed_exceptions(name, method):
    passing, failing = run(name, method)
    for case, error in passing.failures + passing.errors:
        pytest.fail(f"{case}: {error}")
    for case, reason in passing.skipped:
        assert reason == "Optimizer doesn't accept a learning schedule.", case
    failed = {case.id() for case, _ in failing.failures + failing.errors}
    assert len(failed) == failing.testsRun, "a listed exception passes"


def test_every_test_of_optax_and_every_optimizer_of_ours_has_its_place():
    methods = set()
    for kind in ("alias", "contrib", "sharding", "float64"):
        cases = test_cases(kind, *OPTIMIZERS["sgd"])
        names = unittest.TestLoader().getTestCaseNames(cases)
        methods |= {re.sub(r"(\d+|_ours|_replicated|_sharded)$", "", name) for name in names}
    assert methods == {*METHODS, *NOT_OURS}
    assert set(contract.builtin()) == {*OPTIMIZERS, *NEEDS_EXTRA_ARGUMENTS, *PARTS}
    assert {name for name, _, _ in EXCEPTIONS} <= set(OPTIMIZERS)
