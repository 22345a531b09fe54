"""inspect_ai: scores of samples as outcomes, from JSON logs and from .eval archives."""

import io
import json
import zipfile

import pytest
import zstandard

from backtalk.feedback import Annotator, Message, Outcome
from backtalk.formats import FORMATS, ParsedRow, RejectedRow, read
from backtalk.testing.formats import FormatLaws
from tests.formats.annotation_tool_rows import RUN, log, sample
from tests.formats.samples import read_case, write_rows

HEADER = {"version": 2, "status": "success", "eval": RUN}
CALL = {"id": "c1", "function": "add", "arguments": {"x": 2, "y": 2}, "type": "function"}
NAN = float("nan")


class TestLaws(FormatLaws):
    def format(self):
        return FORMATS.get("inspect-ai")

    def rows(self):
        return [log(sample(), sample(2, "5")), log(sample(3, uuid=None))]


def write_archive(path, entries, method=zipfile.ZIP_DEFLATED):
    """Write an .eval log; method 93 is Zstandard, as recent versions write it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if method == 93 else method) as archive:
        for name, content in entries.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            archive.writestr(name, zstandard.compress(data) if method == 93 else data)
            if method == 93:
                info = archive.infolist()[-1]
                info.compress_type, info.file_size, info.CRC = 93, len(data), zipfile.crc32(data)
                archive.fp.seek(info.header_offset)
                archive.fp.write(info.FileHeader())
                archive.fp.seek(0, io.SEEK_END)
                archive.start_dir = archive.fp.tell()
    return path


def read_score(tmp_path, value, name="match", run=RUN, **options):
    """Return the only outcome of a sample with that score."""
    row = {**log(sample(scores={name: {"value": value}})), "eval": run}
    (outcome,) = read_case(write_rows(tmp_path / "x.jsonl", row), options=options).feedback
    return outcome


def read_reason(tmp_path, value, **options):
    row = log(sample(scores={"length": {"value": value}}))
    (bad,) = read(write_rows(tmp_path / "x.jsonl", row), options=options)
    assert isinstance(bad, RejectedRow), bad
    return bad.reason


def test_a_sample_is_an_interaction_with_an_outcome(tmp_path):
    case = read_case(write_rows(tmp_path / "x.jsonl", log(sample())))
    interaction = case.interaction
    assert interaction.prompt == (Message.user("2 + 2?"),)
    (response,) = interaction.responses
    assert (response.text, response.model, response.sample) == ("4", "openai/gpt-4o", 0)
    assert response.metadata == {"model": "gpt-4o-2024-08-06"}
    assert interaction.time.isoformat() == "2026-03-01T09:00:01.500000+00:00"
    assert interaction.metadata == {
        "task": "sums",
        "sample": "one",
        "epoch": 1,
        "target": "4",
        "metadata": {"level": 1},
    }
    (outcome,) = case.of(Outcome)
    assert outcome.annotator == Annotator.verifier("match")
    assert (outcome.passed, outcome.score, outcome.text, outcome.time) == (True, 1, "4", None)
    assert outcome.metadata == {"answer": "4", "value": "C"}


@pytest.mark.parametrize(
    ("value", "passed", "score"),
    [
        ("C", True, 1),
        ("I", False, 0),
        ("P", None, 0.5),
        ("N", False, 0),
        (True, True, 1),
        (False, False, 0),
        (1, True, 1),
        (0.0, False, 0),
        (0.25, None, 0.25),
        ("0.25", None, 0.25),
        ("Yes", True, 1),
        ("false", False, 0),
    ],
)
def test_values_of_scores(value, passed, score, tmp_path):
    outcome = read_score(tmp_path, value)
    assert (outcome.passed, outcome.score) == (passed, score)


def test_a_score_of_several_values_gives_an_outcome_each(tmp_path):
    row = log(sample(scores={"d": {"value": {"a": 0.5, "b": "C", "c": None}}, "l": {"value": [1]}}))
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert {item.annotator.id: item.score for item in case.of(Outcome)} == {
        "d/a": 0.5,
        "d/b": 1,
        "l/0": 1,
    }
    assert case.interaction.metadata["unscored"] == ["d/c"]


def test_each_scorer_is_an_annotator_and_a_judge_is_a_model(tmp_path):
    grading = [{"role": "user", "content": "?"}, {"role": "assistant", "model": "other/judge"}]
    row = log(
        sample(
            scores={
                "match": {"value": "C"},
                "model_graded_qa": {"value": "I"},
                "rubric": {"value": "C", "metadata": {"grading": grading}},
            }
        )
    )
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert [item.annotator for item in case.of(Outcome)] == [
        Annotator.verifier("match"),
        Annotator.model("model_graded_qa", revision="openai/judge"),
        Annotator.model("rubric", revision="other/judge"),
    ]


def test_a_score_that_a_person_edited_is_by_that_person(tmp_path):
    edit = {
        "value": "C",
        "provenance": {"timestamp": "2026-03-02T10:00:00+00:00", "author": "ada", "reason": "ok"},
    }
    score = {"value": "C", "history": [{"value": "I", "provenance": None}, edit]}
    row = log(sample(scores={"match": score}))
    (outcome,) = read_case(write_rows(tmp_path / "x.jsonl", row)).of(Outcome)
    assert outcome.annotator == Annotator.human("ada")
    assert outcome.time.isoformat() == "2026-03-02T10:00:00+00:00"
    assert outcome.metadata["scorer"] == "match"
    edit["value"] = "UNCHANGED"
    (outcome,) = read_case(write_rows(tmp_path / "x.jsonl", row)).of(Outcome)
    assert outcome.annotator == Annotator.verifier("match")


def test_epochs_are_samples_of_the_same_prompt(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(log(sample(), sample(2, "5")), indent=2))
    rows = list(read(tmp_path / "x.json"))
    assert [row.line for row in rows] == [1, 2]
    cases = [case for row in rows for case in row.cases]
    assert [case.interaction.responses[0].sample for case in cases] == [0, 1]
    assert cases[0].interaction.id != cases[1].interaction.id


def test_tool_calls_are_messages_of_the_answer(tmp_path):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "2 + 2?"}], "source": "input"},
        {"role": "assistant", "content": "", "source": "generate", "tool_calls": [CALL]},
        {"role": "tool", "content": "4", "tool_call_id": "c1", "function": "add"},
        {
            "role": "assistant",
            "source": "generate",
            "content": [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "4"}],
        },
    ]
    case = read_case(write_rows(tmp_path / "x.jsonl", log(sample(messages=messages))))
    assert case.interaction.prompt == (Message.system("Be brief."), Message.user("2 + 2?"))
    call, tool, answer = case.interaction.responses[0].messages
    assert call.tool_calls == (
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "add", "arguments": '{"x":2,"y":2}'},
        },
    )
    assert (tool.role, tool.content, tool.tool_call_id) == ("tool", "4", "c1")
    assert answer == Message.assistant("4")


def test_an_answer_begins_after_the_last_turn_of_the_user(tmp_path):
    messages = [
        {"role": "user", "content": "2 + 2?", "source": "input"},
        {"role": "assistant", "content": "5", "source": "generate"},
        {"role": "user", "content": "Try again."},
        {"role": "assistant", "content": "4", "source": "generate"},
        {"role": "user", "content": "Go on."},
    ]
    case = read_case(write_rows(tmp_path / "x.jsonl", log(sample(messages=messages))))
    assert [message.text for message in case.interaction.prompt] == ["2 + 2?", "5", "Try again."]
    assert case.text("0") == "4"


def test_examples_in_the_input_are_no_answer(tmp_path):
    messages = [
        {"role": "user", "content": "1 + 1?", "source": "input"},
        {"role": "assistant", "content": "2", "source": "input"},
        {"role": "user", "content": "2 + 2?", "source": "input"},
    ]
    failed = sample(
        messages=messages, scores={}, output={"choices": []}, error={"message": "Timeout"}
    )
    case = read_case(write_rows(tmp_path / "x.jsonl", log(failed)))
    assert len(case.interaction.prompt) == 3
    assert (case.interaction.responses, case.feedback) == ((), ())
    assert case.interaction.metadata["error"] == "Timeout"


def test_attachments_are_put_in_their_places(tmp_path):
    messages = [
        {"role": "user", "content": "attachment://a1", "source": "input"},
        {"role": "assistant", "content": "attachment://a2", "source": "generate"},
    ]
    row = log(sample(messages=messages, attachments={"a1": "A long text?", "a2": "Yes."}))
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert (case.interaction.prompt[0].text, case.text("0")) == ("A long text?", "Yes.")


def test_an_answer_that_the_agent_submitted_is_kept_beside_its_messages(tmp_path):
    row = log(sample(output={"model": "openai/gpt-4o", "completion": "four"}))
    (response,) = read_case(write_rows(tmp_path / "x.jsonl", row)).interaction.responses
    assert (response.text, response.metadata) == ("4", {"completion": "four"})


def test_scores_of_an_invalidated_sample_are_no_feedback(tmp_path):
    row = log(sample(invalidation={"author": "ada", "reason": "The sandbox was down"}))
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert case.feedback == ()
    assert case.interaction.metadata["unread_scores"] == {"match": "C"}


def test_unknown_words_and_numbers_need_an_option(tmp_path):
    assert "scores.length.value: expected a score, got 'great'" in read_reason(tmp_path, "great")
    assert "scale=length=LOW-HIGH" in read_reason(tmp_path, 7.5)
    assert "is not on the scale 0 to 5" in read_reason(tmp_path, 7.5, scale="0-5")
    assert read_score(tmp_path, "great", passed="great,good").passed is True
    assert read_score(tmp_path, "poor", failed="poor").passed is False
    assert read_score(tmp_path, 7.5, scale="match=0-10, other=0-5").score == 0.75
    assert read_score(tmp_path, "C", scale="0-10").score == 1


def test_the_single_score_of_the_oldest_logs_is_read(tmp_path):
    old = sample(score={"value": "I"})
    del old["scores"], old["uuid"]
    (outcome,) = read_case(write_rows(tmp_path / "x.jsonl", log(old))).of(Outcome)
    assert (outcome.annotator, outcome.passed) == (Annotator.verifier("scorer"), False)


def test_only_the_named_scorers_are_read(tmp_path):
    row = log(sample(scores={"match": {"value": "C"}, "length": {"value": 300}}))
    case = read_case(write_rows(tmp_path / "x.jsonl", row), options={"scorers": "match"})
    assert [item.annotator.id for item in case.feedback] == ["match"]
    assert case.interaction.metadata["unread_scores"] == {"length": 300}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 93])
def test_an_archive_has_the_rows_of_the_json_log(method, tmp_path):
    scores = {"match": {"value": "I"}, "judge": {"value": NAN}}
    samples = {f"samples/one_epoch_{i}.json": sample(i, scores=scores) for i in (1, 2)}
    start, summaries = "_journal/start.json", {"summaries.json": []}
    path = write_archive(
        tmp_path / "x.eval", {start: HEADER, **samples, **summaries, "header.json": HEADER}, method
    )
    rows = list(read(path))
    assert [row.line for row in rows] == [1, 2]
    (tmp_path / "x.jsonl").write_text(
        json.dumps(log(*samples.values())).replace("NaN", "null"), encoding="utf-8"
    )
    assert [row.cases for row in rows] == [row.cases for row in read(tmp_path / "x.jsonl")]
    assert rows[0].cases[0].interaction.metadata["unscored"] == ["judge"]


def test_an_unfinished_archive_is_read_without_a_header(tmp_path):
    entries = {"_journal/start.json": HEADER, "samples/one_epoch_1.json": sample()}
    (row,) = read(write_archive(tmp_path / "x.eval", entries, 93))
    assert len(row.cases) == 1


def test_a_folder_of_logs_is_read(tmp_path):
    for name in ("a.eval", "b.eval"):
        entries = {"header.json": HEADER, "samples/one_epoch_1.json": sample(uuid=name)}
        write_archive(tmp_path / name, entries)
    assert [isinstance(row, ParsedRow) for row in read(tmp_path)] == [True, True]


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"notes.txt": b"x"}, "not an .eval log: the archive has no header.json"),
        ({"header.json": b"{"}, "header.json: "),
        ({"header.json": HEADER}, "the log has no samples"),
    ],
)
def test_an_archive_that_is_no_log_is_rejected(entries, reason, tmp_path):
    (bad,) = read(write_archive(tmp_path / "x.eval", entries))
    assert isinstance(bad, RejectedRow)
    assert reason in bad.reason


def test_a_damaged_sample_affects_no_other(tmp_path):
    entries = {
        "header.json": HEADER,
        "samples/a_epoch_1.json": b"{",
        "samples/b_epoch_1.json": sample(),
    }
    bad, good = read(write_archive(tmp_path / "x.eval", entries))
    assert (bad.line, "samples/a_epoch_1.json" in bad.reason) == (1, True)
    assert isinstance(good, ParsedRow)
    path = write_archive(tmp_path / "y.eval", entries | {"samples/a_epoch_1.json": sample()}, 93)
    content = path.read_bytes()
    start = content.index(b"samples/a_epoch_1.json") + 60
    path.write_bytes(content[:start] + bytes(20) + content[start + 20 :])
    bad, good = read(path)
    assert "damaged" in bad.reason
    assert isinstance(good, ParsedRow)


def test_a_spoiled_sample_is_rejected_and_can_be_mended(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(log(sample(), sample(2, scores={"a": 1}))))
    good, bad = read(tmp_path / "x.json")
    assert isinstance(good, ParsedRow)
    assert (bad.line, bad.reason) == (2, "samples.0.scores.a: expected an object, got 1")
    bad.raw["samples"][0]["scores"] = {}
    assert isinstance(next(iter(read(write_rows(tmp_path / "y.jsonl", bad.raw)))), ParsedRow)
