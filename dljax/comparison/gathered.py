"""Results of others and run folders, read into one table and joined where a problem is the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dljax.comparison.audit import audit
from dljax.comparison.fingerprint import check_comparable
from dljax.comparison.folder import read_comparison
from dljax.comparison.published import RUN, Published, measures, read
from dljax.comparison.statistics import Comparison
from dljax.store import reading

DECLARATION = "declaration.json"  # of a run folder
BESIDE = ("cost", "diverged_at", "source")  # columns that are no measures


class Gathered(NamedTuple):
    """All that was read, of every problem.

    Attributes:
      curves: As `Published.curves`, with cost, diverged_at and source.
      known: Summaries of run folders, by problem.
      targets: Of results of others, by problem.
      findings: What the audit found, by problem, a sentence each.
      foreign: Problems of which some results are from no run folder.
      units: What the steps count, "epochs" or "steps".
    """

    curves: pd.DataFrame
    known: dict[str, Mapping[str, Any]]
    targets: dict[str, dict[str, Any]]
    findings: dict[str, list[str]]
    foreign: set[str]
    units: str


def gather(paths: list[Path], metric: str | None) -> Gathered:
    """Reads files, folders of files and run folders.

    Arms of one name from two places are told apart by the place, unless their runs are different
    ones of one arm.

    Args:
      paths: Where the results lie.
      metric: A measure of a CSV beside its losses and accuracies.

    Raises:
      ValueError: If there are no results, fingerprints differ, or a seed or a time is no number.
      DataError: If a file is damaged or has no measure.
    """
    frames, known, targets, findings = [], {}, {}, {}
    foreign, fingerprints, units = set(), {}, set()
    for path, place in zip(paths, _places(paths), strict=True):
        if (path / DECLARATION).is_file():
            comparison = _of_folder(path)
            name = comparison.summary["problem"]["name"]
            known.setdefault(name, comparison.summary)
            fingerprints.setdefault(name, {})[str(path)] = comparison.summary["fingerprint"]
            frames.append(_as_curves(comparison).assign(source=place))
            units.add("steps")
            continue
        published = read(path, metric)
        frames.append(published.curves.assign(source=place))
        foreign |= set(published.curves["problem"].astype(str))
        units |= {f"{time}s" for time in published.times}
        targets |= _targets(published)
        for found in audit(published):
            problem, *who = found.where.split(", ")
            of = f" ({', '.join(who)})" if who else ""
            told = f"audit, {found.check}{of}: {found.evidence}"
            findings.setdefault(problem, []).append(told)
    for told in fingerprints.values():
        check_comparable(told)
    curves = _checked(pd.concat(frames, ignore_index=True))
    return Gathered(curves, known, targets, findings, foreign, " or ".join(sorted(units)))


def measures_of(rows: pd.DataFrame) -> list[str]:
    """Returns the measures of which there are numbers."""
    return [name for name in measures(rows) if name not in BESIDE and rows[name].notna().any()]


def _places(paths: list[Path]) -> list[str]:
    """Returns a short name for every path, the path itself where that is of two."""
    names = [path.resolve().name.split(".csv")[0] for path in paths]
    return [
        str(path) if names.count(name) > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]


def _of_folder(path: Path) -> Comparison:
    stored = reading.read(path)
    if stored.declaration["kind"] != "compare":
        raise ValueError(f"{path} must hold a comparison, got a study.")
    return read_comparison(stored)


def _as_curves(comparison: Comparison) -> pd.DataFrame:
    rows = comparison.results
    settings = rows["argument"] + "=" + rows["value"].astype(str)
    rows = rows.rename(columns={"step": "time"}).drop(columns="point")
    return rows.assign(problem=comparison.summary["problem"]["name"], setting=settings)


def _targets(published: Published) -> dict[str, dict[str, Any]]:
    told = {}
    for name in published.targets.keys() & set(published.curves["problem"]):
        column, sign = published.measure(name)
        goal = "min" if sign > 0 else "max"
        told[str(name)] = {"metric": column, "value": published.targets[name], "goal": goal}
    return told


def _checked(curves: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with whole seeds, times that are numbers, and arms of one place each."""
    curves = curves.assign(**{name: curves.get(name, np.nan) for name in BESIDE})
    for name, kind in (("seed", "a whole number"), ("time", "a number")):
        numbers = pd.to_numeric(curves[name], errors="coerce")
        wrong = ~np.isfinite(numbers) | ((numbers % 1 != 0) & (name == "seed"))
        if wrong.any():
            raise ValueError(f"every {name} must be {kind}, got {curves.loc[wrong, name].iloc[0]}.")
        curves[name] = numbers.astype(np.int64) if (numbers % 1 == 0).all() else numbers
    for name in ("problem", "optimizer", "setting"):
        curves[name] = curves[name].astype(str)
    curves["stage"] = curves["stage"].fillna("").astype(str)
    curves["cost"] = curves["cost"].fillna(curves["time"])
    runs = curves.drop_duplicates([*RUN, "source"])
    twice = runs[runs.duplicated(RUN, keep=False)][["problem", "optimizer"]].drop_duplicates()
    both = curves.merge(twice.assign(both=True), how="left")["both"].notna().to_numpy()
    told_apart = curves["optimizer"] + " (" + curves["source"] + ")"
    return curves.assign(optimizer=curves["optimizer"].where(~both, told_apart))
