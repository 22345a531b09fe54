"""Errors in the fields of a policy's YAML, all at once, with the right names and line numbers."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from backtalk.decode.base import DECODERS, get_decoder
from backtalk.errors import RecordError, UnknownName
from backtalk.models.protocol import Sampling
from backtalk.policy.policy import Policy
from backtalk.policy.prompt_template import PromptTemplate
from backtalk.policy.schema import MODEL_KINDS, record_at

Path = tuple[str | int, ...]

_MEND = "`backtalk schema policy` and docs/policies.md describe the fields"
_ALIASES = {
    "address": "base_url",
    "api_base": "base_url",
    "url": "base_url",
    "api_key": "api_key_env",
    "instructions": "system",
    "provider": "kind",
    "type": "kind",
}
"""Names that other tools give to fields."""
_KINDS = tuple(MODEL_KINDS)
_EXAMPLES: dict[Path, str] = {
    ("model",): "{kind: endpoint, model: NAME}",
    ("decoder",): "{kind: sample}",
    ("prompt",): "{rules: [Be brief.]}",
    ("memory",): "{revision: 1}",
}


def explain_policy(error: ValidationError, data: Any, text: str) -> RecordError:
    """Return the error that lists all wrong fields of a policy.

    Parameters
    ----------
    error : ValidationError
        Error of the whole policy.
    data : Any
        Policy as parsed.
    text : str
        Its YAML or JSON.
    """
    lines = _line_numbers(text)
    wrong = sorted(_problems(error, data), key=lambda one: _line_number(lines, one[0]) or 0)
    problems = []
    for path, problem in wrong:
        line = _line_number(lines, path)
        problems.append(f"{_dotted(path)}{f' (line {line})' if line else ''}: {problem}")
    if len(problems) == 1:
        return RecordError(f"The policy is not valid: {problems[0]}", _MEND)
    return RecordError(
        "The policy is not valid:\n" + "\n".join(f"- {one}" for one in problems), _MEND
    )


def _problems(error: ValidationError, data: Any) -> list[tuple[Path, str]]:
    items = [*_items(error, data)]
    suggested = {path: name for path, name in _suggestions(items, data) if name}
    meant = {(*path[:-1], name) for path, name in suggested.items()}
    inner = [path for path, _ in items]
    problems = []
    for path, item in items:
        if item["type"] == "missing" and path in meant:
            continue
        if item["type"] == "too_short" and any(
            other[: len(path)] == path and other != path for other in inner
        ):
            continue
        if item["type"] == "extra_forbidden":
            problems.append((path, _unknown_field(path, data, suggested.get(path))))
        else:
            problems.append(_problem(path, item))
    return problems


def _items(error: ValidationError, data: Any) -> Iterator[tuple[Path, Any]]:
    """Yield each error with its path in the data; those of the decoder are found by its class."""
    for item in error.errors(include_url=False):
        path = _path(item["loc"])
        fields = data.get("decoder") if isinstance(data, dict) else None
        kind = fields.get("kind") if isinstance(fields, dict) else None
        if path != ("decoder",) or kind not in DECODERS:
            yield path, item
            continue
        try:
            get_decoder(str(kind)).model_validate(fields)
        except ValidationError as inner:
            for one in inner.errors(include_url=False):
                yield _path(("decoder", *one["loc"])), one


def _path(location: Sequence[str | int]) -> Path:
    """Return a location without the kinds that pydantic adds to it."""
    path = list(location)
    if path[:1] == ["model"] and path[1:2] and path[1] in MODEL_KINDS:
        del path[1]
        if path[1:2] == ["models"] and path[3:4] and path[3] in MODEL_KINDS:
            del path[3]
    return tuple(path)


def _suggestions(items: Sequence[tuple[Path, Any]], data: Any) -> Iterator[tuple[Path, str | None]]:
    for path, item in items:
        if item["type"] == "extra_forbidden":
            known = _known(path[:-1], data)
            name = str(path[-1])
            alias = _ALIASES.get(name)
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.55)
            yield path, alias if alias in known else next(iter(close), None)


def _unknown_field(path: Path, data: Any, suggestion: str | None) -> str:
    name = str(path[-1])
    if name in Sampling.model_fields and path[-2:-1] != ("sampling",):
        return f"unknown field (did you mean decoder.sampling.{name}?)"
    if name in PromptTemplate.model_fields and len(path) == 1:
        return f"unknown field (did you mean prompt.{name}?)"
    if suggestion is not None:
        return f"unknown field (did you mean {suggestion}?)"
    return f"unknown field; the fields here are {', '.join(_known(path[:-1], data))}"


def _known(path: Path, data: Any) -> list[str]:
    record = record_at(data, path)
    return [] if record is None else list(record.model_fields)


def _problem(path: Path, item: Any) -> tuple[Path, str]:
    kind = item["type"]
    if kind == "missing":
        return path, "required"
    if kind == "union_tag_not_found":
        return (*path, "kind"), f"required: {', '.join(_KINDS)}"
    if kind == "union_tag_invalid":
        return (*path, "kind"), str(UnknownName.among("kind", item["ctx"]["tag"], _KINDS))
    if kind in {"model_attributes_type", "model_type"} and path in _EXAMPLES:
        hint = "; a text belongs in system" if path == ("prompt",) else ""
        return path, f"should be a mapping such as {_EXAMPLES[path]}{_instead_of(item)}{hint}"
    if kind == "value_error":
        return _value_error(path, str(item["ctx"]["error"]))
    expected = item["msg"].partition(", unable to parse")[0]
    expected = expected.removeprefix("Input ").removeprefix("String ")
    return path, f"{expected}{_instead_of(item)}"


def _value_error(path: Path, message: str) -> tuple[Path, str]:
    """Return the error of a validator, which may name a field below the path first."""
    name, colon, rest = message.partition(": ")
    if colon and name.isidentifier() and path[-1:] != (name,):
        return (*path, name), rest
    return path, message.removeprefix(f"{path[-1]}: " if path else "")


def _instead_of(item: Any) -> str:
    shown = repr(item.get("input"))
    return f", not {shown if len(shown) <= 40 else shown[:37] + '...'}"


def _dotted(path: Path) -> str:
    return ".".join(str(step) for step in path) or "the policy"


def _line_number(lines: dict[Path, int], path: Path) -> int | None:
    """Return the line of a field, or that of the mapping that lacks it."""
    parts = (lines.get(path[:end]) for end in range(len(path), 0, -1))
    return next((line for line in parts if line is not None), None)


def _line_numbers(text: str) -> dict[Path, int]:
    """Return the line of each field, from 1."""
    lines: dict[Path, int] = {}

    def walk(node: yaml.Node | None, path: Path) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[*path, str(key.value)] = key.start_mark.line + 1
                walk(value, (*path, str(key.value)))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                lines[*path, index] = value.start_mark.line + 1
                walk(value, (*path, index))

    walk(yaml.compose(text, Loader=yaml.SafeLoader), ())
    return lines


def read_policy_yaml(text: str) -> Policy:
    """Read a policy from YAML or JSON; see :meth:`~backtalk.policy.Policy.from_yaml`."""
    try:
        data = yaml.safe_load(text)
        _check_repeated(yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise RecordError(f"the policy is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise RecordError("the policy is not a mapping of fields", "Give at least a model")
    fields = {name: value for name, value in data.items() if name != "id"}
    try:
        policy = Policy.model_validate(fields)
    except ValidationError as error:
        raise explain_policy(error, fields, text) from None
    claimed = data.get("id")
    if claimed not in {None, policy.id}:
        raise RecordError(
            f"id: the recipe was changed, its id is {policy.id!r} and not {claimed!r}",
            "Delete the line with the id to make it a new policy",
        )
    return policy


def _check_repeated(node: yaml.Node | None) -> None:
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_repeated(value)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            raise RecordError(
                f"{key.value}: the field stands twice, in lines {seen[key.value]} and {line}",
                "Remove one of the two",
            )
        seen[str(key.value)] = line
        _check_repeated(value)
