"""A report begins with answers before and after, and its figures can be read."""

import json
import re

import numpy as np
import pytest

from backtalk.decode import Sample
from backtalk.evaluate.cost import AnswerCost
from backtalk.evaluate.examples import Example
from backtalk.evaluate.judges.info import JudgeInfo
from backtalk.evaluate.result import Evaluation, Measure
from backtalk.models.spec import NamedSpec
from backtalk.policy import Lineage, Policy
from backtalk.reports import evaluation_report
from backtalk.reports.before_after import rounded
from backtalk.reports.kinds import KindResult, explain_best
from backtalk.stats import Estimate
from backtalk.stats.win_rate import win_rate

HASH = "4f" * 32
PLAIN = Policy(model=NamedSpec(name="small"), decoder=Sample(), name="plain")
BETTER = Policy(
    model=NamedSpec(name="small"),
    system="Be brief.",
    name="better",
    lineage=Lineage(method="sft", options={"beta": 0.123456789012345}, notes={"reward": HASH}),
)
EXAMPLES = [
    Example(prompt=f"Q{i}", candidate="new", baseline="old", candidate_value=1, baseline_value=0)
    for i in range(5)
]


def estimate(value, low, high):
    return Estimate(value, low, high, 0.95, 40, None, "score")


def evaluation(**changes):
    rate = estimate(0.7, 0.6, 0.8)
    fields = {
        "candidate": BETTER.id,
        "baseline": PLAIN.id,
        "judge": "Bradley-Terry",
        "judge_info": JudgeInfo(name="Bradley-Terry", kind="reward", digest=HASH),
        "split": "held-out",
        "prompts": 40,
        "prompts_digest": HASH,
        "seed": 0,
        "win_rate": rate,
        "value": Measure(name="score", candidate=rate, baseline=rate, difference=rate),
        "longer_wins": rate,
        "length_ratio": 1.0,
        "candidate_cost": AnswerCost(calls=16, prompt_tokens=160, completion_tokens=320),
        "baseline_cost": AnswerCost(calls=1, prompt_tokens=10, completion_tokens=20),
    }
    return Evaluation(**fields | changes)


@pytest.fixture(scope="module")
def report():
    return evaluation_report(evaluation(), BETTER, PLAIN, examples=EXAMPLES)


def test_a_report_begins_with_the_result_and_answers_before_and_after(report):
    first = report.sections[0]
    assert report.lead.startswith("The candidate is better: it wins 70.0 % [60.0, 80.0]")
    assert "by Bradley-Terry" in report.lead
    assert "table" not in {block.kind for block in first.blocks}
    pairs = [block for block in first.blocks if block.kind == "side_by_side"]
    assert [(pair.left.label, pair.left.text) for pair in pairs] == [("before: plain", "old")] * 3
    assert [pair.prompt for pair in pairs] == ["Q0", "Q2", "Q4"]
    assert pairs[0].right.label == "after: better"
    assert report.to_html().count('class="pair"') == len(EXAMPLES)


def test_a_report_shows_no_hash_and_no_long_number_but_its_file_of_numbers_has_them(report):
    text = re.sub(
        r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", " ", report.to_html(), flags=re.DOTALL
    )
    assert not re.search(r"[0-9a-f]{16,}", text)
    assert not re.search(r"\d\.\d{6,}", text)
    assert json.loads(report.to_json())["candidate"]["lineage"]["notes"]["reward"] == HASH
    assert json.loads(report.to_json())["candidate"]["id"] == BETTER.id


def test_a_report_shows_the_judge_and_the_cost_of_an_answer(report):
    page = report.to_html()
    assert "Judge: Bradley-Terry, a reward fitted on unknown feedback." in page
    (cost,) = (section for section in report.sections if section.title == "Cost of an answer")
    assert cost.blocks[0].rows[0] == ("model calls", "16", "1", "16.0")


def test_evaluations_of_earlier_versions_have_no_section_of_cost():
    report = evaluation_report(evaluation(candidate_cost=None), BETTER, PLAIN)
    assert "Cost of an answer" not in [section.title for section in report.sections]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.8123456789, "0.8123"), (1e-7, "1e-07"), (HASH, "4f4f4f4f"), (12, "12"), ("Hi", "Hi")],
)
def test_values_are_shortened(value, shown):
    assert rounded(value) == shown


def kind(name, wins, pairs):
    wins = np.array(wins, dtype=float)
    return KindResult(name, win_rate(wins).estimate, wins, pairs, 0.7)


def test_all_kinds_below_the_best_kind_are_explained_by_their_figures():
    together = kind("all", [1, 0, 1, 1, 0, 1, 0, 1], 100)
    alone = [
        kind("ranking", [1, 1, 1, 1, 0, 1, 0, 1], 20),
        kind("rating", [0, 0, 1, 0, 0, 1, 0, 1], 80),
    ]
    text = " ".join(explain_best(together, alone))
    assert "less often than ranking alone: -12.5 [" in text
    assert "no difference is shown" in text
    assert "80 % of them come from kinds that alone win less" in text
    assert "80 pairs and 38 % wins alone" in text


def test_a_clear_difference_is_not_called_an_error_of_sampling():
    text = " ".join(explain_best(kind("all", [0] * 60, 9), [kind("edit", [1] * 60, 9)]))
    assert "no difference" not in text


def test_nothing_is_explained_if_all_kinds_together_are_best():
    assert explain_best(kind("all", [1, 1], 9), [kind("edit", [1, 0], 9)]) == []
