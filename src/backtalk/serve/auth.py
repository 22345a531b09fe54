"""API keys, role permissions and rate limits."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backtalk.errors import BacktalkError
from backtalk.feedback.record import now
from backtalk.serve.errors import APIError
from backtalk.serve.settings import KeyRequirement
from backtalk.serve.store_connection import UNAVAILABLE, StoreConnection
from backtalk.store.api_keys import ApiKey, KeyRole, hash_secret

log = logging.getLogger(__name__)

Permission = Literal[
    "answer", "train", "feedback", "watch", "audit", "purge", "judge", "view", "manage"
]

ROLE_PERMISSIONS: Mapping[KeyRole, frozenset[Permission]] = {
    "application": frozenset({"answer", "feedback"}),
    "annotator": frozenset({"feedback", "judge"}),
    "reviewer": frozenset({"feedback", "watch", "audit", "judge", "view"}),
    "admin": frozenset(
        {"answer", "train", "feedback", "watch", "audit", "purge", "judge", "view", "manage"}
    ),
}
"""Permissions of each role: request completions, upload files and fine-tune models, give feedback,
read the metrics, read the audit log, purge a user's data; on the pages: judge in the inbox, view
everything, change things."""

_ANONYMOUS_PERMISSIONS: frozenset[Permission] = frozenset({"answer", "train", "feedback", "watch"})
"""Permissions of every caller of a gateway that requires no keys."""

CACHE_FILE = "keys.json"
_MAX_BUCKETS = 10_000


@dataclass(frozen=True)
class Caller:
    """Authenticated caller."""

    name: str
    """Name of the key; ``"anybody"`` without a key."""
    key: str
    """Id of the key; empty without a key."""
    role: KeyRole | None
    project: str | None
    """Only project that the caller may use; ``None`` for all projects."""

    def in_project(self, name: str | None, default: str) -> str:
        """Return the project of a request.

        Parameters
        ----------
        name : str or None
            Project named in the request.
        default : str
            Project of a request that names none.

        Raises
        ------
        APIError
            If the caller's key belongs to another project.
        """
        if self.project is None:
            return name or default
        if name not in {None, self.project}:
            raise APIError(
                403,
                f"This key is for project {self.project!r}, not for {name!r}. "
                "Use a key of that project, or one made with --all-projects",
                code="wrong_project",
            )
        return self.project


ANONYMOUS = Caller("anybody", "", None, None)


class ApiKeyCache:
    """In-memory copy of the store's API keys, also cached on disk for when the store is down.

    Parameters
    ----------
    connection : StoreConnection
        Store of the keys.
    folder : Path
        Folder of the cache file, which holds digests only.
    requirement : KeyRequirement
        Condition under which a key is required.
    """

    def __init__(
        self, connection: StoreConnection, folder: Path, *, requirement: KeyRequirement
    ) -> None:
        self._connection = connection
        self._file = folder / CACHE_FILE
        self._requirement = requirement
        self._callers: dict[str, Caller] | None = None
        self._has_keys = False

    @property
    def required(self) -> bool:
        """If true, requests need an API key."""
        if self._requirement == "if-any":
            return self._has_keys or self._callers is None
        return self._requirement == "always"

    def refresh(self) -> None:
        """Read the keys from the store. If it is unavailable, the previous keys stay valid."""
        try:
            keys = self._connection.store().api_keys.keys()
        except (*UNAVAILABLE, BacktalkError):
            if self._callers is None:
                self._read_cache()
            return
        at = now()
        callers = {digest: _caller_of(key) for key in keys for digest in key.digests(at)}
        if callers != self._callers or bool(keys) != self._has_keys:
            self._callers, self._has_keys = callers, bool(keys)
            self._write_cache()

    def authorize(self, headers: Mapping[str, str], permission: Permission) -> Caller:
        """Return the caller of a request.

        Parameters
        ----------
        headers : Mapping[str, str]
            Request headers.
        permission : Permission
            Permission that the request needs.

        Raises
        ------
        APIError
            If the key is missing, invalid or revoked, or its role lacks the permission.
        """
        secret = _secret(headers)
        caller = self.owner(hash_secret(secret)) if secret else None
        if caller is None and (self.required or permission not in _ANONYMOUS_PERMISSIONS):
            raise self._unauthorized(secret)
        if caller is None:
            return ANONYMOUS
        if caller.role is None or permission not in ROLE_PERMISSIONS[caller.role]:
            roles = [role for role, granted in ROLE_PERMISSIONS.items() if permission in granted]
            raise APIError(
                403,
                f"The key {caller.name!r} has the role {caller.role}, which may not do this. "
                f"Use a key with the role {' or '.join(roles)}",
                code="role_not_allowed",
            )
        return caller

    def owner(self, digest: str) -> Caller | None:
        """Return the owner of the key with this digest, ``None`` if there is no such valid key."""
        return (self._callers or {}).get(digest)

    def _unauthorized(self, secret: str) -> APIError:
        if self._callers is None:
            return APIError(
                503,
                "The keys cannot be read: the store is unavailable. Try again later",
                headers={"retry-after": "2"},
            )
        message = (
            "Invalid or revoked API key"
            if secret
            else "This gateway requires an API key, as in: Authorization: Bearer bt-..."
        )
        return APIError(
            401,
            f"{message}. `backtalk key add NAME` makes one",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )

    def _write_cache(self) -> None:
        rows = {
            digest: [c.name, c.key, c.role, c.project]
            for digest, c in (self._callers or {}).items()
        }
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._file.with_suffix(f".{os.getpid()}")
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(file, "w", encoding="utf-8") as out:
                json.dump({"any": self._has_keys, "callers": rows}, out)
            new.replace(self._file)
        except OSError as error:
            log.warning("The keys could not be cached: %s", error)

    def _read_cache(self) -> None:
        try:
            cached = json.loads(self._file.read_text(encoding="utf-8"))
            self._callers = {digest: Caller(*row) for digest, row in cached["callers"].items()}
            self._has_keys = bool(cached["any"])
        except (OSError, ValueError, KeyError, TypeError):
            return


def _caller_of(key: ApiKey) -> Caller:
    return Caller(key.name, key.id, key.role, key.project)


def _secret(headers: Mapping[str, str]) -> str:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    return headers.get("x-api-key") or headers.get("api-key") or ""


class TokenBuckets:
    """Token-bucket rate limiter with one bucket for each key.

    Parameters
    ----------
    rate : float or None
        Average requests per second; ``None`` for no limit.
    burst : int
        Capacity of a bucket, in requests.
    clock : Callable[[], float], default time.monotonic
        Clock, in seconds.

    Examples
    --------
    >>> buckets = TokenBuckets(rate=1, burst=2, clock=iter([0, 0, 0, 1]).__next__)
    >>> [buckets.take("a") for _ in range(4)]
    [0.0, 0.0, 1.0, 0.0]
    """

    def __init__(
        self, *, rate: float | None, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take a token. Return 0, or the seconds until a token is available."""
        if self._rate is None:
            return 0.0
        at = self._clock()
        level, since = self._levels.get(key, (float(self._burst), at))
        level = min(self._burst, level + (at - since) * self._rate)
        wait = 0.0 if level >= 1 else (1 - level) / self._rate
        self._levels[key] = (level - 1 if wait == 0 else level, at)
        self._levels.move_to_end(key)
        if len(self._levels) > _MAX_BUCKETS:
            self._levels.popitem(last=False)
        return wait
