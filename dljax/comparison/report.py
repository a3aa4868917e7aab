"""What a comparison leaves behind: a table for the terminal and a folder of files."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from dljax.comparison import captions, claim_lines, wording
from dljax.comparison.canvas import picture
from dljax.comparison.claim_pictures import effects, win_rates
from dljax.comparison.latex import latex
from dljax.comparison.markdown import markdown
from dljax.comparison.page import page
from dljax.comparison.pictures import learning_curves, sensitivity
from dljax.comparison.statistics import Comparison, jsonable
from dljax.comparison.trial_pictures import budget, has_budget, profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "table", "write"]


def table(summary: Mapping[str, Any]) -> Group:
    """Lays out the results of a comparison for a terminal of 80 columns or more.

    Args:
      summary: `Comparison.summary`.

    Returns:
      A table with a row per optimizer in the order of the summary, one with a row per claim (per
      resolved claim where they are many), and lines that say what was compared, what the
      intervals cover, on which device and with which evidence.
    """
    title = f"{summary['problem']['name']}: {wording.counted(summary)}"
    # more do not fit 80 columns
    most_metrics = 1 if wording.costs_differ(summary) else 2
    parts = [laid(wording.columns(summary, most_metrics), title)]
    claims = summary.get("claims") or []
    if shown := claim_lines.shown(claims):
        parts += ["", laid(claim_lines.columns(shown, summary))]
    if left := claim_lines.unresolved_line(summary):
        parts.append(left)
    lines = [
        wording.subject(summary),
        *captions.notes(summary),
        *captions.family(summary),
        f"Evidence: {wording.evidence(summary)}.",
        claim_lines.identity_line(summary),
        wording.machine(summary),
    ]
    return Group(*parts, "", Text("\n".join(filter(None, lines))))


def laid(columns: list[wording.Column], title: str = "") -> Table:
    """Lays out columns of cells for a terminal."""
    rows = Table(
        title=Text(title) if title else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in columns:
        how = {"justify": column.justify, "no_wrap": column.justify == "right"}
        rows.add_column(Text(column.header), overflow="fold", **how)
    for row in zip(*(column.cells for column in columns), strict=True):
        rows.add_row(*(Text(cell) for cell in row))
    return rows


def write(comparison: Comparison, folder: str | Path) -> list[str]:
    """Writes results.csv, summary.json, claims.csv, report.html, report.md, table.tex and pictures.

    A picture is a PNG, an SVG and a PDF; see `drawn` for which there are. A failed or interrupted
    write leaves nothing half-written behind.

    Args:
      comparison: What `compare` returned.
      folder: Where the files go; an earlier report there is replaced.

    Returns:
      The names of the files.

    Raises:
      ValueError: If a folder has the name of a file.
    """
    return all_or_nothing(folder, partial(_produce, comparison))


def all_or_nothing(folder: str | Path, produce: Callable[[Path], None]) -> list[str]:
    """Produces files in a folder `.<name>.partial`, and moves them when the last is complete.

    Args:
      folder: Where the files go.
      produce: Writes every file into an empty folder.

    Returns:
      The names of the files.

    Raises:
      ValueError: If a folder has the name of a file.
    """
    folder = Path(folder).resolve()
    begun = _partial(folder)
    shutil.rmtree(begun, ignore_errors=True)  # of a run that was killed
    begun.mkdir(parents=True)
    try:
        produce(begun)
        names = sorted(file.name for file in begun.iterdir())
        for name in names:
            if (folder / name).is_dir():
                raise ValueError(f"{folder / name} must be a file, got a folder.")
        if folder.exists():
            for file in begun.iterdir():
                os.replace(file, folder / file.name)
            begun.rmdir()
        else:
            begun.rename(folder)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise
    return names


def _partial(folder: Path) -> Path:
    """Returns the folder for unfinished files, on the file system of `folder`.

    It lies beside `folder`, or inside it where `folder` exists: that may be a mounted disk,
    to which no file of its parent can be moved.
    """
    place = folder if os.path.isdir(folder) else folder.parent
    return place / f".{folder.name}.partial"


def _produce(comparison: Comparison, folder: Path) -> None:
    """Writes every file of a report into an empty folder."""
    summary = jsonable(comparison.summary)
    comparison.results.to_csv(folder / "results.csv", index=False, lineterminator="\n")
    text = json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    if rows := claim_lines.rows(summary):
        pd.DataFrame(rows).to_csv(folder / "claims.csv", index=False, lineterminator="\n")
    vectors = {}
    for name, draw in drawn(comparison).items():
        figure = draw(comparison)
        for kind in ("png", "pdf", "svg"):
            (folder / f"{name}.{kind}").write_bytes(picture(figure, kind))
        vectors[name] = (folder / f"{name}.svg").read_bytes()
    (folder / "report.html").write_text(page(summary, vectors), encoding="utf-8")
    (folder / "report.md").write_text(markdown(summary, vectors), encoding="utf-8")
    (folder / "table.tex").write_text(latex(summary), encoding="utf-8")


def drawn(comparison: Comparison) -> dict[str, Callable[[Comparison], "Figure"]]:
    """Returns the pictures that there is something to draw in, by name, in the order of the page.

    The learning curves are drawn once more over the cost where steps of different optimizers cost
    different amounts.
    """
    summary, found = comparison.summary, {"learning_curves": learning_curves}
    if wording.costs_differ(summary):
        found["learning_curves_by_cost"] = partial(learning_curves, against="cost")
    if summary.get("claims"):
        found |= {"effects": effects, "win_rates": win_rates}
    found |= {"profile": profile, "sensitivity": sensitivity}
    return found | ({"budget": budget} if has_budget(comparison) else {})
