from .agreement import accuracy as accuracy
from .agreement import cohen_kappa as cohen_kappa
from .agreement import krippendorff_alpha as krippendorff_alpha
from .agreement_coefficient import Agreement as Agreement
from .baselines import BASELINES as BASELINES
from .baselines import BaselineComparison as BaselineComparison
from .baselines import BaselineScore as BaselineScore
from .baselines import compare_to_baselines as compare_to_baselines
from .calibration import Bin as Bin
from .calibration import Brier as Brier
from .calibration import CalibrationError as CalibrationError
from .calibration import brier as brier
from .calibration import calibration_error as calibration_error
from .calibration import log_loss as log_loss
from .calibration import reliability_curve as reliability_curve
from .estimate import Estimate as Estimate
from .estimate import InvalidValues as InvalidValues
from .estimate import NoSpread as NoSpread
from .estimate import NotIdentified as NotIdentified
from .folds import group_folds as group_folds
from .intervals.binomial import exact_interval as exact_interval
from .intervals.binomial import wilson_interval as wilson_interval
from .intervals.bootstrap import bootstrap as bootstrap
from .intervals.choose import mean_interval as mean_interval
from .intervals.confidence_sequences import (
    average_confidence_sequence as average_confidence_sequence,
)
from .intervals.confidence_sequences import (
    difference_confidence_sequence as difference_confidence_sequence,
)
from .intervals.confidence_sequences import log_e_value as log_e_value
from .intervals.confidence_sequences import mean_confidence_sequence as mean_confidence_sequence
from .intervals.confidence_sequences import (
    weighted_confidence_sequence as weighted_confidence_sequence,
)
from .intervals.confidence_sequences import weighted_effect as weighted_effect
from .intervals.means import bounded_interval as bounded_interval
from .intervals.means import score_interval as score_interval
from .intervals.means import t_interval as t_interval
from .length_controlled import LengthControlled as LengthControlled
from .length_controlled import length_controlled as length_controlled
from .off_policy import OffPolicyEstimate as OffPolicyEstimate
from .off_policy import cross_fit_rewards as cross_fit_rewards
from .off_policy import doubly_robust as doubly_robust
from .off_policy import importance_weights as importance_weights
from .off_policy import ips as ips
from .off_policy import snips as snips
from .paired.bradley_terry import BradleyTerry as BradleyTerry
from .paired.bradley_terry import bradley_terry as bradley_terry
from .sample_size import required_sample_size as required_sample_size
from .selection_bias import Selection as Selection
from .selection_bias import choose as choose
from .selection_bias import optimism as optimism
from .win_rate import WinRate as WinRate
from .win_rate import paired_difference as paired_difference
from .win_rate import win_rate as win_rate
