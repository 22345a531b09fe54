"""Report: a self-contained HTML file with its numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from backtalk.stats.estimate import Estimate


@dataclass(frozen=True)
class Paragraph:
    """Paragraph of text."""

    text: str
    style: Literal["", "note", "verdict good", "verdict bad"] = ""
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    """Table with a header; the columns in ``numbers`` are aligned to the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()
    kind: str = "table"


@dataclass(frozen=True)
class Figure:
    """Plot with a caption."""

    svg: str
    caption: str
    kind: str = "figure"


@dataclass(frozen=True)
class LabelledText:
    """Text with a label and a score: one of two answers shown side by side."""

    label: str
    text: str
    score: str = ""


@dataclass(frozen=True)
class SideBySide:
    """Two answers to a prompt, side by side."""

    prompt: str
    left: LabelledText
    right: LabelledText
    kind: str = "side_by_side"


Block = Paragraph | Table | Figure | SideBySide


@dataclass(frozen=True)
class ReportSection:
    """Section of a report: a heading and its blocks."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """Report for people to read, with its numbers for programs.

    Examples
    --------
    >>> report = Report("A trial", "Two policies on ten prompts.")
    >>> report = report.with_section("Result", Paragraph("Nothing is certain yet."))
    >>> "<h1>A trial</h1>" in report.to_html()
    True
    """

    title: str
    lead: str
    sections: tuple[ReportSection, ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)
    """Data of the report, ready for JSON."""
    footer: str = "Made by Backtalk. Intervals are at 95 % unless a table says otherwise."

    def with_section(self, title: str, *blocks: Block) -> Report:
        """Return the report with one more section."""
        return Report(
            self.title,
            self.lead,
            (*self.sections, ReportSection(title, blocks)),
            self.numbers,
            self.footer,
        )

    def to_html(self) -> str:
        """Return the report as an HTML page."""
        from jinja2 import Environment, PackageLoader  # noqa: PLC0415 - needed for pages only

        pages = Environment(
            loader=PackageLoader("backtalk.reports"), autoescape=True, trim_blocks=True
        )
        return pages.get_template("report.html").render(report=self)

    def to_json(self) -> str:
        """Return the numbers of the report as JSON."""
        return json.dumps(self.numbers, indent=1, sort_keys=True, default=str)

    def write(self, path: Path) -> tuple[Path, Path]:
        """Write the HTML page and a JSON file of the same name, and return both paths."""
        page, numbers = path.with_suffix(".html"), path.with_suffix(".json")
        page.write_text(self.to_html(), encoding="utf-8")
        numbers.write_text(self.to_json() + "\n", encoding="utf-8")
        return page, numbers


def format_percent(estimate: Estimate) -> str:
    """Return an estimate with its interval in percent: ``62.1 % [58.0, 66.2]``."""
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def format_points(estimate: Estimate) -> str:
    """Return a difference of shares in percentage points: ``+4.1 [0.2, 8.0]``."""
    return f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


def estimate_table(
    rows: Iterable[tuple[str, Estimate]],
    *,
    header: Sequence[str] = ("", "estimate", "n", "interval"),
) -> Table:
    """Return a table of estimates with their sample sizes and interval methods."""
    return Table(
        tuple(header),
        tuple(
            (
                label,
                format_percent(estimate),
                str(estimate.n if estimate.clusters is None else estimate.clusters),
                estimate.method,
            )
            for label, estimate in rows
        ),
        numbers=(1, 2),
    )
