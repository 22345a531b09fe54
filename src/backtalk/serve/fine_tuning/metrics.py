"""Metrics of training steps under the names of OpenAI's API, and the result file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

_NAMES = {
    "loss": "train_loss",
    "mean_token_accuracy": "train_mean_token_accuracy",
    "rewards/accuracies": "train_reward_accuracy",
    "rewards/margins": "train_reward_margin",
    "eval_sample_loss": "valid_loss",
    "eval_sample_mean_token_accuracy": "valid_mean_token_accuracy",
    "eval_sample_rewards/accuracies": "valid_reward_accuracy",
    "eval_loss": "full_valid_loss",
    "eval_mean_token_accuracy": "full_valid_mean_token_accuracy",
    "eval_rewards/accuracies": "full_valid_reward_accuracy",
}
_COLUMNS = {
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}
"""Metrics of the first columns of a result file, after the step."""

_DIGITS = 6


def openai_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of a step under the names of OpenAI's API; others are left out.

    Where all validation data is measured, it also stands for the sample.
    """
    named = {name: round(metrics[own], _DIGITS) for own, name in _NAMES.items() if own in metrics}
    full = {name.removeprefix("full_"): value for name, value in named.items() if "full_" in name}
    return {**named, **full}


def describe_step(step: int, steps: int, metrics: Mapping[str, float]) -> str:
    """Return the message of the event of a step.

    Parameters
    ----------
    step : int
        Number of finished steps.
    steps : int
        Number of all steps.
    metrics : Mapping[str, float]
        Metrics, from :func:`openai_metrics`.
    """
    texts = {
        "train_loss": "training loss",
        "valid_loss": "validation loss",
        "full_valid_loss": "full validation loss",
    }
    shown = [f"{text}={metrics[name]:.2f}" for name, text in texts.items() if name in metrics]
    return f"Step {step}/{steps}: {', '.join(shown)}"


def result_csv(history: Sequence[Mapping[str, float]]) -> str:
    """Return the content of a result file: a row of metrics for each step."""
    rows = [openai_metrics(metrics) for metrics in history]
    others = sorted({name for row in rows for name in row} - {*_COLUMNS.values()})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["step", *_COLUMNS, *others])
    for step, row in enumerate(rows, 1):
        writer.writerow([step, *(row.get(name, "") for name in [*_COLUMNS.values(), *others])])
    return out.getvalue()
