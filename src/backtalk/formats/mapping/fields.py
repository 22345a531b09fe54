"""Fields of a mapping: the columns that they name, and errors about unknown ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from backtalk.errors import RecordError
from backtalk.feedback.record import explain
from backtalk.formats.mapping.base import AspectColumn, BaseMapping
from backtalk.formats.mapping.cells import ScaledColumn
from backtalk.formats.mapping.preferences import ValueColumn
from backtalk.formats.mapping.sources import SOURCE_MARK, Constant, Template, columns_of

DOCS_PAGE = "docs/formats.md"
"""Page that describes mappings."""

_TAGS: dict[str, tuple[type[BaseModel], ...]] = {
    "column": (AspectColumn, ValueColumn),
    "constant": (Constant,),
    "template": (Template,),
    "scaled": (ScaledColumn,),
}
"""Records by the word that stands for them in the path of an error."""


def columns_read(record: BaseModel) -> Iterator[str]:
    """Yield the columns of all sources in a mapping."""
    item_fields = record.ITEM_FIELDS if isinstance(record, BaseMapping) else ()
    for name, field in type(record).model_fields.items():
        if name not in item_fields:
            yield from _columns(getattr(record, name), is_source=_holds_source(field))


def _columns(value: Any, *, is_source: bool) -> Iterator[str]:
    if isinstance(value, Template | Constant) or (isinstance(value, str) and is_source):
        yield from columns_of(value)
    elif isinstance(value, BaseModel):
        yield from columns_read(value)
    elif isinstance(value, tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _columns(item, is_source=is_source)


def _holds_source(field: FieldInfo) -> bool:
    return SOURCE_MARK in field.metadata or _mentions_source(field.annotation)


def _mentions_source(annotation: Any) -> bool:
    arguments = get_args(annotation)
    is_marked = get_origin(annotation) is Annotated and SOURCE_MARK in arguments
    return is_marked or any(map(_mentions_source, arguments))


def mapping_error(mapping: type[BaseModel], error: ValidationError) -> RecordError:
    """Return the error about a mapping file that is not valid, with the known fields."""
    return RecordError(f"the mapping is not valid: {explain(error)}", _remedy(mapping, error))


def _remedy(mapping: type[BaseModel], error: ValidationError) -> str:
    """Return the remedy for an unknown field: the closest known one, and all."""
    for item in error.errors(include_url=False):
        if item["type"] == "extra_forbidden":
            known = _known_fields(mapping, item["loc"][:-1])
            close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            return f"{hint}Known: {', '.join(known)}"
    return f"Write it as {DOCS_PAGE} shows"


def _known_fields(mapping: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the known fields of the object at the path that an error gives."""
    models, is_tagged = [mapping], False
    for step in path:
        tagged = [] if is_tagged else [model for model in models if _tag(model) == step]
        is_tagged = bool(tagged)
        if tagged:
            models = tagged
        elif step in models[0].model_fields:
            models = list(dict.fromkeys(_models(models[0].model_fields[str(step)].annotation)))
    return list(models[0].model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the records that a type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _tag(model: type[BaseModel]) -> str:
    """Return the word that stands for a record in the path of an error."""
    kind = model.model_fields.get("kind")
    if kind is not None:
        return str(get_args(kind.annotation)[0])
    return next((tag for tag, bases in _TAGS.items() if issubclass(model, bases)), model.__name__)
