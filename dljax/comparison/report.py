"""What a comparison leaves behind: a table for the terminal and a folder of files."""

import json
import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from dljax.comparison import wording
from dljax.comparison.canvas import picture
from dljax.comparison.page import page
from dljax.comparison.pictures import learning_curves, sensitivity
from dljax.comparison.statistics import Comparison, jsonable

__all__ = ["Comparison", "table", "write"]


def table(summary: Mapping[str, Any]) -> Table:
    """Lays out the results of a comparison for a terminal of 80 columns or more.

    Args:
      summary: `Comparison.summary`.

    Returns:
      One row per optimizer in the order of the summary, and a caption that says what was
      compared, what the intervals cover, on which device and with which evidence.
    """
    lines = [wording.subject(summary), *wording.notes(summary), wording.machine(summary)]
    laid = Table(
        title=Text(f"{summary['problem']['name']}: {wording.counted(summary)}"),
        title_justify="left",
        title_style="bold",
        caption=Text("\n".join(["", *lines])),
        caption_justify="left",
        caption_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    # more do not fit 80 columns
    columns = wording.columns(summary, most_metrics=1 if wording.costs_differ(summary) else 2)
    for column in columns:
        laid.add_column(Text(column.header), justify=column.justify, overflow="fold")
    for row in zip(*(column.cells for column in columns), strict=True):
        laid.add_row(*(Text(cell) for cell in row))
    return laid


def write(comparison: Comparison, folder: str | Path) -> list[str]:
    """Writes results.csv, summary.json, pictures (PNG and SVG) and report.html.

    The learning curves are drawn over the steps and, where steps of different optimizers cost
    different amounts, once more over what they cost.

    All files are produced in a folder `.<name>.partial` first and moved when the last one is
    complete, so that a failed or interrupted write leaves nothing half-written behind.

    Args:
      comparison: What `compare` returned.
      folder: Where the files go; an earlier report there is replaced.

    Returns:
      The names of the files.

    Raises:
      ValueError: If a folder has the name of a file.
    """
    folder = Path(folder).resolve()
    partial = _partial(folder)
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir(parents=True)
    try:
        _produce(comparison, partial)
        names = sorted(file.name for file in partial.iterdir())
        for name in names:
            if (folder / name).is_dir():
                raise ValueError(f"{folder / name} must be a file, got a folder.")
        if folder.exists():
            for file in partial.iterdir():
                os.replace(file, folder / file.name)
            partial.rmdir()
        else:
            partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
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
    drawn = {"learning_curves": learning_curves, "sensitivity": sensitivity}
    if wording.costs_differ(summary):
        drawn["learning_curves_by_cost"] = partial(learning_curves, against="cost")
    vectors = {}
    for name, draw in drawn.items():
        figure = draw(comparison)
        vectors[name] = picture(figure, "svg")
        (folder / f"{name}.svg").write_bytes(vectors[name])
        (folder / f"{name}.png").write_bytes(picture(figure, "png"))
    (folder / "report.html").write_text(page(summary, vectors), encoding="utf-8")
