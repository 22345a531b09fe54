"""Faults that a draft does not have, as somebody who errs would see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from backtalk.worlds.lists.parsing import Word, count_right, read_words, which_count
from backtalk.worlds.lists.task import CHORES, WORDS, ListsTask
from backtalk.worlds.world import Issue, Rng, mend

_SHARES = (4, 2, 2)
"""How often a false piece of advice is to move a word, to leave one out, to add one."""


def false_fault(task: ListsTask, text: str, rng: Rng) -> Issue | None:
    """Return a fault that a draft does not have, if it has a word that counts."""
    words = read_words(text)
    places = which_count(task, words)
    sorts = (_moves, _losses, _growth)
    results = [list(sort(task, text, words, places)) for sort in sorts]
    shares = [share * bool(some) for share, some in zip(_SHARES, results, strict=True)]
    if not any(shares):
        return None
    some = results[rng.choice(len(results), p=[share / sum(shares) for share in shares])]
    return some[rng.integers(len(some))]


def _moves(
    task: ListsTask, text: str, words: Sequence[Word], places: Sequence[int]
) -> Iterator[Issue]:
    """Yield words that stand right beside each other, one of them moved to where it is wrong."""
    times = Counter(word.said for word in words)
    kept = [words[place].said for place in places]
    now = count_right(task.pairs, kept)
    for i, j in combinations(range(len(places)), 2):
        among = kept[i : j + 1]
        if places[j] - places[i] != j - i or any(times[word] > 1 for word in among):
            continue
        first, last = among[0], among[-1]
        for moved, said, advice in (
            ([*among[1:], first], f"The word {first} is too early.", f"Put {first} after {last}."),
            ([last, *among[:-1]], f"The word {last} is too late.", f"Put {last} before {first}."),
        ):
            if count_right(task.pairs, [*kept[:i], *moved, *kept[j + 1 :]]) < now:
                stretch = words[places[i] : places[j] + 1]
                yield Issue("right", "order", *_rewritten(text, stretch, moved), said, advice)


def _rewritten(text: str, stretch: Sequence[Word], moved: Sequence[str]) -> tuple[int, int, str]:
    """Return where a stretch stands, and what it is with its words in another order."""
    as_written = {word.said: text[word.start : word.end] for word in stretch}
    put = as_written[moved[0]]
    for word, following, said in zip(stretch, stretch[1:], moved[1:], strict=False):
        put += text[word.end : following.start] + as_written[said]
    return stretch[0].start, stretch[-1].end, put


def _losses(
    task: ListsTask, text: str, words: Sequence[Word], places: Sequence[int]
) -> Iterator[Issue]:
    """Yield words that belong there, to be left out."""
    times = Counter(word.said for word in words)
    for place in places:
        word = words[place]
        if place + 1 < len(words):
            start, end = word.start, words[place + 1].start
        else:
            start, end = words[place - 1].end if place else word.start, word.end
        if task.banned:
            said, advice = "A word was to be taken out.", f"Take out {word.said}."
            fault = Issue("right", "not-removed", start, end, "", said, advice)
        else:
            said, advice = "A word does not belong there.", f"Leave out {word.said}."
            fault = Issue("relevant", "added", start, end, "", said, advice)
        # A word that is laid out unlike the others would take a true fault away with it.
        if times[word.said] == 1 and _looks(task, mend(text, [fault])) == _looks(task, text):
            yield fault


def _looks(task: ListsTask, text: str) -> frozenset[str]:
    """Return in what ways words are written and separated."""
    words = read_words(text)
    places = which_count(task, words)
    written = [text[words[place].start : words[place].end] for place in places]
    cases = {"upper" if w.isupper() else "lower" if w.islower() else "mixed" for w in written}
    gaps = {text[words[place].end : words[place + 1].start] for place in places[:-1]}
    return frozenset(cases | gaps)


def _growth(
    task: ListsTask, text: str, words: Sequence[Word], places: Sequence[int]
) -> Iterator[Issue]:
    """Yield words that do not belong there, to be added."""
    pool = sorted(task.banned) or (CHORES if task.kind == "chores" else WORDS)
    for place in places:
        word = words[place]
        joint = text[word.end : words[place + 1].start] if place + 1 < len(words) else ", "
        for new in pool:
            if new not in task.wanted:
                written = new.upper() if text[word.start : word.end].isupper() else new
                put, advice = f"{joint}{written}", f"Add {new} after {word.said}."
                said = "A word is missing."
                yield Issue("complete", "lost", word.end, word.end, put, said, advice)
