"""Requests for the pages that nobody should send, drawn from a seed."""

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
from benchmarks.serving.shots import HEADERS, KEYLESS, Shot, word

_TALKS = 6
_KEYS = 30
_TEXT = "We open at nine.\nWe close at six. On Sundays at ten."

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Badge:
    """What a browser that is signed in sends."""

    key: str
    cookie: str
    token: str


def furnish(store: Store) -> Mapping[str, Sequence[str]]:
    """Put something of all that pages show into a store; return its ids by kind."""
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
        for _ in range(_TALKS)
    ]
    store.add(*interactions)
    tasks = [
        Task(
            name=f"A task: {way}",
            kind=way,
            people=1_000,
            aspects=("tone",) if way == "rate" else (),
            labels=("wrong",) if way == "spans" else (),
        )
        for way in TASK_KINDS
    ]
    for task in tasks:
        add_task(store, task, actor="ada")
    access = store.api_keys
    keys = [access.add(f"{n}", "reviewer", project=None, actor="ada")[0] for n in range(_KEYS)]
    return {
        "policy": [policy.id for policy in policies],
        "talk": [interaction.id for interaction in interactions],
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
    ("/interactions/{talk}", ("before",)),
    ("/policies", ()),
    ("/policies/{policy}", ()),
    ("/experiments", ()),
    ("/experiments/{experiment}", ()),
    ("/experiments/{experiment}/live", ("status", "seen", "said")),
    ("/reports", ()),
    ("/reports/{policy}", ()),
    ("/people", ()),
    ("/people/{talk}", ()),
    ("/settings", ()),
    ("/static/{policy}/{policy}", ()),
)  # fmt: skip
"""Pages, with the parameters that they know."""

_ANSWERS: Fields = (
    ("verdict", "a"), ("place-0", "1"), ("place-1", "2"), ("aspect-0", "4"), ("thumb", "good"),
    ("span", "0:2:0"), ("step-0", "right"), ("step-1", "wrong"), ("text", "Until six."),
    ("fine", "no"), ("as", "rule"), ("where", "on hours"),
)  # fmt: skip
_TASK: Fields = (
    ("name", "A new task"), ("kind", "rate"), ("people", "2"), ("policy", ""), ("unjudged", "yes"),
    ("most", "5"), ("aspects", "tone, length"), ("labels", "wrong"), ("guideline", "Be fair."),
)  # fmt: skip
_EXPERIMENT: Fields = (
    ("name", "better"), ("candidate", "{policy}"), ("allocation", "fixed"), ("unit", "user"),
    ("outcome", "label"), ("at_least", "20"), ("margin", "0.05"), ("promote", "yes"),
)  # fmt: skip

_POSTS: tuple[tuple[str, Fields], ...] = (
    ("/login", (("key", "{secret}"), ("name", "ada"))),
    ("/logout", ()),
    *[("/inbox/{task}/answer", (("interaction", "{talk}"), *_ANSWERS))] * 4,
    ("/inbox/{task}/skip", (("interaction", "{talk}"),)),
    ("/inbox/{task}/undo", ()),
    ("/inbox/{task}/changes", (("interaction", "{talk}"), ("text", "We open at ten."))),
    ("/inbox/new/task", _TASK),
    ("/inbox/{task}/close", ()),
    *[("/inbox/{task}/open", ())] * 3,
    ("/interactions/{talk}/delete", (("feedback", ""),)),
    ("/interactions/{talk}/restore", (("feedback", ""),)),
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
"""Forms, with what a person would fill in."""

_PIECES = (
    "%00", "%ed%a0%80", "%ff%fe", "%", "%zz", "%2e%2e%2f%2e%2e%2f", "%2f%2fevil.example",
    "%0d%0aset-cookie:%20a=b", "%F0%9F%98%80", "%E2%98%83", "+", "&&==&", "a%3Bb", "%5C%5C",
)  # fmt: skip
"""What is in an address or a form as it is, without being escaped first."""

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


class PageShots:
    """Draws requests for the pages.

    Parameters
    ----------
    badge
        Of an admin who is signed in.
    ids
        Of what there is, by kind; as ``furnish`` returns them.
    seed
        The same seed draws the same requests.
    """

    def __init__(self, badge: Badge, ids: Mapping[str, Sequence[str]], seed: int) -> None:
        self._badge = badge
        self._ids = ids
        self._probability = random.Random(seed)

    def draw(self, count: int, *, keyed: float = 0.8) -> Iterator[Shot]:
        """Yield requests, a share of them with a session and its token."""
        for _ in range(count):
            yield self._shot(self._probability.random() < keyed)

    def _shot(self, keyed: bool) -> Shot:
        rng = self._probability
        if rng.random() < 0.4:
            path, names = rng.choice(_GETS)
            data = self._request("GET", path, self._given(names), (), keyed)
            return Shot("page", data, keyed, page=True)
        path, fields = rng.choice(_POSTS)
        query = self._given(("next",)) if rng.random() < 0.2 else ""
        data = self._request("POST", path, query, fields, keyed)
        return Shot("form", data, keyed, page=True)

    def _given(self, names: Sequence[str]) -> str:
        """Return a query, of parameters that are known and one that is not."""
        rng = self._probability
        some = [name for name in (*names, "project", "path", "self") if rng.random() < 0.3]
        pairs = [f"{name}={self._escaped()}" for name in some]
        return "?" + "&".join(pairs) if pairs else ""

    def _escaped(self) -> str:
        if self._probability.random() < 0.2:
            return self._probability.choice(_PIECES)
        return quote_plus(self._text(), errors="surrogatepass")[:60_000]

    def _text(self) -> str:
        rng = self._probability
        if rng.random() < 0.2:
            return rng.choice(self._ids[rng.choice(list(self._ids))])
        return rng.choice(_ODD) if rng.random() < 0.6 else word(rng)

    def _path(self, path: str) -> str:
        """Fill ids into a path, mostly those of what there is."""
        for kind, known in self._ids.items():
            if self._probability.random() < 0.9:
                result = quote(self._probability.choice(known), safe="")
            else:
                result = self._escaped().replace("+", "%20")[:20_000]
            path = path.replace(f"{{{kind}}}", result)
        return path

    def _filled(self, value: str) -> str:
        for kind, known in self._ids.items():
            value = value.replace(f"{{{kind}}}", self._probability.choice(known))
        return value.replace("{secret}", self._badge.key)

    def _form(self, fields: Fields, keyed: bool) -> str:
        rng = self._probability
        pairs = []
        for name, value in fields:
            wrong = rng.random()
            if wrong < 0.25:
                pairs.append(f"{name}={self._escaped()}")
            elif wrong < 0.9:
                filled = self._filled(value)
                pairs.append(urlencode({name: filled if keyed else filled or KEYLESS}))
        what = rng.randrange(20)
        if what == 0:
            pairs *= 3
        elif what == 1:
            pairs += [f"{name}=a" for name in map(str, range(3_000))]
        elif what == 2:
            pairs.append(self._escaped() + "=" + self._escaped())
        return "&".join(pairs)

    def _request(self, method: str, path: str, query: str, fields: Fields, keyed: bool) -> bytes:
        rng = self._probability
        path = self._path(path)
        body = self._form(fields, keyed).encode("utf-8", "surrogatepass")
        if method == "POST" and rng.random() < 0.05:
            body = rng.randbytes(200)
        lines = [f"{method} {path}{query} HTTP/1.1", "connection: close"]
        lines.append(f"host: {rng.choice(_HOSTS) if rng.random() < 0.05 else '127.0.0.1'}")
        lines += self._credentials(method, keyed)
        if rng.random() < 0.2:
            lines.append("hx-request: true")
        if rng.random() < 0.1:
            lines.append(f"{rng.choice(HEADERS)}: {word(rng)[:5_000]}")
        if method == "POST":
            lines.append("content-type: application/x-www-form-urlencoded")
        lines.append(f"content-length: {len(body)}")
        return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body

    def _credentials(self, method: str, keyed: bool) -> list[str]:
        """Return the session's cookie and token, or one of them where it takes both, or neither."""
        cookie, token = f"cookie: {self._badge.cookie}", f"x-backtalk-token: {self._badge.token}"
        if keyed:
            return [cookie, token]
        name = self._badge.cookie.partition("=")[0]
        forged = f"cookie: {name}={self._probability.choice(_FORGED)}"
        wrong = f"x-backtalk-token: {self._badge.token[:-1]}"
        half = [[cookie], [cookie, wrong]] if method == "POST" else []
        return self._probability.choice([[], [token], [forged, token], [forged], *half])
