"""The report of a study: its axes, its measures over the seeds, and how they went."""

import itertools
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dljax.axes import length
from dljax.comparison.canvas import canvas, legend, look, picture, styled
from dljax.comparison.page import definitions, document, figure, paragraph, table
from dljax.comparison.statistics import mean_interval
from dljax.comparison.wording import Column, words
from dljax.named import Study
from dljax.store import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEED = "seed"  # the axis that is averaged over
MOST_ROWS, MOST_LINES, MOST_PANELS = 500, 14, 4
COUNTERS = ("step", "cost", "solve_flops", "diverged_at", "stopped_at", "best_step")  # no measures


class Measure(NamedTuple):
    """A measure at every evaluation: float[configurations, seeds, E]."""

    name: str
    values: np.ndarray


def write_report(study: Study, title: str, folder: Path) -> list[str]:
    """Writes report.html, and the learning curves as PNG and SVG where there are few lines.

    Args:
      study: With results in a dict; those that are floats of one evaluation or more are shown.
      title: Of the page.
      folder: Where to.

    Returns:
      The names of the files.
    """
    labels, measures = _configurations(study), _measures(study)
    pictures, parts = {}, []
    if measures and len(labels) <= MOST_LINES and measures[0].values.shape[-1] > 1:
        drawn = _curves(study, title, labels, measures[:MOST_PANELS])
        pictures = {f"curves.{kind}": picture(drawn, kind) for kind in ("png", "svg")}
        caption = (
            "A line is the mean over the seeds, its band the 95 % Student-t interval of that mean; "
            "it ends where a run diverged."
        )
        parts.append(figure("Learning curves.", caption, pictures["curves.svg"]))
    axes = {name: f"{length(v)} values: {_short(v)}" for name, v in study.axes.items()}
    body = [
        f"<h1>{escape(title)}</h1>",
        paragraph(f"{np.prod([length(v) for v in study.axes.values()]):,} members."),
        table(_columns(labels, measures)) if measures and len(labels) <= MOST_ROWS else "",
        paragraph(
            "Last evaluation: the mean over the seeds ± half of its 95 % t interval.", "small"
        ),
        *parts,
        "<h2>Axes</h2>",
        definitions(axes),
        paragraph("The numbers behind this page: results.csv beside it.", "small"),
    ]
    pictures["report.html"] = document(title, body).encode()
    for name, content in pictures.items():
        files.write(folder / name, content)
    return sorted(pictures)


def _configurations(study: Study) -> list[str]:
    """Names every combination of the axes but the seeds."""
    named = [
        [f"{name} {_value(values, i)}" for i in range(length(values))]
        for name, values in study.axes.items()
        if name != SEED
    ]
    return [", ".join(parts) or "all" for parts in itertools.product(*named)]


def _measures(study: Study) -> list[Measure]:
    if not isinstance(study.results, dict):
        return []
    ndim, found = len(study.axes), []
    for name, x in study.results.items():
        if name in COUNTERS or not isinstance(x, np.ndarray) or x.dtype.kind != "f":
            continue
        if x.ndim in (ndim, ndim + 1):
            x = x[..., None] if x.ndim == ndim else x
            names = list(study.axes)
            x = np.moveaxis(x, names.index(SEED), -2) if SEED in names else x[..., None, :]
            found.append(Measure(name, x.reshape(-1, *x.shape[-2:])))
    return found


def _columns(labels: list[str], measures: list[Measure]) -> list[Column]:
    columns = [Column("configuration", labels, "left")]
    for measure in measures:
        cells = [_mean(values[:, -1]) for values in measure.values]
        columns.append(Column(words(measure.name), cells, "right"))
    return columns


def _mean(values: np.ndarray) -> str:
    diverged = np.sum(~np.isfinite(values))
    if diverged:
        return f"diverged: {diverged} of {values.size}"
    if values.size == 1:
        return f"{values[0]:.4g}"
    mean, low, high = mean_interval(values)
    return f"{mean:.4g} ± {(high - low) / 2:.2g}"


def _curves(study, title, labels, measures) -> "Figure":
    with styled():
        drawn = canvas(title, [4.0] * len(measures), [3.4])
        for axes, (name, values) in zip(drawn.axes, measures, strict=True):
            steps = _steps(study, values.shape[-1])
            for i, runs in enumerate(values):
                line = np.array([mean_interval(x) if len(x) > 1 else (x[0],) * 3 for x in runs.T])
                axes.plot(steps, line[:, 0], **look(i))
                axes.fill_between(steps, line[:, 1], line[:, 2], color=look(i)["color"], alpha=0.15)
            axes.set(xlabel="step" if "step" in study.results else "evaluation", ylabel=words(name))
        legend(drawn, labels)
    return drawn


def _steps(study: Study, count: int) -> np.ndarray:
    steps = study.results.get("step")
    is_axis = steps is not None and steps.shape[-1] == count
    return steps.reshape(-1, count).max(axis=0) if is_axis else np.arange(count)


def _value(values: Any, i: int) -> str:
    if isinstance(values, dict):
        return " ".join(f"{name} {_value(part, i)}" for name, part in values.items())
    return f"{values[i]:.4g}" if isinstance(values, np.ndarray) else str(values[i])


def _short(values: Any) -> str:
    shown = [_value(values, i) for i in range(min(6, length(values)))]
    return ", ".join(shown) + (", …" if length(values) > 6 else "")
