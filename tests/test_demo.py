"""The demo runs the whole loop, and its report agrees with the store."""

import json

import pytest

from backtalk.demo import run_demo
from backtalk.evaluate.storage import list_evaluations
from backtalk.feedback import KINDS
from backtalk.policy import list_policies
from backtalk.promotion import active_policy, promotion_history
from backtalk.store import Store
from tests import demos

REQUESTS = 160


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo"), requests=REQUESTS)


def test_many_kinds_of_feedback_go_in(demo):
    with Store(demo.store) as store:
        counts = store.counts()
    assert counts.pop("interaction") == REQUESTS
    assert set(counts) == set(KINDS)


def test_the_better_policy_is_served_and_the_wrong_one_refused(demo):
    with Store(demo.store) as store:
        active = active_policy(store)
        assert active.label == "chooser"
        assert [entry.promotion.action for entry in promotion_history(store)] == [
            "promote",
            "promote",
        ]
        assert "long-winded" in {policy.label for policy in list_policies(store)}
        result = list_evaluations(store, candidate=active.id)[0]
    assert result.split == "held-out"
    assert result.win_rate.low > 0.5
    assert all(choice.difference.low > 0 for choice in result.choices)
    assert demo.report.numbers["refused"]["win_rate"]["high"] < 0.5
    assert "not shown to be above 0.5" in demo.report.numbers["refusal"]


def test_the_report_shows_the_results(demo):
    page = demo.page.read_text()
    numbers = json.loads(demo.page.with_suffix(".json").read_text())
    rate = numbers["promoted"]["win_rate"]
    assert f"{100 * rate['value']:.1f} % [{100 * rate['low']:.1f}" in page
    assert "The gate refuses it" in page
    assert page.count("<svg") >= 4
    assert set(numbers["by kind"]) >= {"from-ranking", "from-preference", "from-edit"}


def test_a_second_run_in_the_same_folder_gives_the_same_result(demo, shared_demo, tmp_path):
    folder = shared_demo.copy(tmp_path / "demo").parent
    numbers = json.loads((folder / "report.json").read_text())
    again = run_demo(folder, requests=demos.REQUESTS, model="writer")
    repeated = json.loads((folder / "report.json").read_text())
    for evaluation in ("promoted", "refused"):
        assert repeated.pop(evaluation)["win_rate"] == numbers.pop(evaluation)["win_rate"]
    assert repeated == numbers
    printed = " ".join(shared_demo.output.split())
    assert all(line in printed for line in again.lines)
    assert again.lines != demo.lines
