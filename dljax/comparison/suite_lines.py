"""The words of a report over several problems: columns of its tables, claims, notes."""

from collections.abc import Mapping
from typing import Any

from dljax.comparison.statistics import Comparison
from dljax.comparison.wording import MINUS, Column, metrics, p_text, words
from dljax.comparison.wording import columns as columns_of_one

Summary = Mapping[str, Any]

SOON = 0.05  # of the steps; a target that is met so soon by all is vacuous


def title(summary: Summary) -> str:
    """Returns how many optimizers and problems there are."""
    return f"{len(summary['optimizers'])} optimizers on {len(summary['problems'])} problems"


def columns(summary: Summary) -> list[Column]:
    """Returns the columns of the optimizers, which fit a terminal."""
    scores, times = summary["scores"], summary["times"]
    ranks = [f"{rank:.2f}" for rank in summary["friedman"]["mean_ranks"]]
    table = [
        Column("optimizer", list(summary["optimizers"]), "left"),
        Column("mean\nrank", ranks, "right"),
    ]
    if scores is not None:
        table.append(Column("IQM of\nscores", [_bounds(x) for x in scores["iqm"]], "right"))
        gaps = [f"{x['mean']:.3f}" for x in scores["optimality_gap"]]
        table.append(Column("optimality\ngap", gaps, "right"))
    if times is not None:
        cells = [f"{100 * share:.0f}" for share in times["mean_share"]]
        table.append(Column("time\nprofile, %", cells, "right"))
    if summary["to_target"]:
        table.append(
            Column("targets\nmet", [_met(summary, n) for n in summary["optimizers"]], "right")
        )
    return table


def problem_columns(comparisons: Mapping[str, Comparison], names: list[str]) -> list[Column]:
    """Returns a row a problem: its measure, and the final test metric of every optimizer."""
    rows = list(comparisons.values())
    cells: dict[str, list[str]] = {name: [] for name in names}
    for one in rows:
        table = columns_of_one(one.summary, most_metrics=1)
        for name, cell in zip(table[0].cells, table[2].cells, strict=True):
            if name in cells:
                cells[name].append(cell)
    measures = []
    for one in rows:
        unit = ", %" if one.summary["problem"]["metric"].endswith("accuracy") else ""
        measures.append(f"test {words(metrics(one.summary)[0])}{unit}")
    return [
        Column("problem", list(comparisons), "left"),
        Column("measure", measures, "left"),
        *(Column(name, found, "right") for name, found in cells.items()),
    ]


def claim_columns(summary: Summary, claims: list[Mapping[str, Any]] | None = None) -> list[Column]:
    """Returns the columns of all claims or of some, a row a pair, which fit a terminal."""
    claims = summary["claims"] if claims is None else claims
    table = [
        Column("claim", [phrase(claim) for claim in claims], "left"),
        Column("adjusted\np", [p_text(claim["adjusted_p"]) for claim in claims], "right"),
    ]
    for name, header in (
        ("wins", "wins of the\nfirst, %"),
        ("improvement", "P(improve-\nment), %"),
    ):
        if any(claim[name] for claim in claims):
            table.append(Column(header, [_percent(claim[name]) for claim in claims], "right"))
    if summary["scores"] is not None:
        of_pair = zip(summary["claims"], summary["scores"]["differences"], strict=True)
        cells = [_signed(x) for claim, x in of_pair if claim in claims]
        table.append(Column("difference\nof IQM", cells, "right"))
    return table


def target_columns(summary: Summary) -> list[Column]:
    """Returns the columns of the steps to the targets, a row a problem and an optimizer."""
    rows = summary["to_target"]
    return [
        Column("problem", [row["problem"] for row in rows], "left"),
        Column("optimizer", [row["optimizer"] for row in rows], "left"),
        Column("median step", [_step(row) for row in rows], "right"),
        Column("restricted mean", [_span(row["restricted_mean"]) for row in rows], "right"),
        Column("runs that met it, %", [_percent(row["hits"]) for row in rows], "right"),
        Column(
            "expected\nrunning time",
            [_number(row["expected_running_time"], "never met") for row in rows],
            "right",
        ),
    ]


def phrase(claim: Mapping[str, Any]) -> str:
    """Returns the verdict of a pair."""
    if claim["verdict"] == "unresolved":
        return f"{claim['a']}, {claim['b']}: unresolved"
    return f"{claim['a']} is {claim['verdict']} than {claim['b']}"


def notes(summary: Summary) -> list[str]:
    """Returns what a reader of the tables must know, a sentence or two each."""
    family, ranked = summary["family"], summary["friedman"]
    level = f"{100 * (1 - family['alpha']):g} %"
    tests = f"{family['size']} test{'s' if family['size'] != 1 else ''}"
    told = [
        f"{summary['num_seeds']} evaluation seeds of each optimizer on every problem, the first "
        "where there are more.",
        "Mean rank: over the problems, of the median final test metric; 1 is best. Friedman's test "
        f"that all are alike: p {p_text(ranked['p'])}; of Iman and Davenport: "
        f"p {p_text(ranked['p_F'])}.",
        f"Claims: {family['what']} over {family['num_problems']} problems, {tests} by Wilcoxon's "
        "signed ranks of the medians, which are in units of the way from the start to the target, "
        "or of the start where there is no target of that metric; adjusted by "
        f"{family['correction']} to an error of {family['alpha']:g} over all claims of this page. "
        "Claims on single problems are families of their own, each on its page.",
    ]
    if summary["note"]:
        told.append(f"{summary['note'][0].upper()}{summary['note'][1:]}.")
    if (scores := summary["scores"]) is not None:
        told.append(
            "Score: the share of the way from the mean start to the target that a run went, cut at "
            f"0 and {scores['highest']:g}; a diverged run has 0. IQM: mean of the middle half of "
            f"all runs on {len(scores['problems'])} problems, with its {level} interval of a "
            "bootstrap that draws seeds in each problem, the same for all; not adjusted. "
            "Optimality gap: how far runs fall short of the target on average, 0 is best."
        )
    if (times := summary["times"]) is not None:
        told.append(
            "Time profile: the share of the problems whose target is met within a multiple of a "
            f"frozen reference time, averaged over the multiples from 1 to {times['longest']:g}; "
            "another optimizer in the comparison does not change it."
        )
    if vacuous := _vacuous(summary):
        told.append(
            f"Vacuous targets, which every optimizer meets within {100 * SOON:g} % of the steps "
            f"and which tell little: {', '.join(vacuous)}."
        )
    told += _left_out(summary)
    return [*told, f"Evidence: {evidence(summary)}."]


def evidence(summary: Summary) -> str:
    """Returns the kind of evidence, and why it is of that kind."""
    if not summary["because"]:
        return (
            f"{summary['evidence']}: every problem's comparison was declared before its first run"
        )
    return f"{summary['evidence']}: {'; '.join(r.rstrip('.') for r in summary['because'])}"


def _vacuous(summary: Summary) -> list[str]:
    """Returns the problems whose target half of the runs of every optimizer meet at once."""
    slow = {
        row["problem"]
        for row in summary["to_target"]
        if row["median"]["mean"] is None or row["median"]["mean"] > SOON * row["last"]
    }
    return [
        n for n in dict.fromkeys(row["problem"] for row in summary["to_target"]) if n not in slow
    ]


def _left_out(summary: Summary) -> list[str]:
    lost, told = summary["left_out"], []
    if lost["optimizers"]:
        told.append(f"Not on every problem, and left out: {', '.join(lost['optimizers'])}.")
    for what, name in (("scores", "the scores"), ("times", "the time profile")):
        reasons: dict[str, list[str]] = {}
        for problem, reason in lost[what].items():
            reasons.setdefault(reason, []).append(problem)
        told += [f"Left out of {name}: {', '.join(p)}; {reason}." for reason, p in reasons.items()]
    return told


def _met(summary: Summary, name: str) -> str:
    rows = [row for row in summary["to_target"] if row["optimizer"] == name]
    runs = sum(row["num_runs"] for row in rows)
    return f"{round(sum(row['hits']['mean'] * row['num_runs'] for row in rows))}/{runs}"


def _bounds(x: Mapping[str, float]) -> str:
    return f"{x['mean']:.3f} [{x['low']:.3f}, {x['high']:.3f}]"


def _signed(x: Mapping[str, float]) -> str:
    text = f"{x['mean']:+.3f} [{x['low']:+.3f}, {x['high']:+.3f}]"
    return text.replace("-", MINUS)


def _percent(x: Mapping[str, float] | None) -> str:
    if x is None:
        return "—"
    return f"{100 * x['mean']:.0f} [{100 * x['low']:.0f}, {100 * x['high']:.0f}]"


def _step(row: Mapping[str, Any]) -> str:
    beyond = f"> {row['last']:g}"
    low, mean, high = (_number(row["median"][k], beyond) for k in ("low", "mean", "high"))
    return f"{mean} [{low}, {high}]"


def _span(x: Mapping[str, float]) -> str:
    return f"{x['mean']:.4g} [{x['low']:.4g}, {x['high']:.4g}]"


def _number(x: float | None, missing: str) -> str:
    return missing if x is None else f"{x:.5g}"
