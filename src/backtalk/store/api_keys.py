"""Who may come in: API keys, of which only digests are kept, and the record of who did what."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, cast, get_args

from sqlalchemy import Engine, Row, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from backtalk.errors import Conflict, NotFound, UnknownName
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.row_codec import microseconds, timestamp

Role = Literal["application", "annotator", "reviewer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class ApiKey:
    """A key as it is kept: without its secret."""

    id: str
    name: str
    role: Role
    project: str | None
    """The one project that it is for; ``None`` for all."""
    digest: str
    """The SHA-256 of the secret. The secret has 256 random bits, so that no salt is needed."""
    former: str | None
    """The digest before the last rotation."""
    former_until: datetime | None
    """Until when the former secret holds too."""
    made: datetime
    revoked: datetime | None

    def digests(self, at: datetime) -> list[str]:
        """Return the digests of the secrets that hold at a moment."""
        if self.revoked is not None:
            return []
        if self.former and self.former_until is not None and at < self.former_until:
            return [self.digest, self.former]
        return [self.digest]


@dataclass(frozen=True)
class Audited:
    """One entry of the audit log."""

    time: datetime
    project: str | None
    actor: str
    action: str
    what: str


def digest_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class ApiKeys:
    """The keys and the audit log of a database.

    Parameters
    ----------
    engine : Engine
        A store's.

    Examples
    --------
    >>> from backtalk.store import Store
    >>> with Store(":memory:") as store:
    ...     access = ApiKeys(store.engine)
    ...     key, secret = access.add("shop", "application", project="mail", who="ada")
    ...     key.digest == digest_of(secret)
    True
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, name: str, role: str, *, project: str | None, actor: str) -> tuple[ApiKey, str]:
        """Make a key and return it with its secret, which is kept nowhere.

        Raises
        ------
        UnknownName
            If there is no such role.
        Conflict
            If a key that holds has the name.
        """
        if role not in ROLES:
            raise UnknownName.among("role", role, list(ROLES))
        if any(key.name == name and key.revoked is None for key in self.keys()):
            raise Conflict(f"There is a key {name!r}", "Give it another name, or revoke that one")
        secret = _new_secret()
        key = ApiKey(
            id=secrets.token_hex(4),
            name=name,
            role=role,
            project=project,
            digest=digest_of(secret),
            former=None,
            former_until=None,
            made=now(),
            revoked=None,
        )
        row = {**asdict(key), "made": microseconds(key.made)}
        with writing(self._engine) as connection:
            connection.execute(insert(schema.api_keys).values(row))
        self.record("key added", f"{name} ({key.id}), {role}", actor=actor, project=project)
        return key, secret

    def keys(self) -> list[ApiKey]:
        """Return all keys, revoked ones too, the oldest first."""
        table = schema.api_keys
        with self._engine.connect() as connection:
            rows = connection.execute(select(table).order_by(table.c.made, table.c.id)).all()
        return [_key_of(row) for row in rows]

    def rotate(self, key: str, *, grace: timedelta, actor: str) -> tuple[ApiKey, str]:
        """Give a key a new secret; the old one holds for ``grace`` from now on.

        Raises
        ------
        NotFound
            If no key that holds has this name or id.
        """
        result = self._holding(key)
        secret = _new_secret()
        self._change(
            result.id,
            digest=digest_of(secret),
            former=result.digest,
            former_until=microseconds(now() + grace),
        )
        self.record(
            "key rotated", f"{result.name} ({result.id})", actor=actor, project=result.project
        )
        return self._by_id(result.id), secret

    def revoke(self, key: str, *, actor: str) -> ApiKey:
        """End a key at once; raise ``NotFound`` where none that holds has this name or id."""
        result = self._holding(key)
        self._change(result.id, revoked=microseconds(now()))
        self.record(
            "key revoked", f"{result.name} ({result.id})", actor=actor, project=result.project
        )
        return self._by_id(result.id)

    def record(self, action: str, what: str, *, actor: str, project: str | None) -> None:
        """Write down who did what."""
        row = {
            "time": microseconds(now()),
            "project": project,
            "actor": actor,
            "action": action,
            "body": what,
        }
        with writing(self._engine) as connection:
            connection.execute(insert(schema.audit).values(row))

    def log(self, *, project: str | None = None, limit: int = 1000) -> list[Audited]:
        """Return the last entries of the audit log, the oldest first.

        Parameters
        ----------
        project : str, optional
            Only what was done in it, or in all projects at once; everything, if left out.
        limit : int, default 1000
            How many.
        """
        table = schema.audit
        query = select(table).order_by(table.c.seq.desc()).limit(limit)
        if project is not None:
            query = query.where(or_(table.c.project == project, table.c.project.is_(None)))
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [
            Audited(timestamp(row.time), row.project, row.actor, row.action, row.body)
            for row in reversed(rows)
        ]

    def _holding(self, key: str) -> ApiKey:
        holding = [result for result in self.keys() if result.revoked is None]
        for result in holding:
            if key in {result.name, result.id}:
                return result
        raise NotFound(f"There is no key {key!r} that holds", "`backtalk keys list` lists them")

    def _by_id(self, id_: str) -> ApiKey:
        return next(key for key in self.keys() if key.id == id_)

    def _change(self, id_: str, **values: object) -> None:
        table = schema.api_keys
        try:
            with writing(self._engine) as connection:
                connection.execute(update(table).where(table.c.id == id_).values(values))
        except IntegrityError as error:
            raise Conflict("The key was changed by somebody else", "Try again") from error


def _new_secret() -> str:
    return f"bt-{secrets.token_urlsafe(32)}"


def _key_of(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        role=cast("Role", row.role),
        project=row.project,
        digest=row.digest,
        former=row.former,
        former_until=None if row.former_until is None else timestamp(row.former_until),
        made=timestamp(row.made),
        revoked=None if row.revoked is None else timestamp(row.revoked),
    )
