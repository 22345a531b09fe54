"""Project with records of every kind, and a client of the pages without a browser."""

import re
from datetime import UTC, datetime, timedelta

import httpx2

from backtalk.evaluate.result import Evaluation, Measure
from backtalk.evaluate.storage import save_evaluation
from backtalk.feedback import (
    Annotator,
    Choice,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
    Interaction,
    Label,
    Message,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Response,
    Scope,
    Shown,
    Span,
    Spans,
    Step,
    Steps,
)
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Lineage, Policy, save_policy
from backtalk.stats import Estimate

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA, BO = Annotator.human("ada"), Annotator.human("bo", group="buyers")

FIRST = "We open at nine.\nWe close at ten on Sundays, and at six on all other days of the week."
SECOND = "From nine to six. On Sundays we stay open until ten."
THIRD = "I am only a language model."


def plain_policy(system=None):
    return Policy(model=EndpointSpec(model="small"), system=system, name="plain")


def better_policy(parent, system="Be brief.\nSay until when.", name="brief"):
    lineage = Lineage(method="principles", parent=parent.id, seed=7, time=NOON)
    return parent.derive(lineage=lineage, system=system).named(name)


def estimate(value, width):
    return Estimate(value, value - width, value + width, 0.95, 200, None, "Wilson")


def evaluation(candidate, baseline, rate=0.62, **fields):
    return Evaluation(
        candidate=candidate.id,
        baseline=baseline.id,
        judge="a reward",
        split="held-out",
        prompts=200,
        prompts_digest="d",
        seed=1,
        win_rate=estimate(rate, 0.06),
        value=Measure(name="value", difference=estimate(0.4, 0.2)),
        longer_wins=estimate(0.5, 0.05),
        length_ratio=1.1,
        guards=(Measure(name="politeness", difference=estimate(0.01, 0.05)),),
        **fields,
    )


def interaction(number=1, **fields):
    defaults = {
        "id": f"interaction-{number}",
        "prompt": (
            Message.system("You answer for a shop."),
            Message.user("Until when are you open on Sunday?"),
        ),
        "responses": (
            Response(id="0", text=FIRST, model="small", metadata={"score": 0.71}),
            Response(id="1", text=SECOND, metadata={"score": 0.93}, propensity=0.5),
            Response(id="2", text=THIRD, metadata={"hidden": True}),
        ),
        "shown": ("1", "0"),
        "user": "cy",
        "session": "visit-7",
        "propensity": 0.25,
        "time": NOON + timedelta(minutes=number),
        "metadata": {"page": "hours"},
    }
    return Interaction(**{**defaults, **fields})


def feedback_of_every_kind(interaction):
    """Return feedback of every kind on an interaction with three responses."""
    common = {"interaction": interaction.id, "annotator": ADA, "time": NOON + timedelta(hours=1)}
    response = {**common, "response": "0"}
    return [
        Rating(**response, value=4, aspect="helpfulness", confidence=0.8),
        Label(**{**response, "annotator": BO}, good=False),
        Preference(**common, a="0", b="1", verdict="b", strength=0.5),
        Preference(**{**common, "annotator": BO}, a="0", b="2", verdict="both_bad"),
        Ranking(**common, tiers=(("1",), ("0", "2"))),
        Critique(**response, text="The second line is hard to read.", start=17, end=44),
        Edit(**response, text="We open at nine.\nWe close at ten on Sundays, else at six."),
        Demonstration(**common, text="Until ten o'clock."),
        Spans(
            **response,
            spans=(
                Span(start=0, end=15, label="right", good=True),
                Span(start=20, end=32, label="vague", severity=0.4, comment="in the evening?"),
            ),
        ),
        Steps(
            **response,
            steps=(
                Step(start=0, end=16, verdict="right"),
                Step(start=17, end=44, verdict="wrong", comment="not on Sundays"),
                Step(start=45, end=60, verdict="neutral"),
            ),
        ),
        Outcome(
            **{**response, "annotator": Annotator.verifier("hours", revision="3")},
            passed=False,
            score=0.5,
            text="AssertionError: 22:00 expected",
        ),
        FollowUp(
            **{**response, "annotator": Annotator.implicit("cy")}, text="Thanks!", act="thanks"
        ),
        Choice(
            **{**common, "annotator": Annotator.implicit("cy")},
            chosen="1",
            shown=(Shown(response="1", propensity=0.5), Shown(response="0")),
        ),
        Instruction(**common, text="Name the hour.", scope=Scope(where="on hours", users=("cy",))),
    ]


def fill(store):
    """Put interactions, feedback, policies and evaluations into a store."""
    plain = plain_policy("You answer for a shop.")
    brief = better_policy(plain)
    worse = better_policy(plain, system="Ramble.", name="rambling")
    for policy in (plain, brief, worse, better_policy(brief, system="Be brief.", name="briefer")):
        save_policy(store, policy)
    save_evaluation(store, evaluation(brief, plain))
    save_evaluation(store, evaluation(worse, plain, rate=0.45))
    first = interaction(policy=plain.id)
    store.add(first, *feedback_of_every_kind(first))
    later = interaction(2, prompt=(Message.user("And on Monday?"),), responses=(), shown=None)
    store.add(later)
    return plain, brief, worse


class PageClient:
    """HTTP client of a user who signed in with a name, or with a key that begins with ``bt-``."""

    def __init__(self, gateway, name="ada"):
        self.http = httpx2.Client(base_url=gateway.url, timeout=60, verify=False)
        self.token = ""
        field = "key" if name.startswith("bt-") else "name"
        self.get("/login")
        assert self.post("/login", **{field: name}).status_code == 303

    def get(self, path, **query):
        response = self.http.get(path, params=query or None)
        match = re.search(r'name="token" value="([^"]+)"', response.text)
        self.token = match[1] if match else self.token
        return response

    def post(self, path, **fields):
        return self.http.post(path, data={"token": self.token, **fields})
