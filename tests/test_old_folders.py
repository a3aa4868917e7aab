"""Run folders that earlier versions wrote are read by this one; a folder stays for each schema."""

from pathlib import Path

import jax
import numpy as np

import dljax as dj
from dljax.store import reading

FOLDERS = sorted((Path(__file__).parent / "fixtures").glob("run_schema_*"))


def test_a_folder_of_every_schema_is_kept():
    assert [folder.name for folder in FOLDERS] == [
        f"run_schema_{number + 1}" for number in range(reading.files.SCHEMA)
    ]


def test_folders_of_all_schemas_are_whole_and_read():
    for folder in FOLDERS:
        assert reading.damages(folder) == []
        study = dj.load(folder)
        assert list(study.axes) == ["power", "seed", "rate"]
        assert study.axes["power"] == ("one", "two")
        value = study.select(power="two", seed=3, rate=2.0).results
        assert value["value"] == 18.0
        assert value["kept"]["w"].tolist() == [3, 3]
        assert value["kept"]["half"].dtype == jax.numpy.bfloat16
        expected = jax.random.key_data(jax.random.key(3))
        np.testing.assert_array_equal(jax.random.key_data(value["key"]), expected)
