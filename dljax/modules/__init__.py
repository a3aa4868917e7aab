"""Linen modules, one family a file."""

from dljax.modules.batch_ensemble import BatchEnsembleDense, BatchEnsembleMLP
from dljax.modules.convolution import CNN, Conv, avg_pool, global_avg_pool, max_pool, patches
from dljax.modules.dense import MLP
from dljax.modules.dropout import Dropout, dropout_mask
from dljax.modules.normalization import BatchNorm
from dljax.modules.recurrent import LSTM, LSTMClassifier

__all__ = [
    "CNN",
    "LSTM",
    "MLP",
    "BatchEnsembleDense",
    "BatchEnsembleMLP",
    "BatchNorm",
    "Conv",
    "Dropout",
    "LSTMClassifier",
    "avg_pool",
    "dropout_mask",
    "global_avg_pool",
    "max_pool",
    "patches",
]
