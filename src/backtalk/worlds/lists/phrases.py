"""Phrases of descriptions and advice about the words of a list."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.worlds.lists.parsing import MisorderedRun, MissingWords


def join_words(words: Sequence[str]) -> str:
    """Return words as an enumeration in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def missing_reason(gap: MissingWords) -> tuple[str, str]:
    """Return description and advice for missing words."""
    description = "A word is missing." if len(gap.words) == 1 else "Some words are missing."
    return description, f"Add {join_words(gap.words)} {gap.where}."


def order_reason(run: MisorderedRun, among: list[str], *, whole: bool) -> tuple[str, str, str]:
    """Return label, description and advice for a misordered run.

    Parameters
    ----------
    run : MisorderedRun
        Run with its right order.
    among : list of str
        Words of the run as written.
    whole : bool
        If true, the run is the whole list.
    """
    right = list(run.right)
    first, last = among[0], among[-1]
    if sorted(among) == sorted(right):
        label = "order"
        if among[1:] == right[:-1]:
            return label, f"The word {first} is too early.", f"Put {first} after {right[-2]}."
        if among[:-1] == right[1:]:
            return label, f"The word {last} is too late.", f"Put {last} before {right[1]}."
        if among[1:-1] == right[1:-1]:
            description = f"The words {first} and {last} are out of place."
            return label, description, f"Swap {first} and {last}."
    else:
        label = "muddle"
    if whole:
        return label, "The whole order is wrong.", f"Write {', '.join(right)}."
    description = f"From {first} to {last} it is wrong."
    return label, description, f"From {first} to {last} write {', '.join(right)}."
