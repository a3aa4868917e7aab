"""The tables of a comparison for LaTeX, in the form of booktabs."""

import re
from collections.abc import Mapping

from dljax.comparison import claim_lines, wording
from dljax.comparison.captions import family
from dljax.comparison.wording import MINUS, Column, Summary

HEAD = "% needs \\usepackage{booktabs}, and \\usepackage{graphicx} for \\resizebox\n"
_ESCAPES: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    MINUS: "$-$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "<": "$<$",
    ">": "$>$",
    "|": r"$|$",
    "—": "---",
    "…": r"\ldots{}",
    "∞": r"$\infty$",
    "[": "{[}",  # at the start of a row it would be an argument of the end of the last
    "*": "{*}",
    "◂": r"$\triangleleft$",
    "▸": r"$\triangleright$",
}


def latex(summary: Summary) -> str:
    """Returns a file with the table of results and, where there are claims, a table of them."""
    told = HEAD + _results(summary)
    return told + ("\n" + _claims(summary) if summary.get("claims") else "")


def escaped(text: str) -> str:
    """Returns text as LaTeX that prints it, on one line."""
    line = " ".join(text.split())
    return re.sub(".", lambda found: _ESCAPES.get(found[0], found[0]), line)


def outstanding(summary: Summary) -> set[str]:
    """Returns the optimizers that an adjusted test finds better than each of the others: 0 or 1."""
    better = {entry["name"]: set() for entry in summary["optimizers"]}
    for claim in summary.get("claims") or []:
        if claim["verdict"] == "better":
            better[claim["a"]].add(claim["b"])
        elif claim["verdict"] == "worse":
            better[claim["b"]].add(claim["a"])
    others = len(better) - 1
    return {name for name, beaten in better.items() if others and len(beaten) == others}


def _results(summary: Summary) -> str:
    columns = wording.columns(summary)
    metric, best = wording.metrics(summary)[0], outstanding(summary)
    decisive = next(c.header for c in columns if c.header.startswith(f"test\n{metric}"))
    rows = [
        [
            rf"\textbf{{{escaped(cell)}}}"
            if name in best and column.header in ("optimizer", decisive)
            else escaped(cell)
            for column, cell in zip(columns, cells, strict=True)
        ]
        for name, *cells in zip(
            columns[0].cells, *(column.cells for column in columns), strict=True
        )
    ]
    problem = summary["problem"]
    caption = [f"{wording.subject(summary)}.", _mean_note(summary), _bold_note(summary)]
    return table(columns, rows, caption, f"tab:{label_of(problem['name'])}")


def _claims(summary: Summary) -> str:
    claims = summary["claims"]
    columns = claim_lines.columns(claims, summary)
    columns.append(Column("seeds", [claim_lines.seeds(claim) for claim in claims], "right"))
    rows = [
        [escaped(cell) for cell in row]
        for row in zip(*(column.cells for column in columns), strict=True)
    ]
    caption = [*family(summary), f"Evidence: {wording.evidence(summary)}."]
    if told := claim_lines.identity_line(summary):
        caption.append(f"Identified by {told}.")
    return table(columns, rows, caption, f"tab:{label_of(summary['problem']['name'])}-claims")


def _mean_note(summary: Summary) -> str:
    lost = any(entry["diverged"] for entry in summary["optimizers"])
    told = f"Mean over {len(summary['settings']['evaluation_seeds'])} seeds ± half of the 95 % "
    return told + "Student-t interval" + ("; —: a run diverged." if lost else ".")


def _bold_note(summary: Summary) -> str:
    """Returns what bold says, "" where nothing was tested."""
    told = summary.get("family")
    if not told or not summary.get("claims"):
        return ""
    rule = "better than each of the others by the adjusted tests"
    how = f"({told['correction']}, {told['size']} tests, error {told['alpha']:g})"
    if not outstanding(summary):
        return f"Nothing is bold, as no optimizer is {rule} {how}."
    return f"Bold: {rule} {how}."


def table(columns: list[Column], rows: list[list[str]], caption: list[str], label: str) -> str:
    """Returns a floating table; one that is wider than the line is made smaller."""
    justify = "".join(column.justify[0] for column in columns)
    head = [escaped(column.header.replace("-\n", "")) for column in columns]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(' '.join(filter(None, caption)))}}}",
        rf"\label{{{label}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{justify}@{{}}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def label_of(name: str) -> str:
    """Returns a name as a part of a label."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
