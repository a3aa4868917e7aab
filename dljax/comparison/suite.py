"""Optimizers compared on one problem after another, and over all of them."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

from dljax import problems as named
from dljax.comparison import suite_report
from dljax.comparison.across import SuiteComparison, across
from dljax.comparison.plan import a_problem
from dljax.comparison.protocol import compare
from dljax.comparison.space import Factory
from dljax.problems import Problem
from dljax.store.environment import session
from dljax.store.files import check_writable, read_document, write_document

DECLARATION = "problems.json"  # of a suite, in its folder


def compare_suite(
    problems: Iterable[Problem | str],
    optimizers: Mapping[str, Factory] | Iterable[str] | None = None,
    *,
    out: str | os.PathLike | None = None,
    sources: Mapping[str, Mapping[str, Any]] | None = None,
    reference: Mapping[str, Mapping[str, Any]] | None = None,
    **how: Any,
) -> SuiteComparison:
    """Compares optimizers on several problems, and over them.

    Args:
      problems: Two or more, as `dj.compare` takes one; `dj.problems.suite` builds those of a name.
      optimizers: As `dj.compare` takes them.
      out: A folder: each problem's run folder is in it, and the report over all. The same again
        goes on with what is not stored.
      sources: Of each problem, by name, what `dj.compare` takes as `source`.
      reference: Frozen times to the targets; `None` takes those of the package.
      **how: As `dj.compare` takes it, the same for every problem.

    Returns:
      The `SuiteComparison`.

    Raises:
      ValueError: If there are fewer than two problems, two have one name, or as `dj.compare`.
      DataError: As `dj.compare`.
    """
    problems = list(problems)
    names = [
        named.load(one).name if isinstance(one, str) else a_problem(one).name for one in problems
    ]
    if len(names) < 2:
        raise ValueError(f"there must be 2 problems or more, got {len(names)}.")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"problems must have names of their own, got {twice!r} twice.")
    if out is not None and (bad := next((n for n in names if Path(n).name != n), None)):
        raise ValueError(f"a problem must have a name that a folder can have, got {bad!r}.")
    changed = [] if out is None or jax.process_index() > 0 else declared(Path(out), names)
    comparisons = {}
    for name, problem in zip(names, problems, strict=True):
        folder, source = out and Path(out) / name, (sources or {}).get(name)
        comparisons[name] = compare(problem, optimizers, out=folder, source=source, **how)
    found = SuiteComparison(across(comparisons, reference, changed), comparisons)
    if out is not None and jax.process_index() == 0:
        suite_report.write(found, out)
    return found


def declared(out: Path, names: list[str]) -> list[str]:
    """Writes down which problems there are before the first run on any of them.

    Args:
      out: Folder of the suite.
      names: Of the problems.

    Returns:
      How they are not those that were written down first, a sentence each: a list that was chosen
      after results were there confirms nothing.
    """
    path = out / DECLARATION
    if not path.exists():
        check_writable(out)
        out.mkdir(parents=True, exist_ok=True)
        late = [name for name in names if (out / name / "declaration.json").exists()]
        told = {"problems": names, "time": session()["time"], "late": late}
        write_document(path, told)
    first = read_document(path, "problems", "time", "late")
    more = [name for name in names if name not in first["problems"]]
    fewer = [name for name in first["problems"] if name not in names]
    told = {"was not declared first": more, "was declared first and left out": fewer}
    told["had run before the list of problems was written down"] = first["late"]
    return [f"{', '.join(some)} {what}" for what, some in told.items() if some]
