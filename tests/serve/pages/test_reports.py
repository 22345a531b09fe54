"""The page Reports: charts of records, and reports of evaluations."""

from datetime import timedelta

from backtalk.feedback import Label
from backtalk.serve.pages.reports.counts import BARS, charts
from backtalk.store import Store
from tests.serve.pages.conftest import axe_violations, overflowing_elements, save_screenshot
from tests.serve.pages.project import ADA, NOON, PageClient, evaluation, fill, interaction


def test_charts_count_every_record_once_on_the_same_days():
    with Store(":memory:") as store:
        for day in range(100):
            store.add(interaction(day, time=NOON - timedelta(days=day)))
        marks = [
            Label(interaction="interaction-3", annotator=ADA, response="0", good=True, time=NOON)
            for _ in range(4)
        ]
        store.add(*marks)
        store.delete(marks[0].id)
        store.in_project("other").add(interaction(1000))
        shown = charts(store)
    assert [(chart.kind, chart.total) for chart in shown] == [("interaction", 100), ("label", 3)]
    for chart in shown:
        assert sum(bar.count for bar in chart.bars) == chart.total
        assert max(bar.height for bar in chart.bars) == 1
        assert len(chart.bars) <= BARS
        assert chart.bars[-1].last == NOON.date()
    assert [bar.days for bar in shown[0].bars] == [bar.days for bar in shown[1].bars]
    assert shown[1].bars[-1].count == 3


def test_an_empty_project_has_no_charts():
    with Store(":memory:") as store:
        assert charts(store) == []


def test_evaluations_are_listed_and_lead_to_their_reports(site):
    with site.store as store:
        plain, _, _ = fill(store)
        assert store.counts()["interaction"] == 2
    with site.open_page("ada") as page:
        page.goto("/reports")
        assert page.locator("tbody tr").count() == 2
        assert axe_violations(page) == []
        assert overflowing_elements(page) == []
        save_screenshot(page, "reports")
        page.click("tbody tr:has-text('brief') a:has-text('Report')")
        page.wait_for_url("**/reports/*")
        assert page.locator("h1").inner_text() == f"brief against {plain.name}"
        assert page.locator("figure svg").count() >= 1
        page.goto("/reports")


def test_a_report_is_sandboxed_without_scripts(gateway):
    with gateway.store as store:
        plain, brief, _ = fill(store)
        comparison = evaluation(brief, plain)
        store.documents.put("evaluation", comparison.id, comparison.to_json())
    ada = PageClient(gateway)
    response = ada.get(f"/reports/{comparison.id}")
    rules = dict(
        part.strip().partition(" ")[::2]
        for part in response.headers["content-security-policy"].split(";")
    )
    assert rules["sandbox"] == ""
    assert rules["default-src"] == "'none'"
    assert "script-src" not in rules
    assert response.headers["x-content-type-options"] == "nosniff"
    assert ada.get("/reports/0123").status_code == 404
