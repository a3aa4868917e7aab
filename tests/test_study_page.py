"""The report of a study's run folder: a table over the seeds, and curves."""

import json

import numpy as np
import pytest

import dljax as dj
from dljax import cli
from dljax.comparison.study_page import write_report

AXES = {
    "optimizer": ("<adam>", "sgd"),
    "seed": np.arange(3, dtype=np.uint32),
    "rate": np.array([0.1, 0.2], np.float32),
}


@pytest.fixture
def study():
    loss = np.broadcast_to(np.arange(3.0)[:, None, None], (2, 3, 2, 4)).copy()
    loss[1, 2, 1, 2:] = np.nan
    return dj.Study(AXES, {"loss": loss, "step": np.full((2, 3, 2, 4), [0, 5, 10, 15])})


def test_a_configuration_is_a_row_of_means_over_the_seeds(study, tmp_path):
    names = write_report(study, "runs & more", tmp_path)
    assert names == ["curves.png", "curves.svg", "report.html"]
    page = (tmp_path / "report.html").read_text()
    assert "<h1>runs &amp; more</h1>" in page
    assert "12 members." in page
    assert "optimizer &lt;adam&gt;, rate 0.1" in page
    assert page.count("1 ± 2.5") == 3  # 0, 1 and 2: mean 1, t of 2 degrees 4.30 / sqrt(3)
    assert "diverged: 1 of 3" in page
    assert "http" not in page.replace("http-equiv", "").split("</style>")[1].split("base64")[0]


def test_many_configurations_are_not_drawn_and_numbers_without_seeds_stand_alone(tmp_path):
    axes = {"rate": np.linspace(0, 1, 20, dtype=np.float32)}
    study = dj.Study(axes, {"loss": np.linspace(0, 1, 20)[:, None] * np.ones(3)})
    assert write_report(study, "many", tmp_path) == ["report.html"]
    assert "rate 0.05263" in (tmp_path / "report.html").read_text()


def test_the_command_line_reports_a_study(tmp_path, capsys):
    def member(*, seed):
        return {"loss": 1.0 * seed}

    dj.study(member, axes={"seed": [0, 2]}, out=tmp_path / "run", progress=False)
    cli.main(["report", str(tmp_path / "run")])
    assert json.loads(capsys.readouterr().out)["members"] == 2
    assert "1 ± 13" in (tmp_path / "run" / "report.html").read_text()
    cli.main(["verify", str(tmp_path / "run")])
    assert "2 members, 4 files, all whole." in capsys.readouterr().out
