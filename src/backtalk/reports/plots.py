"""Plots of a report, as SVG that inherits the colours and fonts of its page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from backtalk.stats.estimate import Estimate
from backtalk.stats.validation import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#101010"
"""Placeholder for the colour of the page's text."""
ACCENT = "#2563eb"
MUTED = "#9ca3af"
BAD = "#dc2626"


def interval_plot(
    rows: Mapping[str, Estimate], *, reference: float | None = None, percent: bool = True
) -> str:
    """Return a plot of estimates, one row each: a dot for the value, a bar for the interval.

    Parameters
    ----------
    rows : Mapping[str, Estimate]
        Estimates by label, from top to bottom.
    reference : float, optional
        Position of a vertical line, such as 0.5 for a win rate or 0 for a difference. Intervals
        entirely above it have the accent colour, entirely below it red.
    percent : bool, default True
        If true, the axis is in percent.

    Returns
    -------
    str
        SVG element.
    """
    with _drawing(width=6.4, height=0.9 + 0.34 * len(rows)) as (figure, axes):
        scale = 100 if percent else 1
        for index, estimate in enumerate(rows.values()):
            colour = _colour(estimate, reference)
            axes.plot(
                [scale * estimate.low, scale * estimate.high], [index, index], color=colour, lw=2.5,
                solid_capstyle="round",
            )  # fmt: skip
            axes.plot([scale * estimate.value], [index], "o", color=colour, ms=6)
        if reference is not None:
            axes.axvline(scale * reference, color=MUTED, lw=1, ls=(0, (4, 3)), zorder=0)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("%" if percent else "")
        return _svg(figure)


def _colour(estimate: Estimate, reference: float | None) -> str:
    if reference is None or not estimate.excludes(reference):
        return INK
    return ACCENT if estimate.low > reference else BAD


def curve_plot(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    diagonal: bool = False,
    log_x: bool = False,
) -> str:
    """Return a line plot with a legend.

    Parameters
    ----------
    lines : Mapping[str, tuple[Sequence[float], Sequence[float]]]
        x and y of the points of each line, by label.
    x_label, y_label : str
        Labels of the axes, with units.
    diagonal : bool, default False
        If true, draw the diagonal from (0, 0) to (1, 1), as for perfect calibration.
    log_x : bool, default False
        If true, the x axis is logarithmic with base 2.

    Returns
    -------
    str
        SVG element.
    """
    with _drawing(width=5.2, height=3.4) as (figure, axes):
        colours = [ACCENT, INK, BAD, MUTED]
        for i, (label, (x, y)) in enumerate(lines.items()):
            axes.plot(x, y, "o-", color=colours[i % len(colours)], lw=1.8, ms=4, label=label)
        if diagonal:
            axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)), zorder=0)
        if log_x:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(lines) > 1:
            axes.legend(frameon=False)
        return _svg(figure)


def histogram_plot(groups: Mapping[str, Floats], *, x_label: str, bins: int = 24) -> str:
    """Return overlaid histograms of several groups of values.

    Parameters
    ----------
    groups : Mapping[str, Floats]
        Values of each group by label, each of shape ``(n,)``.
    x_label : str
        Label of the x axis, with its unit.
    bins : int, default 24
        Number of bins over the common range.

    Returns
    -------
    str
        SVG element.
    """
    with _drawing(width=5.2, height=2.8) as (figure, axes):
        pooled = np.concatenate(list(groups.values()))
        edges = np.histogram_bin_edges(pooled, bins=bins)
        colours = [MUTED, ACCENT, BAD]
        for i, (label, values) in enumerate(groups.items()):
            axes.hist(values, bins=edges.tolist(), color=colours[i % 3], alpha=0.55, label=label)
        axes.set_xlabel(x_label)
        axes.set_ylabel("prompts")
        axes.legend(frameon=False)
        return _svg(figure)


_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "backtalk",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def _drawing(*, width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, rarely needed
    from matplotlib.style import context  # noqa: PLC0415

    with context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.grid(axis="x", color=MUTED, alpha=0.25, lw=0.6)
        yield figure, axes


def _svg(figure: Figure) -> str:
    page = io.StringIO()
    figure.savefig(page, format="svg", transparent=True, metadata={"Date": None})
    svg = page.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ?([\d.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", svg)
    size = r'width="([\d.]+)pt" height="[\d.]+pt"'
    return re.sub(size, r'role="img" style="width: \1pt"', svg, count=1)
