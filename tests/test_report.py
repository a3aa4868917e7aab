"""The report is complete, readable and written all or nothing."""

import io
import json
import re
from html.parser import HTMLParser

import comparisons
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from dljax.comparison import report, wording

FILES = [
    *("learning_curves.png", "learning_curves.svg", "report.html", "results.csv"),
    *("sensitivity.png", "sensitivity.svg", "summary.json"),
]


digits = pytest.fixture(comparisons.digits, scope="module")


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    return report.write(digits, tmp_path_factory.mktemp("report") / "a" / "digits")


def printed(summary, width=80):
    """What a terminal of `width` columns shows."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(report.table(summary))
    return console.file.getvalue()


def told(summary):
    """The same on one line, as a caption breaks where the table ends."""
    return " ".join(printed(summary).split())


def row_of(summary, name):
    return next(line for line in printed(summary).splitlines() if line.startswith(name)).split()


def changed(summary, index, **entry):
    """The summary with another entry of one optimizer."""
    entries = list(summary["optimizers"])
    entries[index] = {**entries[index], **entry}
    return {**summary, "optimizers": entries}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_table_fits_80_columns_and_shows_every_number(digits):
    text = printed(digits.summary)
    assert max(map(len, text.splitlines())) <= 80
    for column in wording.columns(digits.summary):
        for entry, cell in zip(digits.summary["optimizers"], column.cells, strict=True):
            line = next(line for line in text.splitlines() if line.startswith(entry["name"]))
            assert cell in line


def test_the_table_gives_the_mean_and_half_of_its_interval(digits):
    entry = digits.summary["optimizers"][0]
    accuracy, loss = entry["test"]["accuracy"], entry["test"]["loss"]
    row = " ".join(row_of(digits.summary, "sgd"))
    assert (
        f"{100 * accuracy['mean']:.2f} ± {100 * (accuracy['high'] - accuracy['mean']):.2f}" in row
    )
    assert f"{loss['mean']:.4f} ± {loss['high'] - loss['mean']:.4f}" in row


def test_an_optimizer_that_diverged_has_a_count_and_no_mean(digits):
    entry = digits.summary["optimizers"][5]
    assert entry["test"]["accuracy"]["mean"] is None
    row = row_of(digits.summary, "rmsprop")
    assert row.count("—") == 2
    assert row[-1] == "2/10"
    assert "a mean of the others would flatter" in told(digits.summary)


def test_a_value_on_the_edge_of_the_grid_is_marked_and_explained(digits):
    assert digits.summary["optimizers"][3]["edge"] == "high"
    assert "10 edge ▸" in printed(digits.summary)
    assert "◂ edge 10" in printed(changed(digits.summary, 3, edge="low"))
    assert "extend the grid" in told(digits.summary)
    assert "edge" not in printed(changed(digits.summary, 3, edge=""))


def test_a_target_that_most_runs_miss_has_no_median_step(digits):
    missed = {"median": None, "hits": 3, "num_runs": 10}
    assert "> 600 (3/10)" in printed(changed(digits.summary, 0, steps_to_target=missed))
    assert "240 (10/10)" in printed(digits.summary)


def test_the_caption_says_what_was_compared_where_and_with_which_evidence(digits):
    text = told(digits.summary)
    for expected in (
        "1,079 train, 359 valid, 359 test rows; 26,122 parameters; 600 steps",
        "validation accuracy ≥ 95 %",
        "It covers initial weights and batch order; the split of the data is fixed.",
        "Evidence: exploratory",
        "dljax 0.1.0, jax 0.10.2, jaxlib 0.10.2, Python 3.11.7; 2 devices: cpu",
    ):
        assert expected in text


def test_a_problem_without_accuracy_or_target_has_no_such_column():
    summary = comparisons.rosenbrock().summary
    assert "steps to\ntarget" in [column.header for column in wording.columns(summary)]
    summary = {**summary, "problem": {**summary["problem"], "target": None}}
    headers = [column.header for column in wording.columns(summary)]
    assert headers == ["optimizer", "learning_rate\nor as named", "test\nloss", "diverged"]
    assert "±" in printed(summary)


def test_several_tuned_arguments_are_named(digits):
    tuned = {"argument": ["learning_rate", "beta"], "value": [0.1, 0.9]}
    assert "learning_rate 0.1, beta 0.9" in printed(changed(digits.summary, 0, **tuned), 120)


@pytest.mark.parametrize(
    ("mean", "half", "cell"),
    [
        (0.1234, 0.0067, "0.1234 ± 0.0067"),
        (12.5, 3.0, "12.50 ± 3.00"),
        (3.21e-12, 4.5e-13, "3.21e-12 ± 4.5e-13"),
        (1.5e7, 2e5, "1.50e+07 ± 2.0e+05"),
        (0.0, 0.0, "0.00 ± 0.00"),
        (0.5, 0.3, "0.50 ± 0.30"),
        (0.5, None, "0.5000"),
    ],
)
def test_means_are_rounded_to_what_their_interval_supports(digits, mean, half, cell):
    low, high = (None, None) if half is None else (mean - half, mean + half)
    stats = {"mean": mean, "low": low, "high": high, "num_runs": 10}
    summary = {**digits.summary, "optimizers": digits.summary["optimizers"][:1]}
    column = wording.columns(changed(summary, 0, test={"loss": stats}))[2]
    assert column.cells == [cell]


def test_a_name_is_never_read_as_markup(digits):
    summary = changed(digits.summary, 0, name="[red]<b>")
    assert "[red]<b>" in printed(summary)
    assert "&lt;b&gt;" in report.page(summary, {})


@pytest.mark.parametrize(
    ("seeds", "text"), [([0, 1, 2], "0 to 2"), ([0, 1], "0, 1"), ([5, 7, 8, 9], "5, 7 to 9")]
)
def test_seeds_in_a_row_are_shortened(seeds, text):
    assert wording.ranges(seeds) == text


def test_a_report_is_seven_files_and_nothing_else(folder):
    assert names_in(folder) == FILES
    assert names_in(folder.parent) == ["digits"]


def test_results_and_summary_are_read_back_as_written(folder, digits):
    results = pd.read_csv(folder / "results.csv")
    pd.testing.assert_frame_equal(results, digits.results, check_dtype=False)
    text = (folder / "summary.json").read_text(encoding="utf-8")
    assert json.loads(text) == digits.summary
    assert not re.search(r"\b(NaN|Infinity)\b", text)


def test_the_page_stands_alone_and_its_tags_are_balanced(folder):
    html = (folder / "report.html").read_text(encoding="utf-8")
    open_tags, sources = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            sources.extend(value for name, value in attrs if name in ("src", "href"))
            if tag not in ("meta", "img"):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Reader().feed(html)
    assert open_tags == []
    assert len(sources) == 2
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not re.search(r"https?:|<script|@import|url\(", html)


def test_the_page_tells_what_the_terminal_tells(folder, digits):
    html = (folder / "report.html").read_text(encoding="utf-8")
    for column in wording.columns(digits.summary):
        assert all(f">{cell}</td>" in html for cell in column.cells)
    assert "These results are exploratory: nothing was declared before the runs" in html
    for heading in ("How to read this", "Settings", "Environment"):
        assert f"<h2>{heading}</h2>" in html


def test_a_second_report_replaces_the_first_and_leaves_other_files(digits, folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "summary.json").write_text("old")
    partial = folder / ".digits.partial"
    partial.mkdir()  # as a killed run leaves it
    (partial / "results.csv").write_text("half")
    before = {name: (folder / name).read_bytes() for name in FILES}
    report.write(digits, folder)
    after = {name: (folder / name).read_bytes() for name in FILES}
    assert names_in(folder) == sorted([*FILES, "notes.txt"])
    assert [name for name in FILES if before[name] != after[name]] == ["summary.json"]
    (folder / "notes.txt").unlink()


@pytest.mark.parametrize("existing", [True, False])
def test_an_interrupted_write_leaves_what_was_there(digits, tmp_path, monkeypatch, existing):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "learning_curves", interrupt)
    target = tmp_path / "out"
    if existing:
        target.mkdir()
        (target / "summary.json").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        report.write(digits, target)
    assert names_in(tmp_path) == (["out"] if existing else [])
    if existing:
        assert names_in(target) == ["summary.json"]
        assert (target / "summary.json").read_text() == "old"


def test_a_number_that_json_cannot_hold_is_written_as_null(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "picture", lambda figure, kind: b"")
    summary = {**digits.summary, "seconds": {"compile": np.nan, "run": 1.0, "total": np.float64(2)}}
    report.write(digits._replace(summary=summary), tmp_path)
    written = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert written["seconds"] == {"compile": None, "run": 1.0, "total": 2.0}


def test_preparing_a_folder_leaves_nothing_behind(tmp_path):
    report.prepare(tmp_path / "a" / "b")
    report.prepare(tmp_path)
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("here first")
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(ValueError, match=r"^the folder must be writable, got ") as refused:
            report.prepare(place)
        assert "\n" not in str(refused.value)
    assert names_in(tmp_path) == ["file"]

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.tempfile, "TemporaryFile", full)
    with pytest.raises(ValueError, match="No space left on device"):
        report.prepare(tmp_path / "new")
    assert names_in(tmp_path) == ["file"]
