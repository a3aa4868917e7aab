"""Digests: of data, and of what a member computes."""

import functools
import hashlib
import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from dljax.placement import to_host
from dljax.store.blocks import leaves_of, plain
from dljax.types import PyTree

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
LABELS = ("name", "debug_info", "ctx_mesh")  # of a call: they change nothing that is computed


def of_arrays(tree: PyTree) -> str:
    """Returns the SHA-256 of a tree of arrays: where they stand, their types, shapes and bytes."""
    tree = to_host(jax.tree.map(lambda x: x, tree))
    feed = hashlib.sha256()
    arrays = jax.tree.map(lambda x: x[None], tree)
    for leaf, x in zip(leaves_of(arrays), jax.tree.leaves(arrays)):
        feed.update(repr(tuple(leaf)).encode())
        feed.update(np.ascontiguousarray(plain(x)))
    return feed.hexdigest()


def of_jaxprs(jaxprs: Mapping[str, ClosedJaxpr]) -> str:
    """Returns the SHA-256 of what jaxprs compute, their constants included.

    The same Python gives the same digest in every process; names of variables and functions do not
    count.
    """
    feed = hashlib.sha256()
    for name, jaxpr in jaxprs.items():
        feed.update(name.encode())
        _closed(jaxpr, feed.update)
    return feed.hexdigest()


def of_function(function: Callable) -> str:
    """Returns the SHA-256 of a Python function's code and of what it holds: defaults, closures."""
    return hashlib.sha256(_held(function, ()).encode()).hexdigest()


def _held(x: Any, inside: tuple[int, ...]) -> str:
    """Returns a text that is the same for what computes the same, in every process."""
    if id(x) in inside:  # a function that calls itself
        return f"{len(inside) - inside.index(id(x))} up"
    deeper = lambda *parts: str([_held(part, (*inside, id(x))) for part in parts])  # noqa: E731
    if isinstance(x, functools.partial):
        return deeper(x.func, x.args, x.keywords)
    if hasattr(x, "__code__"):
        cells = [cell.cell_contents for cell in x.__closure__ or ()]
        return deeper(x.__code__, x.__defaults__, x.__kwdefaults__, cells)
    if hasattr(x, "co_code"):
        return deeper(x.co_code.hex(), x.co_consts, x.co_names)
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        return of_arrays(x)
    if isinstance(x, Mapping):
        return deeper(*itertools.chain(*sorted(x.items(), key=repr)))
    if isinstance(x, set | frozenset):
        return deeper(*sorted(x, key=repr))
    if isinstance(x, tuple | list):
        return deeper(*x)
    return ADDRESS.sub("", repr(x))


def _closed(closed: ClosedJaxpr, feed: Callable[[bytes], None]) -> None:
    for constant in closed.consts:
        _value(constant, feed)
    _open(closed.jaxpr, feed)


def _open(jaxpr: Jaxpr, feed: Callable[[bytes], None]) -> None:
    numbers: dict[Any, int] = {}

    def variable(v):
        if isinstance(v, Literal):
            feed(b"literal")
            _value(v.val, feed)
        else:
            number = numbers.setdefault(v, len(numbers))
            feed(f"{number}:{v.aval.str_short()};".encode())

    for v in (*jaxpr.constvars, *jaxpr.invars):
        variable(v)
    for eqn in jaxpr.eqns:
        feed(f"\n{eqn.primitive.name}(".encode())
        for v in eqn.invars:
            variable(v)
        for name in sorted(eqn.params):
            if name not in LABELS:
                feed(f",{name}=".encode())
                _value(eqn.params[name], feed)
        feed(b")->")
        for v in eqn.outvars:
            variable(v)
    feed(b"\nout")
    for v in jaxpr.outvars:
        variable(v)


def _value(x: Any, feed: Callable[[bytes], None]) -> None:
    """Feeds a constant or a parameter of an equation."""
    if isinstance(x, ClosedJaxpr):
        _closed(x, feed)
    elif isinstance(x, Jaxpr):
        _open(x, feed)
    elif isinstance(x, np.ndarray | np.generic | jax.Array):
        feed(of_arrays(x).encode())
    elif isinstance(x, Mapping):
        _value(sorted(x.items(), key=repr), feed)
    elif isinstance(x, set | frozenset):
        _value(sorted(x, key=repr), feed)
    elif type(x) in (list, tuple):
        feed(b"[")
        for part in x:
            _value(part, feed)
            feed(b",")
        feed(b"]")
    elif callable(x) and hasattr(x, "__qualname__"):
        feed(f"{x.__module__}.{x.__qualname__}".encode())
    else:
        feed(ADDRESS.sub("", repr(x)).encode())
