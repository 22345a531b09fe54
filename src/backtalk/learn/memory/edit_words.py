"""Changes of edits in words: phrases that a person replaced, removed or added."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_PHRASE = 60
"""Maximum length of a phrase that is quoted, in characters."""
MAX_CHANGES = 4
"""Maximum number of changes that are put into words."""
MIN_SIMILARITY = 0.5
"""Similarity, in [0, 1], below which an edit is a new answer rather than a correction."""

_TOKEN = re.compile(r"\n|[^\S\n]+|[:;]-?[)(DP](?!\w)|[\w'\u2019-]+|[^\w\s]")
_EDGE = " \n.,;:"


@dataclass(frozen=True)
class PhraseChange:
    """Phrase that was replaced; one of the two is empty if it was removed or added."""

    before: str
    after: str
    previous: str | None = None
    """Word after which a moved phrase stands, empty at the beginning; ``None`` if none moved."""

    @property
    def replaces(self) -> bool:
        """True if a phrase was replaced or removed, not only moved or added."""
        return bool(self.before) and self.previous is None

    @property
    def has_words(self) -> bool:
        """True if it changes more than punctuation."""
        return any(letter.isalnum() for letter in self.before + self.after)

    @property
    def text(self) -> str:
        """The change as advice."""
        if self.previous is not None:
            place = f"after “{self.previous}”" if self.previous else "first"
            return f"Put “{self.after}” {place}."
        if not self.before:
            return f"Add “{self.after}”."
        if not self.after:
            return f"Leave out “{self.before}”."
        return f"Write “{self.after}” instead of “{self.before}”."


def edit_similarity(original: str, edited: str) -> float:
    """Return the share of words that two texts have in common and in order, in [0, 1]."""
    return SequenceMatcher(None, original.split(), edited.split(), autojunk=False).ratio()


def phrase_changes(original: str, edited: str) -> list[PhraseChange]:
    """Return the phrases that an edit changed, in order.

    Neighbouring changes with nothing but spaces between them are one. Changes of spaces alone are
    left out.

    >>> [change.text for change in phrase_changes("Hello Bo, see you.", "Dear Bo, see you!")]
    ['Write “Dear” instead of “Hello”.', 'Write “!” instead of “.”.']
    >>> [change.text for change in phrase_changes("egg, owl, pen", "owl, pen, egg")]
    ['Put “egg” after “pen”.']
    """
    before, after = _TOKEN.findall(original), _TOKEN.findall(edited)
    ranges: list[list[int]] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if ranges and not "".join(before[ranges[-1][1] : i1]).strip(" "):
            ranges[-1][1], ranges[-1][3] = i2, j2
        else:
            ranges.append([i1, i2, j1, j2])
    phrases = [(_phrase(before[i1:i2]), _phrase(after[j1:j2]), j1) for i1, i2, j1, j2 in ranges]
    moved = {old for old, new, _ in phrases if not new} & {
        new for old, new, _ in phrases if not old
    }
    moved = {phrase for phrase in moved if any(letter.isalnum() for letter in phrase)}
    changes = [
        PhraseChange(new, new, _word_before(after, start))
        if not old and new in moved
        else PhraseChange(old, new)
        for old, new, start in phrases
        if new or old not in moved
    ]
    return [one for one in changes if one.before != one.after or one.previous is not None]


def _word_before(tokens: Sequence[str], start: int) -> str:
    words = (token for token in reversed(tokens[:start]) if token[0].isalnum())
    return next(words, "")


def describe_edit(original: str, edited: str, *, known: Container[str] = frozenset()) -> str | None:
    """Return the changes of an edit as advice; ``None`` if they are too many or too long.

    Parameters
    ----------
    original : str
        Text before the edit.
    edited : str
        Text after the edit.
    known : container of str, default frozenset()
        Advice that is left out. With some, changes of punctuation alone are left out too.

    Returns
    -------
    str or None
        Empty if nothing but known advice is left.
    """
    if edit_similarity(original, edited) < MIN_SIMILARITY:
        return None
    changes = phrase_changes(original, edited)
    if known:
        changes = [one for one in changes if one.text not in known and one.has_words]
        if not changes:
            return ""
    if not 0 < len(changes) <= MAX_CHANGES:
        return None
    if any(max(len(change.before), len(change.after)) > MAX_PHRASE for change in changes):
        return None
    return " ".join(change.text for change in changes)


def _phrase(tokens: list[str]) -> str:
    text = " ".join("".join(tokens).split())
    return text.strip(_EDGE) if any(letter.isalnum() for letter in text) else text
