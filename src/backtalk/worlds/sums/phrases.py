"""What sums are told in: names, things, verbs, the layout of an answer, standing instructions."""

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
"""What word problems count."""

VERBS: Mapping[str, tuple[str, ...]] = {
    "+": ("buys {}", "finds {}", "gets {}", "wins {}"),
    "-": ("loses {}", "sells {}", "lends {}", "drops {}"),
    "*": ("multiplies them by {}",),
    "/": ("halves them",),
}
"""How word problems tell each operation."""

NEEDLESS: Mapping[str, str] = {
    "the cat": "My cat can count too.",
    "the weather": "It is sunny today.",
    "the fun": "This one is fun.",
    "the teacher": "My teacher would be proud.",
}
"""Lines that belong in no answer, by what they are about."""
DONT_KNOW = "I do not know."


@dataclass(frozen=True)
class Layout:
    """How an answer is to be set out."""

    lead: Lead = "Answer:"
    """What the last line begins with."""
    working: bool = True
    """Whether the steps are shown."""
    equals: bool = False
    """Whether steps say "equals" for the sign."""
    numbered: bool = False
    unit: bool = False
    """Whether the last line names what was counted, where something was."""
    opening: bool = False
    closing: bool = False

    @property
    def sign(self) -> str:
        """What stands before a step's result."""
        return "equals" if self.equals else "="

    def number(self, place: int) -> str:
        """Return what stands before the step of that place, counted from 0."""
        return f"{place + 1}. " if self.numbered else ""

    def step(self, place: int, step: str) -> str:
        """Return the line of a step."""
        return self.number(place) + step.replace("=", self.sign)

    def unit_of(self, thing: str) -> str | None:
        """Return what the last line is to name, if anything."""
        return (thing or None) if self.unit else None

    def last(self, answer: int, thing: str) -> str:
        """Return the last line."""
        unit = self.unit_of(thing)
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
"""The scope of requests that are an expression and count nothing."""
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


def changes(rule: Rule) -> Mapping[str, object]:
    """Return the fields of a layout that a rule sets."""
    return _ACTIONS[rule.what][1]
