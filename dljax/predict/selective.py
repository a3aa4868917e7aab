"""What is gained by leaving out the rows of least confidence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dljax.predict.checks import checked_rows


class RiskCoverage(NamedTuple):
    """Risk of the rows kept, the most confident first.

    Attributes:
      coverage: Share of the rows kept, 1/N, 2/N, ..., 1, float[N].
      risk: Mean loss of those, float[N].
    """

    coverage: jax.Array
    risk: jax.Array


def risk_coverage(confidence: jax.Array, loss: jax.Array) -> RiskCoverage:
    """Draws the risk-coverage curve; El-Yaniv & Wiener 2010, JMLR 11, section 2.

    Rows of equal confidence have no order: each counts with the mean loss of them all, which is
    the mean curve over their orders.

    Args:
      confidence: Larger is surer, float[N].
      loss: Of each row, such as 1 - accuracy, float[N].
    """
    confidence, loss = checked_rows(confidence=confidence, loss=loss)
    loss = jnp.where(jnp.isnan(confidence), jnp.nan, loss)
    N = len(loss)
    order = jnp.argsort(-confidence)
    sorted_ = -confidence[order]
    first = jnp.searchsorted(sorted_, sorted_)
    number = jnp.zeros(N, loss.dtype).at[first].add(1)
    mean = jnp.zeros(N, loss.dtype).at[first].add(loss[order]) / jnp.maximum(number, 1)
    kept = jnp.arange(1, N + 1)
    return RiskCoverage(kept / N, jnp.cumsum(mean[first]) / kept)


def aurc(confidence: jax.Array, loss: jax.Array) -> jax.Array:
    """Area under `risk_coverage`, the mean risk; Geifman et al. 2019, arXiv:1805.08206.

    The least possible is `aurc(-loss, loss)`; what is above it is the excess, E-AURC.

    Args:
      confidence: float[N].
      loss: float[N].

    Returns:
      In units of the loss, float[].
    """
    return risk_coverage(confidence, loss).risk.mean()
