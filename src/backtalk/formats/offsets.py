"""Offsets into a text in UTF-16 units or UTF-8 bytes, converted to code points.

Programs in JavaScript and Java count UTF-16 units, of which a character such as an emoji has two.

>>> text = "Yeah 🚀 rocket is fast"
>>> start, end = (to_code_points(text, offset, "utf-16") for offset in (8, 14))
>>> text[start:end]
'rocket'
"""

from __future__ import annotations

from typing import Literal

OffsetUnit = Literal["code-points", "utf-16", "utf-8"]
"""Unit that offsets count."""


def to_code_points(text: str, offset: int, unit: OffsetUnit) -> int:
    """Return an offset in code points.

    An offset past the end of the text stays past the end, so that its range is refused.

    Parameters
    ----------
    text : str
        Text that the offset refers to.
    offset : int
        Offset in ``unit``, from 0.
    unit : {"code-points", "utf-16", "utf-8"}
        Unit of the offset.

    Raises
    ------
    ValueError
        If the offset is inside a character; the message names the character.
    """
    if unit == "code-points" or text[: max(offset, 0)].isascii():
        return offset
    position = 0
    for index, character in enumerate(text):
        if position == offset:
            return index
        position += _width(character, unit)
        if position > offset:
            raise ValueError(
                f"offset {offset} is inside the character {character!r} in {unit.upper()} units"
            )
    return len(text) + offset - position


def _width(character: str, unit: OffsetUnit) -> int:
    if unit == "utf-16":
        return 2 if ord(character) > 0xFFFF else 1
    return len(character.encode("utf-8", "surrogatepass"))


def astral_before(text: str, end: int) -> str | None:
    """Return the first character before an offset that has two UTF-16 units, ``None`` if none has.

    Offsets after such a character differ between code points and UTF-16 units.

    >>> astral_before("Yeah 🚀 rocket", 8), astral_before("Yeah 🚀 rocket", 4)
    ('🚀', None)
    """
    return next((character for character in text[:end] if ord(character) > 0xFFFF), None)
