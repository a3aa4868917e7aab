"""A few cases in place of a product: every two values of different factors meet in one of them."""

import itertools
from collections.abc import Sequence
from typing import Any


def pairwise(*factors: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Returns cases, one value of each factor, in which every pair of values occurs.

    Greedy (Cohen, Dalal, Fredman & Patton 1997, IEEE Trans. Softw. Eng. 23, the AETG system,
    without its random trials): each case starts from a pair that is not yet covered, and takes for
    every other factor the value that covers the most new pairs with those already chosen. The same
    factors give the same cases.

    Args:
      factors: Values of each factor, hashable; each at least one.
    """
    places = list(itertools.combinations(range(len(factors)), 2))
    left = {
        (i, a, j, b): None
        for i, j in places
        for a, b in itertools.product(range(len(factors[i])), range(len(factors[j])))
    }  # a dict keeps the order in which a set would not
    cases = []
    while left:
        i, a, j, b = next(iter(left))
        case = {i: a, j: b}
        for k in sorted(set(range(len(factors))) - {i, j}):
            new = lambda c, k=k, case=case: sum(_pair(k, c, *one) in left for one in case.items())  # noqa: E731
            case[k] = max(range(len(factors[k])), key=new)
        for one, other in itertools.combinations(case.items(), 2):
            left.pop(_pair(*one, *other), None)
        cases.append(tuple(factors[k][case[k]] for k in range(len(factors))))
    return cases


def _pair(i: int, a: int, j: int, b: int) -> tuple[int, int, int, int]:
    return (i, a, j, b) if i < j else (j, b, i, a)
