r"""Large parts of messages (pictures, audio, files), which are stored once for all interactions.

Each turn of a conversation repeats the parts of the turns before it. In the body of an interaction
a reference stands for such a part. A reference is the JSON string ``"\/content/DIGEST"``: bodies
are written by a serializer that never escapes a slash, so that no text can be taken for a
reference. Texts stay in the body, where a search reads them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from hashlib import sha256
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Connection, Engine, Select, delete, select

from backtalk.errors import Conflict
from backtalk.feedback import Interaction, parse_interaction
from backtalk.store import schema
from backtalk.store.lookup import rows_by_id

MIN_LENGTH = 16_000
"""Number of characters from which a string is stored apart."""

CONTENT_COLUMNS = ("project", "digest", "body")
USE_COLUMNS = ("project", "interaction", "digest")

_START = '"\\/content/'
_REFERENCE = re.compile(r'"\\/content/([0-9a-f]{64})"')


class LargeParts:
    """Large parts of some interactions, as rows of the tables ``contents`` and ``content_uses``.

    Parameters
    ----------
    project_id : int
        Id of the project.
    """

    def __init__(self, project_id: int) -> None:
        self._project_id = project_id
        self._bodies: dict[str, str] = {}
        self._uses: set[tuple[str, str]] = set()

    def move(self, interaction: Interaction, body: str) -> str:
        """Return the body of an interaction with references in place of its large parts."""
        for text in set(_large_strings(interaction)):
            token = to_json(text).decode()
            digest = sha256(token.encode()).hexdigest()
            body = _replace(body, token, f'{_START}{digest}"')
            self._bodies[digest] = token
            self._uses.add((interaction.id, digest))
        return body

    @property
    def contents(self) -> list[tuple[Any, ...]]:
        """Rows of the parts, in the order of ``CONTENT_COLUMNS``."""
        return [(self._project_id, *item) for item in sorted(self._bodies.items())]

    @property
    def uses(self) -> list[tuple[Any, ...]]:
        """Rows of the interactions that have the parts, in the order of ``USE_COLUMNS``."""
        return [(self._project_id, *use) for use in sorted(self._uses)]


def stored_interaction(source: Connection | Engine, project_id: int, body: str) -> Interaction:
    """Return the interaction that a body in the store describes.

    Parameters
    ----------
    source : Connection or Engine
        Store, from which the large parts are read if the body refers to any.
    project_id : int
        Id of the project.
    body : str
        Body.

    Raises
    ------
    Conflict
        If a part was purged after the body was read.
    """
    return parse_interaction(whole_body(source, project_id, body))


def whole_body(source: Connection | Engine, project_id: int, body: str) -> str:
    """Return a body with its large parts in place of the references.

    Parameters
    ----------
    source : Connection or Engine
        Store.
    project_id : int
        Id of the project.
    body : str
        Body.

    Raises
    ------
    Conflict
        If a part was purged after the body was read.
    """
    if _START not in body:
        return body
    digests = set(_REFERENCE.findall(body))
    if isinstance(source, Engine):
        with source.connect() as connection:
            contents = _read(connection, project_id, digests)
    else:
        contents = _read(source, project_id, digests)
    if digests - contents.keys():
        raise Conflict("An interaction was purged while it was read", "Read the interactions again")
    return _REFERENCE.sub(lambda match: contents[match[1]], body)


def delete_uses(connection: Connection, project_id: int, interactions: Select[Any]) -> None:
    """Delete the large parts that no interactions but some have.

    Parameters
    ----------
    connection : Connection
        Connection with an open write transaction.
    project_id : int
        Id of the project.
    interactions : Select
        Query for the ids of the interactions, which are about to be deleted.
    """
    contents, uses = schema.contents, schema.content_uses
    where = (uses.c.project == project_id, uses.c.interaction.in_(interactions))
    digests = list(connection.execute(select(uses.c.digest).distinct().where(*where)).scalars())
    connection.execute(delete(uses).where(*where))
    for digest in digests:
        is_used = (
            select(uses.c.digest)
            .where(uses.c.project == project_id, uses.c.digest == digest)
            .exists()
        )
        connection.execute(
            delete(contents).where(
                contents.c.project == project_id, contents.c.digest == digest, ~is_used
            )
        )


def _read(connection: Connection, project_id: int, digests: Collection[str]) -> dict[str, str]:
    columns = ("digest", "body")
    return dict(rows_by_id(connection, schema.contents, columns, project_id, digests, key="digest"))


def _replace(body: str, token: str, reference: str) -> str:
    """Replace a long text; ``str.replace`` would prepare a search for all of it."""
    head, pieces, start = token[:100], [], 0
    at = body.find(head)
    while at >= 0:
        if body.startswith(token, at):
            pieces += [body[start:at], reference]
            start = at + len(token)
        at = body.find(head, max(start, at + 1))
    return "".join((*pieces, body[start:]))


def _large_strings(interaction: Interaction) -> Iterator[str]:
    """Yield the large strings in the parts of an interaction's messages."""
    for message in interaction.prompt:
        if isinstance(message.content, tuple):
            yield from _in_parts(message.content)
    for response in interaction.responses:
        for message in response.messages:
            if isinstance(message.content, tuple):
                yield from _in_parts(message.content)


def _in_parts(parts: Iterable[Any]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, dict):
            for name, value in part.items():
                if name != "text":
                    yield from _in_value(value)


def _in_value(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) >= MIN_LENGTH:
            yield value
    elif isinstance(value, dict):
        yield from _in_parts([value])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _in_value(item)
