"""The words of the claims: a sentence for each pair, the columns of their table, their rows."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from dljax.comparison.wording import (
    MINUS,
    Column,
    Summary,
    decimals,
    evidence,
    p_text,
    percent,
    signed,
    words,
)

Claim = Mapping[str, Any]

NUM_PROBLEMS = 1  # of one comparison
MOST_CLAIMS = 6  # in a terminal, before those that are unresolved are only counted
SIGNS = {"max": "+", "min": MINUS}  # of an effect that favours the first of a pair


def claim_line(claim: Claim, summary: Summary) -> str:
    """Returns one sentence: what may be said of a pair, and on what it rests.

    An unresolved pair is never said to be alike: the sentence counts the seeds that would find a
    difference of the margin instead.
    """
    parts = [
        f"{phrase(claim, summary)}: {_measured(claim, summary)}",
        f"wins {_wins(claim, ' %')}",
        f"adjusted p {p_text(claim['adjusted_p'])} ({_tested(claim)})",
        f"{seeds(claim)} seeds" + ("" if claim["paired"] else ", unpaired"),
        f"{NUM_PROBLEMS} problem",
    ]
    if any(claim["diverged"]):
        lost = ", ".join(
            f"{count} of {total} runs of {name} diverged"
            for name, count, total in zip(
                (claim["a"], claim["b"]), claim["diverged"], claim["num_seeds"], strict=True
            )
            if count
        )
        parts.append(lost)
    if claim["verdict"] == "equivalent":
        parts.append(f"adjusted p of equivalence {p_text(claim['p_equivalent'])}")
    if claim["verdict"] == "unresolved" and claim["further_seeds"] is not None:
        parts.append(_further(claim, summary))
    return "; ".join(parts)


def phrase(claim: Claim, summary: Summary) -> str:
    """Returns the verdict: `adam is better than sgd`, `adam, sgd: unresolved`."""
    a, b, verdict = claim["a"], claim["b"], claim["verdict"]
    if verdict in ("better", "worse"):
        return f"{a} is {verdict} than {b}"
    if verdict == "equivalent":
        return f"{a}, {b}: equivalent within {''.join(_margin(claim, summary))}"
    return f"{a}, {b}: unresolved"


def shown(claims: Iterable[Claim]) -> list[Claim]:
    """Returns the claims for a terminal: all if they are few, else those that are resolved."""
    claims = list(claims)
    if len(claims) <= MOST_CLAIMS:
        return claims
    return [claim for claim in claims if claim["verdict"] != "unresolved"]


def columns(claims: Iterable[Claim], summary: Summary) -> list[Column]:
    """Returns the columns that fit a terminal: verdict, effect, wins, adjusted p, further seeds."""
    claims = list(claims)
    told = [
        Column("claim", [phrase(claim, summary) for claim in claims], "left"),
        Column(_effect_header(summary), [effect(c, summary) for c in claims], "right"),
        Column("wins of the\nfirst, %", [_wins(claim, "") for claim in claims], "right"),
        Column("adjusted\np", [p_text(claim["adjusted_p"]) for claim in claims], "right"),
    ]
    if any(claim["verdict"] == "unresolved" for claim in claims):
        told.append(Column("further\nseeds", [_further_cell(claim) for claim in claims], "right"))
    return told


def all_columns(summary: Summary) -> list[Column]:
    """Returns the columns for a page: those of the terminal, the tests, and what identifies all."""
    claims = summary.get("claims") or []
    lost = [f"{a}, {b}" for a, b in (claim["diverged"] for claim in claims)]
    told = " ".join(value or "—" for value in identity(summary).values())
    more = [
        Column("margin", [_margin(claim, summary)[0] for claim in claims], "right"),
        Column("seeds", [seeds(claim) for claim in claims], "right"),
        Column("prob-\nlems", [str(NUM_PROBLEMS)] * len(claims), "right"),
    ]
    if any(any(claim["diverged"]) for claim in claims):
        more.append(Column("diverged", lost, "right"))
    if any(claim["verdict"] == "equivalent" for claim in claims):
        cells = [p_text(claim["p_equivalent"]) for claim in claims]
        more.append(Column("adjusted p,\nequivalence", cells, "right"))
    both = [f"{p_text(claim['p'])} ({p_text(claim['smallest_p'])})" for claim in claims]
    more.append(Column("p (smallest\npossible)", both, "right"))
    more.append(Column("test", [claim["test"] for claim in claims], "left"))
    more.append(Column("protocol,\nfingerprint,\ndeclaration", [told] * len(claims), "left"))
    return [*columns(claims, summary), *more]


def identity(summary: Summary) -> dict[str, str | None]:
    """Returns the protocol, and the digests of what was run and of what was declared before."""
    return {
        "protocol": summary.get("protocol"),
        "fingerprint": (summary.get("fingerprint") or {}).get("id"),
        "declaration": (summary.get("declaration") or {}).get("id"),
    }


def identity_line(summary: Summary) -> str:
    """Returns the identity as one line, "" if nothing is known."""
    return ", ".join(f"{name} {value}" for name, value in identity(summary).items() if value)


def unresolved_line(summary: Summary) -> str:
    """Returns the count of the claims that `shown` leaves out, "" if it leaves out none."""
    claims = list(summary.get("claims") or [])
    left = len(claims) - len(shown(claims))
    if not left:
        return ""
    hint = " Fewer questions (a baseline) or more seeds resolve more."
    return f"{left} of {len(claims)} pairs are unresolved; report.html has them.{hint}"


def rows(summary: Summary) -> list[dict[str, Any]]:
    """Returns a flat dict for each claim, complete without the others: a line of claims.csv."""
    problem, family = summary["problem"], summary.get("family") or {}
    told = []
    for claim in summary.get("claims") or []:
        flat = {"sentence": claim_line(claim, summary), "problem": problem["name"]}
        flat |= {"num_problems": NUM_PROBLEMS, "metric": f"test_{problem['metric']}"}
        flat |= {"goal": problem["goal"]}
        for name, value in claim.items():
            flat |= _flat(name, value)
        flat |= {f"family_{name}": value for name, value in family.items()}
        flat |= {"evidence": summary["evidence"], "evidence_told": evidence(summary)}
        told.append(flat | identity(summary))
    return told


def _flat(name: str, value: Any) -> dict[str, Any]:
    if name in ("effect", "wins"):
        value = value or dict.fromkeys(("mean", "low", "high"))
        return {f"{name}_{part}": value[part] for part in ("mean", "low", "high")}
    if name in ("num_seeds", "diverged"):
        return {f"{name}_a": value[0], f"{name}_b": value[1]}
    return {name: value}


def effect(claim: Claim, summary: Summary) -> str:
    """Returns the effect and its interval in the unit of `unit`, or why there is none."""
    if claim["effect"] is None:
        return "a run diverged" if any(claim["diverged"]) else "one seed"
    scale = unit(claim, summary)[0]
    mean, low, high = bounds(claim, scale)
    half = (high - low) / 2 if math.isfinite(high - low) else abs(mean)
    digits = decimals(mean, half, at_least=2 if scale == 100 else 0)
    text = f"{signed(mean, digits)} [{signed(low, digits)}, {signed(high, digits)}]"
    return f"ln {text}" if claim["scale"] == "log ratio" else text


def bounds(claim: Claim, scale: float) -> tuple[float, float, float]:
    """Returns mean, low and high of an effect; an interval may have no end on a side."""
    told = claim["effect"]
    low, high = (math.inf if told[end] is None else told[end] for end in ("low", "high"))
    return scale * told["mean"], scale * (-low if told["low"] is None else low), scale * high


def unit(claim: Claim, summary: Summary) -> tuple[float, str]:
    """Returns what a number of an effect is multiplied with to be shown, and its unit."""
    if claim["scale"] == "difference" and percent(summary["problem"]["metric"]):
        return 100.0, " points"
    return 1.0, ""


def _measured(claim: Claim, summary: Summary) -> str:
    name = f"test {words(summary['problem']['metric'])}"
    if claim["effect"] is None:
        return f"no mean difference in {name}, as {effect(claim, summary)}"
    side = f"{SIGNS[summary['problem']['goal']]} favours {claim['a']}"
    if claim["scale"] == "log ratio":
        name = f"log ratio of the {name} above its least"
    return f"{name} {effect(claim, summary).removeprefix('ln ')}{unit(claim, summary)[1]} ({side})"


def _effect_header(summary: Summary) -> str:
    metric, goal = summary["problem"]["metric"], summary["problem"]["goal"]
    points = ", points" if percent(metric) else ""
    return f"test {words(metric)}{points}\n({SIGNS[goal]} favours the first)"


def _margin(claim: Claim, summary: Summary) -> tuple[str, str]:
    """Returns the margin of a claim as it is shown, and its unit."""
    if not claim["margin"]:
        return "—", ""
    scale, name = unit(claim, summary)
    return f"{scale * claim['margin']:.3g}", name


def _further_cell(claim: Claim) -> str:
    if claim["verdict"] != "unresolved":
        return ""
    return "—" if claim["further_seeds"] is None else f"{claim['further_seeds']:,}"


def _further(claim: Claim, summary: Summary) -> str:
    count, size = claim["further_seeds"], "".join(_margin(claim, summary))
    found = f"would find a difference of {size} with power {power(summary)}"
    if not count:
        return f"these seeds {found}"
    return f"{count:,} further seed{'s' if count > 1 else ''} {found}"


def power(summary: Summary) -> str:
    return f"{100 * (summary.get('question') or {}).get('power', 0.8):g} %"


def _tested(claim: Claim) -> str:
    least = claim["smallest_p"]
    possible = "" if least is None else f", smallest possible {p_text(least)}"
    return f"{claim['test']}, p {p_text(claim['p'])}{possible}"


def _wins(claim: Claim, sign: str) -> str:
    rate = claim["wins"]
    text = f"{100 * rate['mean']:.0f}{sign}"
    return (
        text
        if rate["low"] is None
        else f"{text} [{100 * rate['low']:.0f}, {100 * rate['high']:.0f}]"
    )


def seeds(claim: Claim) -> str:
    """Returns the number of seeds of both, or of each where they are not the same."""
    a, b = claim["num_seeds"]
    return str(a) if claim["paired"] else f"{a} and {b}"
