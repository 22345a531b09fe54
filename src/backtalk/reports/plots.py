"""The plots of a report, as SVG that stands in a page and takes on its colours and fonts."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backtalk.stats.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

INK = "#101010"
"""Stands for the colour of the page's text, and is replaced by it."""
ACCENT = "#2563eb"
MUTED = "#9ca3af"
BAD = "#dc2626"


def interval_plot(
    rows: Mapping[str, Estimate], *, reference: float | None = None, percent: bool = True
) -> str:
    """Return one line a row: the estimate as a dot, its interval as a bar.

    Parameters
    ----------
    rows : Mapping[str, Estimate]
        The estimates by their label, the first at the top.
    reference : float, optional
        Where a vertical line stands: 0.5 for a win rate, 0 for a difference. Intervals that lie
        wholly above it are drawn in the accent colour, wholly below it in red.
    percent : bool, default True
        Whether the axis counts in hundredths.
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
    """Return lines through points, each with its label at its end.

    Parameters
    ----------
    lines : Mapping[str, tuple[Sequence[float], Sequence[float]]]
        The x and y of each line's points by its label.
    x_label, y_label : str
        What the axes count, with the unit.
    diagonal : bool, default False
        Whether to draw where y equals x: perfect calibration.
    log_x : bool, default False
        Whether the x axis doubles rather than adds.
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


def histogram_plot(groups: Mapping[str, Array], *, x_label: str, bins: int = 24) -> str:
    """Return how often each value occurs, the groups drawn over one another.

    Parameters
    ----------
    groups : Mapping[str, Array]
        The values of each group by its label.
    x_label : str
        What the values count, with the unit.
    bins : int, default 24
        How many bars the common range is cut into.
    """
    with _drawing(width=5.2, height=2.8) as (figure, axes):
        everything = np.concatenate(list(groups.values()))
        edges = np.histogram_bin_edges(everything, bins=bins)
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
    drawn = page.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(INK, "currentColor")
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r"font: ?([\d.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", drawn)
    size = r'width="([\d.]+)pt" height="[\d.]+pt"'
    return re.sub(size, r'role="img" style="width: \1pt"', drawn, count=1)
