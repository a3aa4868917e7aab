"""Folds and bags as axes of a study: what each fit says of the rows that it did not see."""

from dljax.resampling.bags import Bagged, bagging
from dljax.resampling.combined import ensemble, tuned
from dljax.resampling.folds import CrossValidated, cross_validate

__all__ = ["Bagged", "CrossValidated", "bagging", "cross_validate", "ensemble", "tuned"]
