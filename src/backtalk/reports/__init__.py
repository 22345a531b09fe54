"""Reports of evaluations as self-contained HTML files."""

from backtalk.reports.policy_report import (
    evaluation_report,
    read_examples,
    read_training,
    save_examples,
)

__all__ = ["evaluation_report", "read_examples", "read_training", "save_examples"]
