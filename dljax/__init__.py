"""A training run is a pure function of scalars, so every axis of a study is a batch axis."""

from dljax import (
    augment,
    datasets,
    diagnose,
    losses,
    modules,
    optimizers,
    predict,
    problems,
    schedules,
)
from dljax.archive import load, replay
from dljax.boosting import adaboost, gradient_boosting
from dljax.comparison import Comparison, compare
from dljax.comparison.analysis import analyze
from dljax.comparison.search import Range
from dljax.comparison.suite import compare_suite
from dljax.datasets import check, leaks
from dljax.errors import DataError
from dljax.fast_gradient import adversarial
from dljax.features import random_features
from dljax.halving import successive_halving
from dljax.hosts import join
from dljax.keys import stream
from dljax.learners import Learner, learner, scaled
from dljax.linear import ridge
from dljax.models import Model, flat_lecun, linen_model, nnx_model
from dljax.named import Study
from dljax.populations import population
from dljax.problems import Problem, Target
from dljax.range_test import learning_rate_range
from dljax.replaying import Replay
from dljax.resampling import (
    Bagged,
    CrossValidated,
    LearningCurve,
    bagging,
    cross_validate,
    ensemble,
    learning_curve,
    tuned,
)
from dljax.scaling import standardized, standardizer
from dljax.spectrum import Curvature
from dljax.splits import (
    Rows,
    Split,
    bayesian_bootstrap,
    bootstrap,
    feature_subset,
    group_kfold,
    holdout,
    kfold,
    leave_one_out,
    poisson_bootstrap,
    repeated_kfold,
    row_weights,
    stratified_holdout,
    stratified_kfold,
    stratified_subset,
    subset,
    time_series_split,
    undersample,
)
from dljax.stacking import stacked, voting
from dljax.startup import configure
from dljax.stopping import run_in_rounds, run_until
from dljax.studies import study
from dljax.tasks import Task, augmented, supervised
from dljax.throughput import Throughput, bench
from dljax.training import Trainer, TrainState, run, trainer
from dljax.trajectory import Swag, refreshed, snapshots, swag, swag_sample
from dljax.types import Member

__version__ = "0.1.0"

__all__ = [
    "Bagged",
    "Comparison",
    "CrossValidated",
    "Curvature",
    "DataError",
    "Learner",
    "LearningCurve",
    "Member",
    "Model",
    "Problem",
    "Range",
    "Replay",
    "Rows",
    "Split",
    "Study",
    "Swag",
    "Target",
    "Task",
    "Throughput",
    "TrainState",
    "Trainer",
    "adaboost",
    "adversarial",
    "analyze",
    "augment",
    "augmented",
    "bagging",
    "bayesian_bootstrap",
    "bench",
    "bootstrap",
    "check",
    "compare",
    "compare_suite",
    "configure",
    "cross_validate",
    "datasets",
    "diagnose",
    "ensemble",
    "feature_subset",
    "flat_lecun",
    "gradient_boosting",
    "group_kfold",
    "holdout",
    "join",
    "kfold",
    "leaks",
    "learner",
    "learning_curve",
    "learning_rate_range",
    "leave_one_out",
    "linen_model",
    "load",
    "losses",
    "modules",
    "nnx_model",
    "optimizers",
    "poisson_bootstrap",
    "population",
    "predict",
    "problems",
    "random_features",
    "refreshed",
    "repeated_kfold",
    "replay",
    "ridge",
    "row_weights",
    "run",
    "run_in_rounds",
    "run_until",
    "scaled",
    "schedules",
    "snapshots",
    "stacked",
    "standardized",
    "standardizer",
    "stratified_holdout",
    "stratified_kfold",
    "stratified_subset",
    "stream",
    "study",
    "subset",
    "successive_halving",
    "supervised",
    "swag",
    "swag_sample",
    "time_series_split",
    "trainer",
    "tuned",
    "undersample",
    "voting",
]
