"""The report as one page: no script, no network, readable on a desk, a phone and paper."""

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

from dljax.comparison import wording

_CAPTIONS = {
    "learning_curves": (
        "Learning curves of the test metrics.",
        "A line is the mean over the evaluation seeds at the chosen value, its band the 95 % "
        "interval of that mean. A line ends in a cross where a run diverged. An axis of accuracy "
        "is stretched towards 100 %; an axis of loss is cut at 1.5 times the initial loss.",
    ),
    "sensitivity": (
        "What the tuned value does.",
        "A dot is the median validation metric over the tuning seeds after the last step; its "
        "whiskers reach to the worst and the best seed. A ring marks the chosen value, a cross a "
        "value at which at least one seed diverged. A wide optimum needs less tuning than a "
        "narrow one.",
    ),
}
_CAPTIONS["learning_curves_by_cost"] = (
    "The same curves over what they cost.",
    "The unit is the gradient of one batch; a method that multiplies vectors with a matrix of "
    "curvature, or evaluates the loss on its way, pays for that. The axis is linear up to the "
    "first evaluation and logarithmic beyond.",
)
_READING = (
    "Rows are in the order they were asked for, not ranked. At one seed all optimizers have the "
    "same start and the same batches.",
    "An interval tells how far a mean may move if the runs are repeated with other seeds. "
    "Intervals that overlap do not show that two optimizers are equal, and intervals that do not "
    "overlap say nothing about another problem, another horizon or another grid.",
    "The tuning seeds are not among the evaluation seeds, and the test metrics took no part in "
    "the choice of a value.",
)
_STYLE = """
:root { color-scheme: light }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 62rem; background: #fff;
  color: #222; font: 1rem/1.55 "Charter", "Bitstream Charter", "Iowan Old Style", Georgia, serif }
h1 { margin: 0; font-size: 1.9rem; font-weight: 500; line-height: 1.2 }
h2 { margin: 2.75rem 0 .6rem; font-size: 1.2rem; font-weight: 600 }
p, li { max-width: 42rem } p { margin: .5rem 0 } ul { margin: .8rem 0; padding-left: 1.1rem }
.lead { color: #555 } .wide { overflow-x: auto; margin: 1.2rem 0 .8rem }
table { border-collapse: collapse; font-size: .94rem; font-variant-numeric: tabular-nums }
th { font-weight: 600; vertical-align: bottom; white-space: pre-line }
th, td { padding: .34rem 1.5rem .34rem 0; text-align: left }
td { white-space: nowrap; border-top: 1px solid #e6e6e6 } thead th { border-bottom: 1px solid #888 }
.right { text-align: right } th:last-child, td:last-child { padding-right: 0 }
.small, .small li, figcaption { color: #444; font-size: .9rem; line-height: 1.5 }
figure { margin: 2.5rem 0 0 } figcaption { max-width: 42rem; margin-top: .5rem }
img { display: block; width: 100%; min-width: 38rem; height: auto }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.5rem; margin: .5rem 0;
  font-size: .94rem }
dt { color: #666 } dd { margin: 0; overflow-wrap: anywhere }
@media print { body { max-width: none; padding: 0; font-size: 10pt } h2 { break-after: avoid }
  figure, tr { break-inside: avoid } .wide { overflow: visible } img { min-width: 0 }
  th, td { padding-right: .8rem } }
"""


def page(summary: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Returns the whole report as HTML.

    Args:
      summary: `Comparison.summary`.
      pictures: SVG files by name, each with a caption here.
    """
    problem, seconds = summary["problem"], summary["seconds"]
    title = f"{wording.counted(summary)} on {problem['name']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        paragraph(wording.subject(summary) + ".", "lead"),
        paragraph(f"These results are {wording.evidence(summary)}."),
        _table(summary),
        _list(wording.notes(summary)[:-1]),  # the last one, the evidence, stands above
        *(figure(*_CAPTIONS[name], picture) for name, picture in pictures.items()),
        "<h2>How to read this</h2>",
        *(paragraph(text) for text in _READING),
        "<h2>Settings</h2>",
        definitions(
            {"decided by": wording.words(f"valid_{problem['metric']}")} | summary["settings"]
        ),
        "<h2>Environment</h2>",
        definitions({**summary["environment"], **{f"seconds, {n}": s for n, s in seconds.items()}}),
        paragraph("The numbers behind this page: results.csv and summary.json beside it.", "small"),
    ]
    return document(title, body)


def document(title: str, body: list[str]) -> str:
    """Returns parts of a page, ready as HTML, as a page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _table(summary: Mapping[str, Any]) -> str:
    """Returns the table of results, the same cells as in the terminal."""
    return table(wording.columns(summary))


def table(columns: list[wording.Column]) -> str:
    """Returns columns of cells as a table."""
    head = "".join(
        f'<th scope="col" class="{column.justify}">{escape(column.header)}</th>'
        for column in columns
    )
    rows = zip(*(column.cells for column in columns), strict=True)
    justify = [column.justify for column in columns]
    lines = "\n".join(
        "<tr>"
        + "".join(f'<td class="{how}">{escape(cell)}</td>' for how, cell in zip(justify, row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{lines}\n</tbody>\n</table></div>"
    )


def figure(lead: str, caption: str, picture: bytes) -> str:
    """Returns an SVG that is part of the page, with its caption."""
    data = base64.b64encode(picture).decode("ascii")
    return (
        f'<figure><div class="wide"><img alt="{escape(lead)}" '
        f'src="data:image/svg+xml;base64,{data}"></div>\n'
        f"<figcaption><strong>{escape(lead)}</strong> {escape(caption)}</figcaption></figure>"
    )


def paragraph(text: str, kind: str = "text") -> str:
    """Returns text as a paragraph."""
    return f'<p class="{kind}">{escape(text)}</p>'


def _list(texts: list[str]) -> str:
    """Returns texts as a list."""
    items = "\n".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="small">\n{items}\n</ul>'


def definitions(values: Mapping[str, Any]) -> str:
    """Returns names and values side by side; a list of seeds is shortened."""
    lines = [
        f"<dt>{escape(wording.words(name))}</dt><dd>{escape(_value(value))}</dd>"
        for name, value in values.items()
    ]
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"


def _value(value: Any) -> str:
    """Returns a setting as text."""
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        return wording.ranges(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
