"""What a property finds: it holds, it fails, or it does not apply; the last two with a line why."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dljax.addresses import first_line
from dljax.contract.subject import Subject
from dljax.types import PyTree

Property = Callable[[Subject], None]

# Rounding of a few steps in another order (a compiled program fuses what runs one by one
# otherwise), grown by what an update divides by.
TOLERANCES = {"bfloat16": 3e-2, "float16": 4e-3, "float64": 1e-9}


class Finding(NamedTuple):
    """What one property found.

    Attributes:
      name: Of the property.
      holds: `True`, `False`, or `None` where the property does not apply.
      line: What holds, or what was seen instead, or why the property does not apply.
    """

    name: str
    holds: bool | None
    line: str


class Fails(Exception):
    """The property does not hold; the message is what was seen."""


class DoesNotApply(Exception):
    """The property says nothing about this optimizer; the message is why."""


def find(prop: Property, subject: Subject) -> Finding:
    """Puts one property to the test; an error of the optimizer's own is a failure."""
    with jax.enable_x64(subject.dtype == "float64"):
        try:
            prop(subject)
        except DoesNotApply as why:
            return Finding(prop.__name__, None, str(why).rstrip("."))
        except Fails as seen:
            return Finding(prop.__name__, False, str(seen).rstrip("."))
        except Exception as error:
            return Finding(prop.__name__, False, first_line(error))
    return Finding(prop.__name__, True, (prop.__doc__ or "").splitlines()[0].rstrip("."))


def agree(what: str, got: PyTree, wanted: PyTree, rtol: float | None = None) -> None:
    """Raises `Fails` unless two trees agree in structure, dtypes and numbers.

    Args:
      what: What `got` is, for the message.
      got: A tree of arrays, compared with
      wanted: the tree that it should be.
      rtol: Relative to the largest entry of an array; by default what the dtype's rounding allows.
    """
    if jax.tree.structure(got) != jax.tree.structure(wanted):
        raise Fails(f"{what}: the tree is {jax.tree.structure(got)}, not the expected one.")
    paths = jax.tree_util.tree_flatten_with_path(got)[0]
    for (path, a), b in zip(paths, jax.tree.leaves(wanted), strict=True):
        where = f"{what}, at {jax.tree_util.keystr(path) or 'the root'}"
        a, b = _numbers(a), _numbers(b)
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            raise Fails(f"{where}: {_kind(a)} where {_kind(b)} was expected.")
        allowed = TOLERANCES.get(str(a.dtype), 1e-4) if rtol is None else rtol
        wide = np.complex128 if np.iscomplexobj(a) else np.float64
        a, b = a.astype(wide), b.astype(wide)
        apart = np.abs(a - b).max(initial=0.0)
        if not apart <= allowed * np.abs(b).max(initial=0.0):
            raise Fails(f"{where}: {_shown(a)} where {_shown(b)} was expected.")


def all_finite(what: str, tree: PyTree) -> None:
    """Raises `Fails` unless every number of `tree` is finite."""
    for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]:
        x = _numbers(x)
        if not np.isfinite(x.astype(np.complex128)).all():
            raise Fails(f"{what}, at {jax.tree_util.keystr(path) or 'the root'}: {_shown(x)}.")


def same_dtypes(what: str, updates: PyTree, params: PyTree) -> None:
    """Raises `Fails` unless every update has the dtype of its parameter."""
    paths = jax.tree_util.tree_flatten_with_path(updates)[0]
    for (path, u), p in zip(paths, jax.tree.leaves(params), strict=True):
        if u.dtype != p.dtype:
            where = jax.tree_util.keystr(path) or "the root"
            raise Fails(f"{what}, at {where}: an update in {u.dtype} for a parameter in {p.dtype}.")


def _numbers(x: Any) -> np.ndarray:
    is_key = jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def _kind(x: np.ndarray) -> str:
    return f"{x.dtype}{list(x.shape)}"


def _shown(x: np.ndarray) -> str:
    return np.array2string(x.ravel()[:3], precision=4, separator=", ", threshold=3)
