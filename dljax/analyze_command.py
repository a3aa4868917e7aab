"""`dljax analyze`: results from anywhere, put to the statistics of our own comparisons."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from dljax.options import Flag, Folder, Number, Text

Paths = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RESULTS ...")]
Goal = Annotated[str, tyro.conf.arg(metavar="min|max", help_behavior_hint="")]


@dataclass
class Analyze:
    """Compare optimizers by results that are there: tables, claims and pictures of them.

    Reads tidy CSV of any project with the columns optimizer, seed, epoch or step, losses or
    accuracies (loss, val_loss, test_acc, ...) and, where there are any, problem, learning_rate or
    value and stage (tuning, evaluation); DeepOBS's JSON; and run folders of dljax compare, whose
    arms are joined if their fingerprints agree. What it says is exploratory, and it says why.
    """

    results: Paths = ()
    """Files and folders."""
    metric: Text = ""
    """Measure to compare: accuracy, valid_loss or any other column. By default an accuracy, else a
    loss, of the test rows where there are any."""
    goal: Goal = ""
    """Which of it is better. By default max for an accuracy and min for a loss."""
    baseline: Text = ""
    """Optimizer that the others are compared with. By default every pair is compared."""
    margin: Number = None
    """Smallest difference of the metric that matters. By default a deviation over seeds."""
    alpha: Number = None
    """Error over all claims on one problem. By default 0.05."""
    paired: Flag = False
    """Take equal seeds as pairs although the runs do not show that they begin alike."""
    out: Folder = ""
    """Folder of tables, pictures and the report; of several problems each gets one in it. By
    default analysis/PROBLEM."""
    json: Flag = False
    """Print the summaries as JSON, by problem, instead of tables."""


def run_analyze(options: Analyze) -> None:
    """Prints and writes what results say."""
    from rich.console import Console

    from dljax.comparison import report, suite_report
    from dljax.comparison.across import SuiteComparison
    from dljax.comparison.analysis import analyze

    how = {name: getattr(options, name) or None for name in ("metric", "goal", "baseline")}
    how |= {"margin": options.margin, "paired": options.paired}
    alpha = 0.05 if options.alpha is None else options.alpha
    found = analyze(options.results, **how, alpha=alpha)
    folders = _folders(options.out, found)
    for name, comparison in found.items():
        report.write(comparison, folders[name])
    summaries = {name: one.summary for name, one in found.items()}
    over, where = _over(found), next(iter(folders.values()))
    if over is not None:
        where = where.parent
        places = {name: folder.name for name, folder in folders.items()}
        suite_report.write(SuiteComparison(over, found), where, places)
    if options.json:
        print(json.dumps({"problems": summaries, "across": over}, indent=2, allow_nan=False))
    else:
        for summary in summaries.values():
            Console().print(report.table(summary))
        if over is not None:
            Console().print(suite_report.table(over))
    page = where / "report.html" if over is not None or len(found) == 1 else where.parent
    print(f"Everything is in {page} and beside it.", file=sys.stderr)


def _over(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns what several problems say together, if they can."""
    from dljax.comparison.across import across

    if len(found) < 2:
        return None
    try:
        return across(found)
    except ValueError as error:
        print(f"dljax: no report over the problems: {error}", file=sys.stderr)
        return None


def _folders(out: str, found: Mapping[str, Any]) -> dict[str, Path]:
    """Returns the folder of every problem."""
    names = {
        name: re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "results" for name in found
    }
    if len(set(names.values())) < len(names):
        names = {name: f"{text}-{number}" for number, (name, text) in enumerate(names.items())}
    if len(found) == 1:
        return {name: Path(out) if out else Path("analysis") / text for name, text in names.items()}
    return {name: Path(out or "analysis") / text for name, text in names.items()}
