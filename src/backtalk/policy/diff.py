"""Differences between two policies, as sentences."""

from __future__ import annotations

from difflib import ndiff
from typing import Any

from backtalk.policy.policy import Policy


def diff(before: Policy, after: Policy) -> list[str]:
    """Return the differences between two recipes, one sentence each; empty if there are none.

    >>> from backtalk.models.spec import EndpointSpec
    >>> plain = Policy(model=EndpointSpec(model="small"))
    >>> brief = Policy(model=EndpointSpec(model="small"), system="Be brief.")
    >>> diff(plain, brief)
    ['The system prompt gains "Be brief."']
    """
    sentences = _model(before, after)
    sentences += _system(before.system or "", after.system or "")
    sentences += _decoder(before, after)
    return sentences


def _model(before: Policy, after: Policy) -> list[str]:
    if before.model.kind != after.model.kind:
        return [f"The model changes from {_describe_model(before)} to {_describe_model(after)}"]
    return [f"The model's {change}" for change in _changes(before.model, after.model)]


def _describe_model(policy: Policy) -> str:
    fields = policy.model.to_dict()
    kind = fields.pop("kind")
    return f"{kind} ({', '.join(f'{key} {_format(value)}' for key, value in fields.items())})"


def _system(before: str, after: str) -> list[str]:
    lines = list(ndiff(before.splitlines(), after.splitlines()))
    lost = [line[2:] for line in lines if line.startswith("- ") and line[2:].strip()]
    gained = [line[2:] for line in lines if line.startswith("+ ") and line[2:].strip()]
    return [f'The system prompt loses "{line}"' for line in lost] + [
        f'The system prompt gains "{line}"' for line in gained
    ]


def _decoder(before: Policy, after: Policy) -> list[str]:
    if before.decoder.kind != after.decoder.kind:
        fields = after.decoder.to_dict()
        del fields["kind"]
        fields.pop("sampling", None)
        details = "".join(f", {key} {_format(value)}" for key, value in fields.items())
        kinds = f"{_words(after.decoder.kind)} instead of {_words(before.decoder.kind)}"
        sampling = _changes(before.decoder.base_sampling, after.decoder.base_sampling)
        return [
            f"Answers are drawn by {kinds}{details}",
            *(f"The sampling's {change}" for change in sampling),
        ]
    return [f"The decoder's {change}" for change in _changes(before.decoder, after.decoder)]


def _changes(before: Any, after: Any) -> list[str]:
    old, new = _flat(before.to_dict()), _flat(after.to_dict())
    return [
        f"{_words(key)} changes from {_format(old.get(key))} to {_format(new.get(key))}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key} ")
        else:
            flat[prefix + key] = value
    return flat


def _words(name: str) -> str:
    return name.replace("_", " ")


def _format(value: Any) -> str:
    if value is None:
        return "none"
    return f'"{value}"' if isinstance(value, str) else str(value)
