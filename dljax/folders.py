"""A study's run folder: what is declared of it, and the tables beside the members."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np

from dljax.axes import length
from dljax.named import Study
from dljax.placement import to_device
from dljax.store import declarations, files
from dljax.store.blocks import identities, rows_of
from dljax.store.fingerprints import of_arrays, of_function
from dljax.store.reading import Stored
from dljax.store.runs import Run
from dljax.store.sections import Section
from dljax.types import Member, PyTree


class Part(NamedTuple):
    """A study within an open run folder.

    Attributes:
      run: The folder; `None` in all processes but the first.
      name: Of the study, before the labels of its programs.
      is_whole: Whether the folder is of this study alone.
    """

    run: Run | None
    name: str
    is_whole: bool = False

    def section(self, labels: tuple) -> Section:
        """Returns where the members of a program are kept."""
        name = "/".join([self.name, *map(str, labels)])
        return Section(name, None) if self.run is None else self.run.section(name, Section)


@contextmanager
def opened(
    out: str | os.PathLike | Part | None,
    member: Callable | Member,
    shared: tuple[PyTree, ...],
    axes: Mapping[str, Any],
    labels: Mapping[str, tuple],
    width: int | str | None,
    survive: Callable | None,
) -> Iterator[Part | None]:
    """Opens the run folder of a study; of several processes the first does.

    Raises:
      ValueError: If the folder cannot be written, or holds another run.
      DataError: If it is damaged.
    """
    if out is None or isinstance(out, Part):
        yield out
    elif jax.process_index() > 0:
        yield Part(None, "study")
    else:
        declared = {
            "shared": of_arrays(shared),
            "static": list(labels),
            "width": width,
            "num_rounds": member.num_rounds if isinstance(member, Member) else None,
            "survive": survive and of_function(survive),
            "numerics": declarations.numerics(),
        }
        grows = {f"static {name}": declarations.axis(values) for name, values in labels.items()}
        grows |= {name: declarations.axis(values) for name, values in axes.items()}
        # members that survive others depend on all of them
        declared["axes"] = list(axes) if survive is None else grows
        with Run(out, "study", declared, grows, {"member": _name(member)}) as run:
            yield Part(run, "study", is_whole=True)


def write(part: Part | None, study: Study) -> None:
    """Writes results.csv, where results are columns, and summary.json of a study of its own."""
    if part is None or part.run is None or not part.is_whole:
        return
    run, names = part.run, ["summary.json"]
    columns = _columns(study)
    if columns:
        table = study._replace(results=columns).to_dataframe()
        content = table.to_csv(index=False, lineterminator="\n").encode()
        files.write(run.folder / "results.csv", content)
        names.append("results.csv")
    diverged = study.results.get("diverged_at") if isinstance(study.results, dict) else None
    summary = {
        "schema": files.SCHEMA,
        "kind": "study",
        "axes": {name: length(values) for name, values in study.axes.items()},
        "members": int(np.prod([length(values) for values in study.axes.values()])),
        "diverged": None if diverged is None else int(np.sum(np.asarray(diverged) >= 0)),
        "added": run.declaration["added"],
        "width": {name: told["width"] for name, told in run.declaration["programs"].items()},
    }
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    files.write(run.folder / "summary.json", text.encode())
    run.record(names)


def _columns(study: Study) -> dict[str, np.ndarray]:
    """Returns the results that a table can hold: one value a member, or a value an evaluation."""
    if not isinstance(study.results, dict):
        return {}
    ndim = len(study.axes)
    found = {
        name: x
        for name, x in study.results.items()
        if isinstance(x, np.ndarray) and x.ndim <= ndim + 1
    }
    rows = [x.shape[-1] for x in found.values() if x.ndim > ndim]
    most = max(rows, key=rows.count, default=None)
    return {name: x for name, x in found.items() if x.ndim == ndim or x.shape[-1] == most}


def _name(member: Any) -> str:
    function = member.init if isinstance(member, Member) else member
    function = getattr(function, "func", function)
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', '?')}"


def stored_results(stored: Stored, section: str, cells: Mapping[str, Any]) -> PyTree:
    """Returns the results of these members, leaves [P, ...], as nested dicts and lists.

    Raises:
      ValueError: If they are not all stored.
      DataError: If what is stored is damaged.
    """
    axes, results = stored.section(section)
    place = {identity: i for i, identity in enumerate(rows_of(axes))}
    places = [place.get(identity) for identity in identities(cells)]
    if None in places and len(places) == 1:
        raise ValueError(f"the member must be stored in {stored.folder}, got none in {section!r}.")
    if None in places:
        found = len(places) - places.count(None)
        raise ValueError(
            f"{stored.folder} must be finished, got {found} of {len(places)} members of "
            f"{section!r}: the same command goes on."
        )
    return to_device(jax.tree.map(lambda x: x[np.array(places)], results))
