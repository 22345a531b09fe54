"""Tables of benchmarks that compare several systems on several figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """Table of figures, one row for each system or setting."""

    name: str
    """Key in ``docs/benchmarks.json``."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """Sentences on the sizes, the seeds and the sources."""

    def markdown(self) -> str:
        """Return the table as a section of a page."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return f"\n## {self.title}\n\n" + (f"{self.note}\n\n" if self.note else "") + table

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Table:
        """Return a table from its JSON fields."""
        rows: Sequence[Sequence[str]] = fields["rows"]
        return cls(
            **{**fields, "columns": tuple(fields["columns"]), "rows": tuple(map(tuple, rows))}
        )
