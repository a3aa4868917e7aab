"""Linen modules, one family a file."""

from dljax.modules.convolution import CNN, Conv, max_pool, patches
from dljax.modules.dense import MLP

__all__ = ["CNN", "MLP", "Conv", "max_pool", "patches"]
