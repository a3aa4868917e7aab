"""What a member costs, read off its jaxpr before anything compiles."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

PARAMETERS = "dljax.parameters"  # the name under which `dj.trainer` marks a run's parameters


class Cost(NamedTuple):
    """Counts of one run of a function.

    Attributes:
      flops: Floating-point operations of matrix products and convolutions.
      bytes: Bytes that all other operations read and write, were none of them fused.
      operations: Operations executed.
      step_flops: `flops` of one turn of the innermost loop that does most of the work, such as a
        training step; 0 where no loop does.
      recurrent: Whether that loop multiplies by matrices that no turn changes, as a recurrent
        layer does and training does not.
      open_ended: Whether a loop ends at a condition; its body is counted once.
      parameters: Numbers that `dj.trainer` trains.
    """

    flops: float = 0.0
    bytes: float = 0.0
    operations: float = 0.0
    step_flops: float = 0.0
    recurrent: bool = False
    open_ended: bool = False
    parameters: int = 0


def cost(jaxpr: ClosedJaxpr | Jaxpr) -> Cost:
    """Counts what a jaxpr does: a `scan` by its turns, a branch by the dearer side."""
    parts = [_of_equation(eqn) for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns]
    flops = sum(part.flops for part in parts)
    hottest = max(parts, key=lambda part: part.flops, default=Cost())
    dominates = hottest.flops > flops / 2
    return Cost(
        flops=flops,
        bytes=sum(part.bytes for part in parts),
        operations=sum(part.operations for part in parts),
        step_flops=hottest.step_flops if dominates else 0.0,
        recurrent=dominates and hottest.recurrent,
        open_ended=any(part.open_ended for part in parts),
        parameters=sum(part.parameters for part in parts),
    )


def _of_equation(eqn: JaxprEqn) -> Cost:
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return _repeated(cost(params["jaxpr"]), params["length"], _multiplies_by_constants(eqn))
    if name == "while":
        return _repeated(cost(params["body_jaxpr"]), 1, False)._replace(open_ended=True)
    if inner := [cost(jaxpr) for jaxpr in _jaxprs(params.values())]:
        return max(inner, key=lambda c: (c.flops, c.bytes))
    marked = name == "name" and params["name"] == PARAMETERS
    return Cost(
        flops=_product_flops(eqn),
        bytes=sum(_num_bytes(v) for v in (*eqn.invars, *eqn.outvars)),
        operations=1.0,
        parameters=eqn.outvars[0].aval.size if marked else 0,
    )


def _repeated(body: Cost, turns: int, recurrent: bool) -> Cost:
    return body._replace(
        flops=turns * body.flops,
        bytes=turns * body.bytes,
        operations=turns * body.operations,
        step_flops=body.step_flops or body.flops,
        recurrent=body.recurrent if body.step_flops else recurrent,
    )


def _product_flops(eqn: JaxprEqn) -> float:
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        left = eqn.invars[0].aval.shape
        return 2.0 * eqn.outvars[0].aval.size * math.prod(left[i] for i in contracted)
    if eqn.primitive.name == "conv_general_dilated":
        kernel = eqn.invars[1].aval
        outputs = kernel.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
        return 2.0 * eqn.outvars[0].aval.size * kernel.size / outputs
    return 0.0


def _multiplies_by_constants(eqn: JaxprEqn) -> bool:
    """Tells whether a loop's body has a matrix product with a matrix that no turn changes."""
    body = eqn.params["jaxpr"].jaxpr
    # of constants, carry and what is scanned only the last has an axis less inside
    num_constants = _num_alike(eqn.invars, body.invars) - _num_alike(eqn.outvars, body.outvars)
    constant = {id(v) for v in body.invars[:num_constants]}
    return any(
        not isinstance(v, Literal) and id(v) in constant and v.aval.ndim == 2
        for eqn in body.eqns
        if eqn.primitive.name == "dot_general"
        for v in eqn.invars
    )


def _num_alike(outside, inside) -> int:
    return sum(a.aval.ndim == b.aval.ndim for a, b in zip(outside, inside, strict=True))


def _jaxprs(values) -> Iterator[Jaxpr]:
    for value in values:
        if isinstance(value, ClosedJaxpr | Jaxpr):
            yield value
        elif isinstance(value, list | tuple):
            yield from _jaxprs(value)


def _num_bytes(variable) -> int:
    aval = variable.aval
    if not hasattr(aval, "dtype") or jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended):
        return 0
    return aval.size * aval.dtype.itemsize
