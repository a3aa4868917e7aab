"""Data sets: what `load` returns, where files come from, and what `check` lets through."""

import gzip
import hashlib
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import jax.numpy as jnp
import numpy as np
import pooch
import pytest
import sklearn.datasets

from dljax.datasets import DATASETS, check, default_folder, idx, load, names
from dljax.datasets.table import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Dataset
from dljax.errors import DataError

BUNDLED = sorted(name for name in DATASETS if not DATASETS[name].files)
FACTS = {  # published: labels of the train part a class, mean and deviation of its pixels in [0, 1]
    "mnist": ([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], 0.1307, 0.3081),
    "fashion-mnist": ([6000] * 10, 0.2860, 0.3530),
}


@pytest.fixture(scope="module", params=sorted(FACTS))
def images(request):
    """A real MNIST family: its name and its data."""
    if not os.environ.get("DLJAX_DATA"):
        pytest.skip("DLJAX_DATA is not set to the folder of the data sets")
    return request.param, load(request.param)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A data set `tiny` of 5 + 3 images of 2 x 3 pixels: its arrays, and its files."""
    x, y = np.arange(48, dtype=np.uint8).reshape(8, 2, 3), np.arange(8, dtype=np.uint8) % 4
    arrays = {TRAIN_IMAGES: x[:5], TRAIN_LABELS: y[:5], TEST_IMAGES: x[5:], TEST_LABELS: y[5:]}
    contents = {file: write_idx(array) for file, array in arrays.items()}
    digests = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    monkeypatch.setitem(DATASETS, "tiny", Dataset(8, 3, (2, 3), 4, "made here", digests))
    monkeypatch.delenv("DLJAX_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return {"x": x, "y": y}, contents


@pytest.fixture
def server(tiny, monkeypatch):
    """Serves the files of `tiny` and is its address; yields what it serves and was asked."""
    served, asked = dict(tiny[1]), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            file = self.path.strip("/")
            asked.append(file)
            if file not in served:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(tiny[1][file])))
            self.end_headers()
            self.wfile.write(served[file])  # a shorter body is a broken connection

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        url = f"http://127.0.0.1:{http.server_port}/"
        monkeypatch.setitem(DATASETS, "tiny", DATASETS["tiny"]._replace(url=url))
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield served, asked
        http.shutdown()


def write_idx(array):
    """Writes uint8[...] as a gzipped idx file."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes(), mtime=0)


def put(folder, contents):
    """Writes files into `folder` and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    return folder


def data_error(*args, **kwargs):
    """Returns the message of the `DataError` that `load` must raise; it is one line."""
    with pytest.raises(DataError) as error:
        load(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def assert_as_stated(data, dataset):
    """The table tells the sizes, the classes and the kinds of what `load` returns."""
    assert list(data) == ["x", "y"]
    assert data["x"].shape == (dataset.num_rows, *dataset.shape)
    assert data["y"].shape == (dataset.num_rows,)
    if dataset.num_classes is None:
        assert data["y"].dtype == np.float32
        check(data, num_folds=8)
    else:
        assert data["y"].dtype == np.int32
        check(data, labels="y", num_folds=2, num_classes=dataset.num_classes)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_are_those_of_scikit_learn_unscaled(name):
    data = load(name)
    assert_as_stated(data, DATASETS[name])
    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(sklearn.datasets, f"load_{name.replace('-', '_')}")(**options)
    assert data["x"].dtype == np.float32
    np.testing.assert_array_equal(data["x"], bunch.data.astype(np.float32))
    np.testing.assert_array_equal(data["y"], bunch.target)


def test_digits_have_values_from_0_to_16():
    x = load("digits")["x"]
    assert (x.min(), x.max()) == (0, 16)


def test_the_mnist_families_are_as_stated_and_as_published(images):
    name, data = images
    assert_as_stated(data, DATASETS[name])
    assert data["x"].dtype == np.uint8
    counts, mean, deviation = FACTS[name]
    num_train = DATASETS[name].num_rows - DATASETS[name].num_test
    train = data["x"][:num_train]
    np.testing.assert_array_equal(np.bincount(data["y"][:num_train]), counts)
    pixels = np.bincount(train.ravel(), minlength=256) / train.size
    values = np.arange(256) / 255
    # published with four digits
    assert pixels @ values == pytest.approx(mean, abs=5e-5)
    assert np.sqrt(pixels @ (values - pixels @ values) ** 2) == pytest.approx(deviation, abs=5e-5)


def test_the_files_of_one_mnist_family_are_not_taken_for_the_other(images):
    folder = default_folder() / images[0]
    (other,) = set(FACTS) - {images[0]}
    message = data_error(other, data_dir=folder)
    assert message.endswith(f"it is a file of {images[0]}.")


def test_names_are_sorted_and_an_unknown_one_is_told_the_nearest():
    assert names() == sorted(DATASETS)
    with pytest.raises(ValueError, match=r"unknown data set 'fashion_mnist'; .*'fashion-mnist'"):
        load("fashion_mnist")


def test_every_entry_with_files_has_digests_and_an_address():
    for name in FACTS:
        assert DATASETS[name].url.endswith("/")
        assert {len(bytes.fromhex(sha256)) for sha256 in DATASETS[name].files.values()} == {32}
    assert all(dataset.source for dataset in DATASETS.values())


def test_the_default_folder_is_dljax_data_and_else_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLJAX_DATA", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.setenv("DLJAX_DATA", "")
    assert default_folder() == pooch.os_cache("dljax")
    monkeypatch.delenv("DLJAX_DATA")
    assert default_folder() == pooch.os_cache("dljax")


@pytest.mark.parametrize("place", ["tiny", "."])
def test_files_are_read_from_the_named_folder_or_right_from_data_dir(place, tiny, tmp_path):
    put(tmp_path / place, tiny[1])
    data = load("tiny", data_dir=tmp_path)
    assert_as_stated(data, DATASETS["tiny"])
    np.testing.assert_array_equal(data["x"], tiny[0]["x"])
    np.testing.assert_array_equal(data["y"], tiny[0]["y"])


def test_the_named_folder_comes_before_data_dir(tiny, tmp_path):
    put(tmp_path, dict.fromkeys(tiny[1], b"of another data set"))
    put(tmp_path / "tiny", tiny[1])
    load("tiny", data_dir=tmp_path)


def test_without_data_dir_the_files_are_those_of_dljax_data(tiny, tmp_path, monkeypatch):
    put(tmp_path / "tiny", tiny[1])
    monkeypatch.setenv("DLJAX_DATA", str(tmp_path))
    np.testing.assert_array_equal(load("tiny")["x"], tiny[0]["x"])


@pytest.mark.parametrize("file", [TRAIN_IMAGES, TEST_LABELS])
def test_a_missing_file_is_named_with_its_places_and_what_to_do(file, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(pooch, "retrieve", None)  # nothing goes to the network
    put(tmp_path / "tiny", tiny[1])
    (tmp_path / "tiny" / file).unlink()
    message = data_error("tiny", data_dir=tmp_path)
    for part in (f"tiny needs {file}", str(tmp_path), "DLJAX_DATA", "--data-dir", "--download"):
        assert part in message


def test_a_folder_that_is_not_there_is_named(tiny, tmp_path):
    message = data_error("tiny", data_dir=tmp_path / "absent")
    assert f"{TRAIN_IMAGES}, which is not in {tmp_path / 'absent' / 'tiny'};" in message
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("damage", ["bit", "end", "all"])
def test_a_damaged_file_is_named_with_both_digests_and_kept(damage, download, tiny, tmp_path):
    content = bytearray(tiny[1][TEST_IMAGES])
    content[len(content) // 2] ^= 1
    damaged = {"bit": bytes(content), "end": tiny[1][TEST_IMAGES][:-9], "all": b""}[damage]
    put(tmp_path, tiny[1] | {TEST_IMAGES: damaged})
    message = data_error("tiny", data_dir=tmp_path, download=download)
    for digest in (DATASETS["tiny"].files[TEST_IMAGES], hashlib.sha256(damaged).hexdigest()):
        assert digest[:12] in message
        assert digest[:13] not in message
    assert str(tmp_path / TEST_IMAGES) in message
    assert (tmp_path / TEST_IMAGES).read_bytes() == damaged


def test_download_fetches_what_is_missing_once(tiny, server, tmp_path):
    _, asked = server
    put(tmp_path / "tiny", {TRAIN_LABELS: tiny[1][TRAIN_LABELS]})
    for _ in range(2):
        data = load("tiny", data_dir=tmp_path, download=True)
        np.testing.assert_array_equal(data["y"], tiny[0]["y"])
    assert asked == [TRAIN_IMAGES, TEST_IMAGES, TEST_LABELS]
    assert sorted(os.listdir(tmp_path / "tiny")) == sorted(tiny[1])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lambda whole: whole[:-1] + b"!", "not the file of SHA-256"),
        (lambda whole: whole[: len(whole) // 2], "broken"),
        (lambda whole: b"", "broken"),
        (lambda whole: None, "404"),
    ],
    ids=["wrong", "broken", "empty", "absent"],
)
def test_a_failed_download_leaves_no_part_and_is_taken_up_again(
    body, reason, tiny, server, tmp_path
):
    served, asked = server
    served[TEST_IMAGES] = body(served[TEST_IMAGES])
    if served[TEST_IMAGES] is None:
        del served[TEST_IMAGES]
    message = data_error("tiny", data_dir=tmp_path, download=True)
    assert message.startswith(f"{TEST_IMAGES} could not be fetched from http://127.0.0.1:")
    assert reason in message
    assert sorted(os.listdir(tmp_path / "tiny")) == sorted([TRAIN_IMAGES, TRAIN_LABELS])
    served.update(tiny[1])
    np.testing.assert_array_equal(load("tiny", data_dir=tmp_path, download=True)["x"], tiny[0]["x"])
    assert asked == [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_IMAGES, TEST_LABELS]


def test_a_network_that_is_down_is_a_data_error(tiny, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"  # bound, and nobody listens
        monkeypatch.setitem(DATASETS, "tiny", DATASETS["tiny"]._replace(url=url))
        message = data_error("tiny", data_dir=tmp_path, download=True)
    assert message.startswith(f"{TRAIN_IMAGES} could not be fetched from {url}: ")
    assert os.listdir(tmp_path / "tiny") == []


def test_parse_inverts_the_format_for_any_number_of_axes():
    for shape in [(7,), (3, 0), (2, 3, 4)]:
        array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        np.testing.assert_array_equal(idx.parse("file", write_idx(array), shape), array)


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        ("00000803 00000002 01ff", "start with the bytes 00000801, got '00000803'"),
        ("00000d01 00000002 01ff", "start with the bytes 00000801, got '00000d01'"),
        ("", "start with the bytes 00000801, got ''"),
        ("00000801 0000", "have 10 bytes, got 6"),
        ("00000801 00000003 01ff", r"shape \(2,\), got \(3,\)"),
        ("00000801 00000002 01", "have 10 bytes, got 9"),
        ("00000801 00000002 01ff00", "have 10 bytes, got 11"),
    ],
)
def test_parse_takes_nothing_but_the_stated_array(raw, rule):
    with pytest.raises(DataError, match=f"^file must .*{rule}"):
        idx.parse("file", gzip.compress(bytes.fromhex(raw)), (2,))


@pytest.mark.parametrize(
    "content",
    [b"", b"plain", gzip.compress(bytes(99), mtime=0)[:-5]],
    ids=["empty", "not gzip", "cut short"],  # gzip writes the time: never part of a test's name
)
def test_parse_wants_a_whole_gzip_file(content):
    with pytest.raises(DataError, match=r"^file must"):
        idx.parse("file", content, (2,))


FIT = {"x": np.zeros((6, 2), np.float32), "y": np.array([0, 1, 2, 0, 1, 2], np.int32)}
NAN = np.zeros((6, 2), np.float32)
NAN[[2, 4], 1] = np.nan, np.inf


def test_check_lets_fit_data_of_numpy_and_jax_through():
    check({"x": jnp.ones((1, 2), jnp.bfloat16), "mask": np.array([True])})
    for data in (FIT, {name: jnp.asarray(array) for name, array in FIT.items()}):
        check(data, labels="y", num_folds=2, num_classes=3)
    check({"y": np.array([[0, 1], [2, 0]], np.uint8)}, labels="y", num_folds=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([FIT["x"]], "data must be a mapping with at least one array, got list."),
        ({}, "data must be a mapping with at least one array, got an empty one."),
        (FIT | {"w": [1.0] * 6}, "w must be an array [N, ...], got list."),
        (FIT | {"w": np.float32(1)}, "w must be an array [N, ...], got a scalar."),
        (FIT | {"w": jnp.ones(())}, "w must be an array [N, ...], got a scalar."),
        (FIT | {"w": np.array(["a"] * 6)}, "w must be an array of numbers, got <U1."),
        (FIT | {"w": np.array([None] * 6)}, "w must be an array of numbers, got object."),
        (
            FIT | {"w": np.ones(5)},
            "all arrays must have the same number of rows, got x: 6, y: 6, w: 5.",
        ),
        ({"x": np.zeros((0, 2))}, "data must have at least 1 row, got 0."),
        (FIT | {"w": NAN}, "w must be finite, got 2 NaN or inf, the first in row 2."),
        (FIT | {"w": jnp.asarray(NAN)}, "w must be finite, got 2 NaN or inf, the first in row 2."),
    ],
)
def test_check_says_in_one_line_what_is_wrong_with_the_data(data, message):
    with pytest.raises(DataError) as error:
        check(data)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("y", "num_classes", "message"),
    [
        ([0.0, 1.0], None, "y must hold integer class labels, got float64."),
        ([False, True], None, "y must hold integer class labels, got bool."),
        ([0, -1, 1], None, "y must be >= 0, got 1 other labels, the first is -1 in row 1."),
        ([0, 1, 3, 2], 2, "y must be in [0, 2), got 2 other labels, the first is 3 in row 2."),
        ([0, -1, 1], 2, "y must be in [0, 2), got 1 other labels, the first is -1 in row 1."),
        ([0, 0], None, "y must hold at least 2 classes, got only class 0."),
        ([1, 1], 3, "y must hold at least 2 classes, got only class 1."),
        ([0, 3, 1], None, "y must hold every class in [0, 4), got none of 2."),
        ([0, 1], 4, "y must hold every class in [0, 4), got none of 2, 3."),
        (
            [0, 10**12],
            None,
            "y must hold every class in [0, 1000000000001), "
            "got none of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ....",
        ),
    ],
)
def test_check_says_in_one_line_what_is_wrong_with_the_labels(y, num_classes, message):
    with pytest.raises(DataError) as error:
        check({"y": np.array(y)}, labels="y", num_classes=num_classes)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_folds": 1}, "num_folds must be an integer in [2, 6], got 1."),
        ({"num_folds": 7}, "num_folds must be an integer in [2, 6], got 7."),
        ({"num_folds": 2.5}, "num_folds must be an integer in [2, 6], got 2.5."),
        ({"labels": "z"}, "unknown array 'z'; known: x, y."),
        ({"labels": "y", "num_classes": 1}, "num_classes must be an integer >= 2, got 1."),
        ({"num_classes": 3}, "num_classes needs labels, got num_classes=3 alone."),
    ],
)
def test_a_wrong_argument_of_check_is_no_data_error(arguments, message):
    with pytest.raises(ValueError, match=r"^(num|unknown)") as error:
        check(FIT, **arguments)
    assert str(error.value) == message
    assert error.type is ValueError
