"""Random malformed and hostile requests for the pages."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, urlencode

from backtalk.annotation.tasks import TASK_KINDS, Task, add_task
from backtalk.feedback import Interaction, Message, Response
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.store import Store
from benchmarks.serving.fuzzer import HEADERS, NO_KEY_MARKER, FuzzRequest, random_text

_INTERACTIONS = 6
_KEYS = 30
_TEXT = "We open at nine.\nWe close at six. On Sundays at ten."

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Credentials:
    """API key, session cookie and CSRF token of a user who is signed in."""

    key: str
    cookie: str
    token: str


def fill_store(store: Store) -> Mapping[str, Sequence[str]]:
    """Fill a store with records for every page, and return their ids by kind."""
    policies = [
        Policy(model=EndpointSpec(model="small"), system=system, name=name)
        for name, system in (("plain", None), ("brief", "Be brief."), ("kind", "Be kind."))
    ]
    for policy in policies:
        save_policy(store, policy)
    promote(store, policies[0], None, actor="ada")
    shown = (Response(id="0", text=_TEXT), Response(id="1", text="At nine."))
    interactions = [
        Interaction(
            prompt=(Message.user("When is it open?"),), responses=shown, user="bo", session="visit"
        )
        for _ in range(_INTERACTIONS)
    ]
    store.add(*interactions)
    tasks = [
        Task(
            name=f"A task: {kind}",
            kind=kind,
            people=1_000,
            aspects=("tone",) if kind == "rate" else (),
            labels=("wrong",) if kind == "spans" else (),
        )
        for kind in TASK_KINDS
    ]
    for task in tasks:
        add_task(store, task, actor="ada")
    keys = [
        store.api_keys.add(f"{n}", "reviewer", project=None, actor="ada")[0] for n in range(_KEYS)
    ]
    return {
        "policy": [policy.id for policy in policies],
        "interaction": [interaction.id for interaction in interactions],
        "task": [task.id for task in tasks],
        "experiment": ["better", "other"],
        "key": [key.id for key in keys],
    }


_GETS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/", ()),
    ("/login", ("next",)),
    ("/inbox", ()),
    ("/inbox/new/task", ()),
    ("/inbox/{task}", ()),
    (
        "/interactions",
        (
            "text", "user", "policy", "session", "kind", "judged", "since", "until", "deleted",
            "before",
        ),
    ),
    ("/interactions/{interaction}", ("before",)),
    ("/policies", ()),
    ("/policies/{policy}", ()),
    ("/experiments", ()),
    ("/experiments/{experiment}", ()),
    ("/experiments/{experiment}/live", ("status", "seen", "announced")),
    ("/reports", ()),
    ("/reports/{policy}", ()),
    ("/people", ()),
    ("/people/{interaction}", ()),
    ("/settings", ()),
    ("/static/{policy}/{policy}", ()),
)  # fmt: skip
"""Pages, with their query parameters."""

_ANSWERS: Fields = (
    ("verdict", "a"), ("rank-0", "1"), ("rank-1", "2"), ("aspect-0", "4"), ("thumb", "good"),
    ("span", "0:2:0"), ("step-0", "right"), ("step-1", "wrong"), ("text", "Until six."),
    ("fine", "no"), ("as", "rule"), ("where", "on hours"),
)  # fmt: skip
_TASK: Fields = (
    ("name", "A new task"), ("kind", "rate"), ("people", "2"), ("policy", ""), ("unjudged", "yes"),
    ("max_items", "5"), ("aspects", "tone, length"), ("labels", "wrong"), ("guideline", "Be fair."),
)  # fmt: skip
_EXPERIMENT: Fields = (
    ("name", "better"), ("candidate", "{policy}"), ("allocation", "fixed"), ("unit", "user"),
    ("outcome", "label"), ("min_judgements", "20"), ("margin", "0.05"), ("promote", "yes"),
)  # fmt: skip

_POSTS: tuple[tuple[str, Fields], ...] = (
    ("/login", (("key", "{secret}"), ("name", "ada"))),
    ("/logout", ()),
    *[("/inbox/{task}/answer", (("interaction", "{interaction}"), *_ANSWERS))] * 4,
    ("/inbox/{task}/skip", (("interaction", "{interaction}"),)),
    ("/inbox/{task}/undo", ()),
    ("/inbox/{task}/changes", (("interaction", "{interaction}"), ("text", "We open at ten."))),
    ("/inbox/new/task", _TASK),
    ("/inbox/{task}/close", ()),
    *[("/inbox/{task}/open", ())] * 3,
    ("/interactions/{interaction}/delete", (("feedback", ""),)),
    ("/interactions/{interaction}/restore", (("feedback", ""),)),
    ("/policies/{policy}/promote", (("evaluation", ""),)),
    ("/policies/rollback", (("entries", "1"),)),
    ("/experiments", _EXPERIMENT),
    ("/experiments/{experiment}/stop", (("arm", ""),)),
    ("/experiments/{experiment}/promote", (("arm", "{policy}"),)),
    ("/settings/keys", (("name", "shop"), ("role", "application"), ("project", ""))),
    ("/settings/keys/{key}/rotate", (("hours", "1"),)),
    ("/settings/keys/{key}/revoke", ()),
    ("/settings/projects", (("name", "mail"),)),
)
"""Forms, with valid values of their fields."""

_PIECES = (
    "%00", "%ed%a0%80", "%ff%fe", "%", "%zz", "%2e%2e%2f%2e%2e%2f", "%2f%2fevil.example",
    "%0d%0aset-cookie:%20a=b", "%F0%9F%98%80", "%E2%98%83", "+", "&&==&", "a%3Bb", "%5C%5C",
)  # fmt: skip
"""Fragments put into URLs and forms without escaping."""

_ODD = (
    "-1", "0", "1e9", "1" * 18, "9" * 19, "9" * 40, "0" * 12 + "9" * 12, "0" * 9 + "9" * 4_500,
    "²", "٣", "1.5", "NaN", "inf", "-inf", "2026-02-30", "0001-01-01", "9999-12-31", "2026-W01",
    "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+14:00", "20260101T000000", "yes", "admin",
    "default", "mail", "//evil.example", "/\\evil.example", "https://evil.example/", "/\t/evil",
    "///evil.example", "javascript:alert(1)", "/☃", "0:999999999:0", "0:2:9", "5:1:0", "::", "a,b",
    "," * 500, "word " * 3_000, "x y " * 375, "\n" * 600, "Be brief.", "%" * 200, "_" * 60_000,
)  # fmt: skip

_FORGED = ("", "a.b", "e30=.0", "." * 1_000, "\x7f", "é", "=;=;" * 50)

_HOSTS = ("", "[", "[::1", "evil.example", "127.0.0.1:99999999", "a@b", "%00", "é", "a/b?c#d")


class PageFuzzer:
    """Generator of random malformed and hostile requests for the pages.

    Parameters
    ----------
    credentials : Credentials
        Credentials of an admin.
    ids : Mapping[str, Sequence[str]]
        Ids of the records by kind, from ``fill_store``.
    seed : int
        Seed of the random numbers.
    """

    def __init__(
        self, credentials: Credentials, ids: Mapping[str, Sequence[str]], seed: int
    ) -> None:
        self._credentials = credentials
        self._ids = ids
        self._rng = random.Random(seed)

    def draw(self, count: int, *, authenticated: float = 0.8) -> Iterator[FuzzRequest]:
        """Yield random requests, a share of them with a session and its token."""
        for _ in range(count):
            yield self._make_request(self._rng.random() < authenticated)

    def _make_request(self, authenticated: bool) -> FuzzRequest:
        rng = self._rng
        if rng.random() < 0.4:
            path, names = rng.choice(_GETS)
            data = self._request("GET", path, self._query(names), (), authenticated)
            return FuzzRequest("page", data, authenticated, page=True)
        path, fields = rng.choice(_POSTS)
        query = self._query(("next",)) if rng.random() < 0.2 else ""
        data = self._request("POST", path, query, fields, authenticated)
        return FuzzRequest("form", data, authenticated, page=True)

    def _query(self, names: Sequence[str]) -> str:
        """Return a query string of known and unknown parameters."""
        rng = self._rng
        chosen = [name for name in (*names, "project", "path", "self") if rng.random() < 0.3]
        pairs = [f"{name}={self._escaped()}" for name in chosen]
        return "?" + "&".join(pairs) if pairs else ""

    def _escaped(self) -> str:
        if self._rng.random() < 0.2:
            return self._rng.choice(_PIECES)
        return quote_plus(self._text(), errors="surrogatepass")[:60_000]

    def _text(self) -> str:
        rng = self._rng
        if rng.random() < 0.2:
            return rng.choice(self._ids[rng.choice(list(self._ids))])
        return rng.choice(_ODD) if rng.random() < 0.6 else random_text(rng)

    def _path(self, path: str) -> str:
        """Fill ids into a path, mostly those of existing records."""
        for kind, known in self._ids.items():
            if self._rng.random() < 0.9:
                value = quote(self._rng.choice(known), safe="")
            else:
                value = self._escaped().replace("+", "%20")[:20_000]
            path = path.replace(f"{{{kind}}}", value)
        return path

    def _fill(self, value: str) -> str:
        for kind, known in self._ids.items():
            value = value.replace(f"{{{kind}}}", self._rng.choice(known))
        return value.replace("{secret}", self._credentials.key)

    def _form(self, fields: Fields, authenticated: bool) -> str:
        rng = self._rng
        pairs = []
        for name, value in fields:
            draw = rng.random()
            if draw < 0.25:
                pairs.append(f"{name}={self._escaped()}")
            elif draw < 0.9:
                filled = self._fill(value)
                pairs.append(
                    urlencode({name: filled if authenticated else filled or NO_KEY_MARKER})
                )
        choice = rng.randrange(20)
        if choice == 0:
            pairs *= 3
        elif choice == 1:
            pairs += [f"{name}=a" for name in map(str, range(3_000))]
        elif choice == 2:
            pairs.append(self._escaped() + "=" + self._escaped())
        return "&".join(pairs)

    def _request(
        self, method: str, path: str, query: str, fields: Fields, authenticated: bool
    ) -> bytes:
        rng = self._rng
        path = self._path(path)
        body = self._form(fields, authenticated).encode("utf-8", "surrogatepass")
        if method == "POST" and rng.random() < 0.05:
            body = rng.randbytes(200)
        lines = [f"{method} {path}{query} HTTP/1.1", "connection: close"]
        lines.append(f"host: {rng.choice(_HOSTS) if rng.random() < 0.05 else '127.0.0.1'}")
        lines += self._auth_headers(method, authenticated)
        if rng.random() < 0.2:
            lines.append("hx-request: true")
        if rng.random() < 0.1:
            lines.append(f"{rng.choice(HEADERS)}: {random_text(rng)[:5_000]}")
        if method == "POST":
            lines.append("content-type: application/x-www-form-urlencoded")
        lines.append(f"content-length: {len(body)}")
        return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body

    def _auth_headers(self, method: str, authenticated: bool) -> list[str]:
        """Return headers with the cookie and the token, or without one of them or both."""
        cookie, token = (
            f"cookie: {self._credentials.cookie}",
            f"x-backtalk-token: {self._credentials.token}",
        )
        if authenticated:
            return [cookie, token]
        name = self._credentials.cookie.partition("=")[0]
        forged = f"cookie: {name}={self._rng.choice(_FORGED)}"
        wrong = f"x-backtalk-token: {self._credentials.token[:-1]}"
        half = [[cookie], [cookie, wrong]] if method == "POST" else []
        return self._rng.choice([[], [token], [forged, token], [forged], *half])
