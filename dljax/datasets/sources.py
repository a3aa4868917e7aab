"""Data sets by name: those that come with scikit-learn, others from files."""

import io
import os
from pathlib import Path

import numpy as np

from dljax.datasets import idx
from dljax.datasets.files import default_folder, read_files
from dljax.datasets.table import (
    DATASETS,
    TABLE,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    Dataset,
)
from dljax.errors import unknown


def names() -> list[str]:
    """Lists the names that `load` knows, sorted."""
    return sorted(DATASETS)


def load(
    name: str, *, data_dir: str | os.PathLike | None = None, download: bool = False
) -> dict[str, np.ndarray]:
    """Loads all rows of a data set as its authors gave them: nothing is scaled or shuffled.

    Args:
      name: One of `names()`; `DATASETS[name]` states its sizes, source and licence.
      data_dir: Folder that holds the files in `<data_dir>/<name>` or right in it; by default
        `default_folder()`. Sets that come with scikit-learn need no folder.
      download: Whether files that are missing are fetched into that folder; otherwise nothing
        goes to the network.

    Returns:
      `x` and `y`, N rows each, the official test part last. Tables: `x` float32[N, D] and `y`
      int32[N] in [0, C), or float32[N] for a regression. MNIST families: `x` uint8[N, 28, 28]
      and `y` int32[N] in [0, 10).

    Raises:
      ValueError: If `name` is unknown.
      DataError: If a file is missing, damaged or another one, or cannot be fetched.
    """
    if name not in DATASETS:
        raise unknown("data set", name, names())
    dataset = DATASETS[name]
    if not dataset.files:
        return _load_bundled(name, dataset)
    root = default_folder() if data_dir is None else Path(os.path.expanduser(data_dir))
    parse = _parse_table if TABLE in dataset.files else _parse_images
    return parse(dataset, read_files(name, dataset, root, download))


def _load_bundled(name: str, dataset: Dataset) -> dict[str, np.ndarray]:
    """Loads a table that comes with scikit-learn, in the units of its authors."""
    from sklearn import datasets  # takes seconds to import, and only tables need it

    options = {"scaled": False} if name == "diabetes" else {}
    x, y = getattr(datasets, f"load_{name.replace('-', '_')}")(return_X_y=True, **options)
    dtype = np.float32 if dataset.num_classes is None else np.int32
    return {"x": x.astype(np.float32), "y": y.astype(dtype)}


def _parse_table(dataset: Dataset, contents: dict[str, bytes]) -> dict[str, np.ndarray]:
    """Reads numbers between blanks, the target last."""
    table = np.loadtxt(io.BytesIO(contents[TABLE]), dtype=np.float32)
    return {"x": table[:, :-1], "y": table[:, -1]}


def _parse_images(dataset: Dataset, contents: dict[str, bytes]) -> dict[str, np.ndarray]:
    """Joins images and labels of the train part and of the test part, in this order."""
    train, test = dataset.num_rows - dataset.num_test, dataset.num_test

    def join(train_file, test_file, shape):
        parts = ((train_file, train), (test_file, test))
        return np.concatenate([idx.parse(f, contents[f], (rows, *shape)) for f, rows in parts])

    x = join(TRAIN_IMAGES, TEST_IMAGES, dataset.shape)
    y = join(TRAIN_LABELS, TEST_LABELS, ())
    return {"x": x, "y": y.astype(np.int32)}
