"""Statements of a text: what it says to do or that is so, reduced to what can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

from backtalk.memory.facts import Fact, find_facts
from backtalk.memory.opposites import (
    EXCLUSIVE,
    FUNCTION,
    GENERIC,
    INSTRUCTION,
    NEGATIVE,
    ONE_OF_MANY,
    SYNONYMS,
    words_of,
)
from backtalk.memory.scope_words import stem as uncached_stem

stem = lru_cache(maxsize=1 << 15)(uncached_stem)

_WORD = re.compile(r"[\w#+°]+(?:[./:][\w]+)*|,|¬")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+|\s+-\s+|;|,?\s+\bbut\b(?! not)\s+")
_OPENING = re.compile(
    r"^(?:(?:(?:no|nope|yes|right|so|well|then|again)[,:]|"
    r"(?:ok|okay|oh|actually|sorry|wait|hmm|and|also|please|correction|from now on|in future"
    r"|in the future|i changed my mind|on second thoughts?|on reflection|my mistake|you know what"
    r"|(?:scrap|forget|ignore|strike|disregard|cancel|undo) (?:that|this|it)\b(?=[,:])"
    r"|never mind(?: that| this)?(?=[,:]))\b[,:]?) *)+"
)
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[\u2019`]", "'"),
        (r"\be-?mail", "mail"),
        (r"\byes (?:or|and|/) no\b|\byes/no\b", "yesno"),
        (r"\bcan't\b|\bcannot\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"n't\b", " not"),
        (r"\b(\w+)'s\b", r"\1"),
        (r"\b(?:do not|never|don't) (?:forget|fail|hesitate) to\b", " "),
        (r"\bnot (?:only|just|merely|necessarily)\b", " "),
        (r"\bno (?:more|later|less|fewer|longer|earlier) than\b|\bnot (?:more|less) than\b", "at"),
        (r"\bno (?:longer|more)\b|\bnot any ?(?:more|longer)\b", " not "),
        (r"\bany ?more\b|\bany longer\b|\bafter all\b|\bno matter\b|\bno problem\b", " "),
        (r"\bfree of\b|\bfree from\b|\bwith no\b|\binstead of using\b", " without "),
        (r"\benough (?:with|of)\b|\bhad (?:it|enough)(?: \w+)? (?:with|of)\b", " omit "),
        (r"\b(?:tired|sick) of\b|\bfed up with\b|\bdone with\b|\bno need (?:for|to)\b", " omit "),
        (r"\bnot\s+(?:needed|necessary|required|welcome|allowed|ok|okay|fine)\b", " omit "),
        (r"\b(?:i|we)\s+(?:do\s+)?not\s+(?:need|want|require)\b", " omit "),
        (r"\b(?:is|are|be) (?:better|best|fine|ok|okay|allowed|welcome|good|great)\b", " is "),
        (r"\bfeel free to\b|\bgo back to\b|\bback to\b|\bbring back\b", " use "),
        (r"\bleav(?:e|ing) (?:out|off)\b|\bget rid of\b|\bdo without\b|\bnothing like\b", " omit "),
        (r"\bnon[- ]", " not "),
        (r"-", " "),
    )
]
_REPLACEMENTS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (
            r"^(?:instead of|rather than|not) (.+?)(?:, ?| )(use|write|give|say|put|but)\b(.*)$",
            r"\2\3 ¬ \1",
        ),
        (r"\bnot (.+?),? but (.+)$", r"\2 ¬ \1"),
        (r"\b(?:switch|change|move) from (.+?) to (.+)$", r"\2 ¬ \1"),
        (r"\breplace (.+?) (?:with|by) (.+)$", r"\2 ¬ \1"),
        (r"(\bprefer.*?) (?:over|to) (\w+)", r"\1 ¬ \2"),
        (r",? \b(?:instead of|rather than|as opposed to|and not|but not)\b", " ¬ "),
        (r", ?not\b", " ¬ "),
    )
]
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"dozen": "12", "twelve": "12", "fifteen": "15", "twenty": "20", "hundred": "100"}
_COMMON = NEGATIVE | INSTRUCTION | GENERIC | FUNCTION
_MAX_WORDING = 4
"""Maximum number of words of a value."""
_EXCLUSIVE_WORDS = words_of("always only default favourite favorite prefer main")
_FRAMES = [
    (name, re.compile(pattern))
    for name, pattern in (
        ("begin", r"\b(?:begin|start|open)s?\b(.*?)\b(?:with|by)\b(.+)"),
        ("end", r"\b(?:end|close|finish|conclude)s?\b(.*?)\bwith\b(.+)"),
        ("sign", r"\bsign\b(?: off)?(.*?)\b(?:with|as)\b(.+)"),
        ("call", r"\b(?:call|address)\b(?: me| us| him| her)()(?: as)?\b(.+)"),
    )
]
_STATEMENT = r"what (?:i|we) (?:have |had |just )?(?:said|told you|asked(?: for)?|wanted|wrote)"
_RULE = r"(?:rules?|wish(?:es)?|requests?|instructions?|preferences?|remarks?|thing|business)"
_TAKE_BACK = (
    r"^(?:please |just |you can |you may |i |let us |let's )*(?:forget|ignore|disregard|drop|cancel"
    r"|scrap|take back|withdraw|remove|delete|lift|undo|never mind)(?: about)? "
)
_RETRACTIONS = [
    re.compile(_TAKE_BACK + pattern)
    for pattern in (
        (
            rf"(?:{_STATEMENT}|(?:my|the|that|our|any|all)(?: \w+)? {_RULE}) "
            r"(?:about|on|for|of|regarding|concerning|with|that says?)(?P<topic> .+)$"
        ),
        rf"(?:my|the|that|our|any)(?P<topic> .+) {_RULE}(?: i (?:gave|made|set).*)?$",
    )
] + [re.compile(r"^(?:please )?never mind(?: about)?(?P<topic> .+)$")]
"""Sentences that take back what was said before on a subject."""
_CONDITION = re.compile(r"\b(?:in|when|whenever|for|if|to|while|at|on|during)\b")
_UNIVERSAL = words_of("all every each any always everywhere")

GENERAL_WORDS = words_of("mail letter note draft task list document page chat post")
"""Words for kinds of text, which tell conditions apart less than others do."""


@dataclass(frozen=True)
class Statement:
    """Statement of a text."""

    content: frozenset[str]
    """Stems of the words about its subject."""
    negative: bool
    values: dict[str, tuple[frozenset[int], frozenset[int]]] = field(default_factory=dict)
    """Values that it names and those that it excludes, by subject; see
    :data:`~backtalk.memory.opposites.EXCLUSIVE`."""
    value_words: dict[str, frozenset[str]] = field(default_factory=dict)
    """Stems of the words that name the values, by subject."""
    is_exclusive: bool = False
    """True if it says to do one thing, so that it excludes others."""
    is_universal: bool = False
    numbers: tuple[str, ...] = ()
    frames: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = ()
    """Names of fixed forms, with the value and the other words: ``("begin", {"hi"}, {"mail"})``."""
    replaces: frozenset[str] | None = None
    """Words of the statement that this one is replaced by, as in "tea, not coffee"."""
    facts: tuple[Fact, ...] = ()
    retracts: bool = False
    """True if it takes back what was said before about the content."""


@lru_cache(maxsize=1 << 12)
def statements_of(text: str) -> tuple[Statement, ...]:
    """Return the statements of a text."""
    return tuple(
        statement
        for sentence in _SENTENCE.split(text)
        for statement in _read_sentence(sentence.strip(" .!?"))
    )


def _read_sentence(sentence: str) -> Iterator[Statement]:
    line = sentence.casefold()
    for pattern, replacement in _REWRITES:
        line = pattern.sub(replacement, line)
    line = _OPENING.sub("", " ".join(line.split()) + " ").strip(" ,")
    if topic := _retracted(line):
        yield Statement(content=topic, negative=False, retracts=True)
        return
    for pattern, replacement in _REPLACEMENTS:
        line = pattern.sub(replacement, line)
    words = [_NUMBERS.get(word, word) for word in _WORD.findall(line)]
    main, *replaced = _split(words)
    content, numbers = _content(main)
    values, value_words = _find_values(words)
    if content or values or numbers:
        yield Statement(
            content=content,
            negative=_is_negative(main),
            values=values,
            value_words=value_words,
            is_exclusive=_is_exclusive(main),
            is_universal=bool(_UNIVERSAL & {*words}),
            numbers=numbers,
            frames=tuple(_find_frames(line.partition("¬")[0])),
            facts=find_facts(sentence),
        )
    for part in replaced:
        other, _ = _content(part)
        if other:
            yield Statement(content=other, negative=True, replaces=content)


def is_retraction(text: str) -> bool:
    """Return true if a text only takes back what was said before, as in "Forget the emoji rule"."""
    statements = statements_of(text)
    return bool(statements) and all(statement.retracts for statement in statements)


def _retracted(line: str) -> frozenset[str]:
    """Return the subject about which a sentence takes back what was said, if it does."""
    matches = (pattern.match(line) for pattern in _RETRACTIONS)
    topics = (_content(_WORD.findall(match["topic"]))[0] for match in matches if match)
    return next((topic for topic in topics if topic), frozenset())


def _split(words: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "¬":
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _is_negative(words: Sequence[str]) -> bool:
    return sum(word in NEGATIVE or stem(word) in NEGATIVE for word in words) % 2 == 1


def _is_exclusive(words: Sequence[str]) -> bool:
    """Return true for a directive, and where a default or a favourite is named."""
    first = next((word for word in words if word not in NEGATIVE and word != "do"), "")
    return first in INSTRUCTION or bool(_EXCLUSIVE_WORDS & {*words}) or len(words) <= 2


def _content(words: Sequence[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the stems of the words about the subject, and the numbers."""
    content: set[str] = set()
    numbers: list[str] = []
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word[0].isdigit():
            is_name = bool(before) and _has_content(before) and not (after and _has_content(after))
            if is_name:  # as in "room 4"
                content.add(f"{stem(before)} {word}")
            else:
                numbers.append(word)
        elif _has_content(word):
            content.add(SYNONYMS.get(stem(word), stem(word)))
    return frozenset(content), tuple(numbers)


def _has_content(word: str) -> bool:
    return word[0].isalpha() and not {word, stem(word)} & _COMMON


@cache
def _wordings() -> dict[tuple[str, ...], list[tuple[str, int]]]:
    """Return the values of which a sequence of stems is a wording."""
    known: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    groups = {**EXCLUSIVE, **{name: tuple(row.split("|")) for name, row in ONE_OF_MANY.items()}}
    for subject, values in groups.items():
        for number, value in enumerate(values):
            for wording in value.split("|"):
                known.setdefault(_stems(wording), []).append((subject, number))
    return known


def _stems(wording: str) -> tuple[str, ...]:
    words = wording.replace("e-mail", "mail").replace("email", "mail").replace("-", " ")
    return tuple(stem(word) for word in _WORD.findall(words))


def _find_values(
    words: Sequence[str],
) -> tuple[dict[str, tuple[frozenset[int], frozenset[int]]], dict[str, frozenset[str]]]:
    """Return the values that are named and excluded, and their words, by subject."""
    values: dict[str, tuple[set[int], set[int]]] = {}
    value_words: dict[str, set[str]] = {}
    negative = replaced = False
    position = 0
    stems = [stem(word) for word in words]
    while position < len(words):
        word = words[position]
        if word == "¬":
            negative, replaced = False, True
        elif word == ",":
            negative = False
        elif word in NEGATIVE or stems[position] in NEGATIVE:
            negative = not negative
        length = _longest_wording(stems, position)
        if length:
            wording = tuple(stems[position : position + length])
            for subject, number in _wordings()[wording]:
                named, excluded = values.setdefault(subject, (set(), set()))
                (excluded if negative != replaced else named).add(number)
                value_words.setdefault(subject, set()).update(wording)
        position += max(length, 1)
    return (
        {name: (frozenset(a), frozenset(b)) for name, (a, b) in values.items()},
        {name: frozenset(some) for name, some in value_words.items()},
    )


def _longest_wording(stems: Sequence[str], position: int) -> int:
    rest = stems[position : position + _MAX_WORDING]
    lengths = range(len(rest), 0, -1)
    return next((length for length in lengths if tuple(rest[:length]) in _wordings()), 0)


def _find_frames(words: str) -> Iterator[tuple[str, frozenset[str], frozenset[str]]]:
    for name, pattern in _FRAMES:
        if match := pattern.search(words):
            value, *rest = _CONDITION.split(match[2])
            others = " ".join([match[1], *rest])
            stems = frozenset(
                stem(word) for word in _WORD.findall(value) if word not in {",", "a", "an", "the"}
            )
            yield name, stems, _content(_WORD.findall(others))[0]
