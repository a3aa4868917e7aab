"""The contract that every optimizer keeps, as properties that a user's own can be put to."""

from dljax.contract.covering import pairwise
from dljax.contract.findings import DoesNotApply, Fails, Finding, find
from dljax.contract.report import PROPERTIES, builtin, check, told
from dljax.contract.subject import DTYPES, Subject, subject_of
from dljax.contract.wrappers import WRAPPERS

__all__ = [
    "DTYPES",
    "PROPERTIES",
    "WRAPPERS",
    "DoesNotApply",
    "Fails",
    "Finding",
    "Subject",
    "builtin",
    "check",
    "find",
    "pairwise",
    "subject_of",
    "told",
]
