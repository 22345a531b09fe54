"""Hyperparameters of a job: values for ``"auto"``, and the options of the learning method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.learn.method import Method
from backtalk.serve.fine_tuning.job import Hyperparameters, JobSpec

OPTION_NAMES: Mapping[str, str] = {
    "n_epochs": "epochs",
    "batch_size": "batch_size",
    "learning_rate_multiplier": "learning_rate_multiplier",
    "beta": "beta",
}
"""Options of learning methods, by the names of the hyperparameters in OpenAI's API."""

_EPOCHS = 3
_BETA = 0.1
_MAX_BATCH = 32
_STEPS_PER_EPOCH = 8
"""Number of steps of an epoch below which the batch is made smaller."""


def without_auto(spec: JobSpec, method: Method, examples: int) -> Hyperparameters:
    """Return the hyperparameters of a job, with numbers for ``"auto"``.

    Parameters
    ----------
    spec : JobSpec
        Specification of the job.
    method : Method
        Its learning method. For a job of type ``backtalk`` its defaults apply.
    examples : int
        Number of examples.
    """
    chosen = spec.hyperparameters
    values: dict[str, Any] = {
        "n_epochs": _EPOCHS,
        "batch_size": max(1, min(_MAX_BATCH, examples // _STEPS_PER_EPOCH)),
        "learning_rate_multiplier": 1.0,
        "beta": _BETA if spec.type == "dpo" else None,
    }
    if spec.type == "backtalk":
        options = {**method.options, **spec.options}
        values["n_epochs"] = max(1, round(options.get("epochs", 1)))
        values["batch_size"] = min(options.get("batch_size", 1), 256)
        values["learning_rate_multiplier"] = options.get("learning_rate_multiplier", 1.0)
    explicit = {name: value for name, value in _explicit(chosen).items() if value is not None}
    return Hyperparameters(**{**values, **explicit})


def method_options(spec: JobSpec, method: Method, resolved: Hyperparameters) -> dict[str, Any]:
    """Return the options for the learning method.

    Parameters
    ----------
    spec : JobSpec
        Specification of the job.
    method : Method
        Its learning method.
    resolved : Hyperparameters
        Hyperparameters without ``"auto"``.

    Raises
    ------
    BacktalkError
        If the method lacks a hyperparameter that was set, or an option is not valid.
    """
    check_hyperparameters(spec, method)
    source = spec.hyperparameters if spec.type == "backtalk" else resolved
    values = {
        OPTION_NAMES[name]: value
        for name, value in _explicit(source).items()
        if OPTION_NAMES[name] in method.options
    }
    return method.read_options({**values, **spec.options})


def check_hyperparameters(spec: JobSpec, method: Method) -> None:
    """Check that a learning method has the hyperparameters that were set, and the options.

    Raises
    ------
    BacktalkError
        If it lacks one, or an option is not valid.
    """
    method.read_options(spec.options)
    for name in _explicit(spec.hyperparameters):
        if OPTION_NAMES[name] not in method.options:
            raise BacktalkError(
                f"The method {method.name} has no hyperparameter {name}",
                f"Its options are {', '.join(method.options) or 'none'}",
            )


def _explicit(hyperparameters: Hyperparameters) -> dict[str, Any]:
    values = hyperparameters.model_dump()
    return {name: value for name, value in values.items() if value not in {None, "auto"}}
