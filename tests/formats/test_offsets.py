"""Offsets in UTF-16 units and UTF-8 bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.formats.offsets import astral_before, to_code_points

TEXT = "Yeah 🚀 rocket is fast"


@pytest.mark.parametrize(
    ("unit", "start", "end"), [("code-points", 7, 13), ("utf-16", 8, 14), ("utf-8", 10, 16)]
)
def test_offsets_in_each_unit_mark_the_same_part(unit, start, end):
    part = slice(to_code_points(TEXT, start, unit), to_code_points(TEXT, end, unit))
    assert TEXT[part] == "rocket"


@pytest.mark.parametrize(("unit", "offset"), [("utf-16", 6), ("utf-8", 8)])
def test_an_offset_inside_a_character_is_an_error(unit, offset):
    with pytest.raises(ValueError, match="inside the character '🚀'"):
        to_code_points(TEXT, offset, unit)


@given(st.text(max_size=12), st.data())
def test_the_offset_of_a_part_is_its_length_in_the_unit(text, data):
    index = data.draw(st.integers(0, len(text)))
    head = text[:index]
    assert to_code_points(text, len(head.encode("utf-16-le", "surrogatepass")) // 2, "utf-16") == (
        index
    )
    assert to_code_points(text, len(head.encode("utf-8", "surrogatepass")), "utf-8") == index


def test_an_offset_past_the_end_stays_past_the_end():
    assert to_code_points("🚀", 3, "utf-16") == 2
    assert to_code_points("🚀", -1, "utf-16") == -1


def test_a_character_of_two_units_before_an_offset():
    assert astral_before(TEXT, 8) == "🚀"
    assert astral_before(TEXT, 5) is None
