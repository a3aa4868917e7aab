"""The line that long work shows, off a terminal."""

from types import SimpleNamespace

from dljax.progress import progress_line


def test_the_speed_is_what_was_done_since_running_began(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("dljax.progress.time", SimpleNamespace(perf_counter=lambda: now[0]))
    with progress_line(40, "members") as report:
        report("adam", "compile", 0)
        now[0] = 7.0
        report("adam", "run", 4)  # four were stored before
        now[0] = 17.0
        report("adam", "run", 19)
        report("adam", "done", 20)
        now[0] = 27.0
        report("sgd", "run", 20)
        report("sgd", "done", 20)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "  0 %  compiling adam  0.0 members/s",
        " 10 %  running adam  0.0 members/s",
        " 50 %  done  1.6 members/s",
        "100 %  running sgd  1.8 members/s",
        "100 %  done  1.8 members/s",
    ]
