"""Under the wrappers of optax and flax, in every dtype: a third of all pairs, all in `slow`."""

import itertools

import pytest
from contracts import HEAVY, NAMES, WRAPPERS, expected, put_to

from dljax import contract

LIGHT = [name for name in NAMES if name not in HEAVY]
PAIRWISE = contract.pairwise(LIGHT, contract.DTYPES, WRAPPERS)
REST = sorted(set(itertools.product(NAMES, contract.DTYPES, WRAPPERS)) - set(PAIRWISE))


def named(cases):
    return [pytest.param(*case, id="-".join(case)) for case in cases]


def steps_as_alone(name, dtype, prop):
    finding = put_to(name, prop, dtype)
    assert finding.holds is expected(name, prop, dtype), finding.line


@pytest.mark.parametrize(("name", "dtype", "prop"), named(PAIRWISE[::3]))
def test_wrapped_it_steps_as_alone(name, dtype, prop):
    steps_as_alone(name, dtype, prop)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype", "prop"), named(PAIRWISE) + named(REST))
def test_wrapped_it_steps_as_alone_in_every_other_case(name, dtype, prop):
    steps_as_alone(name, dtype, prop)
