"""Predictions of ensembles and of MC-dropout, and what measures them.

Classes come as log-probabilities, [N, C] or of members [S, N, C]; numbers as means and variances.
Scores of rows are [N]: average them with the weights that the rows have.
"""

from dljax.predict.calibration import (
    Reliability,
    cross_fitted,
    debiased_ece,
    debiased_squared_error,
    ece,
    reliability,
    temperature,
    tempered,
)
from dljax.predict.classification import accuracy, brier, log_probabilities, nll
from dljax.predict.conformal import (
    Interval,
    aps_scores,
    conformal_quantile,
    cv_plus,
    fold_of,
    jackknife_plus,
    lac_scores,
    prediction_sets,
    split_conformal,
)
from dljax.predict.dropout import eval_variables, mc_dropout, thinned
from dljax.predict.ensemble import (
    Summary,
    member_curve,
    normal_mixture,
    regression_curve,
    regression_summary,
    summary,
)
from dljax.predict.normal import draw_scores, normal_ensemble, normal_outputs, normal_scores
from dljax.predict.ood import aupr, auroc, fpr95
from dljax.predict.regression import crps, interval_score, log_likelihood, rmse
from dljax.predict.selective import RiskCoverage, aurc, risk_coverage
from dljax.predict.uncertainty import (
    Ambiguity,
    Uncertainty,
    class_uncertainty,
    disagreement,
    entropy,
    mixture,
    nll_ambiguity,
    squared_ambiguity,
    stability,
    variance_parts,
)

__all__ = [
    "Ambiguity",
    "Interval",
    "Reliability",
    "RiskCoverage",
    "Summary",
    "Uncertainty",
    "accuracy",
    "aps_scores",
    "aupr",
    "aurc",
    "auroc",
    "brier",
    "class_uncertainty",
    "conformal_quantile",
    "cross_fitted",
    "crps",
    "cv_plus",
    "debiased_ece",
    "debiased_squared_error",
    "disagreement",
    "draw_scores",
    "ece",
    "entropy",
    "eval_variables",
    "fold_of",
    "fpr95",
    "interval_score",
    "jackknife_plus",
    "lac_scores",
    "log_likelihood",
    "log_probabilities",
    "mc_dropout",
    "member_curve",
    "mixture",
    "nll",
    "nll_ambiguity",
    "normal_ensemble",
    "normal_mixture",
    "normal_outputs",
    "normal_scores",
    "prediction_sets",
    "regression_curve",
    "regression_summary",
    "reliability",
    "risk_coverage",
    "rmse",
    "split_conformal",
    "squared_ambiguity",
    "stability",
    "summary",
    "temperature",
    "tempered",
    "thinned",
    "variance_parts",
]
