"""Marked parts of a text whose offsets may count UTF-16 units."""

from __future__ import annotations

from backtalk.errors import RecordError
from backtalk.formats.fields import Fields
from backtalk.formats.offsets import OffsetUnit, astral_before, to_code_points

_UNITS: tuple[OffsetUnit, ...] = ("code-points", "utf-16")


def read_offsets(text: str, mark: Fields, unit: OffsetUnit | None) -> tuple[int, int]:
    """Return the offsets of a marked part in code points.

    Parameters
    ----------
    text : str
        Text that the part is in.
    mark : Fields
        Object with ``start``, ``end`` and, if the tool states it, the marked ``text``.
    unit : {"code-points", "utf-16", "utf-8"} or None
        Unit of the offsets. ``None`` for the unit in which the marked text, if it is stated, is at
        the offsets, otherwise code points.

    Raises
    ------
    RecordError
        If an offset is inside a character, or the marked text is elsewhere.
    """
    offsets = mark.integer("start"), mark.integer("end")
    units = (unit,) if unit is not None else _UNITS
    marked = mark.data.get("text")
    if isinstance(marked, str) and marked:
        return _verified(text, marked, offsets, units, mark)
    return _convert(text, offsets, units[0], mark)


def is_at(text: str, mark: Fields, unit: OffsetUnit | None) -> bool:
    """Return true if the marked text is at its offsets in a text.

    Parameters
    ----------
    text : str
        Text that the part may be in.
    mark : Fields
        Object with ``start``, ``end`` and the marked ``text``.
    unit : {"code-points", "utf-16", "utf-8"} or None
        Unit of the offsets, ``None`` if it is not known.
    """
    try:
        read_offsets(text, mark, unit)
    except RecordError:
        return False
    return True


def is_ambiguous(text: str, mark: Fields, unit: OffsetUnit | None) -> bool:
    """Return true if offsets of a marked part could count code points or UTF-16 units.

    Parameters
    ----------
    text : str
        Text that the part is in.
    mark : Fields
        Object with ``start``, ``end`` and, if the tool states it, the marked ``text``.
    unit : {"code-points", "utf-16", "utf-8"} or None
        Unit of the offsets, ``None`` if it is not known.
    """
    if unit is not None or mark.data.get("text"):
        return False
    return astral_before(text, mark.integer("end")) is not None


def _convert(
    text: str, offsets: tuple[int, int], unit: OffsetUnit, mark: Fields
) -> tuple[int, int]:
    try:
        start, end = (to_code_points(text, offset, unit) for offset in offsets)
    except ValueError as error:
        raise mark.error("start", str(error)) from None
    return start, end


def _verified(
    text: str,
    marked: str,
    offsets: tuple[int, int],
    units: tuple[OffsetUnit, ...],
    mark: Fields,
) -> tuple[int, int]:
    """Return the offsets, in the first unit in which the marked text is at them."""
    for unit in units:
        try:
            start, end = _convert(text, offsets, unit, mark)
        except RecordError:
            continue
        if _same(text[start:end], marked):
            return start, end
    raise mark.error(
        "text",
        f"{marked!r} is not at the offsets {offsets[0]} to {offsets[1]} of the response",
        "If the span is in another text, name its field with about=QUESTION=FIELD",
    )


def _same(a: str, b: str) -> bool:
    """Return true if two texts are the same but for line ends."""
    return a.replace("\r\n", "\n") == b.replace("\r\n", "\n").replace("\\n", "\n")
