"""Base class of all records, their field types, and ids."""

from __future__ import annotations

import operator
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
)

from backtalk.errors import RecordError
from backtalk.feedback.attribute_docstrings import attribute_docstrings

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

Probability = Annotated[float, Field(ge=0, le=1)]
"""Number in [0, 1]."""

Propensity = Annotated[float, Field(gt=0, le=1)]
"""Probability, in (0, 1], that an observed event had beforehand."""

Offset = Annotated[int, Field(ge=0)]
"""Position in a text, in Unicode code points from 0."""

Name = Annotated[str, Field(min_length=1)]
"""Non-empty string, such as an id, an aspect or a label."""

Time = Annotated[AwareDatetime, AfterValidator(lambda timestamp: timestamp.astimezone(UTC))]
"""Time with a time zone, converted to UTC."""

T = TypeVar("T")

OptionalField = Annotated[T | None, Field(exclude_if=partial(operator.is_, None))]
"""Optional field, omitted from the JSON if it is ``None``."""

OMIT_EMPTY = operator.not_
"""Predicate for ``Field(exclude_if=…)`` that omits empty collections from the JSON."""

Metadata = Annotated[dict[str, JsonValue], Field(exclude_if=OMIT_EMPTY)]
"""Additional data of the application, as JSON."""


class Record(BaseModel):
    """Frozen model that round-trips as JSON and rejects unknown fields, NaN and infinity."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        defer_build=True,
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the JSON Schema, in which the docstrings of fields are their descriptions.

        With pydantic's ``use_attribute_docstrings``, importing a record would read its source.
        """
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, docstring in attribute_docstrings(cls).items():
            if name in properties:
                properties[name].setdefault("description", docstring)
        return schema

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return self.model_dump_json()

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a JSON-able dictionary."""
        return self.model_dump(mode="json")


def new_id() -> str:
    """Return a new id of 32 hexadecimal digits; later ids sort after earlier ones."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def content_id(*parts: str) -> str:
    """Return the id of 32 hexadecimal digits that is determined by ``parts`` and their order.

    Each part is hashed with its length, so that ``("ab", "c")`` and ``("a", "bc")`` differ.
    """
    framed: list[bytes] = []
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        framed += (b"%d:" % len(encoded), encoded)
    return blake2b(b"".join(framed), digest_size=16).hexdigest()


def short_ids(ids: Iterable[str], *, length: int = 8) -> dict[str, str]:
    """Return the shortest beginning of each id that no other id has.

    >>> list(short_ids(["0193a5b2c4d1", "0193a5b2c9e0", "77aa00112233"]).values())
    ['0193a5b2c4', '0193a5b2c9', '77aa0011']

    Parameters
    ----------
    ids : iterable of str
        Ids that are listed together.
    length : int, default 8
        Minimum length of a beginning, in characters.
    """
    ordered = sorted(set(ids))
    shared = [0, *map(_shared_length, ordered, ordered[1:]), 0]
    return {
        id_: id_[: max(length, 1 + before, 1 + after)]
        for id_, before, after in zip(ordered, shared, shared[1:], strict=False)
    }


def _shared_length(a: str, b: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def explain(error: ValidationError) -> str:
    """Return a validation error as one line, with the path of each field."""
    return "; ".join(_explain_item(item) for item in error.errors(include_url=False))


def _explain_item(item: Any) -> str:
    path = ".".join(str(step) for step in item["loc"])
    message = item["msg"].removeprefix("Value error, ")
    shown = repr(item.get("input"))
    if len(shown) > 60:
        shown = shown[:57] + "..."
    if item["type"] in {"value_error", "missing"}:
        return f"{path}: {message}" if path else message
    return f"{path}: {message}, got {shown}"


def repeated(items: Iterable[str]) -> str | None:
    """Return the first item that occurs a second time, ``None`` if all differ."""
    seen: set[str] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None


def record_error(name: str, error: ValidationError) -> RecordError:
    """Return the error that says that the named record is not valid, and why."""
    return RecordError(f"{name} is not valid: {explain(error)}")
