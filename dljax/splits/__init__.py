"""Which rows train, select and test: index tables that a traced member can build for itself.

Every split takes a number of rows or `Rows`, so splits nest, and gives tables of a static size, the
first `count` entries of them real. Keys, folds, labels and groups may be traced; labels and groups
belong to the rows of the data, not to the entries of a table.
"""

from dljax.splits.bags import bayesian_bootstrap, bootstrap, poisson_bootstrap, row_weights
from dljax.splits.folds import kfold, leave_one_out, repeated_kfold, time_series_split
from dljax.splits.grouped import group_kfold, stratified_kfold
from dljax.splits.holdouts import holdout, stratified_holdout
from dljax.splits.rows import Rows, Split, all_rows, random_order
from dljax.splits.subsets import feature_subset, stratified_subset, subset, undersample

__all__ = [
    "Rows",
    "Split",
    "all_rows",
    "bayesian_bootstrap",
    "bootstrap",
    "feature_subset",
    "group_kfold",
    "holdout",
    "kfold",
    "leave_one_out",
    "poisson_bootstrap",
    "random_order",
    "repeated_kfold",
    "row_weights",
    "stratified_holdout",
    "stratified_kfold",
    "stratified_subset",
    "subset",
    "time_series_split",
    "undersample",
]
