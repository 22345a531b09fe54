"""JSON Schema of a policy's YAML, with all registered decoders, and tables of its fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from backtalk.decode.base import DECODERS, DecoderBase, get_decoder
from backtalk.feedback.record import Record
from backtalk.memory.spec import MemorySpec
from backtalk.models.protocol import Sampling
from backtalk.models.spec import (
    EndpointSpec,
    LocalSpec,
    MixtureSpec,
    NamedSpec,
    ReplaySpec,
)
from backtalk.policy.compositions import Composition, PromptCompositions
from backtalk.policy.policy import Lineage, Policy
from backtalk.policy.prompt_template import Example, PromptTemplate

MODEL_KINDS: dict[str, type[Record]] = {
    "endpoint": EndpointSpec,
    "local": LocalSpec,
    "replay": ReplaySpec,
    "named": NamedSpec,
    "mixture": MixtureSpec,
}
"""Specs of models by ``kind``."""

_PARTS: dict[str, type[Record]] = {
    "sampling": Sampling,
    "lineage": Lineage,
    "prompt": PromptTemplate,
    "memory": MemorySpec,
    "compositions": PromptCompositions,
}
"""Records of a policy's other parts, by the name of the field."""

_ITEMS: dict[str, type[Record]] = {"demonstrations": Example, "choices": Composition}
"""Records of the items of lists, by the name of the field."""

_ROLE = re.compile(r":\w+:`~?\.?(?:[\w.]*\.)?(\w+)`")


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a policy in YAML or JSON."""
    schema = Policy.model_json_schema()
    definitions = schema["$defs"]
    kinds = {kind: get_decoder(kind) for kind in sorted(DECODERS)}
    for decoder in kinds.values():
        own = decoder.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= own.pop("$defs", {})
        definitions[decoder.__name__] = own
    del definitions[DecoderBase.__name__]
    properties = schema["properties"]
    properties["decoder"] = {
        "description": properties["decoder"]["description"],
        "oneOf": [{"$ref": f"#/$defs/{decoder.__name__}"} for decoder in kinds.values()],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {kind: f"#/$defs/{decoder.__name__}" for kind, decoder in kinds.items()},
        },
    }
    schema["properties"] = {"id": _ID, **properties}
    for kind, record in {**MODEL_KINDS, **kinds}.items():
        definition = definitions[record.__name__]
        definition["properties"]["kind"] = {"const": kind, "description": "Kind of this part."}
        definition["required"] = ["kind", *definition.get("required", [])]
    _clean(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


_ID = {
    "type": "string",
    "description": "Hash of the recipe. Optional: if it is there, it has to be right.",
}


def record_at(data: Any, path: tuple[str | int, ...]) -> type[Record] | None:
    """Return the record that describes the fields at a path, ``None`` if none does.

    Parameters
    ----------
    data : Any
        Policy as parsed from YAML.
    path : tuple of (str or int)
        Names of fields and indices in lists.
    """
    if not path:
        return Policy
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    kind = data.get("kind") if isinstance(data, dict) else None
    if path in {("model",), ("decoder", "rewriter")} or path[:2] == ("model", "models"):
        return MODEL_KINDS.get(str(kind))
    if path == ("decoder",):
        return get_decoder(str(kind)) if kind in DECODERS else None
    return _ITEMS.get(str(path[-2])) if isinstance(path[-1], int) else _PARTS.get(str(path[-1]))


def field_tables() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield each part of a policy, with its fields: name, type and description.

    The parts are the policy, each kind of model, each decoder, and the sampling.
    """
    schema = policy_schema()
    definitions = schema["$defs"]
    yield "policy", _rows(schema)
    for part in ("prompt", "memory", "compositions"):
        yield part, _rows(definitions[_PARTS[part].__name__])
    yield "prompt: demonstrations", _rows(definitions[Example.__name__])
    yield "compositions: choices", _rows(definitions[Composition.__name__])
    for kind, record in MODEL_KINDS.items():
        yield f"model: {kind}", _rows(definitions[record.__name__])
    for kind in sorted(DECODERS):
        yield f"decoder: {kind}", _rows(definitions[get_decoder(kind).__name__])
    yield "sampling", _rows(definitions[Sampling.__name__])


def _rows(schema: dict[str, Any]) -> list[tuple[str, str, str]]:
    required = schema.get("required", [])
    return [
        (
            name,
            _type(field) + (", required" if name in required else ""),
            " ".join(field["description"].split()),
        )
        for name, field in schema["properties"].items()
    ]


_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}


def _type(field: dict[str, Any]) -> str:
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return _type(next(one for one in field["anyOf"] if one.get("type") != "null"))
    return _TYPES[field.get("type", "object")]


def _clean(schema: Any) -> None:
    """Remove generated titles, and the markup of docstrings from descriptions."""
    if isinstance(schema, list):
        for item in schema:
            _clean(item)
    elif isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            del schema["title"]
        if isinstance(schema.get("description"), str):
            text = schema["description"].split("\n\n")[0]
            schema["description"] = _ROLE.sub(r"`\1`", text).replace("``", "`")
        for value in schema.values():
            _clean(value)
