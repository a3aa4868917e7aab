"""Folds and bags as axes of a study: what each fit says of the rows that it did not see."""

from dljax.resampling.bags import Bagged, bagging
from dljax.resampling.combined import ensemble, tuned
from dljax.resampling.folds import CrossValidated, cross_validate
from dljax.resampling.sizes import LearningCurve, learning_curve

__all__ = [
    "Bagged",
    "CrossValidated",
    "LearningCurve",
    "bagging",
    "cross_validate",
    "ensemble",
    "learning_curve",
    "tuned",
]
