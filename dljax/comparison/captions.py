"""What stands under the tables and the pictures of a report: what a reader must know of them."""

from typing import Any

from dljax.comparison.claim_lines import NUM_PROBLEMS, SIGNS, power
from dljax.comparison.wording import Summary, costs_differ, p_text, ranges, target, words

PICTURES = {
    "learning_curves": (
        "Learning curves of the test metrics.",
        "A line is the mean over the evaluation seeds at the chosen value, its band the 95 % "
        "interval of that mean. A line ends in a cross where a run diverged. An axis of accuracy "
        "is stretched towards 100 %; an axis of loss is cut at 1.5 times the initial loss.",
    ),
    "learning_curves_by_cost": (
        "The same curves over what they cost.",
        "The unit is the gradient of one batch; a method that multiplies vectors with a matrix of "
        "curvature, or evaluates the loss on its way, pays for that. The axis is linear up to the "
        "first evaluation and logarithmic beyond.",
    ),
    "effects": (
        "Differences of every pair, with their intervals.",
        "A row is a claim: the mean over the seeds of the first less the second, with its "
        "interval. The gray bar is the margin. Filled: the adjusted test finds a difference; "
        "square: the adjusted tests find the two equivalent within the margin; hollow: unresolved, "
        "which does not mean alike. Intervals are of single pairs, not adjusted, so that one "
        "without 0 may be unresolved.",
    ),
    "win_rates": (
        "How often one beats the other.",
        "The number is the share of the seeds, in percent, at which the optimizer of the row ends "
        "better than that of the column; two runs that tie, or both diverge, count one half. Bold: "
        "the adjusted test finds a difference. A blank pair was not asked about.",
    ),
    "profile": (
        "All evaluation runs, not their means.",
        "The share of the runs of an optimizer that ended at a test metric as good as the axis "
        "says, or better. A run that diverged is never among them: such a line stays below 100 %. "
        "Where one line is above another throughout, its optimizer is better in every quantile.",
    ),
    "sensitivity": (
        "What the tuned value does.",
        "A dot is the median validation metric over the tuning seeds after the last step; its "
        "whiskers reach to the worst and the best seed. A ring marks the chosen value, a cross a "
        "value at which at least one seed diverged. A wide optimum needs less tuning than a "
        "narrow one.",
    ),
    "budget": (
        "What a smaller budget of tuning would have given.",
        "The validation metric that is expected of the best of n trials, over all choices of n "
        "of those that were run. Beyond half of them, faint, few choices are left, and the last "
        "is one only. Of a grid these are parts of that grid, not of a random search: another "
        "range gives another curve. A line begins where no choice of n trials has all diverged.",
    ),
}


def reading(summary: Summary) -> list[str]:
    """Returns how a report is read, a paragraph each."""
    told = [
        "Rows are in the order they were asked for, not ranked.",
        "An interval tells how far a mean may move if the runs are repeated with other seeds. "
        "Intervals of two means that overlap do not show that two optimizers are equal, and those "
        "that do not overlap say nothing about another problem, another horizon or another grid.",
    ]
    if summary.get("environment") is None:  # runs of others: how they were made is not known
        return told
    told[0] += " At one seed all optimizers have the same start and the same batches."
    return [
        *told,
        "The tuning seeds are not among the evaluation seeds, and the test metrics took no part in "
        "the choice of a value.",
    ]


def notes(summary: Summary) -> list[str]:
    """Returns what a reader of the table of results must know, one sentence or two each."""
    problem, settings = summary["problem"], summary["settings"]
    covered = "initial weights and batch order; the split of the data is fixed"
    if problem["num_rows"] is None:
        covered = "what a seed draws: the start and any noise"
    if summary.get("environment") is None:
        covered = "what differs from run to run"
    num_runs = len(settings["evaluation_seeds"])
    told = [
        _tuned(summary),
        f"±: half of the 95 % Student-t interval of a mean over {num_runs} runs. It covers "
        f"{covered}."
        if num_runs > 1
        else "One evaluation run: there is no interval.",
    ]
    if problem["target"] is not None:
        told.append(
            f"Target: {target(problem)}; median first step over all runs (runs that met it)."
        )
    if costs_differ(summary):
        told.append(
            "Gradients a step: a loss counts 1/3, a gradient 1, a product of a vector with a "
            "matrix of curvature 2; time spent on linear algebra is not counted."
        )
    if any(entry["diverged"] for entry in summary["optimizers"]):
        told.append("—: a run diverged, so there is no mean; a mean of the others would flatter.")
    return [*told, *_search(summary)]


def _tuned(summary: Summary) -> str:
    settings, entries = summary["settings"], summary["optimizers"]
    told = "Nothing was tuned; evaluated on the seeds "
    if any(entry["argument"] for entry in entries):
        is_fresh = not set(settings["tuning_seeds"]) & set(settings["evaluation_seeds"])
        told = (
            f"Tuned on seeds {ranges(settings['tuning_seeds'])} by the median final "
            f"{words(entries[0]['tuning']['metric'])}; evaluated on the "
            f"{'fresh ' if is_fresh else ''}seeds "
        )
    if any(entry["argument"] == ["learning_rate"] for entry in entries):
        told = f"Tuned value: of the learning rate, or as named. {told}"
    return f"{told}{ranges(settings['evaluation_seeds'])}."


def _search(summary: Summary) -> list[str]:
    """Returns how values and seeds were looked for, where it was not one grid and one number."""
    settings, told = summary["settings"], []
    search, adaptive = settings.get("search") or {}, settings.get("adaptive")
    if search.get("method", "grid") != "grid":
        told.append(f"Values were searched by the method {search['method']}.")
    if widened := {name: times for name, times in (search.get("widened") or {}).items() if times}:
        counts = ", ".join(f"{name} {times} times" for name, times in widened.items())
        told.append(f"The grid was widened while the best lay on its edge: {counts}.")
    if adaptive:
        told.append(
            f"Seeds were added {adaptive['batch']} at a time, {adaptive['most']} at the most."
        )
    trials = {e["name"]: len(e["tuning"]["points"]) for e in summary["optimizers"]}
    if len(set(trials.values())) > 1:
        counts = ", ".join(f"{name} {number}" for name, number in trials.items())
        told.append(f"Not the same number of trials: {counts}; more trials flatter.")
    if any(entry["edge"] for entry in summary["optimizers"]):
        told.append(
            "◂ or ▸: on the edge of the grid, the smallest or largest value tried; a better may "
            "lie outside; extend the grid."
        )
    return told


def family(summary: Summary) -> list[str]:
    """Returns what the claims are together, how an effect is read, and how few seeds bound p."""
    claims, family = summary.get("claims") or [], summary.get("family")
    if not claims or not family:
        return []
    problem, size, alpha = summary["problem"], family["size"], family["alpha"]
    tests = f"{size} test{'s' if size > 1 else ''}"
    told = [
        f"Claims: {family['what']}, {tests} on {NUM_PROBLEMS} problem, adjusted by "
        f"{family['correction']} to an error of {alpha:g} over all differences, and over all "
        "equivalences. An effect is the first "
        f"less the second in test {words(problem['metric'])}, {SIGNS[problem['goal']]} favours "
        f"the first, with its {100 * (1 - alpha):g} % interval. Wins: the share of the seeds at "
        "which the first ends better, with its 95 % interval. A run that diverged loses.",
        *_logarithms(claims),
    ]
    if any(claim["verdict"] == "unresolved" for claim in claims):
        told.append(
            "Unresolved does not mean alike. Further seeds: those that would find a difference of "
            f"the margin with power {power(summary)}, in one test."
        )
    bounds = [claim["smallest_p"] for claim in claims]
    if None not in bounds and (least := min(1.0, size * min(bounds))) > alpha:
        told.append(
            f"Too few seeds: with {tests} no adjusted p can be below {p_text(least)}, so that no "
            "difference can be found."
        )
    return told


def _logarithms(claims: list[dict[str, Any]]) -> list[str]:
    if not any(claim["scale"] == "log ratio" for claim in claims):
        return []
    return ["ln: the logarithm of the ratio of two losses, each less the least there is."]
