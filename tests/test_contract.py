"""Every optimizer keeps the contract, and the contract notices one that does not."""

import itertools

import optax
import pytest
from broken import BROKEN
from contracts import (
    DISTINCT,
    DOES_NOT_APPLY,
    FAILS,
    HEAVY,
    NAMES,
    PROPERTIES,
    TELLING,
    WRAPPERS,
    expected,
    put_to,
)

import dljax as dj
from dljax import contract

ONLY_TRACED = {"one_trace", "stable_types", "traced_numbers"}


def is_slow(name, prop):
    if name in HEAVY:
        return prop not in ONLY_TRACED
    return prop not in (TELLING if name in DISTINCT else ONLY_TRACED)


CASES = [
    pytest.param(
        name, prop, id=f"{name}-{prop}", marks=[pytest.mark.slow] if is_slow(name, prop) else []
    )
    for name, prop in itertools.product(NAMES, PROPERTIES)
    if prop not in WRAPPERS
]


@pytest.mark.parametrize(("name", "prop"), CASES)
def test_an_optimizer_keeps_the_contract_but_for_the_listed_exceptions(name, prop):
    finding = put_to(name, prop)
    assert finding.holds is expected(name, prop), finding.line


def test_every_public_optimizer_is_put_to_the_contract():
    factories = {n for n in dj.optimizers.__all__ if callable(getattr(dj.optimizers, n))}
    readings = {"eval_params", "gradient_equivalents", "operations"}
    no_optimizers = {"by_path", "leafwise", "sam_gradient"} | readings
    assert factories - no_optimizers == {*NAMES, "kfac"}
    assert set(FAILS) | set(DOES_NOT_APPLY) <= set(itertools.product(NAMES, PROPERTIES))


@pytest.mark.parametrize("prop", BROKEN)
def test_a_property_notices_an_optimizer_that_breaks_it(prop):
    finding = contract.find(PROPERTIES[prop], contract.subject_of(BROKEN[prop], "broken"))
    assert finding.holds is False
    assert finding.name == prop
    assert finding.line
    assert "\n" not in finding.line


def test_every_property_that_can_fail_has_an_optimizer_that_breaks_it():
    assert set(PROPERTIES) - set(BROKEN) == {"leaf_by_leaf"}  # which only informs


def test_pairwise_cases_hold_every_pair_and_few_more_than_they_must():
    factors = (range(7), "abc", range(5), "xy")
    cases = contract.pairwise(*factors)
    for i, j in itertools.combinations(range(len(factors)), 2):
        met = {(case[i], case[j]) for case in cases}
        assert met == set(itertools.product(factors[i], factors[j]))
    assert 7 * 5 <= len(cases) <= 7 * 5 + 5
    assert cases == contract.pairwise(*factors)


def test_the_numbers_of_an_optimizer_are_its_floats_and_the_learning_rate():
    def mine(learning_rate, b=0.5, steps=3, nesterov=False, name=None, *, eps=1e-8):
        return optax.sgd(learning_rate)

    assert contract.subject_of(mine).numbers == {"learning_rate": 0.1, "b": 0.5, "eps": 1e-8}
    assert contract.subject_of(lambda b=0.9: optax.sgd(b)).numbers == {"b": 0.9}
    assert contract.subject_of(optax.sgd(0.1)).numbers == {}
    assert contract.subject_of(dj.optimizers.ema).numbers == {"learning_rate": 0.1, "decay": 0.999}


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (3, "must be an optax.GradientTransformation or a function that returns one, got 3"),
        (lambda lr: optax.sgd(lr), "no argument without a default but learning_rate, got lr"),
        (lambda learning_rate: None, "that returns an optax.GradientTransformation, got NoneType"),
        (lambda learning_rate: optax.polyak_sgd(), None),
        (
            lambda learning_rate: optax.stateless(lambda g, p: {"a": g["a"]}),
            "must take a step on a tree of arrays, got KeyError: 'a'",
        ),
    ],
    ids=["number", "argument", "nothing", "polyak", "step"],
)
def test_what_is_no_optimizer_is_refused_before_any_property(monkeypatch, factory, message):
    monkeypatch.setattr("dljax.contract.report.PROPERTIES", ())
    if message is None:
        assert contract.check(factory) == []
    else:
        with pytest.raises(ValueError, match=message.replace("(", r"\(")):
            contract.check(factory)
