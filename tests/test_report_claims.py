"""The words of the claims: what was found, on what it rests, and never more than that."""

import csv
import io
import json
import re

import comparisons
import numpy as np
import pytest
from rich.console import Console

from dljax.comparison import captions, claim_lines, report
from dljax.comparison.claim_pictures import effects
from dljax.comparison.claims import Question, claims, family
from dljax.comparison.latex import escaped, latex, outstanding
from dljax.comparison.markdown import markdown
from dljax.comparison.method import method
from dljax.comparison.wording import MINUS

digits = pytest.fixture(comparisons.digits, scope="module")
rosenbrock = pytest.fixture(comparisons.rosenbrock, scope="module")


def asked(summary, finals, goal="max", question=Question(), **how):  # noqa: B008
    """The summary with the claims of other finals."""
    found = claims({k: np.array(v) for k, v in finals.items()}, goal, question, **how)
    told = {"claims": found, "family": family(list(finals), question)}
    problem = {**summary["problem"], "goal": goal}
    return {**summary, **told, "problem": problem, "question": question._asdict()}


def lines(summary):
    return [claim_lines.claim_line(claim, summary) for claim in summary["claims"]]


def printed(summary):
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(report.table(summary))
    return console.file.getvalue()


def told(summary):
    return " ".join(printed(summary).split())


GOOD, BAD = np.linspace(0.97, 0.975, 10), np.linspace(0.95, 0.953, 10)


def test_a_claim_says_effect_interval_wins_p_seeds_and_problems(digits):
    (line,) = lines(asked(digits.summary, {"adam": GOOD, "sgd": BAD}))
    assert line.startswith("adam is better than sgd: test accuracy +2.1")
    assert re.search(r"\+2\.\d+ \[\+2\.\d+, \+2\.\d+\] points \(\+ favours adam\)", line)
    assert "wins 100 % [" in line
    least = "p 0.00195, smallest possible 0.00195"  # 2 of 2^10 signs
    assert f"adjusted p 0.00195 (sign-flip test, {least}); 10 seeds; 1 problem" in line


def test_of_a_loss_the_lower_is_better_and_the_sign_is_said(digits):
    summary = asked(digits.summary, {"adam": BAD, "sgd": GOOD}, goal="min")
    summary["problem"]["metric"] = "loss"
    (line,) = lines(summary)
    assert line.startswith("adam is better than sgd: test loss \N{MINUS SIGN}0.02")
    assert "points" not in line
    assert "(\N{MINUS SIGN} favours adam)" in line


def test_unresolved_counts_the_seeds_and_never_says_alike(digits):
    noise = np.array([0.0, 1, -1, 2, -2, 1, -1, 0.5]) / 100
    question = Question(margin=0.005)
    summary = asked(digits.summary, {"a": 0.9 + noise, "b": 0.901 - noise}, question=question)
    (line,) = lines(summary)
    assert line.startswith("a, b: unresolved: ")
    more = summary["claims"][0]["further_seeds"]
    assert line.endswith(
        f"{more:,} further seeds would find a difference of 0.5 points with power 80 %"
    )
    everything = " ".join([line, told(summary), report.page(summary, {}), markdown(summary, [])])
    assert "no difference" not in everything
    assert "Unresolved does not mean alike." in told(summary)


def test_equivalent_names_the_margin_and_its_own_p(digits):
    same = {"a": GOOD, "b": GOOD[::-1] + 1e-5}
    (line,) = lines(asked(digits.summary, same, question=Question(margin=0.02)))
    assert line.startswith("a, b: equivalent within 2 points: test accuracy")
    assert "adjusted p of equivalence" in line


def test_a_diverged_run_leaves_no_mean_difference_and_is_counted(digits):
    lost = np.where(np.arange(10) < 2, np.nan, BAD)
    (line,) = lines(asked(digits.summary, {"adam": GOOD, "sgd": lost}))
    assert "no mean difference in test accuracy, as a run diverged" in line
    assert "sign test" in line
    assert line.endswith("2 of 10 runs of sgd diverged")


def test_unpaired_runs_are_called_so(digits):
    summary = asked(digits.summary, {"a": GOOD, "b": BAD[:7]}, paired=False)
    assert "10 and 7 seeds, unpaired" in lines(summary)[0]
    assert "Welch's test" in lines(summary)[0]


def test_a_ratio_of_losses_is_told_as_its_logarithm(digits):
    finals = {"a": np.linspace(1e-8, 2e-8, 8), "b": np.linspace(1e-3, 2e-3, 8)}
    summary = asked(digits.summary, finals, goal="min", optimum=0.0)
    summary["problem"]["metric"] = "loss"
    assert "log ratio of the test loss above its least \N{MINUS SIGN}11.5" in lines(summary)[0]
    assert "ln \N{MINUS SIGN}11.5" in printed(summary)
    assert "ln: the logarithm of the ratio of two losses" in told(summary)


def test_too_few_seeds_to_find_anything_are_said(digits):
    summary = asked(digits.summary, {"a": GOOD[:4], "b": BAD[:4]})
    assert "Too few seeds: with 1 test no adjusted p can be below 0.125" in told(summary)


def test_the_terminal_has_few_claims_all_and_of_many_the_resolved(digits):
    text = printed(digits.summary)
    assert max(map(len, text.splitlines())) <= 80
    unresolved = sum(c["verdict"] == "unresolved" for c in digits.summary["claims"])
    assert f"{unresolved} of 21 pairs are unresolved; report.html has them." in text
    assert ": unresolved" not in text
    few = printed(asked(digits.summary, {"a": GOOD, "b": GOOD[::-1]}))
    assert "a, b: unresolved" in few
    assert "report.html" not in few


def test_evidence_says_why_it_is_exploratory(digits):
    because = ["Seeds were added after a look at the results.", "one grid was widened"]
    text = told({**digits.summary, "evidence": "exploratory", "because": because})
    assert (
        "exploratory: Seeds were added after a look at the results; one grid was widened; "
        "the results suggest" in text
    )


def test_how_values_and_seeds_were_looked_for_is_said(digits):
    search = {"method": "sobol", "trials": {"sgd": 13}, "widened": {"sgd": 2, "adam": 0}}
    settings = {"search": search, "adaptive": {"batch": 5, "most": 100}}
    summary = {**digits.summary, "settings": {**digits.summary["settings"], **settings}}
    text = told(summary)
    assert "Values were searched by the method sobol." in text
    assert "The grid was widened while the best lay on its edge: sgd 2 times." in text
    assert "Seeds were added 5 at a time, 100 at the most." in text
    assert "a Sobol sequence" in method(summary)


def test_a_line_of_claims_csv_is_complete_alone(digits):
    rows = claim_lines.rows(digits.summary)
    assert len(rows) == 21
    for row, claim in zip(rows, digits.summary["claims"], strict=True):
        assert row["sentence"] == claim_lines.claim_line(claim, digits.summary)
        assert (row["protocol"], row["fingerprint"]) == ("dljax-1", "0f1e2d3c4b5a")
        assert (row["declaration"], row["evidence"]) == ("9a8b7c6d5e4f", "confirmatory")
        assert (row["num_problems"], row["num_seeds_a"], row["family_size"]) == (1, 10, 21)
        assert not any(isinstance(value, dict | list) for value in row.values())
    assert len({frozenset(row) for row in rows}) == 1


def test_the_method_says_what_was_done_and_leaves_out_what_is_not_known(digits):
    text = method(digits.summary)
    for part in (
        "26,122 parameters",
        "by the test accuracy after 600 steps, where higher is better",
        "13 trials for each optimizer",
        "the 3 tuning seeds 0 to 2",
        "the 10 seeds 3 to 12, none of which had tuned",
        "every pair (21 tests)",
        "the method of Holm",
        "one standard deviation over seeds",
        "with dljax 0.1.0, jax 0.10.2, jaxlib 0.10.2 and Python 3.11.7 on cpu, at matrix precision",
        "declared before the first run, at 2026-01-02",
    ):
        assert part in text
    without = {k: v for k, v in digits.summary.items() if k not in ("claims", "fingerprint")}
    assert "Holm" not in method(without)
    assert "None" not in method(without)


def test_markdown_has_every_claim_and_a_picture_with_its_caption(digits):
    text = markdown(digits.summary, ["effects"])
    assert "](effects.png)" in text
    assert captions.PICTURES["effects"][0] in text
    for claim in digits.summary["claims"]:
        assert f"- {claim_lines.claim_line(claim, digits.summary)}".replace("[", r"\[")[:30] in text
    widths = {}
    for line in text.splitlines():
        if line.startswith("| "):
            cells = len(re.findall(r"(?<!\\)\|", line))
            widths.setdefault(cells, 0)
            widths[cells] += 1
    assert sum(widths.values()) == 2 + 7 + 2 + 21 + 2 * (2 + 7)  # results, claims, tuning, targets
    assert set(widths.values()) == {2 + 7, 2 + 21}  # all rows of a table are as wide


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 % #1 {x}", r"a\_b \& 5 \% \#1 \{x\}"),
        ("\\input ~ ^", r"\textbackslash{}input \textasciitilde{} \textasciicircum{}"),
        ("1.0 ± 0.2", r"1.0 $\pm$ 0.2"),
        ("two\nlines", "two lines"),
    ],
)
def test_latex_prints_a_text_and_never_runs_it(text, expected):
    assert escaped(text) == expected


def test_latex_is_two_balanced_tables_of_booktabs(digits):
    names = ["my_sgd & co", "50%", "#3", "adadelta", "a\\b", "r{", "adam"]
    entries = [
        {**e, "name": name} for e, name in zip(digits.summary["optimizers"], names, strict=True)
    ]
    renamed = dict(zip([e["name"] for e in digits.summary["optimizers"]], names, strict=True))
    found = [{**c, "a": renamed[c["a"]], "b": renamed[c["b"]]} for c in digits.summary["claims"]]
    text = latex({**digits.summary, "optimizers": entries, "claims": found})
    assert text.startswith("% needs \\usepackage{booktabs}")
    assert text.isascii()
    bare = re.sub(r"\\[\\{}&%$#_]", "", text)
    depth = np.cumsum([{"{": 1, "}": -1}.get(sign, 0) for sign in bare])
    assert depth.min() >= 0
    assert depth[-1] == 0
    assert bare.count("$") % 2 == 0
    for rule in ("toprule", "midrule", "bottomrule", "begin{table}", "end{table}"):
        assert text.count(f"\\{rule}") == 2
    for part in bare.split("\\begin{tabular}")[1:]:
        columns = re.match(r"\{@\{\}(\w+)@\{\}\}", part)[1]
        rows = [line for line in part.splitlines() if " & " in line]
        assert {line.count(" & ") for line in rows} == {len(columns) - 1}


def test_bold_is_better_than_each_other_by_the_adjusted_test_or_nothing(digits, rosenbrock):
    assert outstanding(digits.summary) == {"adam"}
    text = latex(digits.summary)
    assert re.findall(r"\\textbf\{([^}]*)\}", text) == ["adam", r"97.80 $\pm$ 0.08"]
    assert "Bold: better than each of the others by the adjusted tests (Holm, 21 tests" in text
    level = [{**c, "verdict": "unresolved"} for c in digits.summary["claims"]]
    plain = latex({**digits.summary, "claims": level})
    assert "textbf" not in plain
    assert "Nothing is bold" in plain
    against = asked(digits.summary, {"sgd": BAD, "adam": GOOD}, question=Question(baseline="sgd"))
    assert outstanding(against) == set()  # there are seven in the table
    assert outstanding(rosenbrock.summary) == {"adam"}


def test_the_claims_are_read_back_from_csv_as_from_json(digits, tmp_path):
    file = io.StringIO()
    rows = claim_lines.rows(json.loads(json.dumps(digits.summary)))
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    read = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["verdict"] for row in read] == [c["verdict"] for c in digits.summary["claims"]]


def test_seeds_that_are_added_until_something_is_found_are_told_and_drawn(digits):
    finals = {"adam": GOOD, "sgd": BAD, "momentum": GOOD[::-1]}
    summary = asked(digits.summary, finals, looks=[5, 10])
    summary["optimizers"] = [
        entry for entry in digits.summary["optimizers"] if entry["name"] in finals
    ]
    endless = {"mean": 0.01, "low": None, "high": None}
    summary["claims"][0] = {**summary["claims"][0], "effect": endless, "margin": None}
    assert f"[{MINUS}∞, ∞]" in lines(summary)[0]
    assert "which hold at every look" in method(summary)
    effects(digits._replace(summary=summary)).draw_without_rendering()
    assert r"$\infty$" in latex(summary)
