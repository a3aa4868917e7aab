"""A report is written all or nothing, and its page needs nothing else."""

import json
import re
from html import escape
from html.parser import HTMLParser

import comparisons
import numpy as np
import pandas as pd
import pytest

from dljax.comparison import claim_lines, report, wording
from dljax.store import files

PICTURES = ("budget", "effects", "learning_curves", "profile", "sensitivity", "win_rates")
TEXTS = ("claims.csv", "report.html", "report.md", "results.csv", "summary.json", "table.tex")
FILES = sorted(TEXTS) + [f"{name}.{kind}" for name in PICTURES for kind in ("pdf", "png", "svg")]
FILES.sort()

digits = pytest.fixture(comparisons.digits, scope="module")


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    place = tmp_path_factory.mktemp("report") / "a" / "digits"
    assert report.write(digits, place) == FILES
    return place


@pytest.fixture
def undrawn(monkeypatch):
    """Writes without the time it takes to draw."""
    for picture in PICTURES:
        monkeypatch.setattr(report, picture, lambda comparison, name=picture: name)
    monkeypatch.setattr(report, "picture", lambda *what: f'{what} width="100pt"'.encode())


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_report_is_its_texts_and_pictures_of_three_kinds_and_nothing_else(folder):
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
    assert len(sources) == len(PICTURES)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not re.search(r"https?:|<script|@import|url\(", html)


def test_the_page_tells_what_the_terminal_tells(folder, digits):
    html = (folder / "report.html").read_text(encoding="utf-8")
    for column in wording.columns(digits.summary):
        assert all(f">{cell}</td>" in html for cell in column.cells)
    assert "These results are confirmatory: question, seeds and settings were declared" in html
    for column in claim_lines.all_columns(digits.summary):
        assert all(f">{escape(cell)}</td>" in html for cell in column.cells)
    headings = ("Claims", "Method", "How to read this", "Settings", "Identity", "Environment")
    for heading in headings:
        assert f"<h2>{heading}</h2>" in html


@pytest.mark.usefixtures("undrawn")
def test_a_second_report_replaces_the_first_and_leaves_other_files(digits, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for name in FILES:
        (tmp_path / name).write_text("old")
    partial = tmp_path / f".{tmp_path.name}.partial"
    partial.mkdir()  # as a killed run leaves it
    (partial / "half.csv").write_text("half")
    assert report.write(digits, tmp_path) == FILES
    assert names_in(tmp_path) == sorted([*FILES, "notes.txt"])
    assert "old" not in {(tmp_path / name).read_text() for name in FILES}
    assert (tmp_path / "notes.txt").read_text() == "mine"


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


@pytest.mark.usefixtures("undrawn")
def test_a_number_that_json_cannot_hold_is_written_as_null(digits, tmp_path):
    summary = {**digits.summary, "seconds": {"compile": np.nan, "run": 1.0, "total": np.float64(2)}}
    report.write(digits._replace(summary=summary), tmp_path)
    written = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert written["seconds"] == {"compile": None, "run": 1.0, "total": 2.0}


@pytest.mark.usefixtures("undrawn")
def test_without_claims_there_is_no_file_of_them(digits, tmp_path):
    names = report.write(comparisons.older(digits), tmp_path)
    of_claims = [name for name in FILES if name.split(".")[0] in ("claims", "effects", "win_rates")]
    assert names == [name for name in FILES if name not in of_claims]
    assert "claims.csv" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_trying_a_folder_leaves_nothing_behind(tmp_path):
    files.check_writable(tmp_path / "a" / "b")
    files.check_writable(tmp_path)
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("here first")
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(ValueError, match=r"^the folder must be writable, got ") as refused:
            files.check_writable(place)
        assert "\n" not in str(refused.value)
    assert names_in(tmp_path) == ["file"]

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match="No space left on device"):
        files.check_writable(tmp_path / "new")
    assert names_in(tmp_path) == ["file"]


@pytest.mark.usefixtures("undrawn")
def test_a_folder_in_the_place_of_a_file_is_named(digits, tmp_path):
    (tmp_path / "results.csv").mkdir()
    with pytest.raises(ValueError, match=r"results\.csv must be a file, got a folder"):
        report.write(digits, tmp_path)
    assert names_in(tmp_path) == ["results.csv"]
