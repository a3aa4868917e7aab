"""All properties put to one optimizer, and how that is told."""

import json
from collections.abc import Iterator

import jax
import optax
from rich.console import Console
from rich.text import Text

from dljax import optimizers
from dljax.addresses import first_line
from dljax.contract.behaviour import BEHAVIOUR
from dljax.contract.findings import Finding, find
from dljax.contract.hyperparameters import HYPERPARAMETERS
from dljax.contract.leaves import LEAVES
from dljax.contract.storage import STORAGE
from dljax.contract.subject import Factory, Subject, optimizer_of, params_of, run, subject_of
from dljax.contract.wrappers import WRAPPERS

PROPERTIES = (*BEHAVIOUR, *HYPERPARAMETERS, *LEAVES, *WRAPPERS, *STORAGE)
MARKS = {True: ("holds", "green"), False: ("fails", "bold red"), None: ("-", "dim")}


def check(factory: Factory | optax.GradientTransformation, name: str = "") -> list[Finding]:
    """Puts an optimizer to all properties of the contract.

    Args:
      factory: A function of `learning_rate`, or of nothing, that returns an optax transformation,
        or a transformation. Its arguments with a float as default are taken for numbers that may
        be traced; those with another default stay as they are.
      name: What it is called in messages; by default as the function.

    Returns:
      A finding for each property, in the order of `PROPERTIES`.

    Raises:
      ValueError: If `factory` is neither, or what it returns cannot take a step.
    """
    return list(_each(_able(factory, name)))


def told(name: str, factory: Factory | optax.GradientTransformation, *, as_json: bool) -> bool:
    """Prints what `check` finds, a line as soon as it is found; says whether nothing fails."""
    subject = _able(factory, name)
    findings = []
    console = Console(highlight=False, soft_wrap=True)
    for finding in _each(subject):
        findings.append(finding)
        mark, style = MARKS[finding.holds]
        if not as_json:
            console.print(Text.assemble((f"{mark:7}", style), f"{finding.name:24}", finding.line))
    hold, fail, rest = (sum(f.holds is holds for f in findings) for holds in MARKS)
    if as_json:
        listed = [finding._asdict() for finding in findings]
        print(json.dumps({"optimizer": name, "holds": not fail, "findings": listed}, indent=2))
    else:
        counts = f"{hold} hold, {fail} fail, {rest} do not apply."
        console.print(f"\n{name}: {len(findings)} properties, {counts}")
    return not fail


def builtin() -> dict[str, Factory]:
    """Returns dljax's own optimizers by name: all public functions that make one."""
    found = {}
    for name in optimizers.__all__:
        factory = getattr(optimizers, name)
        returned = getattr(factory, "__annotations__", {}).get("return")
        if returned is optax.GradientTransformationExtraArgs and name != "leafwise":
            found[name] = factory
    return found


def _each(subject: Subject) -> Iterator[Finding]:
    return (find(prop, subject) for prop in PROPERTIES)


def _able(factory: Factory | optax.GradientTransformation, name: str) -> Subject:
    """Returns the subject; raises a `ValueError` unless it can take a step."""
    subject = subject_of(factory, name)
    try:
        jax.eval_shape(lambda p: run(optimizer_of(subject), p, [1.0]), params_of(subject))
    except Exception as error:
        raise ValueError(
            f"optimizer {subject.name!r} must take a step on a tree of arrays, "
            f"got {first_line(error)}"
        ) from error
    return subject
