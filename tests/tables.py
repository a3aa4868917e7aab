"""Tables of rows for the tests of splits: partly filled ones, and what their entries must be."""

import itertools
from collections import Counter

import jax
import numpy as np

import dljax as dj

SLOTS = 32  # one table for all numbers of rows, so that hypothesis compiles once


def table(num_rows):
    """The first rows of a data set, in a table of `SLOTS`."""
    index = np.arange(SLOTS, dtype=np.int32)
    real = index < num_rows
    return dj.Rows(np.where(real, index, 0), np.int32(num_rows), real.astype(np.float32))


def entries(rows):
    """The real entries, once their table is what `Rows` says, with weights of 1."""
    index, count, weight = map(np.asarray, rows)
    assert (index.dtype, count.dtype, weight.dtype) == (np.int32, np.int32, np.float32)
    assert index.shape == weight.shape
    assert 0 < count <= index.size
    assert (index[count:] == index[0]).all(), "padding repeats a row of the part itself"
    assert (weight == (np.arange(index.size) < count)).all()
    return index[:count].tolist()


def member(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def assert_partition(parts, whole):
    """Every entry of the whole is in one part, as often as in the whole."""
    parts = [entries(rows) for rows in parts if rows is not None]
    assert Counter(itertools.chain(*parts)) == Counter(whole)
