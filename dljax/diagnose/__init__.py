"""Why a model errs: bias and variance over training sets, and what two curves of a run say.

Everything here looks at what runs left behind, on the host and in float64. Parts are those of each
row, float[N]: average them with the weights that the rows have, such as
`jax.tree.map(np.mean, parts)`.
"""

from dljax.diagnose.decompositions import Parts, log_loss_parts, squared_error_parts
from dljax.diagnose.verdicts import Verdict, verdict
from dljax.diagnose.zero_one import ZeroOneParts, zero_one_parts

__all__ = [
    "Parts",
    "Verdict",
    "ZeroOneParts",
    "log_loss_parts",
    "squared_error_parts",
    "verdict",
    "zero_one_parts",
]
