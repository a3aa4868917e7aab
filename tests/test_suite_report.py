"""The report over several problems: its files, its table, its notes; and how a suite is run."""

import json
import re

import pandas as pd
import pytest
from rich.console import Console
from suites import FROZEN, suite_of

from dljax.comparison import suite, suite_lines, suite_report
from dljax.comparison.across import SuiteComparison, across
from dljax.comparison.suite import compare_suite


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("suite"), suite_of(3)
    told = SuiteComparison(across(found, FROZEN, num_draws=20), found)
    with pytest.MonkeyPatch.context() as patch:  # one kind of file takes a third of the time
        draw = suite_report.picture
        quick = lambda figure, kind: draw(figure, kind) if kind == "svg" else b""  # noqa: E731
        patch.setattr(suite_report, "picture", quick)
        return folder, told, suite_report.write(told, folder)


def test_the_report_stands_alone_and_links_to_the_page_of_every_problem(written):
    folder, told, names = written
    assert {"report.html", "suite.md", "suite.csv", "suite.json", "suite.tex"} < set(names)
    for name in ("iqm", "score_profile", "ranks", "win_rates", "time_profile"):
        assert {f"{name}.png", f"{name}.svg", f"{name}.pdf"} < set(names)
    html = (folder / "report.html").read_text()
    assert re.findall(r'href="([^"]*)"', html) == [f"p{i}/report.html" for i in range(3)]
    assert not re.search(r'src="(?!data:)', html)
    assert json.loads((folder / "suite.json").read_text()) == told.summary
    rows = pd.read_csv(folder / "suite.csv")
    assert len(rows.drop_duplicates(["problem", "optimizer"])) == len(rows) == 9
    assert (folder / "suite.tex").read_text().count(r"\begin{tabular}") == 4


def test_the_table_fits_80_columns_and_states_the_family(written, capsys):
    _, told, _ = written
    Console(width=80).print(suite_report.table(told.summary))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    text = " ".join(out.split())
    assert "every pair over 3 problems, 3 tests" in text
    assert "Too few problems: with 3" in text


def test_a_target_that_all_meet_at_once_is_called_vacuous():
    found = suite_of(2) | {"easy": suite_of(1, target=1.99)["p0"]}
    for one in found.values():
        one.summary["settings"]["num_steps"] = 1000  # of which 25 are less than a twentieth
    told = across(found, FROZEN, num_draws=20)
    (note,) = (text for text in suite_lines.notes(told) if text.startswith("Vacuous"))
    assert "tell little: easy." in note


def test_of_one_seed_there_are_ranks_but_no_scores():
    told = across(suite_of(2, num_seeds=1), FROZEN, num_draws=20)
    assert told["scores"] is None
    assert told["left_out"]["scores"] == dict.fromkeys(("p0", "p1"), "there is one seed")
    assert told["claims"][0]["wins"] is None
    assert suite_lines.claim_columns(told)[-1].header == "adjusted\np"


def test_problems_that_were_not_written_down_first_make_the_evidence_exploratory(tmp_path):
    out = tmp_path / "suite"
    assert suite.declared(out, ["a", "b"]) == []
    assert suite.declared(out, ["a", "b"]) == []
    assert suite.declared(out, ["a", "c"]) == [
        "c was not declared first",
        "b was declared first and left out",
    ]
    (tmp_path / "late" / "a").mkdir(parents=True)
    (tmp_path / "late" / "a" / "declaration.json").write_text("{}")
    for _ in range(2):
        assert suite.declared(tmp_path / "late", ["a", "b"]) == [
            "a had run before the list of problems was written down"
        ]
    told = across(suite_of(2), FROZEN, ["c was not declared first"], num_draws=20)
    assert told["evidence"] == "exploratory"
    assert told["because"][0] == "c was not declared first"


def test_a_suite_is_run_problem_by_problem_each_in_its_folder(tmp_path, monkeypatch):
    found, asked = suite_of(2), []

    def compare(problem, optimizers, **how):
        asked.append((problem, optimizers, how))
        return found[f"p{len(asked) - 1}"]

    monkeypatch.setattr(suite, "compare", compare)
    monkeypatch.setattr(suite_report, "write", lambda *_: None)
    sources = {"beale": {"problem": "beale"}}
    told = compare_suite(
        ["quadratic", "beale"], ["sgd"], out=tmp_path, sources=sources, reference={}, seeds=5
    )
    assert list(told.comparisons) == ["quadratic", "beale"]
    assert asked == [
        ("quadratic", ["sgd"], {"out": tmp_path / "quadratic", "source": None, "seeds": 5}),
        ("beale", ["sgd"], {"out": tmp_path / "beale", "source": sources["beale"], "seeds": 5}),
    ]
    with pytest.raises(ValueError, match="names of their own, got 'beale' twice"):
        compare_suite(["beale", "beale"])
    with pytest.raises(ValueError, match="2 problems or more, got 1"):
        compare_suite(["beale"])
    with pytest.raises(ValueError, match=r"must be a dljax.Problem or a name, got int"):
        compare_suite(["beale", 3])
