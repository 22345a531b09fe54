"""Phrases of the sums world: names, things, verbs, answer layout and rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from backtalk.worlds.world import Rule

Lead = Literal["Answer:", "So:", "Result:"]
LEADS: tuple[Lead, ...] = ("Answer:", "So:", "Result:")
OPENING = "Let us see."
CLOSING = "Done."

PRONOUNS: Mapping[str, str] = {
    **dict.fromkeys(("Ada", "Dora", "Hana", "Ines", "Mara", "Olga"), "She"),
    **dict.fromkeys(("Bo", "Emil", "Goran", "Kofi", "Nils", "Sven"), "He"),
}
THINGS = ("apples", "coins", "stamps")
"""Things counted in word problems."""

VERBS: Mapping[str, tuple[str, ...]] = {
    "+": ("buys {}", "finds {}", "gets {}", "wins {}"),
    "-": ("loses {}", "sells {}", "lends {}", "drops {}"),
    "*": ("multiplies them by {}",),
    "/": ("halves them",),
}
"""Verb phrases for each operator in word problems."""

NEEDLESS: Mapping[str, str] = {
    "the cat": "My cat can count too.",
    "the weather": "It is sunny today.",
    "the fun": "This one is fun.",
    "the teacher": "My teacher would be proud.",
}
"""Irrelevant lines, by subject."""
DONT_KNOW = "I do not know."


@dataclass(frozen=True)
class AnswerLayout:
    """Layout of an answer."""

    lead: Lead = "Answer:"
    """First word of the last line."""
    working: bool = True
    """If true, the steps are shown."""
    equals: bool = False
    """If true, steps have the word "equals" in place of the sign."""
    numbered: bool = False
    unit: bool = False
    """If true, the last line names the thing counted, if there is one."""
    opening: bool = False
    closing: bool = False

    @property
    def sign(self) -> str:
        """Sign before the result of a step."""
        return "equals" if self.equals else "="

    def number(self, index: int) -> str:
        """Return the prefix of the step of that index, from 0."""
        return f"{index + 1}. " if self.numbered else ""

    def step(self, index: int, step: str) -> str:
        """Return the line of the step of that index, from 0."""
        return self.number(index) + step.replace("=", self.sign)

    def unit_for(self, thing: str) -> str | None:
        """Return the unit in the last line, or ``None``."""
        return (thing or None) if self.unit else None

    def last(self, answer: int, thing: str) -> str:
        """Return the last line of an answer about a thing."""
        unit = self.unit_for(thing)
        return f"{self.lead} {answer} {unit}" if unit else f"{self.lead} {answer}"


_ACTIONS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "only-answer": ("Give only the answer", {"working": False}),
    "so": ("Begin the last line with So", {"lead": "So:"}),
    "result": ("Begin the last line with Result", {"lead": "Result:"}),
    "equals": ("Write equals for the sign", {"equals": True}),
    "number": ("Number the steps", {"numbered": True}),
    "unit": ("Name the unit", {"unit": True}),
    "done": ("End with Done", {"closing": True}),
    "see": ("Begin with Let us see", {"opening": True}),
}

BARE = "bare"
"""Scope of requests with a bare expression."""
_SCOPES = {
    **{thing: f"in sums about {thing}" for thing in THINGS},
    BARE: "in bare sums",
    "all": "in all sums",
}

RULES = tuple(
    Rule(what, scope, f"{words} {where}.")
    for what, (words, _) in _ACTIONS.items()
    for scope, where in _SCOPES.items()
    if (what, scope) != ("unit", BARE)
)


def layout_changes(rule: Rule) -> Mapping[str, object]:
    """Return the layout fields that a rule sets."""
    return _ACTIONS[rule.action][1]
