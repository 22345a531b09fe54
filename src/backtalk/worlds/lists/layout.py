"""Layout of lists, and the rules that change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from backtalk.worlds.lists.task import ListsTask, ListTaskKind
from backtalk.worlds.world import Rule

Separator = Literal[", ", "; ", "\n", " and "]
Ending = Literal["", ".", ". Done."]
SEPARATORS: Mapping[Separator, str] = {
    ", ": "commas",
    "; ": "semicolons",
    "\n": "new lines",
    " and ": "the word and",
}
"""Name of each separator."""
ENDINGS: Mapping[Ending, str] = {
    "": "End with the last word.",
    ".": "End with a full stop.",
    ". Done.": "End with Done.",
}
"""Advice for each ending."""
OPENING = "Here you are:"
CLOSING = "Done."
DASH = "- "


@dataclass(frozen=True)
class ListLayout:
    """Layout of a list of words."""

    separator: Separator = ", "
    capitals: bool = False
    dashes: bool = False
    opening: bool = False
    ending: Ending = ""

    @property
    def lead(self) -> str:
        """Text before the first word and its dash."""
        return f"{OPENING} " if self.opening else ""

    @property
    def dash(self) -> str:
        """Text directly before each word."""
        return DASH if self.dashes else ""

    def format_word(self, word: str) -> str:
        """Return a word in the letter case of the layout."""
        return word.upper() if self.capitals else word.lower()

    def join(self, words: Sequence[str]) -> str:
        """Return part of a list, from its first word to its last."""
        return f"{self.separator}{self.dash}".join(self.format_word(word) for word in words)

    def render(self, words: Sequence[str]) -> str:
        """Return the whole list."""
        return f"{self.lead}{self.dash}{self.join(words)}{self.ending}"


_ACTIONS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "semicolons": ("Use semicolons", {"separator": "; "}),
    "lines": ("Write one word a line", {"separator": "\n"}),
    "ands": ("Put and between the words", {"separator": " and "}),
    "capitals": ("Use capitals", {"capitals": True}),
    "dashes": ("Put a dash before each word", {"dashes": True}),
    "here": ("Begin with Here you are", {"opening": True}),
    "stop": ("End with a full stop", {"ending": "."}),
    "done": ("End with Done", {"ending": ". Done."}),
}
_SCOPES: Mapping[str, str] = {
    "sorting": "when you sort by the alphabet",
    "removing": "when you take words out",
    "planning": "when you order chores",
    "all": "in every list",
}
_SCOPE_OF: Mapping[ListTaskKind, str] = {
    "alphabet": "sorting",
    "word": "removing",
    "letter": "removing",
    "chores": "planning",
}

RULES = tuple(
    Rule(what, scope, f"{words} {where}.")
    for what, (words, _) in _ACTIONS.items()
    for scope, where in _SCOPES.items()
)


def applies(rule: Rule, task: ListsTask) -> bool:
    """Return true if a rule is about this type of task."""
    return rule.scope in {"all", _SCOPE_OF.get(task.kind)}


def layout_for(rules: Sequence[Rule]) -> ListLayout:
    """Return the layout under rules; if two conflict, the last one wins."""
    layout = ListLayout()
    for rule in rules:
        layout = replace(layout, **_ACTIONS[rule.action][1])  # type: ignore[arg-type]
    return layout
