r"""Large parts of messages (pictures, audio, files), which are stored once for all interactions.

Each turn of a conversation repeats the parts of the turns before it. In the body of an interaction
a reference stands for such a part. A reference is the JSON string ``"\/content/DIGEST"``: bodies
are written by a serializer that never escapes a slash, so that no text can be taken for a
reference. Texts stay in the body, where a search reads them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from hashlib import sha256
from secrets import token_hex
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Connection, Engine, Select, delete, select

from backtalk.errors import Conflict
from backtalk.feedback import Interaction, Message, parse_interaction
from backtalk.store import schema
from backtalk.store.lookup import rows_by_id
from backtalk.store.row_inserts import insert_rows

MIN_LENGTH = 16_000
"""Number of characters from which a string is stored apart."""

_LOCK = 0x70617274  # first key of the advisory lock; the second is the project
_START = '"\\/content/'
_KEY = token_hex(16)
"""Random text, which no interaction contains, before the digest of a string that is replaced."""
_REPLACED = re.compile(f'"{_KEY}([0-9a-f]{{64}})"')
_REFERENCE = re.compile(r'"\\/content/([0-9a-f]{64})"')


class LargeParts:
    """Large parts of interactions that are about to be inserted.

    Parameters
    ----------
    project_id : int
        Id of the project.
    """

    def __init__(self, project_id: int) -> None:
        self._project_id = project_id
        self._contents: dict[str, str] = {}
        self._uses: dict[str, set[str]] = {}
        """Digests of the parts of each interaction, by its id."""

    def __len__(self) -> int:
        """Return the number of different parts."""
        return len(self._contents)

    def body(self, interaction: Interaction) -> str:
        """Return the body of an interaction with references in place of its large parts."""
        reduced, digests = _Reduction(self._contents).reduce(interaction)
        # Of several interactions with one id, the first is inserted.
        self._uses.setdefault(interaction.id, digests)
        body = reduced.to_json()
        return _REPLACED.sub(r'"\\/content/\1"', body) if digests else body

    def insert(self, connection: Connection) -> None:
        """Insert the parts of those interactions that are not in the store yet.

        Parameters
        ----------
        connection : Connection
            Connection with an open write transaction, in which the interactions are inserted next.
        """
        if not self._contents:
            return
        _lock(connection, self._project_id, shared=True)
        args = (connection, schema.interactions, ("id",), self._project_id)
        having = [id_ for id_, digests in self._uses.items() if digests]
        stored = {row.id for row in rows_by_id(*args, having)}
        uses = {id_: self._uses[id_] for id_ in having if id_ not in stored}
        used = set().union(*uses.values())
        insert_rows(
            connection,
            schema.contents,
            ("project", "digest", "body"),
            [(self._project_id, digest, self._contents[digest]) for digest in sorted(used)],
        )
        insert_rows(
            connection,
            schema.content_uses,
            ("project", "interaction", "digest"),
            [(self._project_id, id_, d) for id_, digests in uses.items() for d in sorted(digests)],
        )


class _Reduction:
    """Replacement of the large strings in the parts of an interaction's messages.

    Parameters
    ----------
    contents : dict[str, str]
        Large strings as JSON by digest, to which those that are replaced are added.
    """

    def __init__(self, contents: dict[str, str]) -> None:
        self._contents = contents
        self._digests: set[str] = set()

    def reduce(self, interaction: Interaction) -> tuple[Interaction, set[str]]:
        """Return the interaction without its large strings, and their digests."""
        prompt = self._messages(interaction.prompt)
        responses = [
            response.model_copy(update={"messages": self._messages(response.messages)})
            if response.messages
            else response
            for response in interaction.responses
        ]
        if not self._digests:
            return interaction, set()
        update = {"prompt": prompt, "responses": tuple(responses)}
        return interaction.model_copy(update=update), self._digests

    def _messages(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return tuple(
            message.model_copy(update={"content": tuple(map(self._part, message.content))})
            if isinstance(message.content, tuple)
            else message
            for message in messages
        )

    def _part(self, part: dict[str, Any]) -> dict[str, Any]:
        return {k: v if k == "text" else self._value(v) for k, v in part.items()}

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._string(value) if len(value) >= MIN_LENGTH else value
        if isinstance(value, dict):
            return self._part(value)
        if isinstance(value, (list, tuple)):
            return [self._value(item) for item in value]
        return value

    def _string(self, text: str) -> str:
        content = to_json(text)
        digest = sha256(content).hexdigest()
        if digest not in self._contents:
            self._contents[digest] = content.decode()
        self._digests.add(digest)
        return _KEY + digest


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


def lock_for_purge(connection: Connection, project_id: int) -> None:
    """Wait for transactions that insert large parts, and let later ones wait for this one.

    A transaction has to call it before it deletes anything.
    """
    _lock(connection, project_id, shared=False)


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


def _lock(connection: Connection, project_id: int, *, shared: bool) -> None:
    """Keep purges of large parts and transactions that insert some apart, until the commit.

    SQLite has one writer at a time. In PostgreSQL a part could else be deleted after another
    transaction found it there and before that transaction's use of it is visible.
    """
    if connection.dialect.name == "postgresql":
        function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        connection.exec_driver_sql(f"SELECT {function}(%s, %s)", (_LOCK, project_id))
