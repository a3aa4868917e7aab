"""A study's run folder: it goes on, grows, refuses what differs, and gives everything back."""

import json

import fault_studies
import jax
import numpy as np
import pandas as pd
import pytest
from test_faults import acknowledged, bits_of, called, check_finished

import dljax as dj
from dljax import populations
from dljax.store import resuming
from dljax.store.reading import damages, read
from dljax.store.runs import Run

KINDS = ["whole", "rounds"]


@pytest.fixture(scope="module")
def through():
    """Results of studies that have no folder."""
    return {kind: fault_studies.study(None, kind) for kind in KINDS}


@pytest.fixture
def ran(monkeypatch):
    """Collects how many members were run, not read."""
    counts = []
    execute = resuming.execute

    def counted(program, shared, cells, **options):
        counts.append(len(jax.tree.leaves(cells)[0]))
        return execute(program, shared, cells, **options)

    monkeypatch.setattr(resuming, "execute", counted)
    return counts


class Stop(Exception):
    """Ends a study in its middle."""


def stopping(after):
    """Returns a progress function that ends a study after so many tiles."""
    tiles = iter(range(after))

    def progress(stage, done, total):
        if stage == "run" and done and next(tiles, None) is None:
            raise Stop

    return progress


def study(out, kind="whole", **options):
    """Runs the study of `fault_studies` with any option changed."""
    told = {
        "axes": {"seed": np.arange(3), "learning_rate": fault_studies.RATES},
        "width": 2,
        "progress": False,
    } | options
    member = fault_studies.descent if kind == "whole" else fault_studies.rounds
    return dj.study(member, fault_studies.DATA, out=out, **told)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_changes_no_bit_and_the_same_study_again_runs_nothing(
    through, ran, tmp_path, kind
):
    first = fault_studies.study(tmp_path, kind)
    assert ran == [9]
    again = fault_studies.study(tmp_path, kind)
    assert ran == [9]
    assert bits_of(first) == bits_of(again) == bits_of(through[kind])
    assert bits_of(dj.load(tmp_path)) == bits_of(first)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_study_that_was_ended_goes_on_where_it_was(through, ran, tmp_path, after):
    with pytest.raises(Stop):
        study(tmp_path, progress=stopping(after))
    stored = read(tmp_path).num_stored()
    assert stored >= 2 * after
    found = study(tmp_path)
    assert ran == [9, 9 - stored]
    assert bits_of(found) == bits_of(through["whole"])


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_members_in_rounds_go_on_from_their_checkpoint(through, tmp_path, monkeypatch, rounds):
    begun = []

    def dies(run, kind, section, content, **told):
        add(run, kind, section, content, **told)
        if kind == "checkpoint" and told["round"] == rounds:
            raise Stop

    add = Run.add
    with monkeypatch.context() as patch:
        patch.setattr(Run, "add", dies)
        with pytest.raises(Stop):
            fault_studies.study(tmp_path, "rounds")
    (left,) = [e for e in read(tmp_path).entries if e["kind"] == "checkpoint"]
    assert left["round"] == rounds

    def watched(*inputs, **options):
        keep = options["keep"]
        begun.append(keep.begun and keep.begun[0])
        return execute(*inputs, **options)

    execute = resuming.execute
    monkeypatch.setattr(resuming, "execute", watched)
    found = fault_studies.study(tmp_path, "rounds")
    assert begun == [rounds]
    assert bits_of(found) == bits_of(through["rounds"])
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_are_added_run_alone_and_are_marked(ran, tmp_path, kind):
    fault_studies.study(tmp_path, kind, seeds=2, rates=[0.01, 0.1])
    before = acknowledged(tmp_path)
    rates = [0.001, 0.01, 0.1]
    found = fault_studies.study(tmp_path, kind, seeds=3, rates=rates)
    assert ran == [4, 5]
    assert before < acknowledged(tmp_path)
    assert bits_of(found) == bits_of(fault_studies.study(None, kind, seeds=3, rates=rates))
    assert bits_of(dj.load(tmp_path)) == bits_of(found)
    stored = read(tmp_path)
    (added,) = stored.declaration["added"]
    assert added["axes"] == {"seed": [2], "learning_rate": [np.float32(0.001)]}
    assert {e["added"] for e in stored.entries if e["kind"] == "block"} == {False, True}
    assert json.loads((tmp_path / "summary.json").read_text())["added"] == [added]


def other_member(data, *, seed, learning_rate):
    found = fault_studies.descent(data, seed=seed, learning_rate=learning_rate)
    return {**found, "final": 2.0 * found["final"]}


def wider_member(data, *, seed, learning_rate):
    found = fault_studies.descent(data, seed=seed, learning_rate=learning_rate)
    return {**found, "more": found["final"]}


def shared(**changed):
    return {**fault_studies.DATA, **changed}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"member": other_member}, r"what a member computes"),
        ({"member": wider_member}, r"leaves was "),
        ({"data": shared(y=2 * fault_studies.DATA["y"])}, r"shared was "),
        ({"width": 3}, r"width was 2, is 3"),
        ({"axes": {"seed": [0], "learning_rate": fault_studies.RATES}}, r"axis 'seed' may only"),
        ({"axes": {"seed": [0, 1, 2, 3]}}, r"axes was \['seed', 'learning_rate'\], is \['seed'\]"),
        ({"static": {"kind": {"a": 1}}}, r"static was \[\], is \['kind'\]"),
    ],
    ids=["code", "results", "data", "width", "fewer", "axis", "static"],
)
def test_another_study_is_refused_with_the_fields_that_differ(tmp_path, changed, field):
    fault_studies.study(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    member = changed.pop("member", fault_studies.descent)
    data = changed.pop("data", fault_studies.DATA)
    if "learning_rate" not in changed.get("axes", {"learning_rate": 0}):
        member = lambda data, *, seed: fault_studies.descent(data, seed=seed, learning_rate=0.1)  # noqa: E731
    axes = {"seed": np.arange(3), "learning_rate": fault_studies.RATES}
    options = {"axes": axes, "width": 2, "progress": False} | changed
    with pytest.raises(ValueError, match=field) as raised:
        dj.study(member, data, out=tmp_path, **options)
    assert "give another folder" in str(raised.value)
    assert "\n" not in str(raised.value)
    for name in ("results.csv", "summary.json", *(p for p in before if p.endswith(".npz"))):
        path = next(tmp_path.rglob(name))
        assert path.read_bytes() == before[name]
    assert damages(tmp_path) == []
    fault_studies.study(tmp_path)


def test_matmul_precision_and_x64_are_part_of_the_declaration(tmp_path, x64):
    with jax.enable_x64(False):
        fault_studies.study(tmp_path)
        with (
            jax.default_matmul_precision("float32"),
            pytest.raises(ValueError, match=r"numerics.default_matmul_precision was None"),
        ):
            fault_studies.study(tmp_path)
    with pytest.raises(ValueError, match=r"numerics.enable_x64 was False, is True"):
        fault_studies.study(tmp_path)


def test_a_folder_begun_where_bits_differ_is_refused(tmp_path, monkeypatch):
    fault_studies.study(tmp_path)
    monkeypatch.setenv("XLA_FLAGS", "--xla_some_flag=true --xla_dump_to=elsewhere")
    with pytest.raises(ValueError, match=r"was begun where bits differ: xla_flags was .*some_flag"):
        fault_studies.study(tmp_path)


@pytest.mark.parametrize("rounds", [1, 3])
def test_successive_halving_goes_on_to_the_same_bits(tmp_path, rounds):
    def halving(out, **options):
        return dj.successive_halving(
            fault_studies.rounds,
            fault_studies.DATA,
            axes={"seed": [0, 1], "learning_rate": [0.001, 0.01, 0.1, 0.2]},
            metric="loss",
            eta=2,
            width=2,
            out=out,
            progress=False,
            **options,
        )

    alone = halving(None)
    checkpoints = iter(range(rounds))
    keep_rounds = resuming.Section.keep_rounds

    def dies(section, *inputs):
        keep_rounds(section, *inputs)
        if next(checkpoints, None) == rounds - 1:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resuming.Section, "keep_rounds", dies)
        with pytest.raises(Stop):
            halving(tmp_path)
    assert bits_of(halving(tmp_path)) == bits_of(alone)
    assert bits_of(dj.load(tmp_path)) == bits_of(alone)
    assert damages(tmp_path) == []
    with pytest.raises(ValueError, match="replayed by their whole study"):
        dj.replay(tmp_path, fault_studies.rounds, fault_studies.DATA, seed=0, learning_rate=0.1)


def scaled(data, *, seed, learning_rate, scale):
    found = fault_studies.descent(data, seed=seed, learning_rate=learning_rate * scale)
    return {"final": found["final"], "w": found["w"]}


def test_static_axes_have_sections_of_their_own(ran, tmp_path):
    def run(out, **scales):
        return study_of_scales(out, scales)

    def study_of_scales(out, scales):
        axes = {"seed": np.arange(2), "learning_rate": [0.01, 0.1]}
        return dj.study(
            scaled, fault_studies.DATA, axes=axes, static={"scale": scales}, width=2,
            out=out, progress=False,
        )  # fmt: skip

    run(tmp_path, one=1.0)
    found = run(tmp_path, one=1.0, half=0.5)
    assert ran == [4, 4]
    alone = run(None, one=1.0, half=0.5)
    assert bits_of(found) == bits_of(alone) == bits_of(dj.load(tmp_path))
    assert dj.load(tmp_path).axes["scale"] == ("one", "half")
    with pytest.raises(ValueError, match="what a member computes"):
        run(tmp_path, one=2.0, half=0.5)


def test_what_is_loaded_has_its_axes_and_is_a_table_too(tmp_path):
    study = fault_studies.study(tmp_path)
    loaded = dj.load(tmp_path)
    assert loaded.axes["learning_rate"].dtype == np.float32
    assert loaded.axes["seed"].tolist() == [0, 1, 2]
    assert loaded.select(seed=1).results["w"].tobytes() == study.results["w"][1].tobytes()
    table = pd.read_csv(tmp_path / "results.csv")
    assert len(table) == 9 * 8
    final = np.repeat(study.results["final"].ravel(), 8)
    np.testing.assert_array_equal(table["final"].to_numpy(np.float32), final)
    content = np.load(tmp_path / "blocks" / "000001.npz", allow_pickle=False)
    assert {"axis/seed", "axis/learning_rate", "result/w", "result/key"} <= set(content)
    assert jax.numpy.array_equal(loaded.results["key"], study.results["key"])


def test_a_folder_that_is_not_finished_or_none_is_not_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"must hold declaration.json"):
        dj.load(tmp_path)
    with pytest.raises(Stop):
        study(tmp_path, progress=stopping(1))
    with pytest.raises(ValueError, match=r"must be finished, got \d of 9 members"):
        dj.load(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_replayed_alone_has_the_bits_that_are_stored(tmp_path, kind):
    stored = fault_studies.study(tmp_path, kind)
    member = fault_studies.descent if kind == "whole" else fault_studies.rounds
    for seed, place in ((0, 0), (2, 1)):
        rate = np.float32(fault_studies.RATES[place])
        found = dj.replay(tmp_path, member, fault_studies.DATA, seed=seed, learning_rate=rate)
        assert found.is_same
        assert found.difference == 0.0
        assert found.differs == ()
        same = stored.results["w"][seed, place].tobytes()
        assert np.asarray(found.results["w"]).tobytes() == same


def test_a_replay_of_other_code_says_by_how_much_and_what_differs(tmp_path):
    fault_studies.study(tmp_path)
    cell = {"seed": 1, "learning_rate": np.float32(0.1)}
    found = dj.replay(tmp_path, other_member, fault_studies.DATA, **cell)
    assert not found.is_same
    assert found.difference > 0.1
    assert any("what a member computes" in phrase for phrase in found.differs)


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ({"seed": 1}, "a member must be named on every axis, got none of 'learning_rate'"),
        ({"seed": 9, "learning_rate": np.float32(0.1)}, "the member must be stored"),
        ({"seed": 1, "learning_rate": np.float32(0.1), "sed": 1}, "unknown axis 'sed'"),
    ],
)
def test_a_member_that_is_not_there_is_not_replayed(tmp_path, cell, line):
    fault_studies.study(tmp_path)
    with pytest.raises(ValueError, match=line):
        dj.replay(tmp_path, fault_studies.descent, fault_studies.DATA, **cell)


def test_verify_and_report_read_the_folder_of_a_study(tmp_path):
    fault_studies.study(tmp_path)
    results = (tmp_path / "results.csv").read_bytes()
    assert called("verify", tmp_path) == (0, "")
    (tmp_path / "results.csv").write_text("lost")
    (tmp_path / "summary.json").unlink()
    code, said = called("verify", tmp_path)
    assert code == 3
    assert "has 2 damage(s)" in said
    assert called("report", tmp_path)[0] == 0
    check_finished(tmp_path, results)
    code, said = called("replay", tmp_path, "--member", "seed=1")
    assert code == 2
    assert "dj.replay(" in said
    assert called("verify", tmp_path / "nothing")[0] == 2


def test_two_studies_of_one_process_do_not_share_a_folder(tmp_path):
    with pytest.raises(ValueError, match="in use by process"):
        study(tmp_path, progress=lambda *_: study(tmp_path))
    study(tmp_path)
    assert damages(tmp_path) == []


def test_a_width_that_auto_found_stays(tmp_path):
    found = study(tmp_path, width="auto")
    (program,) = found.plan.programs.values()
    (told,) = read(tmp_path).declaration["programs"].values()
    assert told["width"] == program.width
    more = {"seed": np.arange(4), "learning_rate": fault_studies.RATES}
    (again,) = study(tmp_path, width="auto", axes=more).plan.programs.values()
    assert again.width == program.width


def test_out_of_memory_begins_anew_in_a_folder_too(through, tmp_path, monkeypatch):
    run_tile = populations.run_tile

    def full(program, *inputs):
        if program.width > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return run_tile(program, *inputs)

    monkeypatch.setattr(populations, "run_tile", full)
    found = study(tmp_path, width=8)
    (told,) = read(tmp_path).declaration["programs"].values()
    assert told["width"] == 2
    assert bits_of(found) == bits_of(through["whole"])
    assert damages(tmp_path) == []
    assert bits_of(study(tmp_path, width=8)) == bits_of(found)


@pytest.mark.parametrize("name", ["declaration.json", "environment.json", "manifest.jsonl"])
def test_a_file_of_another_run_of_the_same_study_is_noticed(name, tmp_path):
    for folder in ("one", "other"):
        study(tmp_path / folder, "whole", progress=False)
    (tmp_path / "one" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    assert any("must be of the declaration's run" in text for text in damages(tmp_path / "one"))
    for use in (lambda: dj.load(tmp_path / "one"), lambda: study(tmp_path / "one")):
        with pytest.raises(dj.DataError, match="must be of the declaration's run"):
            use()
