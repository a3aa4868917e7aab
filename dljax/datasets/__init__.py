"""Data sets by name, as plain arrays, and the checks that data must pass before a study."""

from dljax.datasets.checks import check
from dljax.datasets.duplicates import leaks
from dljax.datasets.files import default_folder
from dljax.datasets.sources import load, names
from dljax.datasets.table import DATASETS

__all__ = ["DATASETS", "check", "default_folder", "leaks", "load", "names"]
