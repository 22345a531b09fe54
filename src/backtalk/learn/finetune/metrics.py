"""Names of training metrics, and the names that earlier versions stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

RENAMED_METRICS: Mapping[str, str] = {
    "accuracy": "rewards/accuracies",
    "gradient norm": "grad_norm",
    "gradient share": "grad_share",
    "learning rate": "learning_rate",
    "length": "completions/mean_length",
    "log normaliser": "log_normaliser",
    "log-probability": "logps",
    "log-probability bad": "logps/rejected",
    "log-probability chosen": "logps/chosen",
    "log-probability good": "logps/chosen",
    "log-ratio": "log_ratio",
    "log-ratio of reference": "log_ratio/samples",
    "ranking loss": "ranking_loss",
    "reference point": "reference_point",
    "reward bad": "rewards/rejected",
    "reward best": "rewards/best",
    "reward chosen": "rewards/chosen",
    "reward good": "rewards/chosen",
    "reward margin": "rewards/margins",
    "reward mean": "rewards/mean",
    "reward own": "rewards/samples",
    "reward rejected": "rewards/rejected",
    "reward target": "rewards/target",
    "reward worst": "rewards/worst",
    "score demonstrated": "scores/demonstrations",
    "score sampled": "scores/samples",
    "token agreement": "token_agreement",
    "tokens": "num_tokens",
    "tokens/s": "tokens_per_second",
}
"""Present names of metrics by the names of earlier versions."""


def metric_name(name: str) -> str:
    """Return the present name of a metric, which may be prefixed with the name of a task.

    >>> metric_name("reward margin"), metric_name("preference/accuracy"), metric_name("loss")
    ('rewards/margins', 'preference/rewards/accuracies', 'loss')
    """
    if name in RENAMED_METRICS:
        return RENAMED_METRICS[name]
    task, slash, metric = name.partition("/")
    return f"{task}/{RENAMED_METRICS[metric]}" if slash and metric in RENAMED_METRICS else name


def rename_metrics(history: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Return the metrics of each step of a stored training history under their present names."""
    return [{metric_name(name): value for name, value in step.items()} for step in history]
