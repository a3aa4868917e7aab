"""The user's own benchmark: what is timed, what it is compared with, and how mistakes are told."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dljax as dj
from dljax import cli, machine, timings
from dljax.placement import default_mesh

X = np.ones((4, 3), np.float32)
AXES = {"seed": np.arange(3)}
LIMITS = machine.Limits(flops=1e9, bytes=1e10, overhead=1e-6)
FILE = """
import jax
import numpy as np
import dljax as dj

axes = dict(seed=np.arange(3))
shared = lambda: (np.ones((4, 3), np.float32),)
num_steps = 2

def member(x, *, seed):
    return (x @ jax.random.normal(jax.random.key(seed), (3, 3))).sum()

def other(x, *, seed):
    return (x @ jax.random.normal(jax.random.key(seed), (3, 5))).sum()

def hungry(x, *, seed, fold):
    return x.sum()

three = 3
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(timings, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(machine, "limits", lambda device: LIMITS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dljax.startup.configure", lambda **_: [])
    Path("my_member.py").write_text(FILE)
    Path("bare.py").write_text("def member(*, seed):\n    return seed\n")
    Path("listed.py").write_text("shared = [1]\naxes = dict(seed=[0])\nmember = print\n")
    Path("failing.py").write_text("shared = lambda: 1 / 0\naxes = dict(seed=[0])\nmember = print\n")


def member(x, *, seed):
    return (x @ jax.random.normal(jax.random.key(seed), (3, 3))).sum()


def call(*arguments):
    """Runs the command line in this process and returns its exit code."""
    try:
        cli.main(arguments)
    except SystemExit as stop:
        return stop.code
    return 0


def test_a_member_is_timed_at_widths_then_by_tiles_and_precision(capsys):
    told = dj.bench(member, X, axes=AXES, num_steps=10, widths=[4, 2], repeats=2)
    compared = [row.compared for row in told.rows]
    lanes = ["tiles at once"] * 2 if told.num_lanes > 1 else []
    assert compared[:2] == ["width"] * 2
    assert compared[2 : 2 + len(lanes)] == lanes
    precisions = told.rows[2 + len(lanes) :]
    assert [row.label for row in precisions] == ["default", *timings.PRECISIONS]
    # on a CPU no precision makes a difference
    assert {row.note for row in precisions[1:]} == {"the same bits"}
    assert [row.width for row in told.rows[:2]] == [2, 4]
    fastest = max(told.rows[:2], key=lambda row: row.rate)
    assert {row.width for row in told.rows[2:]} == {fastest.width}
    for row in told.rows:
        assert len(row.rates) == 2
        assert min(row.rates) <= row.rate <= max(row.rates)
        assert row.memory > X.nbytes
        # 10 steps a member in all: 2 x 4 x 3 x 3 FLOP
        np.testing.assert_allclose(row.flops, row.rate / 10 * 72)
        np.testing.assert_allclose(row.flops_share, row.flops / LIMITS.flops)
        np.testing.assert_allclose(row.bytes_share, row.bytes / LIMITS.bytes)
    assert told.unit == "member-steps"
    assert told.limits == LIMITS
    out, err = capsys.readouterr()
    assert out == ""
    assert "compiles member at width 2" in err


def test_without_a_number_of_steps_members_are_counted_and_a_user_may_have_silence(capsys):
    told = dj.bench(member, X, axes=AXES, widths=[2], repeats=1, progress=False)
    assert told.unit == "members"
    assert capsys.readouterr() == ("", "")


def test_a_member_in_rounds_is_timed_through_all_its_rounds():
    rounds = []

    def init(x, *, seed):
        return jnp.float32(seed)

    def advance(x, state, number, *, seed):
        jax.debug.callback(lambda n: rounds.append(int(n)), number, ordered=False)
        return state + x.sum(), state

    run = dj.Member(init, advance, lambda x, state, reports, *, seed: state, 3)
    case = timings.checked(timings.Case("run", run, (X,), AXES))
    (ready,) = timings.at_widths(case, [2], default_mesh(), lambda line: None)
    result = timings._run_tile(ready)
    jax.effects_barrier()
    np.testing.assert_array_equal(result, [36, 37])
    assert set(rounds) == {0, 1, 2}


def test_several_devices_are_compared_with_one():
    mesh = jax.make_mesh((2,), ("members",), axis_types=(jax.sharding.AxisType.Auto,))
    told = dj.bench(member, X, axes=AXES, widths=[2], repeats=1, mesh=mesh, progress=False)
    assert told.num_devices == 2
    assert [row.label for row in told.rows if row.compared == "devices"] == ["1", "2"]


def test_two_members_are_timed_in_turn_and_their_ratio_is_told_of_each_pair():
    def half(x, *, seed):
        return member(x[:2], seed=seed)

    told = dj.bench(member, X, axes=AXES, against=half, widths=[2], repeats=2, progress=False)
    assert [(row.compared, row.member) for row in told.rows] == [
        ("width", "member"),
        ("width", "against"),
        ("member", "member"),
        ("member", "against"),
    ]
    pair = told.rows[2:]
    assert told.ratios == tuple(b / a for a, b in zip(pair[0].rates, pair[1].rates))
    assert len(told.ratios) == 4


def test_where_a_loop_ends_at_a_condition_no_floating_point_operations_are_told():
    def search(x, *, seed):
        return jax.lax.while_loop(lambda n: n < seed, lambda n: n + x.sum(), 0.0)

    told = dj.bench(search, X, axes=AXES, widths=[1], repeats=1, progress=False)
    assert told.rows[0].flops is None
    assert told.rows[0].bytes_share is None


def test_the_usual_widths_are_powers_around_the_default_and_end_where_the_memory_does(monkeypatch):
    case = timings.checked(timings.Case("member", member, (X,), AXES))
    mesh, notes = default_mesh(), []
    assert timings.usual_widths(case, mesh) == (64, [16, 32, 64, 128, 256])
    (wide,) = timings.at_widths(case, [8], mesh, notes.append)
    budget = wide.program.memory * timings.num_lanes(mesh) / 0.8
    monkeypatch.setattr(machine, "memory", lambda device: budget)
    runs = timings.at_widths(case, [4, 8, 16, 32], mesh, notes.append)
    assert [run.program.width for run in runs] == [4, 8]
    assert "width 16 needs" in notes[-1]


def test_a_rate_counts_every_member_of_every_tile(monkeypatch):
    case = timings.checked(timings.Case("member", member, (X,), AXES, num_steps=5))
    (run,) = timings.at_widths(case, [4], default_mesh(), lambda line: None)
    ticks = iter(np.arange(0.0, 100.0, 2.0))  # a clock by which all takes 2 s
    monkeypatch.setattr(timings.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(timings, "LEAST_SECONDS", 6.0)
    rates = timings.timed("width", [run._replace(lanes=1)], 2, lambda line: None)
    assert rates == [(3 * 4 * 5 / 2.0,) * 2]  # tiles, width, steps


@pytest.mark.usefixtures("folder")
def test_the_command_line_takes_what_a_file_holds_beside_its_member(capsys):
    assert call("bench", "my_member.py:member", "--widths", "2", "--repeats", "1") == 0
    out, err = capsys.readouterr()
    assert "member-steps/s" in out
    assert "the same bits" in out
    assert "compiles my_member.py:member at width 2" in err
    both = ("my_member.py:member", "my_member.py:other")
    assert call("bench", *both, "--widths", "2", "--repeats", "1") == 0
    assert "my_member.py:other by my_member.py:member: " in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_json_tells_the_same(capsys):
    assert call("bench", "my_member.py:member", "--widths=2,4", "--repeats=1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == set(dj.Throughput._fields)
    assert told["limits"] == LIMITS._asdict()
    assert [row["width"] for row in told["rows"][:2]] == [2, 4]
    assert told["rows"][0]["member"] == "my_member.py:member"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("", "must be named as my_member.py:member, got none."),
        ("my_member.py", "must be named as my_member.py:member, got my_member.py."),
        ("a.py:b b.py:c c.py:d", "one member or two must be named"),
        ("nowhere.py:member", "got no file 'nowhere.py'"),
        ("my_member.py:membre", "did you mean 'member'?"),
        ("my_member.py:three", "my_member.py:three must be a function or a dljax.Member, got 3."),
        ("my_member.py:hungry", "missing a required"),
        ("my_member.py:member --widths 0", "widths must be in [1, inf), got 0."),
        ("my_member.py:member --widths x", "must be whole numbers separated by commas, got 'x'."),
        ("my_member.py:member --repeats 0", "repeats must be in [1, inf), got 0."),
        ("bare.py:member", "bare.py must hold `axes`, a dict such as dict(seed=range(32))"),
        ("listed.py:member", "`shared` of listed.py must be a tuple, got list."),
        ("failing.py:member", "`shared` of failing.py must make a tuple, got ZeroDivisionError"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(capsys, arguments, line):
    assert call("bench", *arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
    assert err.count("\n") == 1, err


def test_a_device_is_measured_once(monkeypatch):
    monkeypatch.undo()
    found = machine.limits(jax.devices()[0])
    assert all(np.isfinite(found))
    assert min(found) > 0
    assert machine.limits(jax.devices()[0]) is found
