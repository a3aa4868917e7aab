"""Data sets by name, as plain arrays, and the checks that data must pass before a study."""

from dljax.datasets.checks import check
from dljax.datasets.duplicates import leaks
from dljax.datasets.files import default_folder
from dljax.datasets.sources import load, names
from dljax.datasets.table import DATASETS
from dljax.datasets.uci import first_rows, published_orders, published_split

__all__ = [
    "DATASETS",
    "check",
    "default_folder",
    "first_rows",
    "leaks",
    "load",
    "names",
    "published_orders",
    "published_split",
]
