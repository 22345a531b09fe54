"""Properties of import formats."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.feedback.case import Case
from backtalk.formats import FORMATS, Format
from backtalk.formats.format import RowData


def check_format(item: Format, rows: Sequence[RowData]) -> None:
    """Check recognition, determinism, ids and JSON of a format without options.

    Parameters
    ----------
    item : Format
        Registered format to check.
    rows : sequence of RowData
        Valid, distinct rows in the layout of the format.
    """
    assert FORMATS.get(item.name) is item
    assert item.title
    assert item.source
    assert not item.matches({})
    parse = item.parser()
    ids: list[str] = []
    for row in rows:
        copy = dict(row)
        assert item.matches(row), f"{item.name} does not recognise {row}"
        others = [
            one.name
            for one in FORMATS.values()
            if one is not item and one.matches(row) and (item.fallback or not one.fallback)
        ]
        assert not others, f"{row} is also recognised as {', '.join(others)}"
        assert not item.unread_columns(row), (
            f"{item.name} does not name the columns {item.unread_columns(row)} of {row}"
        )
        records = list(parse(row))
        assert records, f"{item.name} reads nothing from {row}"
        assert row == copy, "parsing must not change the row"
        assert records == list(parse(row)), "the same row must give the same records and ids"
        for record in records:
            if isinstance(record, Case):
                ids.append(record.interaction.id)
                feedback = record.feedback
                assert (
                    type(record.interaction).model_validate_json(record.interaction.to_json())
                    == record.interaction
                )
            else:
                feedback = (record,)
            for one in feedback:
                assert type(one).model_validate_json(one.to_json()) == one
    assert len(set(ids)) == len(ids), "distinct rows must give interactions with distinct ids"


class FormatLaws:
    """Tests of a format: subclass it in a test module and implement both methods."""

    def format(self) -> Format:
        """Return the registered format."""
        raise NotImplementedError

    def rows(self) -> Sequence[RowData]:
        """Return valid, distinct rows in the layout of the format."""
        raise NotImplementedError

    def test_laws_of_formats(self) -> None:
        """Check the format."""
        check_format(self.format(), self.rows())
