"""Several processes share one study: the same bits, one that writes, and an end for all."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import hosts_studies
import jax
import numpy as np
import pytest
from test_cli import PROBLEM

from dljax import cli, hosts
from dljax.store import reading

PATIENCE = 300  # seconds until a test gives up on a process; none should take a tenth of it
HERE = Path(__file__).parent


def started(num_processes, command, cwd):
    """Starts `command(address, i)` for each process i of this machine, with its output in files."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    paths = [str(HERE), str(HERE.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    processes = []
    for i in range(num_processes):
        with open(cwd / f"out.{i}", "w") as out, open(cwd / f"err.{i}", "w") as err:
            words = [sys.executable, *command(address, i)]
            processes.append(
                subprocess.Popen(words, cwd=cwd, env=environment, stdout=out, stderr=err)
            )
    return processes


def ended(processes, cwd):
    """Waits for all; returns their exit codes, standard outputs and standard errors."""
    try:
        codes = [process.wait(PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
    said = [
        [(cwd / f"{name}.{i}").read_text() for i in range(len(codes))] for name in ("out", "err")
    ]
    return codes, *said


def begun(job, num_processes, cwd):
    script = str(HERE / "hosts_studies.py")
    command = lambda address, i: [script, job, address, str(num_processes), str(i), str(cwd)]  # noqa: E731
    return started(num_processes, command, cwd)


def run(job, num_processes, cwd):
    return ended(begun(job, num_processes, cwd), cwd)


def check_bits(kind, num_processes, tmp_path):
    processes = begun(kind, num_processes, tmp_path)
    alone = hosts_studies.flat(hosts_studies.studies(kind))  # meanwhile
    codes, outs, errs = ended(processes, tmp_path)
    assert codes == [0] * num_processes, errs
    for i in range(num_processes):
        with np.load(tmp_path / f"{i}.npz") as stored:
            found = dict(stored)
        assert found.pop("['halved']['width']") == 2
        assert found.pop("['halved']['value']").tolist() == [0, 1, 2, 3, 4]
        assert found.keys() == alone.keys()
        for name, x in found.items():
            assert x.dtype == alone[name].dtype, name
            assert x.tobytes() == alone[name].tobytes(), name
    assert outs == [""] * num_processes
    assert "2 processes" in errs[0] or num_processes != 2
    assert errs[1:] == [""] * (num_processes - 1)


def test_two_processes_get_the_bits_of_one_and_the_first_alone_speaks(tmp_path):
    check_bits("small", 2, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "num_processes"), [("small", 3), ("networks", 2)])
def test_more_kinds_and_processes_get_the_bits_of_one(kind, num_processes, tmp_path):
    check_bits(kind, num_processes, tmp_path)


@pytest.mark.slow
def test_the_command_line_compares_in_two_processes_and_the_first_alone_writes(
    tmp_path, monkeypatch
):
    cheaper = PROBLEM.replace("batch_size=16", "batch_size=None")
    (tmp_path / "my_problem.py").write_text(cheaper)
    words = ["-m", "dljax.cli", "compare", "my_problem.py:problem", "--optimizers", "sgd"]
    words += ["--learning-rates", "0.1,0.01,1", "--seeds", "2", "--quick", "--json"]

    def command(address, i):
        others = ["--coordinator", address, "--num-processes", "2", "--process-id", str(i)]
        return [*words, "--out", f"together.{i}", "--distributed", *others]

    processes = started(2, command, tmp_path)
    monkeypatch.chdir(tmp_path)
    cli.main([*words[2:], "--out", "alone"])  # meanwhile
    codes, outs, errs = ended(processes, tmp_path)
    assert codes == [0, 0], errs
    assert json.loads(outs[0])["environment"]["num_processes"] == 2
    assert outs[1] == errs[1] == ""
    assert not (tmp_path / "together.1").exists()
    results = [
        (tmp_path / folder / "results.csv").read_bytes() for folder in ("alone", "together.0")
    ]
    assert results[0] == results[1]


def test_a_killed_process_ends_the_others_at_once_with_a_clear_line(tmp_path):
    codes, _, errs = run("killed_1", 3, tmp_path)
    since = time.time() - float((tmp_path / "killed").read_text())
    assert codes == [1, -signal.SIGKILL, 1]
    line = "dljax: process 1 of this study has ended; the same command starts it again.\n"
    assert (errs[0], errs[2]) == (line, line)
    assert since < 60  # jax alone takes 100


@pytest.mark.slow
def test_the_first_process_killed_ends_the_others(tmp_path):
    codes, _, errs = run("killed_0", 3, tmp_path)
    assert codes[0] == -signal.SIGKILL
    assert time.time() - float((tmp_path / "killed").read_text()) < 60
    for code, err in zip(codes[1:], errs[1:]):
        assert (code, "process 0 of this study has ended" in err) == (1, True) or code == -6


@pytest.mark.parametrize(
    ("job", "stored", "tiles"),
    [
        pytest.param("kept_to_rounds", {"whole": 12, "rounds": 0}, 6, marks=pytest.mark.slow),
        ("kept_to_whole", {"whole": 10}, 9),
    ],
)
def test_after_a_kill_the_same_command_goes_on_from_what_all_processes_stored(
    job, stored, tiles, tmp_path, monkeypatch
):
    monkeypatch.setattr("dljax.populations.run_tile", None)  # to be restored
    processes, alone = begun(job, 2, tmp_path), tmp_path / "alone"
    alone.mkdir()
    hosts_studies.kept(alone, "")  # meanwhile
    codes, _, errs = ended(processes, tmp_path)
    assert codes == [1, -signal.SIGKILL], errs
    assert {name: reading.read(tmp_path / name).num_stored() for name in stored} == stored
    codes, _, errs = run("kept", 2, tmp_path)
    assert codes == [0, 0], errs
    expected = dict(np.load(alone / "0.npz"))
    assert expected["tiles"] == 6 + 4 * 4
    for i in range(2):
        found = dict(np.load(tmp_path / f"{i}.npz"))
        assert found.pop("tiles") == tiles  # of `rounds` the first round was stored
        for name, x in found.items():
            assert x.tobytes() == expected[name].tobytes(), name
    for name in ("whole", "rounds"):
        assert reading.damages(tmp_path / name) == []


def test_an_error_in_one_process_is_told_by_all(tmp_path):
    codes, _, errs = run("raises", 2, tmp_path)
    assert codes == [1, 1]
    assert errs[1].endswith("ValueError: the data are bad here.\n")
    told = "dljax: process 1 of this study has ended: ValueError: the data are bad here.; "
    assert errs[0] == f"{told}the same command starts it again.\n"


@pytest.mark.slow
def test_a_process_that_leaves_early_is_missed(tmp_path):
    codes, _, errs = run("leaves", 2, tmp_path)
    assert codes == [1, 1]
    assert "process 1 has left before this study was over" in errs[0]


@pytest.mark.parametrize("num_processes", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("num_members", [1, 5, 7, 9])
def test_own_members_are_even_shares_in_order(monkeypatch, num_processes, num_members):
    shares = []
    for i in range(num_processes):
        monkeypatch.setattr(jax, "process_count", lambda: num_processes)
        monkeypatch.setattr(jax, "process_index", lambda i=i: i)
        shares.append(hosts.own_members(num_members).tolist())
    sizes = [len(share) for share in shares]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert [i for share in shares[:num_members] for i in share] == list(range(num_members))
    assert all(share == [num_members - 1] for share in shares[num_members:])


HERE_AND = ("--coordinator", "127.0.0.1:1", "--num-processes", "2", "--process-id")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (HERE_AND[:2], "--coordinator, --num-processes and --process-id must come with --distrib"),
        (
            ("--distributed", *HERE_AND[:4]),
            "coordinator, num_processes and process_id must be given together, got no process_id.",
        ),
        (("--distributed", "--process-id", "0"), "got no coordinator and num_processes."),
        (("--distributed", *HERE_AND, "2"), "process_id must be in [0, 2), got 2."),
        (
            ("--distributed", "--coordinator", "here", *HERE_AND[2:], "0"),
            "coordinator must be HOST:PORT, got 'here'.",
        ),
        (
            ("--distributed",),
            "or be given coordinator, num_processes and process_id, got neither.",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(options, line, monkeypatch, capsys):
    monkeypatch.setattr("dljax.startup.configure", lambda: None)
    monkeypatch.setattr(jax.distributed, "initialize", _without_devices)
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *options])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


def _without_devices(coordinator, *_, **__):
    """Stands in for jax's own, which refuses to begin after the first use of a device."""
    assert coordinator is None
    raise ValueError("coordinator_address should be defined.")
