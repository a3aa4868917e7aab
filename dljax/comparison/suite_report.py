"""What a comparison on several problems leaves behind: tables for the terminal, and files."""

import json
from collections.abc import Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from rich.console import Group
from rich.text import Text

from dljax.comparison import latex, markdown, suite_lines
from dljax.comparison.across import SuiteComparison
from dljax.comparison.canvas import picture
from dljax.comparison.claim_lines import shown, unresolved_line
from dljax.comparison.page import bullets, document, figure, paragraph
from dljax.comparison.page import table as page_table
from dljax.comparison.report import all_or_nothing, laid
from dljax.comparison.suite_pictures import CAPTIONS, drawn

PAGE = "report.html"


def table(summary: Mapping[str, Any]) -> Group:
    """Lays out what several problems say together for a terminal of 80 columns or more.

    Args:
      summary: `SuiteComparison.summary`.
    """
    parts = [laid(suite_lines.columns(summary), suite_lines.title(summary)), ""]
    few = shown(summary["claims"])
    if few:
        parts.append(laid(suite_lines.claim_columns(summary, few)))
    if line := unresolved_line(summary):
        parts.append(line)
    return Group(*parts, "", Text("\n".join(suite_lines.notes(summary))))


def write(
    suite: SuiteComparison, folder: str | Path, places: Mapping[str, str] | None = None
) -> list[str]:
    """Writes report.html, suite.md, suite.csv, suite.json, suite.tex and the pictures.

    Args:
      suite: What `compare_suite` returned.
      folder: Where the files go; an earlier report there is replaced.
      places: Of each problem, the folder in it where its own report is; `None` takes its name.

    Returns:
      The names of the files.

    Raises:
      ValueError: If a folder has the name of a file.
    """
    places = places or {name: name for name in suite.comparisons}
    return all_or_nothing(folder, partial(_produce, suite, places))


def rows(suite: SuiteComparison) -> pd.DataFrame:
    """Returns a row for each problem and optimizer."""
    summary, names = suite.summary, suite.summary["optimizers"]
    met = {(row["problem"], row["optimizer"]): row for row in summary["to_target"]}
    found = []
    for place, (problem, one) in enumerate(suite.comparisons.items()):
        entries = {entry["name"]: entry for entry in one.summary["optimizers"]}
        metric = one.summary["problem"]["metric"]
        for index, name in enumerate(names):
            entry, row = entries[name], met.get((problem, name), {})
            told = {"problem": problem, "optimizer": name, "metric": f"test_{metric}"}
            told |= {f"final_{k}": entry["test"][metric][k] for k in ("mean", "low", "high")}
            told |= {"num_runs": entry["num_runs"], "diverged": entry["diverged"]}
            cost = summary["table"][place][index]
            told |= {"median_cost": np.inf if cost is None else cost}
            told |= {"rank": summary["ranks"][place][index]}
            for part in ("median", "restricted_mean", "hits"):
                told |= {
                    f"{part}_{k}": (row.get(part) or {}).get(k) for k in ("mean", "low", "high")
                }
            told["expected_running_time"] = row.get("expected_running_time")
            found.append(told | {"evidence": one.summary["evidence"]})
    return pd.DataFrame(found)


def _produce(suite: SuiteComparison, places: Mapping[str, str], folder: Path) -> None:
    """Writes every file of the report into an empty folder."""
    rows(suite).to_csv(folder / "suite.csv", index=False, lineterminator="\n")
    text = json.dumps(suite.summary, indent=2, allow_nan=False, ensure_ascii=False)
    (folder / "suite.json").write_text(text + "\n", encoding="utf-8")
    vectors = {}
    for name, found in drawn(suite.summary).items():
        for kind in ("png", "pdf", "svg"):
            (folder / f"{name}.{kind}").write_bytes(picture(found, kind))
        vectors[name] = (folder / f"{name}.svg").read_bytes()
    (folder / PAGE).write_text(_page(suite, vectors, places), encoding="utf-8")
    (folder / "suite.md").write_text(_markdown(suite, list(vectors), places), encoding="utf-8")
    (folder / "suite.tex").write_text(_latex(suite), encoding="utf-8")


def _tables(suite: SuiteComparison) -> dict[str, list]:
    """Returns the tables by their headings."""
    summary = suite.summary
    told = {
        "Claims over the problems": suite_lines.claim_columns(summary),
        "Problems": suite_lines.problem_columns(suite.comparisons, summary["optimizers"]),
    }
    return told | (
        {"Steps to the targets": suite_lines.target_columns(summary)}
        if summary["to_target"]
        else {}
    )


TARGETS = (
    "A run that does not meet its target is censored where it ends. Median: by which half of the "
    "runs meet it, Kaplan and Meier's estimate with its 95 % interval. Restricted mean: of the "
    "steps to the target, or to the end. Runs that met it: with Wilson's interval. Expected "
    "running time: the steps of all runs, a run that met it."
)


def _page(suite: SuiteComparison, vectors: Mapping[str, bytes], places: Mapping[str, str]) -> str:
    title = suite_lines.title(suite.summary)
    body = [f"<h1>{escape(title)}</h1>", page_table(suite_lines.columns(suite.summary))]
    body.append(bullets(suite_lines.notes(suite.summary)))
    for heading, columns in _tables(suite).items():
        body += [f"<h2>{heading}</h2>", page_table(columns)]
        if heading == "Problems":
            links = [
                f'<a href="{quote(place)}/{PAGE}">{escape(name)}</a>'
                for name, place in places.items()
            ]
            body.append(f'<p class="small">Each has a page of its own: {", ".join(links)}.</p>')
    body += [paragraph(TARGETS, "small")] if suite.summary["to_target"] else []
    body += [figure(*CAPTIONS[name], vector) for name, vector in vectors.items()]
    files = "suite.csv and suite.json, and all of it as suite.md and suite.tex"
    body.append(paragraph(f"The numbers behind this page: {files} beside it.", "small"))
    return document(title, body)


def _markdown(suite: SuiteComparison, pictures: list[str], places: Mapping[str, str]) -> str:
    summary = suite.summary
    parts = [f"# {markdown.escaped(suite_lines.title(summary))}"]
    parts += [markdown.table(suite_lines.columns(summary))]
    parts += [markdown.bullets(suite_lines.notes(summary))]
    for heading, columns in _tables(suite).items():
        parts += [f"## {heading}", markdown.table(columns)]
    parts += [markdown.escaped(TARGETS)] if summary["to_target"] else []
    parts += [
        f"[{markdown.escaped(name)}]({quote(place)}/report.md)" for name, place in places.items()
    ]
    parts.append("## Pictures")
    for name in pictures:
        lead, caption = CAPTIONS[name]
        parts += [f"![{lead}]({name}.png)", f"**{lead}** {markdown.escaped(caption)}"]
    return "\n\n".join(parts) + "\n"


def _latex(suite: SuiteComparison) -> str:
    """Returns the table of the optimizers and those of the page, one after another."""
    told = {suite_lines.title(suite.summary): suite_lines.columns(suite.summary)} | _tables(suite)
    notes, found = suite_lines.notes(suite.summary), []
    for number, (heading, columns) in enumerate(told.items()):
        cells = zip(*(column.cells for column in columns), strict=True)
        lines = [[latex.escaped(cell) for cell in row] for row in cells]
        caption = [f"{heading}.", *(() if number else notes)]
        found.append(latex.table(columns, lines, caption, f"tab:suite-{number}"))
    return latex.HEAD + "\n".join(found)
