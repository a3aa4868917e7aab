"""The command line as a user meets it: tables, files, one clear line where something is wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dljax import cli
from dljax.comparison import space

PROBLEM = """
import jax
from sklearn.datasets import load_wine
import dljax as dj

def problem():
    x, y = load_wine(return_X_y=True)
    split = dj.holdout(jax.random.key(0), len(y), valid=0.2, test=0.2)
    train = x[split.train.index]  # held-out rows must not enter the scaling
    data = {"x": ((x - train.mean(0)) / train.std(0)).astype("float32"), "y": y.astype("int32")}
    model = dj.linen_model(dj.modules.MLP(3))
    task = dj.supervised(model, dj.losses.cross_entropy, {"accuracy": dj.losses.accuracy})
    return dj.Problem("wine", task, data, split, labels="y", batch_size=16,
                      num_steps=20, eval_every=10)
"""
OPTIMIZER = """
import optax

def mine(learning_rate):
    return optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(learning_rate))

def none(learning_rate):
    return None

not_a_function = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DLJAX_DATA", raising=False)
    Path("my_problem.py").write_text(PROBLEM)
    Path("my_optimizer.py").write_text(OPTIMIZER)
    Path("broken.py").write_text("import dljax\nanswer = 1 / 0\n")
    return tmp_path


def call(*arguments):
    """Runs the command line in this process and returns its exit code."""
    try:
        cli.main(arguments)
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.mark.slow
def test_a_users_own_problem_and_optimizer_take_one_option_each(folder, tmp_path):
    options = ["my_problem.py:problem", "--optimizers", "adam,my_optimizer.py:mine"]
    sizes = ["--learning-rates", "0.01,0.1,1", "--seeds", "2", "--json"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "dljax.cli", "compare", *options, *sizes],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert [entry["name"] for entry in summary["optimizers"]] == ["adam", "mine"]
    assert summary["problem"]["num_rows"] == {"train": 108, "valid": 35, "test": 35}
    assert summary["environment"]["num_lanes"] == len(os.sched_getaffinity(0))
    assert "compiling" in done.stderr
    assert "member-steps/s" in done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "runs" / "wine" / "report.html").is_file()


@pytest.mark.slow
def test_an_interrupt_ends_at_once_with_130_and_keeps_what_was_finished(folder):
    command = [sys.executable, "-m", "dljax.cli", "compare"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    listen = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=listen
    ) as run:
        while "running" not in run.stderr.readline():
            assert run.poll() is None
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=60) == 130
        assert "interrupted. What was finished is kept" in run.stderr.read()
    assert not (folder / "runs" / "digits-mlp" / "report.html").exists()


def test_list_names_problems_optimizers_and_data_sets(capsys):
    assert call("list") == 0
    told = capsys.readouterr().out
    for name in ("digits-mlp", "fashion-mnist-cnn", "rosenbrock", "adadelta", "breast-cancer"):
        assert name in told
    assert call("list", "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert list(described["optimizers"]) == list(space.OPTIMIZERS)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ("compare digit-mlp", 2, "unknown problem 'digit-mlp'; did you mean 'digits-mlp'?"),
        ("compare --optimizers sgd,sgd", 2, "must not hold a name twice, got 'sgd' twice."),
        ("compare --optimizers ,", 2, "unknown optimizer ''"),
        ("compare --steps 23", 2, "num_steps must divide into 5 to 20 equal parts"),
        ("compare --optimizers sdg", 2, "unknown optimizer 'sdg'; did you mean 'sgd'?"),
        ("compare --learning-rates -1", 2, "learning_rate must be in [0, inf), got -1."),
        ("compare --learning-rates nan", 2, "learning_rates must be finite, got nan."),
        ("compare --learning-rates a,b", 2, "must be numbers separated by commas, got 'a,b'."),
        ("compare --width wide", 2, "--width must be a whole number or auto, got 'wide'."),
        ("compare --width 0", 2, "width must be in [1, inf), got 0."),
        ("compare --batch-size 0", 2, "batch_size must be in [1, inf), got 0."),
        ("compare --batch-size 2000", 2, "batch_size must be in [1, 1079], got 2000."),
        ("compare --steps -3", 2, "num_steps must be in [1, inf), got -3."),
        ("compare --steps many", 2, "Error parsing --steps: must be a whole number, got 'many'."),
        ("compare --stepz 3", 2, "--stepz"),
        ("compare --seeds 0", 2, "seeds must be in [1, 1000000], got 0."),
        ("compare --seed -1", 2, "seed must be in [0, 4294967295], got -1."),
        ("compare --out my_problem.py", 2, "my_problem.py"),
        ("compare nowhere.py:problem", 2, "got no file 'nowhere.py'"),
        ("compare my_problem.py:problm", 2, "did you mean 'problem'?"),
        ("compare broken.py:answer", 2, "got ZeroDivisionError: division by zero"),
        ("compare my_optimizer.py:mine", 2, "must make a dljax.Problem, got TypeError"),
        ("compare --optimizers my_optimizer.py:none", 2, "that returns an optax"),
        ("compare --optimizers my_optimizer.py:not_a_function", 2, "must be a function"),
        ("compare mnist-mlp --data-dir .", 3, "train-images-idx3-ubyte.gz"),
        ("", 2, "compare, report"),
        ("compere", 2, "compere"),
    ],
)
def test_a_mistake_gets_one_line_and_its_exit_code(
    folder, capsys, monkeypatch, arguments, code, line
):
    monkeypatch.setattr("dljax.startup.configure", list)
    before = sorted(folder.iterdir())
    assert call(*arguments.split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
    assert err.count("\n") == 1, err
    assert sorted(path for path in folder.iterdir() if path.name != "__pycache__") == before


def test_several_problems_and_a_list_of_ones_own_are_compared_one_by_one(folder, monkeypatch):
    asked = []

    def compare(problem, optimizers, **how):
        asked.append((problem.name, list(optimizers), how["out"].name, how["source"]["problem"]))
        raise ValueError("enough")

    monkeypatch.setattr("dljax.startup.configure", list)
    monkeypatch.setattr("dljax.comparison.suite.compare", compare)
    (folder / "my_problems.py").write_text("def problems():\n    return ['beale', 'quadratic']\n")
    commands = {
        "compare beale,quadratic": "beale",
        "compare --suite analytic": "quadratic",
        "compare --suite my_problems.py:problems --optimizers adam --dialect tf1": "beale",
    }
    for command in commands:
        assert call(*command.split()) == 2
    assert [(name, out) for name, _, out, _ in asked] == [(n, n) for n in commands.values()]
    assert asked[2][1] == ["tf1.adam"]
    assert [source for *_, source in asked] == ["beale", "quadratic", None]


def test_a_suite_that_is_not_known_gets_one_line(folder, capsys, monkeypatch):
    monkeypatch.setattr("dljax.startup.configure", list)
    assert call("compare", "--suite", "smal") == 2
    assert capsys.readouterr().err == "dljax: unknown suite 'smal'; did you mean 'small'?\n"
