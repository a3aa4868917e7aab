"""Optimizers compared: the protocol, its statistics and its report."""

from dljax.comparison.protocol import compare
from dljax.comparison.statistics import Comparison

__all__ = ["Comparison", "compare"]
