"""What every record has in common: frozen, strict about fields, plain JSON, ids from content."""

from __future__ import annotations

import operator
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from typing import Annotated, Any, TypeVar

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

Probability = Annotated[float, Field(ge=0, le=1)]
"""A number in [0, 1]."""

Propensity = Annotated[float, Field(gt=0, le=1)]
"""The probability, in (0, 1], with which something that happened was going to happen."""

Offset = Annotated[int, Field(ge=0)]
"""A position in a text, counted in Unicode code points from 0."""

Name = Annotated[str, Field(min_length=1)]
"""A non-empty string: an id, an aspect, a label."""

Time = Annotated[AwareDatetime, AfterValidator(lambda timestamp: timestamp.astimezone(UTC))]
"""A moment with its time zone, kept in UTC."""

T = TypeVar("T")

OptionalField = Annotated[T | None, Field(exclude_if=partial(operator.is_, None))]
"""A field that is left out of the JSON where it is ``None``."""

OMIT_EMPTY = operator.not_
"""For ``Field(exclude_if=…)``: an empty collection is left out of the JSON."""

Metadata = Annotated[dict[str, JsonValue], Field(exclude_if=OMIT_EMPTY)]
"""Whatever else the application wants kept with a record, as JSON."""


class Record(BaseModel):
    """A frozen value that refuses unknown fields, NaN and infinity, and round-trips as JSON."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return self.model_dump_json()

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a JSON-able dictionary."""
        return self.model_dump(mode="json")


def new_id() -> str:
    """Return a fresh id of 32 hexadecimal digits; later ids sort after earlier ones."""
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


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def explain(error: ValidationError) -> str:
    """Return in one line what a validation error found, each field named by its path."""
    return "; ".join(_explain_one(item) for item in error.errors(include_url=False))


def _explain_one(item: Any) -> str:
    path = ".".join(str(step) for step in item["loc"])
    message = item["msg"].removeprefix("Value error, ")
    shown = repr(item.get("input"))
    if len(shown) > 60:
        shown = shown[:57] + "..."
    if item["type"] in {"value_error", "missing"}:
        return f"{path}: {message}" if path else message
    return f"{path}: {message}, got {shown}"


def repeated(items: Iterable[str]) -> str | None:
    """Return the first item that was already seen, or ``None`` if all differ."""
    seen: set[str] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None


def record_error(what: str, error: ValidationError) -> RecordError:
    """Turn a validation error into the project's own, naming ``what`` was being read."""
    return RecordError(f"{what} is not valid: {explain(error)}")
