"""Real data sets: every row is read, and the records agree with the source's own figures."""

import csv
import gzip
import json
from collections import Counter, defaultdict
from statistics import fmean

import pytest

from backtalk.feedback import Critique, Demonstration, Edit, Label, Outcome, Preference, Spans
from backtalk.feedback.conversions import views
from backtalk.feedback.views import Pair
from backtalk.formats import ParsedRow, RejectedRow, RowMapping, export, read


def read_cases(path, **options):
    rows = list(read(path, **options))
    assert [row for row in rows if isinstance(row, RejectedRow)] == []
    return [case for row in rows for case in row.cases]


def read_json_lines(path):
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def test_hh_rlhf_splits_each_dialogue_where_the_transcripts_diverge(data):
    path = data / "hh_rlhf_harmless.jsonl.gz"
    cases = read_cases(path)
    assert len(cases) == 1500
    several_turns = 0
    for row, case in zip(read_json_lines(path), cases, strict=True):
        (item,) = case.of(Preference)
        assert item.verdict == "a"
        chosen, rejected = case.text(item.chosen), case.text(item.rejected)
        last, b = (
            row[name].rsplit("\n\nAssistant:", 1)[1].strip() for name in ("chosen", "rejected")
        )
        assert row["chosen"].endswith(chosen)
        assert row["rejected"].endswith(rejected)
        prompt = case.interaction.prompt
        assert prompt[0].role == prompt[-1].role == "user"
        assert all(f": {message.text}" in row["rejected"] for message in prompt if message.text)
        several_turns += chosen.strip() != last or rejected.strip() != b
    assert several_turns == 4
    shorter = sum(len(case.text("0")) < len(case.text("1")) for case in cases)
    assert shorter == 826


def test_fine_grained_qa_keeps_spans_missing_information_edits_and_every_comparison(data):
    cases = read_cases(data / "fine_grained_qa_feedback.jsonl.gz")
    assert len(cases) == 350
    preferences = [item for case in cases for item in case.of(Preference)]
    assert len(preferences) == 2100
    assert Counter(item.verdict for item in preferences)["tie"] == 267
    spans = [(case, item, span) for case in cases for item in case.of(Spans) for span in item.spans]
    assert len(spans) == 922
    assert all(span.end <= len(case.text(item.response)) for case, item, span in spans)
    assert sum(len(case.of(Critique)) for case in cases) == 574
    assert all(len(case.interaction.responses) == 4 for case in cases)
    assert all(e.text != case.text(e.response) for case in cases for e in case.of(Edit))


def test_ilf_has_critiques_repairs_and_outcomes(data):
    path = data / "ilf_mbpp_feedback.jsonl.gz"
    cases = read_cases(path)
    assert len(cases) == 140
    assert all(len(case.of(Critique)) == 1 for case in cases)
    rows = read_json_lines(path)
    key = "Feedback"
    assert [c.of(Critique)[0].text.strip() for c in cases] == [r[key].strip() for r in rows]
    kinds = Counter(item.kind for case in cases for item in case.feedback)
    assert set(kinds) >= {"critique", "edit", "outcome"}


def test_gsm8k_has_an_outcome_for_every_solution(data):
    path = data / "gsm8k_solutions.jsonl.gz"
    cases = read_cases(path)
    assert len(cases) == 900
    passed = sum(case.of(Outcome)[i].passed for case in cases for i in range(len(case.of(Outcome))))
    expected = 0
    for row in read_json_lines(path):
        expected += json.dumps(row).count('"is_correct": true')
    assert passed == expected
    assert all(len(case.of(Demonstration)) <= 1 for case in cases)


def test_alpaca_eval_keeps_the_judges_probability(data):
    import pyarrow.parquet as pq

    options = {"baseline": str(data / "alpaca_eval_baseline.parquet")}
    cases = read_cases(data / "alpaca_eval_outputs.parquet", options=options)
    table = pq.read_table(data / "alpaca_eval_outputs.parquet")
    assert len(cases) == table.num_rows == 22_537
    stated = [case.of(Preference)[0].probability for case in cases]
    assert stated == table["preference"].to_pylist()
    assert {case.of(Preference)[0].annotator.kind for case in cases} == {"model"}
    assert len({case.interaction.responses[0].model for case in cases}) == 28


def test_published_win_rates_follow_from_the_stored_records(data):
    options = {"baseline": str(data / "alpaca_eval_baseline.parquet")}
    stated = defaultdict(list)
    for case in read_cases(data / "alpaca_eval_outputs.parquet", options=options):
        (pair,) = views(case, Pair)
        (item,) = case.of(Preference)
        model, _ = case.interaction.responses
        model_won = pair.chosen == case.text(item.a) and not pair.tie
        stated[model.model].append(pair.probability if model_won else 1 - pair.probability)
    with (data / "alpaca_eval_leaderboard.csv").open(newline="") as lines:
        published = {row["model"]: float(row["win_rate"]) for row in csv.DictReader(lines)}
    assert len(published) == 28
    for model, win_rate in published.items():
        assert 100 * fmean(stated[model]) == pytest.approx(win_rate, abs=0.1), model


def test_pairs_of_real_dialogues_come_back_from_an_export(data, tmp_path):
    cases = read_cases(data / "hh_rlhf_harmless.jsonl.gz")
    summary = export(cases, tmp_path / "x.jsonl.zst", "trl-preference")
    assert (summary.rows, summary.left_out, summary.dropped) == (1500, 0, {})
    restored = read_cases(tmp_path / "x.jsonl.zst")
    for case, again in zip(cases, restored, strict=True):
        assert case.interaction.prompt == again.interaction.prompt
        for a, b in zip(case.interaction.responses, again.interaction.responses, strict=True):
            assert a.messages == b.messages
            assert a.messages or a.text == b.text


def test_ties_are_counted_when_comparisons_are_exported(data, tmp_path):
    cases = read_cases(data / "fine_grained_qa_feedback.jsonl.gz")
    summary = export(cases, tmp_path / "x.parquet", "trl-preference")
    assert summary.dropped["a tie, which is no preference"] == 267
    edits = sum(len(case.of(Edit)) for case in cases)
    assert 2100 - 267 <= summary.rows <= 2100 - 267 + edits


def test_without_the_baseline_alpaca_evals_rows_are_rejected_with_the_remedy(data):
    rows = read(data / "alpaca_eval_outputs.parquet")
    first = next(iter(rows))
    assert isinstance(first, RejectedRow)
    assert "baseline=FILE" in first.reason


def test_a_mapping_reads_comments_on_lectures(data):
    path = data / "sight_feedback.csv.gz"
    mapping = RowMapping.from_yaml(
        "id: comment_id\n"
        "feedback:\n"
        "  - {kind: critique, column: comment}\n"
        "metadata: [playlist_name]\n"
    )
    rows = list(read(path, format=mapping))
    with gzip.open(path, "rt", newline="") as lines:
        expected = [row["comment"] for row in csv.DictReader(lines)]
    assert len(rows) == len(expected) > 7000
    good = [row for row in rows if isinstance(row, ParsedRow)]
    assert len(good) > 0.99 * len(rows)
    texts = {item.text for row in good for item in row.feedback}
    assert texts >= {text for text in expected[:200] if text.strip()}


@pytest.mark.parametrize("name", ["hh_rlhf_harmless.jsonl.gz", "fine_grained_qa_feedback.jsonl.gz"])
def test_reading_twice_gives_the_same_records(data, name):
    assert read_cases(data / name) == read_cases(data / name)


def test_comparisons_yield_no_labels(data):
    cases = read_cases(data / "hh_rlhf_harmless.jsonl.gz")
    assert not any(case.of(Label) for case in cases)
