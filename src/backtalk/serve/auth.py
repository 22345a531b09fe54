"""Who asks: keys, what their roles may do, and how much."""

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
from backtalk.serve.settings import WhenKeys
from backtalk.serve.store_connection import UNAVAILABLE, StoreConnection
from backtalk.store.api_keys import ApiKey, ApiKeys, Role, digest_of

log = logging.getLogger(__name__)

Permission = Literal["answer", "feedback", "watch", "audit", "purge", "judge", "view", "manage"]

ROLE_PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    "application": frozenset({"answer", "feedback"}),
    "annotator": frozenset({"feedback", "judge"}),
    "reviewer": frozenset({"feedback", "watch", "audit", "judge", "view"}),
    "admin": frozenset(
        {"answer", "feedback", "watch", "audit", "purge", "judge", "view", "manage"}
    ),
}
"""What each role may do: ask for answers, give feedback, read the metrics, read the audit log,
remove a person's data; on the pages judge in the inbox, see everything, change things."""

_WITHOUT_KEY: frozenset[Permission] = frozenset({"answer", "feedback", "watch"})
"""What a gateway that asks for no keys lets everybody do."""

REMEMBERED = "keys.json"
_MOST_BUCKETS = 10_000


@dataclass(frozen=True)
class Caller:
    """Who asks, and for which project."""

    name: str
    """The key's name, ``"anybody"`` without one."""
    key: str
    """The key's id, empty without one."""
    role: Role | None
    project: str | None
    """The one project that the caller may work in; ``None`` for any."""

    def in_project(self, named: str | None, default: str) -> str:
        """Return the project to work in: the one that is named, if the caller may, or their own.

        Raises
        ------
        Refused
            If it is another's.
        """
        if self.project is None:
            return named or default
        if named not in {None, self.project}:
            raise APIError(
                403,
                f"This key is for project {self.project!r}, not for {named!r}. "
                "Use a key of that project, or one made with --all-projects",
                code="wrong_project",
            )
        return self.project


ANONYMOUS = Caller("anybody", "", None, None)


class ApiKeyCache:
    """The keys, read from the store every now and then, and remembered while it is away.

    Parameters
    ----------
    keeper : StoreConnection
        The store.
    folder : Path
        Where they are remembered, without secrets.
    when : WhenKeys
        When a key is asked for.
    """

    def __init__(self, keeper: StoreConnection, folder: Path, *, when: WhenKeys) -> None:
        self._keeper = keeper
        self._file = folder / REMEMBERED
        self._when = when
        self._callers: dict[str, Caller] | None = None
        self._any = False

    @property
    def asked_for(self) -> bool:
        """Whether a key is asked for."""
        if self._when == "if-any":
            return self._any or self._callers is None
        return self._when == "always"

    def read(self) -> None:
        """Read the keys again; those that were read before hold while the store is away."""
        try:
            keys = ApiKeys(self._keeper.store().engine).keys()
        except (*UNAVAILABLE, BacktalkError):
            if self._callers is None:
                self._recall()
            return
        at = now()
        callers = {digest: _caller(key) for key in keys for digest in key.digests(at)}
        if callers != self._callers or bool(keys) != self._any:
            self._callers, self._any = callers, bool(keys)
            self._remember()

    def caller(self, headers: Mapping[str, str], act: Permission) -> Caller:
        """Return who asks.

        Parameters
        ----------
        headers : Mapping[str, str]
            Of the request.
        act : Permission
            What is asked for.

        Raises
        ------
        Refused
            If there is no key that holds, or its role may not do that.
        """
        secret = _secret(headers)
        result = self.holder(digest_of(secret)) if secret else None
        if result is None and (self.asked_for or act not in _WITHOUT_KEY):
            raise self._no_entry(secret)
        if result is None:
            return ANONYMOUS
        if result.role is None or act not in ROLE_PERMISSIONS[result.role]:
            able = ", ".join(role for role, acts in ROLE_PERMISSIONS.items() if act in acts)
            raise APIError(
                403,
                f"The key {result.name!r} is one of an {result.role}, which may not do this. "
                f"Use the key of one of: {able}",
                code="role_not_allowed",
            )
        return result

    def holder(self, digest: str) -> Caller | None:
        """Return whose key it is that has this digest, ``None`` if no key that holds has it."""
        return (self._callers or {}).get(digest)

    def _no_entry(self, secret: str) -> APIError:
        if self._callers is None:
            return APIError(
                503,
                "The keys cannot be read: the store is away. Try again later",
                headers={"retry-after": "2"},
            )
        message = (
            "This key does not hold: it is wrong, or it was revoked"
            if secret
            else "This gateway asks for a key, as in: Authorization: Bearer bt-..."
        )
        return APIError(
            401,
            f"{message}. `backtalk keys add NAME` makes one",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )

    def _remember(self) -> None:
        rows = {
            digest: [c.name, c.key, c.role, c.project]
            for digest, c in (self._callers or {}).items()
        }
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._file.with_suffix(f".{os.getpid()}")
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(file, "w", encoding="utf-8") as out:
                json.dump({"any": self._any, "callers": rows}, out)
            new.replace(self._file)
        except OSError as error:
            log.warning("The keys could not be remembered: %s", error)

    def _recall(self) -> None:
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            self._callers = {digest: Caller(*row) for digest, row in kept["callers"].items()}
            self._any = bool(kept["any"])
        except (OSError, ValueError, KeyError, TypeError):
            return


def _caller(key: ApiKey) -> Caller:
    return Caller(key.name, key.id, key.role, key.project)


def _secret(headers: Mapping[str, str]) -> str:
    kind, _, secret = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return secret.strip()
    return headers.get("x-api-key") or headers.get("api-key") or ""


class Buckets:
    """A token bucket a key: so many requests a second on average, so many at once.

    Parameters
    ----------
    rate : float or None
        Requests a second; ``None`` for no limit.
    burst : int
        Requests at once, of a key that has rested.
    clock : Callable[[], float], default time.monotonic
        Tells the time in seconds.

    Examples
    --------
    >>> buckets = Buckets(rate=1, burst=2, clock=iter([0, 0, 0, 1]).__next__)
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
        """Take a token; return 0, or the seconds until there is one again."""
        if self._rate is None:
            return 0.0
        at = self._clock()
        level, since = self._levels.get(key, (float(self._burst), at))
        level = min(self._burst, level + (at - since) * self._rate)
        wait = 0.0 if level >= 1 else (1 - level) / self._rate
        self._levels[key] = (level - 1 if wait == 0 else level, at)
        self._levels.move_to_end(key)
        if len(self._levels) > _MOST_BUCKETS:
            self._levels.popitem(last=False)
        return wait
