"""Body of a request that creates a fine-tuning job."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from backtalk.errors import BacktalkError
from backtalk.feedback.base import OVERALL
from backtalk.feedback.record import explain
from backtalk.learn.method import get_method
from backtalk.models import Budget
from backtalk.serve.errors import APIError
from backtalk.serve.fine_tuning.hyperparameters import (
    OPTION_NAMES,
    SHARED_OPTIONS,
    check_hyperparameters,
)
from backtalk.serve.fine_tuning.job import STORE, Hyperparameters, JobSpec
from backtalk.serve.fine_tuning.names import new_model_id

_FIELDS = frozenset(
    {
        "model", "training_file", "validation_file", "hyperparameters", "method", "seed", "suffix",
        "metadata", "integrations", "budget",
    }
)  # fmt: skip
_METHODS = {"supervised": "sft", "dpo": "dpo"}
"""Learning methods, by the types of OpenAI's API."""

_RANGES = {
    "n_epochs": "a whole number from 1 to 50",
    "batch_size": "a whole number from 1 to 256",
    "learning_rate_multiplier": "a number above 0, at most 1,000",
    "beta": "a number above 0, at most 100",
}
"""Values of :class:`Hyperparameters` in words."""

_SELECTION = ("split", "kinds", "aspect", "format")
_MAX_SEED = 2**31 - 1
_MAX_SUFFIX = 64
_MAX_PAIRS, _MAX_KEY, _MAX_VALUE = 16, 64, 512


def read_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a :class:`JobSpec` that a request sets, without those of its base.

    Parameters
    ----------
    body : Mapping[str, Any]
        Parsed body.

    Raises
    ------
    APIError
        If a field is missing or not valid; ``param`` names it.
    """
    for name in body.keys() - _FIELDS:
        _refuse(f"Unrecognized request argument supplied: {name}", name)
    if body.get("integrations"):
        _refuse(
            "integrations are not supported; the metrics are among the job's events and in its "
            "result file",
            "integrations",
        )
    return {
        "model": _text(body, "model"),
        "training_file": _text(body, "training_file"),
        "validation_file": _optional_text(body, "validation_file"),
        "seed": _seed(body),
        "suffix": _suffix(body),
        "metadata": _metadata(body),
        "budget": _budget(body),
        "model_id": new_model_id(),
        **_method(body),
    }


def check_method(spec: JobSpec) -> None:
    """Check that the learning method of a job exists, with the options.

    Raises
    ------
    APIError
        If there is no such method or option, or a value is not valid.
    """
    try:
        check_hyperparameters(spec, get_method(spec.method))
    except BacktalkError as error:
        raise APIError(400, str(error), param="method") from None
    is_store = spec.training_file.startswith(STORE)
    if "split" in spec.selection and not is_store:
        _refuse("split selects feedback of a store, and training_file is a file", "method.split")
    if (
        "format" in spec.selection
        and is_store
        and (spec.validation_file or STORE).startswith(STORE)
    ):
        _refuse("format is that of a file, and the job has none", "method.format")


def _method(body: Mapping[str, Any]) -> dict[str, Any]:
    method = body.get("method")
    if method is None:
        method = {"type": "supervised"}
    if not isinstance(method, dict) or not isinstance(method.get("type"), str):
        _refuse('method must be an object with a type, such as {"type": "supervised"}', "method")
    common = _object(body.get("hyperparameters"), "hyperparameters")
    type_ = method["type"]
    if type_ == "backtalk":
        return _own_method(method, common)
    if type_ not in _METHODS:
        _refuse(
            f"Fine-tuning of type {type_!r} is not supported here; the types are supervised, dpo "
            'and backtalk, as in {"type": "backtalk", "name": "kto"}. `backtalk methods` lists the '
            "names",
            "method.type",
        )
    for name in method.keys() - {"type", *_METHODS}:
        _refuse(f"Unrecognized request argument supplied: method.{name}", f"method.{name}")
    path = f"method.{type_}"
    own = _object(method.get(type_), path)
    for name in own.keys() - {"hyperparameters"}:
        _refuse(f"Unrecognized request argument supplied: {path}.{name}", f"{path}.{name}")
    values = _object(own.get("hyperparameters"), f"{path}.hyperparameters")
    if not own:
        path = "hyperparameters"
    else:
        path += ".hyperparameters"
    known = set(OPTION_NAMES) - ({"beta"} if type_ == "supervised" else set())
    return {
        "type": type_,
        "method": _METHODS[type_],
        "hyperparameters": _hyperparameters({**common, **values}, known, path),
    }


def _own_method(method: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a method by name: its options may be nested, or beside the name."""
    nested = _object(method.get("backtalk"), "method.backtalk")
    fields = {**{k: v for k, v in method.items() if k not in {"type", "backtalk"}}, **nested}
    method_name = fields.pop("name", None)
    if not isinstance(method_name, str) or not method_name:
        _refuse(
            'method.name must be the name of a method, as in {"type": "backtalk", "name": "kto"}; '
            "`backtalk methods` lists them",
            "method.name",
        )
    selection = {key: fields.pop(key) for key in _SELECTION if fields.get(key) is not None}
    values = {
        **common,
        **_object(fields.pop("hyperparameters", None), "method.hyperparameters"),
        **_object(fields.pop("options", None), "method.options"),
        **fields,
    }
    shared: dict[str, Any] = {}
    for key, name in SHARED_OPTIONS.items():
        value = values.pop(key, None)
        if value is not None and shared.setdefault(name, value) != value:
            _refuse(f"{name} has two values, one of them as {key}", f"method.{key}")
    return {
        "type": "backtalk",
        "method": method_name,
        "hyperparameters": _hyperparameters(shared, set(shared), "method.hyperparameters"),
        "options": {key: value for key, value in values.items() if value not in (None, "auto")},
        "selection": _checked_selection(selection),
    }


def _checked_selection(selection: dict[str, Any]) -> dict[str, Any]:
    if selection.get("split", "train") not in {"train", "all"}:
        _refuse('method.split must be "train" or "all"', "method.split")
    kinds = selection.get("kinds")
    if kinds is not None and not (
        isinstance(kinds, list) and kinds and all(isinstance(kind, str) for kind in kinds)
    ):
        _refuse('method.kinds must be a list of kinds of feedback, as in ["label"]', "method.kinds")
    for name in ("aspect", "format"):
        if not isinstance(selection.get(name, OVERALL), str):
            _refuse(f"method.{name} must be a text", f"method.{name}")
    return selection


def _hyperparameters(values: dict[str, Any], known: set[str], path: str) -> Hyperparameters:
    for name in values.keys() - known:
        _refuse(f"There is no hyperparameter {name!r}; known: {', '.join(sorted(known))}", path)
    values = {name: value for name, value in values.items() if value is not None}
    try:
        return Hyperparameters.model_validate(values, strict=True)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise APIError(
            400,
            f'{name} must be {_RANGES[name]}, or "auto", not {json.dumps(values[name])[:80]}',
            param=f"{path}.{name}",
        ) from None


def _seed(body: Mapping[str, Any]) -> int:
    seed = body.get("seed")
    if seed is None:
        return secrets.randbelow(_MAX_SEED)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= _MAX_SEED:
        _refuse(f"seed must be a whole number from 0 to {_MAX_SEED}", "seed")
    return seed


def _suffix(body: Mapping[str, Any]) -> str | None:
    suffix = _optional_text(body, "suffix")
    if body.get("suffix") == "":
        _refuse(f"suffix must have 1 to {_MAX_SUFFIX} characters; leave it out for none", "suffix")
    if suffix is not None and len(suffix) > _MAX_SUFFIX:
        _refuse(f"suffix must have at most {_MAX_SUFFIX} characters, not {len(suffix)}", "suffix")
    return suffix


def _metadata(body: Mapping[str, Any]) -> dict[str, str] | None:
    metadata = body.get("metadata")
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or len(metadata) > _MAX_PAIRS:
        _refuse(f"metadata must be an object of at most {_MAX_PAIRS} texts", "metadata")
    for key, value in metadata.items():
        if len(key) > _MAX_KEY:
            _refuse(f"A key of metadata has more than {_MAX_KEY} characters", "metadata")
        if not isinstance(value, str) or len(value) > _MAX_VALUE:
            _refuse(
                f"metadata.{key} must be a text of at most {_MAX_VALUE} characters",
                f"metadata.{key}",
            )
    return metadata


def _budget(body: Mapping[str, Any]) -> Budget:
    try:
        return Budget.model_validate(_object(body.get("budget"), "budget"))
    except ValidationError as error:
        raise APIError(400, f"budget: {explain(error)}", param="budget") from None


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        _refuse(f"you must provide a {name} parameter", name)
    if not isinstance(value, str) or not value or "\0" in value:
        _refuse(f"{name} must be a text", name)
    return value


def _optional_text(body: Mapping[str, Any], name: str) -> str | None:
    return _text(body, name) if body.get(name) not in (None, "") else None


def _object(value: Any, path: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        _refuse(f"{path} must be an object", path)
    return value


def _refuse(message: str, param: str) -> NoReturn:
    raise APIError(400, message, param=param)
