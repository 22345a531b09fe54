"""False critiques of lists: issues that a draft does not have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from backtalk.worlds.lists.parsing import ListWord, count_satisfied, counted_positions, read_words
from backtalk.worlds.lists.task import CHORES, WORDS, ListsTask
from backtalk.worlds.world import Issue, Rng, apply_fixes

_SHARES = (4, 2, 2)
"""Relative frequencies of false advice to move, to remove and to add a word."""


def false_issue(task: ListsTask, text: str, rng: Rng) -> Issue | None:
    """Return an issue that a draft does not have.

    Parameters
    ----------
    task : ListsTask
        Task that the text answers.
    text : str
        Text of the list.
    rng : Rng
        Source of randomness.

    Returns
    -------
    Issue or None
        ``None`` if the draft has no expected word.
    """
    words = read_words(text)
    positions = counted_positions(task, words)
    sorts = (_displacements, _removals, _additions)
    results = [list(sort(task, text, words, positions)) for sort in sorts]
    shares = [share * bool(some) for share, some in zip(_SHARES, results, strict=True)]
    if not any(shares):
        return None
    some = results[rng.choice(len(results), p=[share / sum(shares) for share in shares])]
    return some[rng.integers(len(some))]


def _displacements(
    task: ListsTask, text: str, words: Sequence[ListWord], positions: Sequence[int]
) -> Iterator[Issue]:
    """Yield issues whose fix moves a word within a run of adjacent words to a wrong position."""
    times = Counter(word.text for word in words)
    counted = [words[position].text for position in positions]
    now = count_satisfied(task.pairs, counted)
    for i, j in combinations(range(len(positions)), 2):
        among = counted[i : j + 1]
        if positions[j] - positions[i] != j - i or any(times[word] > 1 for word in among):
            continue
        first, last = among[0], among[-1]
        for moved, description, advice in (
            ([*among[1:], first], f"The word {first} is too early.", f"Put {first} after {last}."),
            ([last, *among[:-1]], f"The word {last} is too late.", f"Put {last} before {first}."),
        ):
            if count_satisfied(task.pairs, [*counted[:i], *moved, *counted[j + 1 :]]) < now:
                run = words[positions[i] : positions[j] + 1]
                yield Issue("right", "order", *_reordered(text, run, moved), description, advice)


def _reordered(text: str, run: Sequence[ListWord], moved: Sequence[str]) -> tuple[int, int, str]:
    """Return the span of a run, and its text with the words in another order."""
    as_written = {word.text: text[word.start : word.end] for word in run}
    replacement = as_written[moved[0]]
    for word, following, next_text in zip(run, run[1:], moved[1:], strict=False):
        replacement += text[word.end : following.start] + as_written[next_text]
    return run[0].start, run[-1].end, replacement


def _removals(
    task: ListsTask, text: str, words: Sequence[ListWord], positions: Sequence[int]
) -> Iterator[Issue]:
    """Yield issues whose fix removes an expected word."""
    times = Counter(word.text for word in words)
    for position in positions:
        word = words[position]
        if position + 1 < len(words):
            start, end = word.start, words[position + 1].start
        else:
            start, end = words[position - 1].end if position else word.start, word.end
        if task.banned:
            description, advice = "A word was to be taken out.", f"Take out {word.text}."
            issue = Issue("right", "not-removed", start, end, "", description, advice)
        else:
            description, advice = "A word does not belong there.", f"Leave out {word.text}."
            issue = Issue("relevant", "added", start, end, "", description, advice)
        # Removing the only word with a certain format would also fix a true issue.
        if times[word.text] == 1 and _formatting(task, apply_fixes(text, [issue])) == _formatting(
            task, text
        ):
            yield issue


def _formatting(task: ListsTask, text: str) -> frozenset[str]:
    """Return the letter cases and separators of a list."""
    words = read_words(text)
    positions = counted_positions(task, words)
    written = [text[words[position].start : words[position].end] for position in positions]
    cases = {"upper" if w.isupper() else "lower" if w.islower() else "mixed" for w in written}
    gaps = {text[words[position].end : words[position + 1].start] for position in positions[:-1]}
    return frozenset(cases | gaps)


def _additions(
    task: ListsTask, text: str, words: Sequence[ListWord], positions: Sequence[int]
) -> Iterator[Issue]:
    """Yield issues whose fix adds a word that is not expected."""
    pool = sorted(task.banned) or (CHORES if task.kind == "chores" else WORDS)
    for position in positions:
        word = words[position]
        joint = text[word.end : words[position + 1].start] if position + 1 < len(words) else ", "
        for new in pool:
            if new not in task.expected:
                written = new.upper() if text[word.start : word.end].isupper() else new
                replacement, advice = f"{joint}{written}", f"Add {new} after {word.text}."
                description = "A word is missing."
                yield Issue(
                    "complete", "lost", word.end, word.end, replacement, description, advice
                )
