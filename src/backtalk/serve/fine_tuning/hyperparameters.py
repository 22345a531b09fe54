"""Hyperparameters of a job: values for ``"auto"``, and the options of the learning method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.learn.method import Method, get_method
from backtalk.serve.fine_tuning.job import Hyperparameters, JobSpec

OPTION_NAMES: Mapping[str, str] = {
    "n_epochs": "epochs",
    "batch_size": "batch_size",
    "learning_rate_multiplier": "learning_rate_multiplier",
    "beta": "beta",
}
"""Options of learning methods, by the names of the hyperparameters in OpenAI's API."""

SHARED_OPTIONS: Mapping[str, str] = {
    **{name: name for name in OPTION_NAMES if name != "beta"},
    "epochs": "n_epochs",
    "batch": "batch_size",
}
"""Hyperparameters of methods of type ``backtalk``, by the names under which they are accepted."""

_EPOCHS = 3
_BETA = 0.1
_MAX_BATCH = 32
_STEPS_PER_EPOCH = 8
"""Number of steps of an epoch below which the batch is made smaller."""
_LIMITS = {"n_epochs": (1, 50), "batch_size": (1, 256), "learning_rate_multiplier": (1e-9, 1_000)}
"""Limits of :class:`Hyperparameters`, which apply to the defaults too."""


def without_auto(
    spec: JobSpec, method: Method, examples: int, machine: Mapping[str, Any]
) -> Hyperparameters:
    """Return the hyperparameters of a job, with numbers for ``"auto"``.

    Parameters
    ----------
    spec : JobSpec
        Specification of the job.
    method : Method
        Its learning method. For a job of type ``backtalk`` its defaults apply.
    examples : int
        Number of examples.
    machine : Mapping[str, Any]
        Options of this machine, which such a job has instead of the defaults.
    """
    values: dict[str, Any] = {
        "n_epochs": _EPOCHS,
        "batch_size": max(1, min(_MAX_BATCH, examples // _STEPS_PER_EPOCH)),
        "learning_rate_multiplier": 1.0,
        "beta": _BETA if spec.type == "dpo" else None,
    }
    if spec.type == "backtalk":
        options = method.read_options({**machine, **spec.options})
        for name, (least, most) in _LIMITS.items():
            values[name] = min(max(options.get(OPTION_NAMES[name], 1), least), most)
        values["n_epochs"] = round(values["n_epochs"])
    return Hyperparameters(**{**values, **_explicit(spec.hyperparameters)})


def method_options(
    spec: JobSpec, method: Method, resolved: Hyperparameters, machine: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options for the learning method.

    Parameters
    ----------
    spec : JobSpec
        Specification of the job.
    method : Method
        Its learning method.
    resolved : Hyperparameters
        Hyperparameters without ``"auto"``.
    machine : Mapping[str, Any]
        Options of this machine, where the job sets none.

    Raises
    ------
    BacktalkError
        If the method lacks a hyperparameter that was set, or an option is not valid.
    """
    check_hyperparameters(spec, method)
    values = {
        OPTION_NAMES[name]: value
        for name, value in _explicit(resolved).items()
        if OPTION_NAMES[name] in method.options
    }
    return method.read_options({**machine, **spec.options, **values})


def learns_reasoning(spec: JobSpec, machine: Mapping[str, Any]) -> bool:
    """Return true if a job learns the reasoning before the answers of conversations.

    Parameters
    ----------
    spec : JobSpec
        Specification of the job.
    machine : Mapping[str, Any]
        Options of this machine, of any method.
    """
    method = get_method(spec.method)
    chosen = {name: value for name, value in machine.items() if name in method.options}
    return bool(method.read_options({**chosen, **spec.options}).get("reasoning"))


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
