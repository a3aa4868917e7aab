"""The report as one page: no script, no network, readable on a desk, a phone and paper."""

import base64
import re
from collections.abc import Mapping
from html import escape
from typing import Any

from dljax.comparison import captions, claim_lines, details, wording
from dljax.comparison.method import method

_STYLE = """
:root { color-scheme: light }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 69rem; background: #fff;
  color: #222; font: 1rem/1.55 "Charter", "Bitstream Charter", "Iowan Old Style", Georgia, serif }
h1 { margin: 0; font-size: 1.9rem; font-weight: 500; line-height: 1.2 }
h2 { margin: 2.75rem 0 .6rem; font-size: 1.2rem; font-weight: 600 }
p, li { max-width: 42rem } p { margin: .5rem 0 } ul { margin: .8rem 0; padding-left: 1.1rem }
.lead { color: #555 } .wide { overflow-x: auto; margin: 1.2rem 0 .8rem }
table { border-collapse: collapse; font-size: .94rem; font-variant-numeric: tabular-nums }
th { font-weight: 600; vertical-align: bottom; white-space: pre }
th, td { padding: .34rem 1.5rem .34rem 0; text-align: left }
td { white-space: nowrap; border-top: 1px solid #e6e6e6 } thead th { border-bottom: 1px solid #888 }
.right { text-align: right } th:last-child, td:last-child { padding-right: 0 }
.small, .small li, figcaption { color: #444; font-size: .9rem; line-height: 1.5 }
figure { margin: 2.5rem 0 0 } figcaption { max-width: 42rem; margin-top: .5rem }
img { display: block; width: 100%; max-width: var(--wide); min-width: min(34rem, var(--wide));
  height: auto }
.claims { font-size: .84rem } .claims th, .claims td { padding-right: .85rem }
.claims td:last-child { white-space: normal; min-width: 6.5rem; font-size: .76rem;
  line-height: 1.3 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.5rem; margin: .5rem 0;
  font-size: .94rem }
dt { color: #666 } dd { margin: 0; overflow-wrap: anywhere }
@media (max-width: 45rem) { .claims td:first-child { white-space: normal; min-width: 7rem }
  .claims th:first-child, .claims td:first-child { position: sticky; left: 0; background: #fff } }
@media print { body { max-width: none; padding: 0; font-size: 10pt } h2 { break-after: avoid }
  figure, tr { break-inside: avoid } .wide { overflow: visible } figure { margin-top: 1.5rem }
  img { min-width: 0; max-width: min(100%, 0.85 * var(--wide)) } th, td { padding-right: .8rem }
  .claims { font-size: 7pt } .claims th, .claims td { padding: .2rem .5rem .2rem 0 }
  .claims td:last-child { min-width: 0; font-size: 6.5pt } }
"""


def page(summary: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Returns the whole report as HTML.

    Args:
      summary: `Comparison.summary`.
      pictures: SVG files by name, each with a caption here.
    """
    body = [
        f"<h1>{escape(wording.title(summary))}</h1>",
        paragraph(wording.subject(summary) + ".", "lead"),
        paragraph(f"These results are {wording.evidence(summary)}."),
        table(wording.columns(summary)),
        bullets(captions.notes(summary)),
    ]
    if summary.get("claims"):
        body += ["<h2>Claims</h2>", table(claim_lines.all_columns(summary), "claims")]
        body.append(bullets(captions.family(summary)))
    body += [figure(*captions.PICTURES[name], picture) for name, picture in pictures.items()]
    for heading, (columns, told) in details.tables(summary).items():
        body += [f"<h2>{heading}</h2>", table(columns), paragraph(told, "small")]
    body += ["<h2>Method</h2>", paragraph(method(summary))]
    body += ["<h2>How to read this</h2>", *(paragraph(text) for text in captions.reading(summary))]
    for heading, values in wording.tables(summary).items():
        body += [f"<h2>{heading}</h2>", definitions(values)]
    files = "results.csv, claims.csv" if summary.get("claims") else "results.csv"
    body.append(
        paragraph(
            f"The numbers behind this page: {files} and summary.json beside it; the same as text: "
            "report.md, and as tables for a paper: table.tex.",
            "small",
        )
    )
    return document(wording.title(summary), body)


def document(title: str, body: list[str]) -> str:
    """Returns parts of a page, ready as HTML, as a page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def table(columns: list[wording.Column], kind: str = "results") -> str:
    """Returns columns of cells as a table, in a box that scrolls where the page is narrow."""
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
        f'<div class="wide"><table class="{kind}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{lines}\n</tbody>\n</table></div>"
    )


def figure(lead: str, caption: str, picture: bytes) -> str:
    """Returns an SVG that is part of the page, with its caption."""
    data = base64.b64encode(picture).decode("ascii")
    points = float(re.search(rb'width="([\d.]+)pt"', picture)[1])
    return (
        f'<figure><div class="wide"><img alt="{escape(lead)}" style="--wide: {points:.0f}pt" '
        f'src="data:image/svg+xml;base64,{data}"></div>\n'
        f"<figcaption><strong>{escape(lead)}</strong> {escape(caption)}</figcaption></figure>"
    )


def paragraph(text: str, kind: str = "text") -> str:
    """Returns text as a paragraph."""
    return f'<p class="{kind}">{escape(text)}</p>'


def bullets(texts: list[str]) -> str:
    """Returns texts as a list."""
    items = "\n".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="small">\n{items}\n</ul>'


def definitions(values: Mapping[str, Any]) -> str:
    """Returns names and values side by side."""
    lines = [
        f"<dt>{escape(wording.words(name))}</dt><dd>{escape(wording.value(value))}</dd>"
        for name, value in values.items()
    ]
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"
