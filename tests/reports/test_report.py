"""Reports are self-contained files, with their numbers as JSON."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from backtalk.reports.plots import curve_plot, histogram_plot, interval_plot
from backtalk.reports.report import (
    Figure,
    LabelledText,
    Paragraph,
    Report,
    SideBySide,
    Table,
    estimate_table,
    format_percent,
    format_points,
)
from backtalk.stats import Estimate

NASTY = "<script>alert('x')</script> & \"quotes\""


def estimate(value=0.6, low=0.5, high=0.7):
    return Estimate(value, low, high, 0.95, 40, 20, "score")


def full_report():
    plot = interval_plot({"ours": estimate(), NASTY: estimate(0.4, 0.3, 0.5)}, reference=0.5)
    return Report(NASTY, NASTY, numbers={"n": 3, "rate": 0.25}).with_section(
        NASTY,
        Paragraph(NASTY, "verdict bad"),
        Table((NASTY,), ((NASTY,),)),
        Figure(plot, NASTY),
        SideBySide(NASTY, LabelledText(NASTY, NASTY, "1"), LabelledText(NASTY, NASTY)),
        estimate_table([(NASTY, estimate())]),
    )


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in {"src", "href"} and v]


def test_text_is_escaped_and_nothing_is_fetched():
    page = full_report().to_html()
    result = Tags()
    result.feed(page)
    assert "script" not in result.tags
    assert [link for link in result.links if not link.startswith("#")] == []
    assert "url(http" not in page
    assert "@import" not in page
    assert page.count("&lt;script&gt;") >= 10
    assert {"h1", "h2", "table", "svg", "figure"} <= set(result.tags)


def test_the_numbers_are_written_beside_the_page(tmp_path):
    page, numbers = full_report().write(tmp_path / "out.html")
    assert json.loads(numbers.read_text()) == {"n": 3, "rate": 0.25}
    assert page.read_text().startswith("<!doctype html>")


def test_intervals_are_written_out():
    assert format_percent(estimate()) == "60.0 % [50.0, 70.0]"
    assert format_points(estimate(-0.1, -0.2, 0.05)) == "-10.0 [-20.0, +5.0]"


PLOTS = {
    "intervals": lambda: interval_plot({"a": estimate(), "b": estimate()}, reference=0.5),
    "one": lambda: interval_plot({"a": estimate()}),
    "many": lambda: interval_plot({str(i): estimate() for i in range(40)}, percent=False),
    "curves": lambda: curve_plot(
        {"x": ([1, 2, 4], [0.1, 0.4, 0.3])}, x_label="n", y_label="p", log_x=True
    ),
    "diagonal": lambda: curve_plot(
        {"x": ([0.0, 1.0], [0.0, 1.0])}, x_label="predicted", y_label="observed", diagonal=True
    ),
    "histogram": lambda: histogram_plot({"a": np.arange(9.0), "b": np.ones(4)}, x_label="n"),
    "constant": lambda: histogram_plot({"a": np.ones(4)}, x_label="n"),
}


@pytest.mark.parametrize("name", PLOTS)
def test_plots_are_well_formed_and_the_same_each_time(name):
    first = PLOTS[name]()
    root = ET.fromstring(first)
    assert root.tag.endswith("svg")
    assert root.get("role") == "img"
    assert "currentColor" in first

    def without_ids(svg):
        return re.sub(r'(id="|url\(#|href="#)[^")]+', "", svg)

    assert without_ids(PLOTS[name]()) == without_ids(first)


def test_a_label_cannot_break_a_plot():
    assert ET.fromstring(interval_plot({"<b>&": estimate()})) is not None
