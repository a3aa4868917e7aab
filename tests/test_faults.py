"""A run folder under nine kinds of faults: nothing acknowledged is lost, no damage is silent.

Each test has a size for every CI run and a `slow` one.
"""

import contextlib
import io
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from unittest import mock

import fault_studies
import jax
import numpy as np
import pytest

import dljax as dj
from dljax import cli
from dljax.errors import DataError
from dljax.store import files, manifest
from dljax.store.reading import damages, read

HERE = Path(__file__).parent
PATIENCE = 100  # seconds until a test gives up on a process; none should take a tenth of it
COMPARE = [
    *("compare", "quadratic", "--quick", "--optimizers", "sgd"),
    *("--steps", "50", "--learning-rates", "0.01,0.1"),
]
SLOW_TO_COMPILE = """
import jax
import jax.numpy as jnp
import numpy as np
import dljax as dj

TABLE = np.linspace(0, 1, 300_000, dtype=np.float32)

def measure(outputs, batch):
    # XLA computes what is constant while it compiles, and takes its time; a fingerprint, which is
    # taken before the folder is opened, measures nothing
    sums = jax.lax.reduce_window(jnp.asarray(TABLE), 0.0, jax.lax.add, (3000,), (1,), "SAME")
    return {"loss": jnp.sum(outputs + sums[0])[None]}

task = dj.Task(
    init=lambda key, batch: {"params": {"w": jnp.ones(3)}},
    predict=lambda variables, batch, **_: (variables["params"]["w"], variables),
    loss=lambda outputs, batch: jnp.sum(outputs)[None],
    measure=measure,
)
problem = dj.problems.load("quadratic")._replace(task=task)
"""


def sizes(short, long):
    """Parametrizes a test by how often: in every CI run, and slow."""
    return pytest.mark.parametrize("times", [short, pytest.param(long, marks=pytest.mark.slow)])


class Nest:
    """The process of `fault_studies.py`, from which jobs are forked."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path]),
            "OPENBLAS_NUM_THREADS": "1",  # a process is forked before it has threads
            "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "MPLCONFIGDIR": str(folder),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fault_studies.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
        )
        self.left = b""
        assert self._heard() == "ready"

    def start(self, job, **told):
        told = {"log": str(self.folder / "log"), "cwd": str(self.folder), "environment": {}} | told
        return self._ask(job=job, **told)

    def wait(self, number):
        return self._ask(wait=number)

    def run(self, job, **told):
        """Returns the exit code of a job, less than 0 of a signal."""
        return self.wait(self.start(job, **told))

    def command(self, arguments, out, **told):
        return self.run("command", arguments=[*arguments, "--out", str(out)], **told)

    def said(self):
        return (self.folder / "log").read_text()

    def _ask(self, **told):
        self.process.stdin.write(json.dumps(told).encode() + b"\n")
        self.process.stdin.flush()
        return self._heard()

    def _heard(self):
        while b"\n" not in self.left:
            assert select.select([self.process.stdout], [], [], PATIENCE)[0], "no answer"
            part = os.read(self.process.stdout.fileno(), 4096)
            assert part, "the nest is gone"
            self.left += part
        line, _, self.left = self.left.partition(b"\n")
        return json.loads(line)


@pytest.fixture(scope="module")
def nest(tmp_path_factory):
    nest = Nest(tmp_path_factory.mktemp("nest"))
    yield nest
    nest.process.stdin.close()
    try:
        nest.process.wait(10)
    except subprocess.TimeoutExpired:
        nest.process.kill()
        nest.process.wait()


@pytest.fixture(scope="module")
def clean(nest):
    """Returns results.csv of runs that nothing disturbs, by what is run."""
    found = {}
    for kind in ("whole", "rounds"):
        assert nest.run("study", out=str(nest.folder / kind), kind=kind) == 0, nest.said()
        found[kind] = (nest.folder / kind / "results.csv").read_bytes()
    assert nest.command(COMPARE, nest.folder / "compare") == 0, nest.said()
    found["compare"] = (nest.folder / "compare" / "results.csv").read_bytes()
    return found


@contextlib.contextmanager
def within(seconds):
    """Fails a test that hangs in this process."""

    def late(*_):
        raise AssertionError(f"took over {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def called(*arguments):
    """Runs the command line in this process: its exit code and what it said on standard error."""
    said, out = io.StringIO(), io.StringIO()
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with (
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(out),
            mock.patch("dljax.startup.configure"),  # the tests have done so
        ):
            cli.main([str(word) for word in arguments])
    except SystemExit as stop:
        return stop.code or 0, said.getvalue()
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    return 0, said.getvalue()


def acknowledged(folder):
    """Returns the blocks that a folder's manifest counts."""
    if not (folder / manifest.NAME).exists():
        return set()
    found = manifest.read(folder).entries
    return {(e["section"], e["sha256"]) for e in found if e["kind"] == "block"}


def temporary(folder):
    """Lists what only a run that goes on may have."""
    return [path.name for path in folder.rglob(".*")] + [
        str(path) for path in folder.glob("checkpoints/*")
    ]


def check_finished(folder, results):
    assert (folder / "results.csv").read_bytes() == results
    assert temporary(folder) == []
    assert damages(folder) == []


# 1. killed


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        ("whole", 14),
        ("rounds", 4),
        pytest.param("whole", 100, marks=pytest.mark.slow),
        pytest.param("rounds", 100, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_killed_at_any_step_of_writing_loses_nothing(
    nest, clean, tmp_path, kind, times
):
    draw, kills, folder = random.Random(times), 0, tmp_path / "0"
    opening = [40, *range(13)] if kind == "whole" else []  # each step of opening what it finds
    steps = iter([*opening, *(draw.randrange(70) for _ in range(10 * times))])
    is_whole = True
    while kills < times or not is_whole:
        before = acknowledged(folder)
        step = next(steps) if kills < times else 10**6
        code = nest.run("killed_at", number=step, out=str(folder), kind=kind)
        assert code in (0, -signal.SIGKILL), nest.said()
        assert before <= acknowledged(folder)
        kills += code != 0
        is_whole = code == 0
        if is_whole:
            check_finished(folder, clean[kind])
            folder = tmp_path / str(kills)
    assert kills == times


@sizes(2, 20)
def test_a_command_that_is_killed_at_any_moment_goes_on_to_the_same_bits(
    nest, clean, tmp_path, times
):
    """At any moment: from the import to the report."""
    draw, folder = random.Random(times), tmp_path / "run"
    command = [sys.executable, "-m", "dljax.cli", *COMPARE, "--out", str(folder)]
    kills = 0
    for _ in range(times):
        before = acknowledged(folder)
        with subprocess.Popen(
            command, env=nest.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as run:
            time.sleep(draw.uniform(0, 6))
            run.kill()
        kills += run.returncode == -signal.SIGKILL
        assert before <= acknowledged(folder)
    assert nest.command(COMPARE, folder) == 0, nest.said()
    check_finished(folder, clean["compare"])


# 2. asked to end


def interrupted(nest, number, ready, after=0.0, **told):
    """Sends a signal once `ready` is there; returns the exit code and the seconds it took."""
    child = nest.start(**told)
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, nest.said()
        time.sleep(0.01)
    time.sleep(after)
    os.kill(child, number)
    since = time.monotonic()
    return nest.wait(child), time.monotonic() - since


@sizes(2, 24)
def test_a_signal_ends_a_command_in_order_and_it_goes_on_to_the_same_bits(
    nest, clean, tmp_path, times
):
    draw, folder = random.Random(times), tmp_path / "run"
    for i in range(times):
        number = (signal.SIGTERM, signal.SIGINT)[i % 2]
        before = acknowledged(folder)
        code, seconds = interrupted(
            nest,
            number,
            ready=(folder / ".lock").exists,
            after=draw.uniform(0, 1.5),
            job="command",
            arguments=[*COMPARE, "--out", str(folder)],
        )
        assert code in (128 + number, 0), nest.said()
        assert seconds < 10
        assert "Traceback" not in nest.said()
        assert before <= acknowledged(folder)
        assert code == 0 or "interrupted. What was finished is kept" in nest.said()
        if code == 0:
            shutil.rmtree(folder)
    assert nest.command(COMPARE, folder) == 0, nest.said()
    check_finished(folder, clean["compare"])


@sizes(2, 10)
def test_a_signal_ends_a_command_that_compiles(nest, tmp_path, times):
    (tmp_path / "problems.py").write_text(SLOW_TO_COMPILE)
    folder = tmp_path / "run"
    arguments = ["compare", "problems.py:problem", *COMPARE[2:], "--out", str(folder)]
    for i in range(times):
        number = (signal.SIGTERM, signal.SIGINT)[i % 2]
        code, seconds = interrupted(
            nest,
            number,
            ready=(folder / manifest.NAME).exists,
            after=1.0,
            job="command",
            cwd=str(tmp_path),
            arguments=arguments,
        )
        assert code == 128 + number, nest.said()
        assert seconds < 10
        assert read(folder).num_stored() == 0
        shutil.rmtree(folder)


@sizes(1, 8)
def test_a_second_signal_leaves_at_once_and_without_damage(nest, clean, tmp_path, times):
    for i in range(times):
        folder, marker = tmp_path / str(i), tmp_path / f"{i} closes"
        child = nest.start(
            "slow_to_close",
            marker=str(marker),
            arguments=[*COMPARE, "--out", str(folder)],
        )
        deadline = time.monotonic() + PATIENCE
        while not acknowledged(folder) or not (folder / ".lock").exists():
            assert time.monotonic() < deadline, nest.said()
            time.sleep(0.01)
        os.kill(child, signal.SIGINT)
        while not marker.exists():
            assert time.monotonic() < deadline, nest.said()
            time.sleep(0.01)
        os.kill(child, signal.SIGTERM)
        since = time.monotonic()
        assert nest.wait(child) == 128 + signal.SIGTERM
        assert time.monotonic() - since < 2
    assert nest.command(COMPARE, folder) == 0, nest.said()
    check_finished(folder, clean["compare"])


def faulty_steps(monkeypatch, number, error):
    """Makes the `number`-th step of writing raise; returns how many there were."""
    count = [0]

    def failing(call):
        def step(*arguments, **named):
            count[0] += 1
            if count[0] == number:
                raise error
            return call(*arguments, **named)

        return step

    for name in ("write", "fsync", "replace"):
        monkeypatch.setattr(os, name, failing(getattr(os, name)))
    return count


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["ctrl-c", "full"]
)
@sizes(6, 60)
def test_a_study_that_is_stopped_at_any_step_of_writing_loses_nothing(
    clean, tmp_path, monkeypatch, error, times
):
    draw = random.Random(times)
    for i in range(times):
        folder, kind = tmp_path / str(i), ("whole", "rounds")[i % 2]
        for _ in range(2):
            before = acknowledged(folder)
            with monkeypatch.context() as patch, contextlib.suppress(type(error)):
                faulty_steps(patch, draw.randrange(1, 50), error)
                fault_studies.study(folder, kind)
            assert before <= acknowledged(folder)
        fault_studies.study(folder, kind)
        check_finished(folder, clean[kind])


# 3. mutated


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study and a second one, whose files are there to be swapped in."""
    folder = tmp_path_factory.mktemp("finished")
    fault_studies.study(folder / "one")
    fault_studies.study(folder / "two", seeds=2)
    return folder


def bits_of(study):
    return [
        np.asarray(jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
                   else x).tobytes()
        for x in jax.tree.leaves(study.results)
    ]  # fmt: skip


def flip(path, draw, _):
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(path, draw, _):
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


def extend(path, draw, _):
    path.write_bytes(path.read_bytes() + draw.choice([b"\0", b"\n", b"{}\n", b"1"]))


def swap(path, draw, _):
    others = [p for p in sorted(path.parent.iterdir()) if p.is_file() and p != path]
    shutil.copy(draw.choice(others), path)


def twice(path, draw, _):
    content = path.read_bytes()
    path.write_bytes(content.replace(b"{", b'{"schema": 1, "schema": 1,', 1) + content)


def not_a_number(path, draw, _):
    content = path.read_bytes()
    digit = draw.choice([i for i, c in enumerate(content) if c in b"0123456789"])
    word = draw.choice([b"NaN", b"Infinity", b"1e999", b"-Infinity"])
    path.write_bytes(content[:digit] + word + content[digit + 1 :])


def deepen(path, draw, _):
    depth = draw.choice([300, 2000, 200_000])
    path.write_bytes(b"[" * depth + b"]" * depth + draw.choice([b"", b"\n"]))


def empty(path, draw, _):
    path.write_bytes(b"")


def gone(path, draw, _):
    path.unlink()


def fifo(path, draw, _):
    path.unlink()
    os.mkfifo(path)


def folder_there(path, draw, _):
    path.unlink()
    path.mkdir()


def link(path, draw, other):
    path.unlink()
    path.symlink_to(other / "results.csv")


MUTATIONS = (flip, flip, cut, cut, extend, swap, twice, not_a_number, deepen, empty, gone, fifo,
             folder_there, link)  # fmt: skip


def draw_mutation(folder, other, draw):
    """Damages one file of a run folder; returns it, and whether it is another now."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    path, mutation = draw.choice(paths), draw.choice(MUTATIONS)
    before = path.read_bytes()
    mutation(path, draw, other)
    is_other = path.is_symlink() or not path.is_file() or path.read_bytes() != before
    return path, mutation.__name__, is_other


def outcome(given, folder):
    """Returns what a function gave, and the error that it raised instead."""
    try:
        return given(folder), None
    except ValueError as error:
        return None, str(error)


@sizes(60, 1000)
def test_a_mutated_file_is_noticed_and_named_or_mended_to_the_same_bits(finished, tmp_path, times):
    whole, results = dj.load(finished / "one"), (finished / "one" / "results.csv").read_bytes()
    draw, mended = random.Random(7), 0
    for i in range(times):
        folder = tmp_path / str(i)
        shutil.copytree(finished / "one", folder)
        path, how, is_other = draw_mutation(folder, finished / "two", draw)
        told = f"{how} of {path.name}, number {i}"
        if not is_other:
            continue
        with within(20):
            lines = damages(folder)
            assert any(path.name in line for line in lines), (told, lines)
            assert not any("\n" in line for line in lines), told
            for given in (dj.load, fault_studies.study):
                found, error = outcome(given, folder)
                if error is None:
                    assert bits_of(found) == bits_of(whole), told
                elif not (path.name == manifest.NAME and "must be finished" in error):
                    assert path.name in error, told
                    assert "\n" not in error, told
        if not damages(folder):
            check_finished(folder, results)
            mended += 1
        shutil.rmtree(folder)
    assert mended > times / 5


@sizes(5, 60)
def test_commands_end_in_one_line_on_a_mutated_run(nest, clean, tmp_path, times):
    draw = random.Random(8)
    for i in range(times):
        folder = tmp_path / str(i)
        shutil.copytree(nest.folder / "compare", folder)
        path, how, is_other = draw_mutation(folder, nest.folder / "compare", draw)
        if not is_other:
            continue
        with within(60):
            code, said = called("verify", folder)
            assert code == 3, (how, path)
            assert "damage(s)" in said
            code, said = called("report", folder)
            assert code in (0, 2, 3), (how, path, said)
            assert "Traceback" not in said
            assert code == 0 or (said.count("\n") == 1 and path.name in said), (how, path, said)
            if code == 0 and path.parent.name != "blocks":
                assert called("verify", folder)[0] == 0, (how, path)


def test_a_data_file_that_is_mutated_is_named(tmp_path):
    place = tmp_path / "mnist"
    names = list(dj.datasets.DATASETS["mnist"].files)
    for damage, word in (
        (lambda path: path.write_bytes(b"\x1f\x8b junk"), "must have SHA-256"),
        (lambda path: path.write_bytes(b""), "must have SHA-256"),
        (os.mkfifo, "mnist needs"),
        (Path.mkdir, "mnist needs"),
    ):
        place.mkdir()
        for name in names[1:]:
            (place / name).write_bytes(b"junk")
        damage(place / names[0])
        with within(20):
            code, said = called("compare", "mnist-mlp", "--data-dir", tmp_path)
        assert code == 3
        assert said.count("\n") == 1
        assert word in said
        assert any(name in said for name in names)
        shutil.rmtree(place)


# 4. full


@sizes(4, 100)
def test_a_full_disk_ends_with_75_and_the_command_goes_on_to_the_same_bits(
    nest, clean, tmp_path, times
):
    largest = max(path.stat().st_size for path in (nest.folder / "compare").rglob("*"))
    folder = tmp_path / "run"
    limits = np.geomspace(200, 0.99 * largest, times).astype(int)
    for limit in limits:
        before = acknowledged(folder)
        arguments = [*COMPARE, "--out", str(folder)]
        code = nest.run("full", limit=int(limit), arguments=arguments)
        assert code == 75, (limit, nest.said())
        assert "no space is left (File too large)" in nest.said()
        assert "Traceback" not in nest.said()
        assert before <= acknowledged(folder)
    assert nest.command(COMPARE, folder) == 0, nest.said()
    check_finished(folder, clean["compare"])


# 5. not writable


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/dljax", "/dev/null"])
def test_a_folder_that_cannot_be_written_is_said_before_anything_compiles(
    nest, tmp_path, monkeypatch, place
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    since = time.monotonic()
    code, said = called(*COMPARE, "--out", place)
    assert time.monotonic() - since < 10
    assert code == 2
    assert said.count("\n") == 1
    assert "the folder must be writable, got " in said
    assert Path("file").read_text() == "in the way"
    assert os.listdir() == ["file"]
    with pytest.raises(ValueError, match="the folder must be writable"):
        fault_studies.study(place)


@pytest.mark.slow
@pytest.mark.parametrize(
    "places",
    [
        {"XDG_CACHE_HOME": "/proc/none", "HOME": "/proc/none"},
        pytest.param({"HOME": "/dev/null"}, marks=pytest.mark.slow),
        pytest.param({"XDG_CACHE_HOME": "/dev/null"}, marks=pytest.mark.slow),
    ],
    ids=["neither", "home", "cache"],
)
def test_a_cache_or_a_home_that_cannot_be_written_stops_nothing(nest, clean, tmp_path, places):
    out, environment = tmp_path / "run", {**nest.environment, **places}
    for name in ("JAX_COMPILATION_CACHE_DIR", "MPLCONFIGDIR"):
        environment.pop(name)
    if "XDG_CACHE_HOME" not in places:
        environment.pop("XDG_CACHE_HOME", None)
    run = subprocess.run(
        [sys.executable, "-m", "dljax.cli", *COMPARE, "--out", str(out)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    check_finished(out, clean["compare"])


# 6. diverged


@sizes(5, 50)
def test_members_that_diverge_leave_the_bits_of_the_others_and_are_counted(tmp_path, times):
    draw = random.Random(times)
    alone = fault_studies.study(None, seeds=2, rates=[0.01, 0.05, 0.1]).results
    for i in range(times):
        k = i % 4
        rates = [0.01, 0.05, 0.1, *(draw.choice([1e20, 1e25, 1e30]) * (1 + j) for j in range(k))]
        order = draw.sample(range(len(rates)), len(rates))
        study = fault_studies.study(
            tmp_path / str(i), seeds=2, rates=np.float32([rates[j] for j in order])
        )
        told = json.loads((tmp_path / str(i) / "summary.json").read_text())
        assert told["diverged"] == 2 * k
        assert told["members"] == 2 * (3 + k)
        for j, place in enumerate(order):
            if place < 3:
                for name in ("w", "loss", "diverged_at"):
                    same = study.results[name][:, j] == alone[name][:, place]
                    assert same.all(), name


# 7. two processes


@sizes(1, 25)
def test_one_process_writes_a_folder_and_a_dead_one_gives_way(nest, clean, tmp_path, times):
    for i in range(times):
        folder, marker = tmp_path / str(i), tmp_path / f"{i} runs"
        holder = nest.start("holding", out=str(folder), after=3, marker=str(marker))
        deadline = time.monotonic() + PATIENCE
        while not (marker.exists() and acknowledged(folder)):
            assert time.monotonic() < deadline, nest.said()
            time.sleep(0.01)
        in_use = rf"in use by process {holder} since \d{{4}}-\d\d-\d\d"
        before = acknowledged(folder)
        assert before
        with pytest.raises(ValueError, match=in_use):
            fault_studies.study(folder)
        os.kill(holder, signal.SIGSTOP)  # it may go on
        with pytest.raises(ValueError, match=in_use):
            fault_studies.study(folder)
        os.kill(holder, signal.SIGKILL)
        assert nest.wait(holder) == -signal.SIGKILL
        assert (folder / ".lock").exists()
        assert before <= acknowledged(folder)
        fault_studies.study(folder)
        assert before <= acknowledged(folder)
        check_finished(folder, clean["whole"])


def test_of_many_processes_at_once_one_writes_and_the_others_say_so(nest, clean, tmp_path):
    folder = tmp_path / "run"
    logs = [tmp_path / f"log {i}" for i in range(4)]
    runs = [nest.start("study", out=str(folder), log=str(log)) for log in logs]
    codes = [nest.wait(run) for run in runs]
    assert set(codes) <= {0, 1}
    assert 0 in codes
    for code, log in zip(codes, logs, strict=True):
        assert code == 0 or f"{folder} is in use by " in log.read_text()
    check_finished(folder, clean["whole"])


@pytest.mark.parametrize("told", ["living", "dead", "torn", "empty", "number"])
def test_a_lock_file_that_nobody_holds_is_taken_over(clean, tmp_path, told):
    contents = {
        "living": json.dumps({"process": os.getppid(), "since": "2020-01-01"}),
        "dead": json.dumps({"process": 2**22 + 1, "since": "2020-01-01"}),
        "torn": '{"process":',
        "empty": "",
        "number": "12",
    }
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".lock").write_text(contents[told])
    fault_studies.study(folder)
    check_finished(folder, clean["whole"])


# 8. names and clocks


@pytest.mark.parametrize(
    "name",
    ["with spaces", "ünïcödé 数据", 'quote\'s "and" $HOME;', "-dash", "a" * 200, "new\nline"],
)
def test_a_folder_may_have_any_name(clean, tmp_path, name):
    folder = tmp_path / name
    fault_studies.study(folder)
    fault_studies.study(folder)
    check_finished(folder, clean["whole"])
    assert damages(folder) == []
    code, said = called("verify", str(folder) if name[0] != "-" else f"{tmp_path}/{name}")
    assert (code, said) == (0, "")


def test_a_clock_that_goes_backwards_changes_nothing(clean, tmp_path, monkeypatch):
    clock = iter(np.linspace(2e9, 0, 10**4))
    with monkeypatch.context() as patch:
        gmtime = time.gmtime
        patch.setattr(time, "time", lambda: float(next(clock)))
        patch.setattr(time, "gmtime", lambda *when: gmtime(*(when or (time.time(),))))
        with pytest.raises(ZeroDivisionError):
            fault_studies.study(tmp_path / "run", "rounds", survive=stop_after(2))
    fault_studies.study(tmp_path / "other", "rounds")
    check_finished(tmp_path / "other", clean["rounds"])


def stop_after(number):
    def survive(round, reports, going):
        1 / (number - round)
        return going

    return survive


@sizes(2, 20)
def test_folders_of_one_name_in_two_places_are_two_runs(clean, tmp_path, monkeypatch, times):
    for i in range(times):
        (tmp_path / str(i)).mkdir()
        monkeypatch.chdir(tmp_path / str(i))
        fault_studies.study("run", seeds=1 + i % 3)
        assert dj.load("run").results["final"].shape == (1 + i % 3, 3)
    assert len({(tmp_path / str(i) / "run").stat().st_ino for i in range(times)}) == times


# 9. malicious


def rewritten(folder, change):
    """Rewrites a manifest with valid checks, as someone may who knows how."""
    entries = manifest.read(folder).entries
    text = b"".join(manifest.line(n, change(dict(e), n)) for n, e in enumerate(entries))
    (folder / manifest.NAME).write_bytes(text)


def with_block(folder, content):
    """Puts other content in the place of the first block, with its SHA-256."""
    entry = next(e for e in manifest.read(folder).entries if e["kind"] == "block")
    (folder / entry["file"]).write_bytes(content)
    digest = files.sha256(content)
    rewritten(folder, lambda e, n: {**e, "sha256": digest} if e.get("file") == entry["file"] else e)
    return entry["file"]


def zipped(members, how=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", how) as archive:
        for name, text in members:
            archive.writestr(name, text)
    return content.getvalue()


def saved(array, **options):
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pickled",)


HUGE = saved(np.zeros(1)).replace(b"(1,), }" + b" " * 12, b"(99999999999999,), }")
BLOCKS = {
    "names upwards": zipped([("../../outside.npy", saved(np.zeros(9))), ("/outside", b"x")]),
    "pickled": zipped(
        [("axis/seed.npy", saved(np.array([Evil()], object), allow_pickle=True))]
    ),
    "bomb": zipped([("axis/seed.npy", b"\0" * 2**24)], zipfile.ZIP_DEFLATED),
    "huge shape": zipped([("axis/seed.npy", HUGE)]),
    "no array": zipped([("axis/seed", b"text"), ("result/w", b"text")]),
    "deep header": zipped([("axis/seed.npy", b"\x93NUMPY\x01\x00\x40\x1f" + b"(" * 8000)]),
    "empty": zipped([]),
    "no zip": b"\x93NUMPY",
}  # fmt: skip


def other_results(block):
    """Returns a block of the same members with results of another type."""
    with zipfile.ZipFile(block) as archive:
        names = [name for name in archive.namelist() if name.startswith("axis/")]
        axes = [(name, archive.read(name)) for name in names]
    return zipped([*axes, ("result/w.npy", saved(np.zeros(2, int)))])


@pytest.mark.parametrize("how", [*BLOCKS, "other results"])
def test_a_malicious_block_is_refused_and_run_again(finished, tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished / "one", "run")
    name = with_block(Path("run"), BLOCKS.get(how) or other_results("run/blocks/000001.npz"))
    with within(20):
        (told,) = damages("run")
        assert name in told
        with pytest.raises(DataError, match=name):
            dj.load("run")
        fault_studies.study("run")
    assert sorted(os.listdir()) == ["run"]
    assert sorted(os.listdir(tmp_path.parent)) == sorted(
        path.name for path in tmp_path.parent.iterdir()
    )
    assert not (tmp_path.parent / "outside.npy").exists()
    check_finished(tmp_path / "run", (finished / "one" / "results.csv").read_bytes())


@pytest.mark.parametrize(
    "file",
    [
        "../../outside.npz",
        "{outside}",
        "blocks/../../outside.npz",
        "declaration.json",
        "blocks/000001.npz\n",
        "blocks",
        ".lock",
        "",
    ],
)
@pytest.mark.parametrize("kind", ["block", "checkpoint", "file"])
def test_a_line_that_names_a_file_elsewhere_is_refused_and_the_file_stays(
    finished, tmp_path, file, kind
):
    folder, outside = tmp_path / "a" / "run", tmp_path / "outside.npz"
    outside.write_text("kept")
    shutil.copytree(finished / "one", folder)
    file = file.format(outside=outside)

    def change(entry, n):
        if n:
            return entry
        more = {"checkpoint": {"round": 1}}.get(kind, {})
        return {**entry, "kind": kind, "file": file, **more}

    rewritten(folder, change)
    found = manifest.read(folder)
    assert len(found.damage) == 1
    assert damages(folder)
    fault_studies.study(folder)
    assert outside.read_text() == "kept"
    check_finished(folder, (finished / "one" / "results.csv").read_bytes())


def test_links_in_a_run_folder_are_not_followed_outwards(finished, clean, tmp_path):
    outside = tmp_path / "outside"
    shutil.copytree(finished / "one" / "blocks", outside)
    kept = {path.name: path.read_bytes() for path in outside.iterdir()}
    target = tmp_path / "target"
    target.write_text("kept")

    folder = tmp_path / "blocks"
    shutil.copytree(finished / "one", folder)
    shutil.rmtree(folder / "blocks")
    (folder / "blocks").symlink_to(outside)
    with pytest.raises(DataError, match="blocks must be a folder, got another kind"):
        fault_studies.study(folder)

    folder = tmp_path / "run"
    for name in (
        *(".declaration.json.tmp", ".manifest.jsonl.tmp", ".results.csv.tmp"),
        *("blocks/.000001.npz.tmp", "results.csv", "summary.json"),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    fault_studies.study(folder)
    check_finished(folder, clean["whole"])
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert target.read_text() == "kept"
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == kept


@pytest.mark.parametrize("name", ["../escaped", "a/b", "", "a" * 65, "naïve", "two words", ".."])
def test_a_problem_whose_name_is_no_name_of_a_folder_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        f"import dljax as dj\nproblem = dj.problems.load('quadratic')._replace(name={name!r})\n"
    )
    code, said = called("compare", "mine.py:problem", *COMPARE[2:])
    assert code == 2
    assert said.count("\n") == 1
    assert "[A-Za-z0-9._+-]{1,64}" in said
    assert sorted(set(os.listdir()) - {"__pycache__"}) == ["mine.py"]
