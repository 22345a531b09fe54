"""API keys of a store. Only the digests of their secrets are stored."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, cast, get_args

from sqlalchemy import Engine, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from backtalk.errors import Conflict, NotFound, UnknownName
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.audit_log import AuditLog
from backtalk.store.engine import writing
from backtalk.store.row_codec import microseconds, optional_timestamp, timestamp

KeyRole = Literal["application", "annotator", "reviewer", "admin"]
KEY_ROLES: tuple[KeyRole, ...] = get_args(KeyRole)


@dataclass(frozen=True)
class ApiKey:
    """API key as stored, without its secret."""

    id: str
    name: str
    role: KeyRole
    project: str | None
    """Name of the project that the key is for; ``None`` for all projects."""
    digest: str
    """SHA-256 of the secret. Unsalted, because secrets have 256 random bits."""
    previous_digest: str | None
    """Digest before the last rotation."""
    previous_expires: datetime | None
    """Time until which the previous secret is valid too."""
    created: datetime
    revoked: datetime | None

    def digests(self, at: datetime) -> list[str]:
        """Return the digests of the secrets that are valid at a time."""
        if self.revoked is not None:
            return []
        if (
            self.previous_digest
            and self.previous_expires is not None
            and at < self.previous_expires
        ):
            return [self.digest, self.previous_digest]
        return [self.digest]


def hash_secret(secret: str) -> str:
    """Return the SHA-256 digest of a secret, in hexadecimal."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class ApiKeys:
    """API keys of a database. Obtained as :attr:`Store.api_keys`.

    Each change is recorded in the audit log.

    Parameters
    ----------
    engine : Engine
        Database of the store.

    Examples
    --------
    >>> from backtalk.store import Store
    >>> with Store(":memory:") as store:
    ...     key, secret = store.api_keys.add("shop", "application", project="mail", actor="ada")
    ...     key.digest == hash_secret(secret)
    True
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._audit_log = AuditLog(engine)

    def add(self, name: str, role: str, *, project: str | None, actor: str) -> tuple[ApiKey, str]:
        """Create a key and return it with its secret, which is not stored.

        Parameters
        ----------
        name : str
            Name of the key, unique among valid keys.
        role : str
            Role of the key, one of ``KEY_ROLES``.
        project : str or None
            Name of the project that the key is for; ``None`` for all projects.
        actor : str
            Name of the person who creates the key.

        Raises
        ------
        UnknownName
            If there is no such role.
        Conflict
            If a valid key has the name.
        """
        if role not in KEY_ROLES:
            raise UnknownName.among("role", role, list(KEY_ROLES))
        if any(key.name == name and key.revoked is None for key in self.keys()):
            raise Conflict(
                f"There is already a key named {name!r}", "Choose another name, or revoke that key"
            )
        secret = _make_secret()
        key = ApiKey(
            id=secrets.token_hex(4),
            name=name,
            role=role,
            project=project,
            digest=hash_secret(secret),
            previous_digest=None,
            previous_expires=None,
            created=now(),
            revoked=None,
        )
        row = {**asdict(key), "created": microseconds(key.created)}
        with writing(self._engine) as connection:
            connection.execute(insert(schema.api_keys).values(row))
        self._audit_log.append(
            "key added", f"{name} ({key.id}), {role}", actor=actor, project=project
        )
        return key, secret

    def keys(self) -> list[ApiKey]:
        """Return all keys, oldest first, including revoked ones."""
        table = schema.api_keys
        with self._engine.connect() as connection:
            rows = connection.execute(select(table).order_by(table.c.created, table.c.id)).all()
        return [_from_row(row) for row in rows]

    def rotate(self, key: str, *, grace: timedelta, actor: str) -> tuple[ApiKey, str]:
        """Replace the secret of a key, and return the key with its new secret.

        Parameters
        ----------
        key : str
            Name or id of a valid key.
        grace : timedelta
            Time for which the old secret remains valid.
        actor : str
            Name of the person who rotates the key.

        Raises
        ------
        NotFound
            If no valid key has this name or id.
        """
        current = self._find_valid(key)
        secret = _make_secret()
        self._update(
            current.id,
            digest=hash_secret(secret),
            previous_digest=current.digest,
            previous_expires=microseconds(now() + grace),
        )
        self._audit("key rotated", current, actor)
        return self._get(current.id), secret

    def revoke(self, key: str, *, actor: str) -> ApiKey:
        """Revoke a key with immediate effect.

        Raises
        ------
        NotFound
            If no valid key has this name or id.
        """
        current = self._find_valid(key)
        self._update(current.id, revoked=microseconds(now()))
        self._audit("key revoked", current, actor)
        return self._get(current.id)

    def _audit(self, action: str, key: ApiKey, actor: str) -> None:
        self._audit_log.append(action, f"{key.name} ({key.id})", actor=actor, project=key.project)

    def _find_valid(self, name_or_id: str) -> ApiKey:
        for key in self.keys():
            if key.revoked is None and name_or_id in {key.name, key.id}:
                return key
        raise NotFound(
            f"There is no valid key {name_or_id!r}", "`backtalk key list` lists the keys"
        )

    def _get(self, id_: str) -> ApiKey:
        return next(key for key in self.keys() if key.id == id_)

    def _update(self, id_: str, **values: object) -> None:
        table = schema.api_keys
        try:
            with writing(self._engine) as connection:
                connection.execute(update(table).where(table.c.id == id_).values(values))
        except IntegrityError as error:
            raise Conflict("The key was changed at the same time", "Try again") from error


def _make_secret() -> str:
    return f"bt-{secrets.token_urlsafe(32)}"


def _from_row(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        role=cast("KeyRole", row.role),
        project=row.project,
        digest=row.digest,
        previous_digest=row.previous_digest,
        previous_expires=optional_timestamp(row.previous_expires),
        created=timestamp(row.created),
        revoked=optional_timestamp(row.revoked),
    )
