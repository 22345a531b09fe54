"""Who is signed in: a cookie that only the gateway can make, and the token that its forms carry.

A session names the digest of the key that was pasted, and the key is looked up at every request: a
key that is revoked or rotated away ends its sessions. Nothing is kept on the server but the secret
that signs, which all worker processes share.
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
"""How long somebody who pasted a key stays signed in."""
NAME_SESSION_SECONDS = 365 * 86_400
"""How long the person at this machine is remembered by name."""
_SECRET_BYTES = 32


@dataclass(frozen=True)
class Session:
    """What the cookie says."""

    id: str
    """Random; the forms' token is made from it."""
    expires: int
    """Seconds since 1970."""
    digest: str = ""
    """Of the key that was pasted; empty without one."""
    name: str = ""
    """The name that the person gave, where no key is asked for."""


class Sessions:
    """Makes and reads cookies.

    Parameters
    ----------
    folder : Path
        Where the secret is kept; made if it is not there.
    clock : Callable[[], float], default time.time
        Tells the time in seconds since 1970.

    Examples
    --------
    >>> sessions = Sessions(Path(getfixture("tmp_path")))
    >>> session = sessions.begin(name="ada")
    >>> sessions.read(sessions.cookie(session)) == session
    True
    >>> sessions.read(sessions.cookie(session) + "x") is None
    True
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._secret = _read_secret(folder)
        self._clock = clock

    def new_session(self, *, digest: str = "", name: str = "") -> Session:
        """Return a new session, of a key, of a name, or of nobody yet."""
        seconds = KEY_SESSION_SECONDS if digest else NAME_SESSION_SECONDS
        return Session(secrets.token_urlsafe(16), int(self._clock()) + seconds, digest, name)

    def cookie(self, session: Session) -> str:
        """Return the cookie's value."""
        body = base64.urlsafe_b64encode(json.dumps(asdict(session)).encode()).decode()
        return f"{body}.{self._sign('session', body)}"

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie, ``None`` if it is not one of ours or has expired."""
        body, _, signature = cookie.rpartition(".")
        if not _equal(signature, self._sign("session", body)):
            return None
        session = Session(**json.loads(base64.urlsafe_b64decode(body)))
        return session if session.expires > self._clock() else None

    def token(self, session: Session) -> str:
        """Return what every form of this session carries, so that no other page can send one."""
        return self._sign("form", session.id)

    def check_token(self, token: str, session: Session) -> bool:
        """Return whether a form's token is the session's."""
        return _equal(token, self.token(session))

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._secret, f"{purpose}.{text}".encode(), sha256).hexdigest()


@cache
def sessions_for(folder: Path) -> Sessions:
    """Return the sessions whose secret is in a folder."""
    return Sessions(folder)


def cookie_name(request: Request) -> str:
    """Return the cookie's name; a browser takes the stricter one from HTTPS only."""
    return "__Host-backtalk" if request.url.scheme == "https" else "backtalk"


def set_cookie(request: Request, response: Response, value: str, *, seconds: int) -> None:
    """Set the cookie, or remove it with 0 seconds.

    It goes with links from elsewhere (``Lax``), so that a link to a page works; what changes
    something asks for the form's token besides.
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
    """Return the secret of a folder; of several processes that make it, one wins."""
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
