"""The paragraph of a paper that states the method, made from the summary of a comparison alone."""

from collections.abc import Iterator

from dljax.comparison.claim_lines import identity_line
from dljax.comparison.wording import Summary, percent, ranges, target, units, words

SEARCHES = {
    "grid": "a grid",
    "random": "a random search",
    "sobol": "a Sobol sequence of points",
    "zoom": "a grid that was refined around its best point",
}
PARTS = {"train": "training", "valid": "validation"}
ORDERS = {
    "reshuffle": "reshuffled every epoch",
    "once": "in one order that every epoch repeats",
    "replacement": "drawn with replacement",
}
TESTS = {
    "sign-flip test": "the exact sign-flip test of the mean paired difference",
    "sign test": "the exact sign test, in which a diverged run loses",
    "e-values of t and signs": "the mean of e-values of the paired t statistic and of the signs, "
    "which hold at every look at the seeds",
    "Welch's test": "Welch's t test",
    "Mann-Whitney test": "Mann and Whitney's test, in which a diverged run ranks last",
}


def method(summary: Summary) -> str:
    """Returns a paragraph that states the method; what the summary does not say is left out."""
    parts = (_problem, _tuning, _evaluation, _tests, _intervals, _computation, _declaration)
    return " ".join(sentence for part in parts for sentence in part(summary))


def _problem(summary: Summary) -> Iterator[str]:
    problem, settings, entries = (summary[name] for name in ("problem", "settings", "optimizers"))
    own = (None, "dljax")
    names = [
        entry["name"] + (f" (as in {entry['dialect']})" if entry.get("dialect") not in own else "")
        for entry in entries
    ]
    sizes = []
    if problem["num_rows"] is not None:
        rows = [f"{n:,} {PARTS.get(part, part)}" for part, n in problem["num_rows"].items()]
        sizes.append(f"{joined(rows)} rows")
    if problem["num_parameters"] is not None:
        sizes.append(f"{problem['num_parameters']:,} parameters")
    size = f" ({'; '.join(sizes)})" if sizes else ""
    yield (
        f"We compared {joined(names)} on {problem['name']}{size} by the test "
        f"{words(problem['metric'])} after {settings['num_steps']:,} {units(summary)}, "
        f"where {'higher' if problem['goal'] == 'max' else 'lower'} is better."
    )
    if settings.get("batch_size") and problem["num_rows"] is not None:
        order = ORDERS.get(settings.get("order"))
        yield f"Batches held {settings['batch_size']} rows{', ' + order if order else ''}."
    if problem["target"] is not None:
        yield f"The target was {target(problem)}; a run that missed it was censored."


def _tuning(summary: Summary) -> Iterator[str]:
    settings, entries = summary["settings"], summary["optimizers"]
    if not settings.get("tuning_seeds") or not any(entry["argument"] for entry in entries):
        return
    search = settings.get("search") or {}
    trials = search.get("trials") or {e["name"]: len(e["tuning"]["points"]) for e in entries}
    counts = sorted(set(trials.values()))
    number = f"{counts[0]} trials for each optimizer"
    if len(counts) > 1:
        number = joined([f"{count} trials for {name}" for name, count in trials.items()])
    found = SEARCHES.get(search.get("method", "grid"), search.get("method"))
    tuned = {name: None for entry in entries for name in entry["argument"]}  # in order, once
    yield f"We tuned {joined(list(tuned))} by {found}, with {number}."
    if widened := [name for name, times in (search.get("widened") or {}).items() if times]:
        yield f"While the best lay on its edge, the grid was widened for {joined(widened)}."
    seeds = settings["tuning_seeds"]
    plural = "s" if len(seeds) > 1 else ""
    metric = words(entries[0]["tuning"]["metric"])
    yield (
        f"A trial was run at the {len(seeds)} tuning seed{plural} {ranges(seeds)}, and the trial "
        f"with the best median final {metric} was chosen, a diverged run counting as the worst."
    )


def _evaluation(summary: Summary) -> Iterator[str]:
    settings, claims = summary["settings"], summary.get("claims") or []
    seeds = settings["evaluation_seeds"]
    tuned = settings.get("tuning_seeds")
    fresh = ", none of which had tuned" if tuned and not set(tuned) & set(seeds) else ""
    yield f"Every optimizer was then run at the {len(seeds)} seeds {ranges(seeds)}{fresh}."
    if adaptive := settings.get("adaptive"):
        yield f"The seeds were added {adaptive['batch']} at a time, {adaptive['most']} at the most."
    if all(claim["paired"] for claim in claims) and summary.get("environment"):
        yield (
            "At one seed all optimizers began at the same parameters and drew the same "
            f"{'batches' if summary['problem']['num_rows'] else 'noise'}, so that runs were paired "
            "by their seeds."
        )
    elif claims and not any(claim["paired"] for claim in claims):
        yield "The runs were not paired by their seeds."


def _tests(summary: Summary) -> Iterator[str]:
    claims, family = summary.get("claims") or [], summary.get("family") or {}
    if not claims or not family:
        return
    used = {claim["test"]: None for claim in claims}
    tests = joined([TESTS.get(name, name) for name in used], "or")
    number = f"{family['size']} test{'s' if family['size'] > 1 else ''}"
    yield f"We compared {family['what']} ({number}) by {tests}."
    yield (
        f"Two-sided p were adjusted by the method of {family['correction']} over this family to an "
        f"error of {family['alpha']:g}."
    )
    if any(claim["scale"] == "log ratio" for claim in claims):
        yield (
            "The difference is that of the logarithms of the losses, each less the least value "
            "there is."
        )
    if any(claim["p_equivalent"] is not None for claim in claims):
        margin = (summary.get("question") or {}).get("margin")
        size = "one standard deviation over seeds, pooled over the two optimizers of a pair"
        if margin:
            points = percent(summary["problem"]["metric"])
            size = f"{100 * margin:.4g} points" if points else f"{margin:.4g}"
        tests = "two one-sided t tests"
        if any(claim["test"].startswith("e-value") for claim in claims):
            tests = "two one-sided e-values"
        yield (
            f"Two optimizers were called equivalent where {tests}, adjusted over all pairs "
            f"likewise, found the difference smaller than {size}."
        )


def _intervals(summary: Summary) -> Iterator[str]:
    if len(summary["settings"]["evaluation_seeds"]) < 2:
        return
    told, claims = "Means are given with 95 % Student-t intervals", summary.get("claims") or []
    family = summary.get("family") or {}
    if not claims or not family:
        yield f"{told}."
        return
    level = f"{100 * (1 - family['alpha']):g} %"
    won = any(claim["wins"]["low"] is not None for claim in claims)
    looked = any(claim["test"].startswith("e-value") for claim in claims)
    kind = "intervals that hold at all looks" if looked else "such intervals"
    rates = ", and rates of wins with Wilson's 95 % intervals" if won else ""
    yield f"{told}, differences with {kind} of {level}, not adjusted over the pairs{rates}."


def _computation(summary: Summary) -> Iterator[str]:
    environment = summary.get("environment")
    if not environment:
        return
    precision = (summary.get("fingerprint") or {}).get("precision")
    versions = [f"{name} {environment[name]}" for name in ("dljax", "jax", "jaxlib")]
    count = environment["num_devices"]
    device = (
        f"{environment['device']}" if count == 1 else f"{count} devices {environment['device']}"
    )
    yield (
        f"All runs were computed with {joined([*versions, 'Python ' + environment['python']])} on "
        f"{device}{f', at matrix precision {precision}' if precision else ''}."
    )


def _declaration(summary: Summary) -> Iterator[str]:
    if summary["evidence"] == "confirmatory":
        when = (summary.get("declaration") or {}).get("time")
        yield (
            "The question, the seeds and the settings were declared before the first run"
            f"{f', at {when}' if when else ''}."
        )
    elif summary["evidence"] == "exploratory":
        yield "The comparison is exploratory."
    if told := identity_line(summary):
        yield f"Identified by {told}."


def joined(parts: list[str], last: str = "and") -> str:
    """Returns parts as a list in prose: `a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"
