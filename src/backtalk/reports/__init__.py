"""Reports: an evaluation as one HTML file."""

from backtalk.reports.policy_report import (
    evaluation_report,
    read_exhibits,
    read_training,
    save_exhibits,
)

__all__ = ["evaluation_report", "read_exhibits", "read_training", "save_exhibits"]
