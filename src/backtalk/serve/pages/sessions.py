"""Sessions of the pages: signed cookies and CSRF tokens.

A session holds the digest of an API key, which is looked up at every request, so that revoking or
rotating a key ends its sessions. The server stores only the signing secret, which all worker
processes share.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

SECRET = "pages.secret"  # noqa: S105 - the name of a file
KEY_SESSION_SECONDS = 7 * 86_400
"""Lifetime in seconds of a session with an API key."""
NAME_SESSION_SECONDS = 365 * 86_400
"""Lifetime in seconds of a session with a name only."""
_SECRET_BYTES = 32


@dataclass(frozen=True)
class Session:
    """Content of the session cookie."""

    id: str
    """Random id, from which the CSRF token is derived."""
    expires: int
    """Expiry in seconds since 1970."""
    digest: str = ""
    """Digest of the API key; empty without one."""
    name: str = ""
    """Name that the user entered, if no key is needed."""


class Sessions:
    """Maker and reader of session cookies.

    Parameters
    ----------
    folder : Path
        Folder of the signing secret, which is created if it does not exist.
    clock : Callable[[], float], default time.time
        Function that returns the time in seconds since 1970.

    Examples
    --------
    >>> sessions = Sessions(Path(getfixture("tmp_path")))
    >>> session = sessions.new_session(name="ada")
    >>> sessions.read(sessions.cookie(session)) == session
    True
    >>> sessions.read(sessions.cookie(session) + "x") is None
    True
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._secret = _read_secret(folder)
        self._clock = clock

    def new_session(self, *, digest: str = "", name: str = "") -> Session:
        """Return a new session: of a key, of a name, or anonymous."""
        seconds = KEY_SESSION_SECONDS if digest else NAME_SESSION_SECONDS
        return Session(secrets.token_urlsafe(16), int(self._clock()) + seconds, digest, name)

    def cookie(self, session: Session) -> str:
        """Return the value of the cookie."""
        body = base64.urlsafe_b64encode(json.dumps(asdict(session)).encode()).decode()
        return f"{body}.{self._sign('session', body)}"

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie, ``None`` if it is not valid or has expired."""
        body, _, signature = cookie.rpartition(".")
        if not _equal(signature, self._sign("session", body)):
            return None
        session = Session(**json.loads(base64.urlsafe_b64decode(body)))
        return session if session.expires > self._clock() else None

    def token(self, session: Session) -> str:
        """Return the CSRF token of the session's forms."""
        return self._sign("form", session.id)

    def check_token(self, token: str, session: Session) -> bool:
        """Return true if a token is the session's."""
        return _equal(token, self.token(session))

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._secret, f"{purpose}.{text}".encode(), sha256).hexdigest()


@cache
def sessions_for(folder: Path) -> Sessions:
    """Return the sessions that are signed with the secret of a folder."""
    return Sessions(folder)


def cookie_name(request: Request) -> str:
    """Return the name of the cookie; over HTTPS it has the ``__Host-`` prefix."""
    return "__Host-backtalk" if request.url.scheme == "https" else "backtalk"


def set_cookie(request: Request, response: Response, value: str, *, seconds: int) -> None:
    """Set the session cookie, or remove it with 0 seconds.

    ``SameSite=Lax`` lets links from other sites work; changes need the CSRF token as well.

    Parameters
    ----------
    request : Request
        Request, whose scheme decides on the name and on ``Secure``.
    response : Response
        Response to set the cookie on.
    value : str
        Value of the cookie.
    seconds : int
        Lifetime in seconds.
    """
    response.set_cookie(
        cookie_name(request),
        value,
        max_age=seconds,
        path="/",
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="lax",
    )


def _equal(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode())


def _read_secret(folder: Path) -> bytes:
    """Return the secret of a folder; of several processes that create it, one wins."""
    file = folder / SECRET
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = folder / f"{SECRET}.{secrets.token_hex(8)}"
        new.touch(mode=0o600)
        new.write_bytes(secrets.token_bytes(_SECRET_BYTES))
        try:
            os.link(new, file)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return file.read_bytes()
