"""How people say what is wrong with the words of a list."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.worlds.lists.parsing import Gap, Stretch


def listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def why_missing(gap: Gap) -> tuple[str, str]:
    """Return what is wrong where words are missing, and what to do."""
    said = "A word is missing." if len(gap.words) == 1 else "Some words are missing."
    return said, f"Add {listed(gap.words)} {gap.where}."


def why_out_of_order(stretch: Stretch, among: list[str], *, whole: bool) -> tuple[str, str, str]:
    """Return a fault's label, what is wrong, and what to do."""
    right = list(stretch.right)
    first, last = among[0], among[-1]
    if sorted(among) == sorted(right):
        label = "order"
        if among[1:] == right[:-1]:
            return label, f"The word {first} is too early.", f"Put {first} after {right[-2]}."
        if among[:-1] == right[1:]:
            return label, f"The word {last} is too late.", f"Put {last} before {right[1]}."
        if among[1:-1] == right[1:-1]:
            said = f"The words {first} and {last} are out of place."
            return label, said, f"Swap {first} and {last}."
    else:
        label = "muddle"
    if whole:
        return label, "The whole order is wrong.", f"Write {', '.join(right)}."
    said = f"From {first} to {last} it is wrong."
    return label, said, f"From {first} to {last} write {', '.join(right)}."
