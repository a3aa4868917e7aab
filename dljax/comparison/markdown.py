"""The report as Markdown, with the pictures beside it."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from dljax.comparison import captions, claim_lines, details, wording
from dljax.comparison.method import method
from dljax.comparison.wording import Column, Summary


def markdown(summary: Summary, pictures: Iterable[str]) -> str:
    """Returns report.md: results, claims, pictures, details, method and settings.

    Args:
      summary: `Comparison.summary`.
      pictures: Names of the pictures, each with a caption, in the order of the page.
    """
    return "\n\n".join(_parts(summary, pictures)) + "\n"


def escaped(text: str) -> str:
    """Returns text as Markdown that shows it, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _parts(summary: Summary, pictures: Iterable[str]) -> Iterator[str]:
    yield f"# {escaped(wording.title(summary))}"
    yield escaped(wording.subject(summary)) + "."
    yield f"These results are {escaped(wording.evidence(summary))}."
    yield table(wording.columns(summary))
    yield bullets(captions.notes(summary))
    if summary.get("claims"):
        yield "## Claims"
        yield table(claim_lines.all_columns(summary))
        yield bullets(captions.family(summary))
        yield bullets(claim_lines.claim_line(claim, summary) for claim in summary["claims"])
    yield "## Pictures"
    for name in pictures:
        lead, caption = captions.PICTURES[name]
        yield f"![{escaped(lead)}]({name}.png)"
        yield f"**{escaped(lead)}** {escaped(caption)}"
    for heading, (columns, told) in details.tables(summary).items():
        yield f"## {heading}"
        yield table(columns)
        yield escaped(told)
    yield "## Method"
    yield escaped(method(summary))
    yield "## How to read this"
    yield from map(escaped, captions.reading(summary))
    for heading, values in wording.tables(summary).items():
        yield f"## {heading}"
        yield bullets(f"{wording.words(name)}: {wording.value(v)}" for name, v in values.items())


def table(columns: list[Column]) -> str:
    """Returns columns of cells as a table."""
    rows = zip(*(column.cells for column in columns), strict=True)
    head = [escaped(column.header.replace("-\n", "")) for column in columns]
    lines = [head, ["---:" if column.justify == "right" else "---" for column in columns]]
    lines += [[escaped(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullets(texts: Iterable[Any]) -> str:
    """Returns texts as a list."""
    return "\n".join(f"- {escaped(text)}" for text in texts)
