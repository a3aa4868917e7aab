"""`dljax check` as a user meets it: a line for each property, an exit code, JSON for machines."""

import json
from pathlib import Path

import pytest

from dljax import cli, contract

MINE = """
import jax
import optax

def mine(learning_rate):
    return optax.sgd(learning_rate)

def branching(learning_rate, weight_decay=0.1):
    rule = optax.add_decayed_weights(weight_decay) if weight_decay > 0 else optax.identity()
    return optax.chain(rule, optax.sgd(learning_rate))

def nothing(learning_rate):
    return None

ready = optax.sgd(0.1)
three = 3
"""
PROPERTIES = {prop.__name__: prop for prop in contract.PROPERTIES}


@pytest.fixture
def few(tmp_path, monkeypatch):
    """A folder with optimizers of one's own, and a contract of four quick properties."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dljax.startup.configure", lambda **settings: [])
    names = ("stable_types", "schedules", "traced_numbers", "empty_tree")
    monkeypatch.setattr("dljax.contract.report.PROPERTIES", [PROPERTIES[name] for name in names])
    Path("my_optimizer.py").write_text(MINE)


def call(*arguments):
    try:
        cli.main(arguments)
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.mark.usefixtures("few")
def test_an_optimizer_that_keeps_the_contract_exits_with_0(capsys):
    assert call("check", "my_optimizer.py:mine") == 0
    *lines, blank, summary = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["holds", "stable_types"],
        ["holds", "schedules"],
        ["holds", "traced_numbers"],
        ["holds", "empty_tree"],
    ]
    assert blank == ""
    assert summary == "my_optimizer.py:mine: 4 properties, 4 hold, 0 fail, 0 do not apply."


@pytest.mark.usefixtures("few")
def test_an_optimizer_that_breaks_it_exits_with_1_and_says_what_was_seen(capsys):
    assert call("check", "my_optimizer.py:branching") == 1
    out, err = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if line.startswith("fails")]
    assert "weight_decay may not be traced: its value is read in Python" in line
    assert "4 properties, 3 hold, 1 fail, 0 do not apply." in out
    assert err == ""


@pytest.mark.usefixtures("few")
def test_a_transformation_and_a_built_in_name_are_optimizers_too(capsys):
    assert call("check", "my_optimizer.py:ready") == 0
    out = capsys.readouterr().out
    assert "-      schedules               there is no learning rate to give" in out
    assert call("check", "adam") == 0
    assert "adam: 4 properties, 4 hold" in capsys.readouterr().out


@pytest.mark.usefixtures("few")
def test_json_tells_the_same(capsys):
    assert call("check", "my_optimizer.py:branching", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["optimizer"] == "my_optimizer.py:branching"
    assert told["holds"] is False
    found = {finding["name"]: finding["holds"] for finding in told["findings"]}
    assert found == {
        "stable_types": True,
        "schedules": True,
        "traced_numbers": False,
        "empty_tree": True,
    }


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("check", "an optimizer must be named, such as adam or my_optimizer.py:mine, got none."),
        ("check adm", "unknown optimizer 'adm'; did you mean 'adam'?"),
        ("check nowhere.py:mine", "got no file 'nowhere.py'"),
        ("check my_optimizer.py:mein", "did you mean 'mine'?"),
        ("check my_optimizer.py:three", "or a function that returns one, got 3."),
        ("check my_optimizer.py:nothing", "that returns an optax.GradientTransformation"),
        ("check adam --fast", "--fast"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(capsys, arguments, line):
    assert call(*arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
    assert err.count("\n") == 1, err
