"""The run folder's files: the manifest, blocks, declarations, the lock and the digests."""

import ast
import functools
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import dljax as dj
from dljax.errors import DataError
from dljax.placement import to_device, to_host
from dljax.store import blocks, declarations, files, manifest
from dljax.store.fingerprints import of_arrays, of_function, of_jaxprs
from dljax.store.lock import Lock

WORD = st.text(max_size=20)
DIGEST = st.text("0123456789abcdef", min_size=64, max_size=64)
NUMBER = st.integers(0, 999_999).map("{:06d}".format)
COUNT = st.integers(0, 10**6)


def entry(kind, **fields):
    return st.fixed_dictionaries({"kind": st.just(kind), **fields})


BLOCK = {"section": WORD, "file": NUMBER.map("blocks/{}.npz".format), "sha256": DIGEST}
POINT = {"section": WORD, "file": NUMBER.map("checkpoints/{}.npz".format), "sha256": DIGEST}
ENTRIES = st.lists(
    st.one_of(
        entry("block", **BLOCK, members=COUNT, added=st.booleans()),
        entry("checkpoint", **POINT, members=COUNT, round=COUNT),
        entry("forget", section=WORD),
        entry("done", section=WORD),
        entry("file", file=st.sampled_from(["results.csv", "a.svg"]), sha256=DIGEST),
    ),
    min_size=1,
    max_size=8,
)
# files are written for every example, on a disk that others use too
PATIENT = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def written(folder, entries):
    """Appends entries to a manifest and returns its bytes."""
    writer = manifest.Writer(folder, [])
    for one in entries:
        writer.append(one)
    writer.close()
    return (folder / manifest.NAME).read_bytes()


@PATIENT
@given(entries=ENTRIES)
def test_what_is_appended_to_a_manifest_comes_back(tmp_path, entries):
    written(tmp_path, entries)
    assert manifest.read(tmp_path) == (entries, [], False)
    manifest.Writer(tmp_path, entries).close()
    assert manifest.read(tmp_path) == (entries, [], False)


@PATIENT
@given(entries=ENTRIES, data=st.data())
def test_a_last_line_that_was_cut_anywhere_is_left_out_and_no_other(tmp_path, entries, data):
    content = written(tmp_path, entries)
    last = len(manifest.line(len(entries) - 1, entries[-1]))
    cut = data.draw(st.integers(1, last))
    (tmp_path / manifest.NAME).write_bytes(content[:-cut])
    assert manifest.read(tmp_path) == (entries[:-1], [], cut < last)


@PATIENT
@given(entries=ENTRIES, data=st.data())
def test_a_byte_that_flips_is_noticed_and_harms_its_own_line_alone(tmp_path, entries, data):
    content = bytearray(written(tmp_path, entries))
    place = data.draw(st.integers(0, len(content) - 1))
    bits = data.draw(st.integers(1, 255))
    assume(content[place] != 10 and content[place] ^ bits != 10)  # no line ends or begins there
    line = content[:place].count(b"\n")
    content[place] ^= bits
    (tmp_path / manifest.NAME).write_bytes(content)
    found = manifest.read(tmp_path)
    assert found.entries == entries[:line] + entries[line + 1 :]
    assert len(found.damage) == 1
    assert f"line {line + 1} of {tmp_path / manifest.NAME} is damaged" in found.damage[0]


@PATIENT
@given(entries=ENTRIES, data=st.data())
def test_lines_that_change_places_or_stand_twice_are_noticed(tmp_path, entries, data):
    lines = written(tmp_path, entries).splitlines(keepends=True)
    i, j = (data.draw(st.integers(0, len(lines) - 1)) for _ in "ij")
    twice = data.draw(st.booleans())
    assume(twice or i != j)
    if twice:
        lines.insert(i, lines[j])
        changed = [k for k in range(len(lines)) if k > i or (k == i and i != j)]
    else:
        lines[i], lines[j] = lines[j], lines[i]
        changed = [i, j]
    (tmp_path / manifest.NAME).write_bytes(b"".join(lines))
    assert len(manifest.read(tmp_path).damage) == len(changed)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b'{"a":' * 400 + b"1" + b"}" * 400,
        b'{"schema":NaN}',
        b'{"schema":1e999}',
        b'{"schema":1,"schema":1}',
        b'"\xff"',
        b'{"schema":' + b"9" * 6000 + b"}",
        b"null",
    ],
    ids=[
        "empty",
        "object",
        "deep",
        "nested",
        "nan",
        "infinite",
        "twice",
        "not_utf8",
        "long",
        "null",
    ],
)
def test_a_line_or_a_document_that_is_no_json_of_ours_is_damaged_in_one_sentence(tmp_path, text):
    (tmp_path / manifest.NAME).write_bytes(text + b"\n")
    (told,) = manifest.read(tmp_path).damage
    assert told.startswith(f"line 1 of {tmp_path / manifest.NAME} is damaged: ")
    (tmp_path / "declaration.json").write_bytes(text)
    with pytest.raises(DataError, match=r"declaration.json is damaged: ") as raised:
        files.read_document(tmp_path / "declaration.json")
    assert "\n" not in str(raised.value)


def test_a_newer_schema_is_refused_and_said_to_be_newer(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SCHEMA", 2)
    files.write_document(tmp_path / "declaration.json", {"kind": "study"})
    (tmp_path / manifest.NAME).write_bytes(manifest.line(0, {"kind": "done", "section": "a"}))
    monkeypatch.undo()
    for read in (
        lambda: files.read_document(tmp_path / "declaration.json"),
        lambda: manifest.read(tmp_path),
    ):
        with pytest.raises(DataError, match="up to 1, got 2: a newer dljax wrote it"):
            read()


@pytest.mark.parametrize("fault", ["write", "fsync"])
def test_a_line_that_could_not_be_written_leaves_no_trace(tmp_path, monkeypatch, fault):
    first, second = ({"kind": "done", "section": name} for name in "ab")
    writer = manifest.Writer(tmp_path, [first])
    real = os.write

    def fails(number, *text):
        if text:
            real(number, text[0][:9])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fault, fails)
    with pytest.raises(OSError, match="No space left"):
        writer.append(second)
    monkeypatch.undo()
    assert manifest.read(tmp_path) == ([first], [], False)
    writer.append(second)
    writer.close()
    assert manifest.read(tmp_path) == ([first, second], [], False)


class Pair(NamedTuple):
    left: np.ndarray
    right: np.ndarray


DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128", "bfloat16"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "int4", "uint4"),
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_block_gives_back_the_bits_of_every_type(dtype):
    bits = np.random.default_rng(0).integers(0, 2, size=(3, 2, 5))
    x = bits.astype(jnp.dtype(dtype))
    content = blocks.packed({"result": x})
    (found,) = blocks.restored(blocks.unpacked(content)["result"], blocks.leaves_of(x))
    assert found.dtype == x.dtype
    assert found.tobytes() == x.tobytes()


def test_a_block_gives_back_nested_trees_keys_and_leaves_without_a_number():
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    tree = {
        "a": [np.arange(3), Pair(np.zeros((3, 0)), np.full((3, 2), np.nan))],
        "b/c": {"d": np.ones(3, np.float32)},
        "b": {"c": {"d": np.ones(3, np.int8)}},
        "keys": keys,
    }
    tree = to_host(tree)
    leaves = blocks.leaves_of(tree)
    found = blocks.restored(blocks.unpacked(blocks.packed({"r": tree}))["r"], leaves)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(tree), strict=True):
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())
    told = json.loads(json.dumps(leaves))
    plain = blocks.plain_tree(found, [blocks.Leaf(*leaf) for leaf in told])
    assert plain["a"][1].keys() == {"left", "right"}
    assert plain["b/c"]["d"].dtype == np.float32
    assert plain["b"]["c"]["d"].dtype == np.int8
    assert jnp.array_equal(to_device(plain["keys"]), keys)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_block_are_refused_in_one_sentence(content):
    with pytest.raises(ValueError, match="it is no npz file"):
        blocks.unpacked(content)


def test_a_block_of_another_type_or_shape_is_refused():
    x = np.zeros((3, 2), np.float32)
    (leaf,) = blocks.leaves_of(x)
    for other in (x.astype(np.float64), x[:, :1], x.view(np.uint32), np.float32(0)):
        with pytest.raises(ValueError, match="'value' is"):
            blocks.restored([other], [leaf])
    with pytest.raises(ValueError, match="different numbers of members"):
        blocks.restored([x, x[:2]], [leaf, leaf])


def test_declarations_tell_the_fields_that_differ():
    before = {"a": 1, "b": {"c": [1, 2], "d": None}, "e": 0}
    now = {"a": 1, "b": {"c": [1, 3], "d": None}, "f": "x" * 90}
    assert declarations.differences(before, now) == [
        "b.c was [1, 2], is [1, 3]",
        "e was 0, is None",
        f"f was None, is {'x' * 60}...",
    ]
    assert declarations.told([*"abcdefg"]) == "a; b; c; d; e; and 2 more"


def test_axes_may_grow_and_lose_nothing():
    encoded = {
        "seed": declarations.axis(np.arange(3)),
        "point": declarations.axis({"a": np.arange(2.0), "b": np.array([5.0, 6.0])}),
        "static width": declarations.axis(("one", "two")),
    }
    assert declarations.grown(encoded, encoded) == {}
    more = {**encoded, "seed": declarations.axis(np.array([5, 0, 1, 2]))}
    assert declarations.grown(encoded, more) == {"seed": [5]}
    with pytest.raises(ValueError, match=r"axis 'seed' may only grow .* without \[5\]"):
        declarations.grown(more, encoded)
    other = {**encoded, "point": declarations.axis({"a": np.arange(2.0), "b": np.zeros(2)})}
    with pytest.raises(ValueError, match=r"axis 'point' may only grow .* without \[\[0.0, 5.0\]"):
        declarations.grown(encoded, other)
    for name, told in encoded.items():
        told = json.loads(json.dumps(told))
        assert declarations.axis(declarations.axis_values(told)) == encoded[name]


def test_a_lock_is_held_by_one_and_says_by_whom(tmp_path):
    lock = Lock(tmp_path)
    with pytest.raises(ValueError, match=rf"in use by process {os.getpid()} since \d{{4}}-"):
        Lock(tmp_path)
    lock.release()
    assert not (tmp_path / ".lock").exists()
    lock = Lock(tmp_path)
    lock.release()
    lock.release()


def test_a_lock_is_a_regular_file(tmp_path):
    (tmp_path / "elsewhere").write_text("kept")
    for make in (
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(tmp_path / "elsewhere"),
    ):
        make(tmp_path / ".lock")
        with pytest.raises(DataError, match=r"\.lock must be a regular file, got another kind"):
            Lock(tmp_path)
        (tmp_path / ".lock").rmdir() if (tmp_path / ".lock").is_dir() else (
            tmp_path / ".lock"
        ).unlink()
    assert (tmp_path / "elsewhere").read_text() == "kept"


FINGERPRINT = """
import jax, jax.numpy as jnp, numpy as np
from dljax.store.fingerprints import of_arrays, of_function, of_jaxprs

TABLE = np.arange(5.0, dtype=np.float32)

def member(data, *, seed, rate=0.1, labels=("a", "b")):
    key = jax.random.fold_in(jax.random.key(0), seed)
    w = jax.lax.cond(seed > 3, lambda: data @ TABLE, lambda: jax.nn.relu(data.sum(1)))
    w, _ = jax.lax.scan(lambda w, _: (w - rate * jax.jit(jnp.tanh)(w), None), w, length=3)
    return {"w": w + jax.random.normal(key, w.shape), **{name: w.sum() for name in labels}}

def digests():
    jaxpr = jax.make_jaxpr(lambda data, seed: member(data, seed=seed))(jnp.ones((2, 5)), 3)
    tree = {"b": np.arange(3), "a": [jax.random.key(1), TABLE]}
    return [of_jaxprs({"whole": jaxpr}), of_arrays(tree), of_function(member)]

if __name__ == "__main__":
    print(digests())
"""


def test_digests_are_the_same_in_every_process(tmp_path):
    script = tmp_path / "fingerprint.py"
    script.write_text(FINGERPRINT)
    paths = os.pathsep.join(filter(None, [str(Path(dj.__file__).parents[1]), *sys.path]))
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "12", "PYTHONPATH": paths},
    ) as process:
        here = runpy.run_path(str(script))["digests"]()  # meanwhile
        assert ast.literal_eval(process.communicate(timeout=100)[0]) == here


def jaxpr_digest(function, *inputs):
    return of_jaxprs({"whole": jax.make_jaxpr(function)(*inputs)})


def test_a_program_has_another_digest_if_it_computes_anything_else():
    x, table = jnp.ones(3), np.arange(3.0, dtype=np.float32)
    other = table.copy()
    other[1] = np.nextafter(np.float32(1), np.float32(2))
    programs = [
        lambda x: x + table,
        lambda x: x + other,
        lambda x: table + x,
        lambda x: x - table,
        lambda x: (x + table, x)[0] * 1.0,
        lambda x: jax.lax.scan(lambda c, t: (c + t, None), x, table, length=3)[0],
        lambda x: jax.lax.scan(lambda c, t: (c - t, None), x, table, length=3)[0],
        lambda x: jax.lax.scan(lambda c, t: (c - t, None), x, table, length=3, reverse=True)[0],
        lambda x: x + jnp.float32(0.1),
        lambda x: x + jnp.float32(0.2),
        lambda x: jnp.sum(x, keepdims=True),
        lambda x: x.astype(jnp.bfloat16),
    ]
    digests = [jaxpr_digest(f, x) for f in programs]
    assert len(set(digests)) == len(programs)
    assert digests == [jaxpr_digest(f, x) for f in programs]
    assert jaxpr_digest(programs[0], jnp.ones(4)[:3]) == digests[0]


def test_names_of_functions_and_variables_leave_the_digest():
    def one(value):
        return jax.jit(lambda value: value + 1)(value)

    def two(other):
        def inner(other):
            return other + 1

        return jax.jit(inner)(other)

    assert jaxpr_digest(one, 1.0) == jaxpr_digest(two, 1.0)


def test_arrays_have_another_digest_by_place_type_shape_or_bit():
    x = np.zeros(4, np.float32)
    trees = [
        {"a": x},
        {"b": x},
        [x],
        {"a": x.reshape(2, 2)},
        {"a": x.view(np.int32)},
        {"a": -x},
        {"a": x[:3]},
        {"a": x, "b": x},
        {"a": jax.random.key(0)},
        {"a": jax.random.key_data(jax.random.key(0))},
        {"a": jax.random.key(0, impl="rbg")},
    ]
    assert len({of_arrays(tree) for tree in trees}) == len(trees)
    assert of_arrays({"a": jnp.asarray(x)}) == of_arrays({"a": x})


def test_functions_have_another_digest_by_code_and_by_what_they_hold():
    def made(n, extra=0):
        return lambda x: x * n + extra

    functions = [
        made(1),
        made(2),
        lambda x: x - 1,
        lambda x: x - 2,
        functools.partial(made(1), y=1),
        functools.partial(made(1), y=2),
        lambda x: [y - 1 for y in x],
        lambda x: [y - 2 for y in x],
        lambda x: x.min(),
        lambda x: x.max(),
    ]
    assert len({of_function(f) for f in functions}) == len(functions)
    assert of_function(made(1)) == of_function(made(1))


def test_functions_that_hold_large_arrays_or_other_functions_have_their_digest():
    def holding(thing):
        return lambda x: (x, thing)

    large = np.zeros(5000)
    changed = large.copy()
    changed[2500] = 1.0
    inner = lambda n: lambda x: x + n  # noqa: E731
    assert of_function(holding(large)) != of_function(holding(changed))
    assert of_function(holding(inner(1))) != of_function(holding(inner(2)))


def test_defaults_of_a_function_count():
    def made(default):
        def survive(reports, keep=default):
            return reports[:keep]

        return survive

    assert of_function(made(1)) != of_function(made(2))


def test_a_file_is_written_through_no_link(tmp_path):
    outside, path = tmp_path / "outside", tmp_path / "run" / "declaration.json"
    path.parent.mkdir()
    outside.write_text("kept")
    path.symlink_to(outside)
    (path.parent / ".declaration.json.tmp").symlink_to(outside)
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()
    assert os.listdir(path.parent) == ["declaration.json"]
    assert outside.read_text() == "kept"
