"""Estimates with confidence intervals whose coverage is measured by simulation."""

from backtalk.stats.agreement import accuracy, cohen_kappa, krippendorff_alpha
from backtalk.stats.agreement_coefficient import Agreement
from backtalk.stats.baselines import (
    BASELINES,
    BaselineComparison,
    BaselineScore,
    compare_to_baselines,
)
from backtalk.stats.calibration import (
    Bin,
    Brier,
    CalibrationError,
    brier,
    calibration_error,
    log_loss,
    reliability_curve,
)
from backtalk.stats.estimate import Estimate, InvalidValues, NotIdentified
from backtalk.stats.folds import group_folds
from backtalk.stats.intervals.binomial import exact_interval, wilson_interval
from backtalk.stats.intervals.bootstrap import bootstrap
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.intervals.confidence_sequences import (
    average_confidence_sequence,
    difference_confidence_sequence,
    mean_confidence_sequence,
    weighted_effect,
)
from backtalk.stats.intervals.means import bounded_interval, score_interval, t_interval
from backtalk.stats.length_controlled import LengthControlled, length_controlled
from backtalk.stats.off_policy import (
    OffPolicyEstimate,
    cross_fit_rewards,
    doubly_robust,
    importance_weights,
    ips,
    snips,
)
from backtalk.stats.paired.bradley_terry import BradleyTerry, bradley_terry
from backtalk.stats.selection_bias import Selection, choose, optimism
from backtalk.stats.win_rate import WinRate, paired_difference, win_rate

__all__ = [
    "BASELINES",
    "Agreement",
    "BaselineComparison",
    "BaselineScore",
    "Bin",
    "BradleyTerry",
    "Brier",
    "CalibrationError",
    "Estimate",
    "InvalidValues",
    "LengthControlled",
    "NotIdentified",
    "OffPolicyEstimate",
    "Selection",
    "WinRate",
    "accuracy",
    "average_confidence_sequence",
    "bootstrap",
    "bounded_interval",
    "bradley_terry",
    "brier",
    "calibration_error",
    "choose",
    "cohen_kappa",
    "compare_to_baselines",
    "cross_fit_rewards",
    "difference_confidence_sequence",
    "doubly_robust",
    "exact_interval",
    "group_folds",
    "importance_weights",
    "ips",
    "krippendorff_alpha",
    "length_controlled",
    "log_loss",
    "mean_confidence_sequence",
    "mean_interval",
    "optimism",
    "paired_difference",
    "reliability_curve",
    "score_interval",
    "snips",
    "t_interval",
    "weighted_effect",
    "wilson_interval",
    "win_rate",
]
