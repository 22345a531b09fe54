"""Simple features of a response: lengths, shares and markers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback import prompt_text
from backtalk.models.protocol import PromptResponse

FEATURES = (
    "log characters",
    "log words",
    "letters a word",
    "words a sentence",
    "distinct words",
    "words from the prompt",
    "digits",
    "asks",
    "exclaims",
    "lists",
    "log lines",
    "says I",
)
"""Names of the features, in order.

Lengths are logarithms of one plus the count. "distinct words", "words from the prompt" and "digits"
are shares in [0, 1]. "asks", "exclaims", "lists" and "says I" are 0 or 1.
"""

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_FIRST_PERSON = re.compile(r"\b(?:I|I'm|I\u2019m|my)\b")


def simple_features(answers: Sequence[PromptResponse]) -> NDArray[np.float64]:
    """Return the features of each response, shape ``(len(answers), len(FEATURES))``."""
    return np.array([_features(prompt_text(prompt), text) for prompt, text in answers]).reshape(
        len(answers), len(FEATURES)
    )


@lru_cache(maxsize=1 << 16)
def _features(prompt: str, text: str) -> list[float]:
    words = _WORD.findall(text.lower())
    distinct = set(words)
    count = max(len(words), 1)
    sentences = max(len(_SENTENCE_END.findall(text)), 1)
    return [
        np.log1p(len(text)),
        np.log1p(len(words)),
        sum(map(len, words)) / count,
        len(words) / sentences,
        len(distinct) / count,
        len(distinct & set(_WORD.findall(prompt.lower()))) / max(len(distinct), 1),
        sum(map(str.isdigit, text)) / max(len(text), 1),
        float("?" in text),
        float("!" in text),
        float(_LIST_ITEM.search(text) is not None),
        np.log1p(text.count("\n")),
        float(_FIRST_PERSON.search(text) is not None),
    ]
