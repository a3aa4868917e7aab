"""What a member costs, read off its jaxpr before anything compiles."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

PARAMETERS = "dljax.parameters"  # the name under which `dj.trainer` marks a run's parameters
ONCE = "dljax.once"  # and by which a loop marks that its turns after the first are rare


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


def cost(jaxpr: ClosedJaxpr | Jaxpr, fixed: Sequence[bool] | None = None) -> Cost:
    """Counts what a jaxpr does: a `scan` by its turns, a branch by the dearer side.

    Args:
      jaxpr: What is counted.
      fixed: Of each input, whether it stays the same in all turns of the loops around; `None`
        says that all do.
    """
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    inputs = [True] * len(jaxpr.invars) if fixed is None else fixed
    moving = {v for v, same in zip(jaxpr.invars, inputs, strict=True) if not same}
    parts = []
    for eqn in jaxpr.eqns:
        same = [isinstance(v, Literal) or v not in moving for v in eqn.invars]
        parts.append(_of_equation(eqn, same))
        if not all(same):
            moving.update(eqn.outvars)
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


def _of_equation(eqn: JaxprEqn, fixed: list[bool]) -> Cost:
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        num_constants = _num_constants(eqn)
        turned = [same and i < num_constants for i, same in enumerate(fixed)]
        recurrent = _multiplies_by(params["jaxpr"].jaxpr, fixed[:num_constants])
        turns = 1 if any(_names(e, ONCE) for e in params["jaxpr"].eqns) else params["length"]
        return _repeated(cost(params["jaxpr"], turned), turns, recurrent)
    if name == "while":
        body = params["body_jaxpr"].jaxpr
        return _repeated(cost(body, [False] * len(body.invars)), 1, False)._replace(open_ended=True)
    if inner := [_of_call(jaxpr, fixed) for jaxpr in _jaxprs(params.values())]:
        return max(inner, key=lambda c: (c.flops, c.bytes))
    marked = _names(eqn, PARAMETERS)
    return Cost(
        flops=_product_flops(eqn),
        bytes=sum(_num_bytes(v) for v in (*eqn.invars, *eqn.outvars)),
        operations=1.0,
        parameters=eqn.outvars[0].aval.size if marked else 0,
    )


def _names(eqn: JaxprEqn, mark: str) -> bool:
    return eqn.primitive.name == "name" and eqn.params["name"] == mark


def _of_call(jaxpr: ClosedJaxpr | Jaxpr, fixed: list[bool]) -> Cost:
    """Counts a function that an equation calls; its inputs are the equation's last ones."""
    count = len(getattr(jaxpr, "jaxpr", jaxpr).invars)
    return cost(jaxpr, fixed[len(fixed) - count :] if count <= len(fixed) else [False] * count)


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


def _num_constants(eqn: JaxprEqn) -> int:
    """Returns how many inputs of a loop stay the same in all its turns."""
    body = eqn.params["jaxpr"].jaxpr
    # of constants, carry and what is scanned only the last has an axis less inside
    return _num_alike(eqn.invars, body.invars) - _num_alike(eqn.outvars, body.outvars)


def _num_alike(outside, inside) -> int:
    return sum(a.aval.ndim == b.aval.ndim for a, b in zip(outside, inside, strict=True))


def _multiplies_by(body: Jaxpr, fixed: list[bool]) -> bool:
    """Tells whether a loop's body multiplies by a matrix constant in it, not in the loop around.

    The weights of a recurrent layer are such, the data of full-batch training are not.
    """
    weights = {v for v, same in zip(body.invars, fixed) if not same and v.aval.ndim == 2}
    return any(
        not isinstance(v, Literal) and v in weights
        for eqn in body.eqns
        if eqn.primitive.name == "dot_general"
        for v in eqn.invars
    )


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
