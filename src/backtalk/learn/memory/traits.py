"""Traits of texts that a program can count, with the advice to have more or less of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]|(?<!\\w)[:;]-?[)(DP](?!\\w)")


@dataclass(frozen=True)
class Trait:
    """Amount of something in a text."""

    name: str
    count: Callable[[str], float]
    more: str
    """Advice to have it, or more of it."""
    less: str
    """Advice to have none of it, or less."""
    ratio: float = 1.0
    """Factor by which two amounts must differ to count as different."""

    def direction(self, worse: str, better: str) -> int:
        """Return 1 if the better text has more of it, -1 if it has less, 0 if neither.

        Parameters
        ----------
        worse : str
            Text that was rejected or changed.
        better : str
            Text that was preferred.
        """
        low, high = self.count(worse), self.count(better)
        if high > low and high >= self.ratio * low:
            return 1
        return -1 if low > high and low >= self.ratio * high else 0


def _matches(pattern: str, flags: int = re.MULTILINE) -> Callable[[str], float]:
    compiled = re.compile(pattern, flags)
    return lambda text: float(len(compiled.findall(text)))


def _has(pattern: str, flags: int = re.MULTILINE | re.IGNORECASE) -> Callable[[str], float]:
    compiled = re.compile(pattern, flags)
    return lambda text: float(compiled.search(text) is not None)


def _words(text: str) -> float:
    return float(len(text.split()))


TRAITS = (
    Trait("length", _words, "Write longer answers.", "Write shorter answers.", ratio=1.25),
    Trait(
        "emojis",
        lambda text: float(_EMOJI.search(text) is not None),
        "Use an emoji.",
        "Do not use emojis.",
    ),
    Trait("exclamation marks", _has("!"), "Use exclamation marks.", "Use no exclamation marks."),
    Trait(
        "bullet points",
        _has(r"^\s*[-*•]\s+\S"),
        "Use bullet points.",
        "Write in paragraphs, without bullet points.",
    ),
    Trait(
        "numbered lists",
        _has(r"^\s*\d+[.)]\s+\S"),
        "Use numbered lists.",
        "Do not use numbered lists.",
    ),
    Trait("headings", _has(r"^#{1,6}\s+\S"), "Use headings.", "Do not use headings."),
    Trait("bold text", _has(r"\*\*[^*\n]+\*\*"), "Use bold text.", "Do not use bold text."),
    Trait("code blocks", _has(r"^```"), "Use code blocks.", "Do not use code blocks."),
    Trait("tables", _has(r"^\|.+\|\s*$"), "Use tables.", "Do not use tables."),
    Trait("links", _has(r"https?://"), "Give links.", "Do not give links."),
    Trait("apologies", _has(r"\b(sorry|apolog\w+)\b"), "Say sorry.", "Do not apologise."),
    Trait("thanks", _has(r"\b(thank you|thanks)\b"), "Say thank you.", "Do not say thank you."),
    Trait(
        "a question at the end",
        _has(r"\?\s*\Z"),
        "End with a question.",
        "Do not end with a question.",
    ),
    Trait(
        "mentions of an AI",
        _has(r"\b(as an ai|as a language model|i am an ai|i'm an ai)\b"),
        "Mention that you are an AI.",
        "Do not mention that you are an AI.",
    ),
    Trait(
        "paragraphs",
        _matches(r"\n\s*\n"),
        "Separate paragraphs by blank lines.",
        "Write in one paragraph.",
        ratio=2.0,
    ),
)
"""All traits, the most general first."""
