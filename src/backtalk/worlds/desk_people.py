"""The simulated people of the support desk: every kind of feedback, from the truth, with noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtalk.feedback import (
    Annotator,
    AnyFeedback,
    Choice,
    Critique,
    Edit,
    FollowUp,
    Interaction,
    Label,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Shown,
    Span,
    Spans,
    content_id,
)
from backtalk.worlds import desk
from backtalk.worlds.desk import Ticket


@dataclass(frozen=True)
class Person:
    """Somebody who judges replies.

    A person is deterministic: the same person says the same about the same interaction.
    """

    name: str
    noise: float = 0.1
    """The standard deviation of what is added to the true utility of each reply, in [0, 1]."""
    length_bias: float = 0.0
    """How much utility a reply gains for each hundred characters."""
    position_bias: float = 0.0
    """How much utility the reply that is shown first gains."""
    acceptable: float = 0.7
    """The least felt utility of a reply that will do."""

    @property
    def annotator(self) -> Annotator:
        """The person as the source of feedback."""
        return Annotator.simulated(self.name)

    def felt(self, talk: Interaction) -> list[float]:
        """Return how good each response seems to the person."""
        ticket = Ticket.read(talk.prompt)
        chance = self._chance(talk)
        return [
            desk.utility(ticket, response.text)
            + chance.normal(0, self.noise)
            + self.length_bias * len(response.text) / 100
            + self.position_bias * (place == 0)
            for place, response in enumerate(talk.responses)
        ]

    def _chance(self, talk: Interaction) -> np.random.Generator:
        digest = desk.seed_of(self.name, talk.prompt[-1].text, *(r.text for r in talk.responses))
        return np.random.default_rng(digest)

    def give(self, kind: str, talk: Interaction) -> list[AnyFeedback]:
        """Return the person's feedback of a kind on an interaction; none where there is no cause.

        Raises
        ------
        KeyError
            For a kind that these people do not give; ``KINDS`` lists those that they do.
        """
        return [
            item.model_copy(update={"id": content_id(self.name, kind, talk.id, str(i))})
            for i, item in enumerate(_GIVE[kind](self, talk))
        ]


def _label(person: Person, talk: Interaction) -> list[AnyFeedback]:
    return [
        Label(**_about(person, talk), response=response.id, good=felt >= person.acceptable)
        for response, felt in zip(talk.responses, person.felt(talk), strict=True)
    ]


def _rating(person: Person, talk: Interaction) -> list[AnyFeedback]:
    return [
        Rating(
            **_about(person, talk),
            response=response.id,
            value=int(np.clip(round(1 + 4 * felt), 1, 5)),
        )
        for response, felt in zip(talk.responses, person.felt(talk), strict=True)
    ]


_NO_DIFFERENCE = 0.03


def _preference(person: Person, talk: Interaction) -> list[AnyFeedback]:
    a, b = talk.responses[:2]
    one, other = person.felt(talk)[:2]
    said = _about(person, talk) | {"a": a.id, "b": b.id}
    if max(one, other) < person.acceptable - 0.3:
        return [Preference(**said, verdict="both_bad")]
    if abs(one - other) < _NO_DIFFERENCE:
        return [Preference(**said, verdict="tie")]
    strength = float(np.clip(abs(one - other), 0.05, 1))
    return [Preference(**said, verdict="a" if one > other else "b", strength=strength)]


def _ranking(person: Person, talk: Interaction) -> list[AnyFeedback]:
    felt = person.felt(talk)
    tiers: list[list[int]] = []
    for i in sorted(range(len(felt)), key=lambda i: -felt[i]):
        if tiers and felt[tiers[-1][0]] - felt[i] < _NO_DIFFERENCE:
            tiers[-1].append(i)
        else:
            tiers.append([i])
    ids = [response.id for response in talk.responses]
    return [
        Ranking(**_about(person, talk), tiers=tuple(tuple(ids[i] for i in tier) for tier in tiers))
    ]


def _edit(person: Person, talk: Interaction) -> list[AnyFeedback]:
    """Correct what is wrong in the first reply: facts, a missing answer, a plea for a password."""
    ticket = Ticket.read(talk.prompt)
    response = talk.responses[0]
    text = response.text
    for start, end, fact in reversed(desk.wrong_facts(ticket, text)):
        text = text[:start] + ticket.facts[fact] + text[end:]
    text = text.replace(f"{desk.PASSWORD} ", "").replace(desk.PASSWORD, "")
    if desk.aspects(ticket, text)["right"] == 0:
        text = desk.ideal_reply(ticket)
    if text == response.text:
        return []
    return [Edit(**_about(person, talk), response=response.id, text=text)]


_SAID_ABOUT = {
    "right": "The facts are wrong or missing.",
    "complete": "It does not say what to do next.",
    "fitting": "The tone does not fit the customer.",
    "brief": "It says things that nobody asked about.",
    "safe": "Never ask a customer for a password.",
}


def _critique(person: Person, talk: Interaction) -> list[AnyFeedback]:
    """Name the worst aspect of the first reply."""
    ticket = Ticket.read(talk.prompt)
    found = desk.aspects(ticket, talk.responses[0].text)
    lost = {name: desk.WEIGHTS[name] * (1 - value) for name, value in found.items()}
    worst = max(lost, key=lost.__getitem__)
    if lost[worst] == 0:
        return []
    return [
        Critique(
            **_about(person, talk),
            response=talk.responses[0].id,
            text=_SAID_ABOUT[worst],
            aspect=worst,
        )
    ]


def _spans(person: Person, talk: Interaction) -> list[AnyFeedback]:
    """Mark wrong facts and needless or unsafe sentences in the first reply."""
    ticket = Ticket.read(talk.prompt)
    text = talk.responses[0].text
    marks = [
        Span(start=start, end=end, label=f"wrong-{fact}")
        for start, end, fact in desk.wrong_facts(ticket, text)
    ]
    for sentence, label in (
        (desk.UPSELL, "irrelevant"),
        (desk.FILLER, "irrelevant"),
        (desk.PASSWORD, "unsafe"),
    ):
        if (start := text.find(sentence)) >= 0:
            marks.append(Span(start=start, end=start + len(sentence), label=label))
    return [Spans(**_about(person, talk), response=talk.responses[0].id, spans=tuple(marks))]


def _choice(person: Person, talk: Interaction) -> list[AnyFeedback]:
    """Take the reply that seems best, or none where none will do."""
    felt = person.felt(talk)
    best = int(np.argmax(felt))
    shown = tuple(Shown(response=response.id) for response in talk.responses)
    taken = talk.responses[best].id if felt[best] >= person.acceptable else None
    return [Choice(**_implicit(person, talk), chosen=taken, shown=shown)]


def _follow_up(person: Person, talk: Interaction) -> list[AnyFeedback]:
    felt = person.felt(talk)[0]
    said = _implicit(person, talk) | {"response": talk.responses[0].id}
    if felt >= person.acceptable:
        return [FollowUp(**said, text="Thank you!", act="thanks")]
    ticket = Ticket.read(talk.prompt)
    again = ticket.text.split("\n", maxsplit=1)[0]
    return [FollowUp(**said, text=f"That does not help. {again}", act="complaint")]


def _outcome(_: Person, talk: Interaction) -> list[AnyFeedback]:
    """Compare the facts of each reply with the shop's records, as a program would: no noise."""
    ticket = Ticket.read(talk.prompt)
    found = []
    for response in talk.responses:
        right = desk.aspects(ticket, response.text)["right"] == 1
        wrong = [fact for _, _, fact in desk.wrong_facts(ticket, response.text)]
        trace = f"not as in the records: {', '.join(wrong)}" if wrong else "no answer found"
        found.append(
            Outcome(
                interaction=talk.id,
                annotator=Annotator.verifier("records"),
                time=None,
                response=response.id,
                passed=right,
                text="" if right else trace,
            )
        )
    return list(found)


def _about(person: Person, talk: Interaction) -> dict[str, Any]:
    return {"interaction": talk.id, "annotator": person.annotator, "time": talk.time}


def _implicit(person: Person, talk: Interaction) -> dict[str, Any]:
    return _about(person, talk) | {"annotator": Annotator.implicit(person.name)}


_GIVE: dict[str, Callable[[Person, Interaction], list[AnyFeedback]]] = {
    "label": _label,
    "rating": _rating,
    "preference": _preference,
    "ranking": _ranking,
    "edit": _edit,
    "critique": _critique,
    "spans": _spans,
    "choice": _choice,
    "follow_up": _follow_up,
    "outcome": _outcome,
}
KINDS: Sequence[str] = tuple(_GIVE)
"""The kinds of feedback that these people give."""
