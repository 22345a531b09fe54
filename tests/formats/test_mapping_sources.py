"""Mappings: templates, constants, paths into cells, conversations and scales."""

import json

import pytest

from backtalk.errors import RecordError
from backtalk.feedback import Annotator, Demonstration, Label, Outcome, Preference, Rating
from backtalk.formats import RowMapping

LABEL = "feedback: [{kind: label, column: ok}]"


def parse_case(mapping, row):
    (case,) = RowMapping.from_yaml(mapping).parse(row)
    for item in case.feedback:
        item.check(case.interaction)
    return case


def chat(*texts):
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


def prompt_of(prompt, row):
    mapping = json.dumps(
        {
            "prompt": prompt,
            "responses": ["x"],
            "feedback": [{"kind": "label", "column": {"constant": "good"}}],
        }
    )
    (message,) = parse_case(mapping, {"x": "4", **row}).interaction.prompt
    return message.text


TEMPLATE = {"template": "{instruction}\n\n### Input:\n{input}\nLanguage: {language}\n\nBe brief."}


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"instruction": "Sum up.", "input": "A text.", "language": "French"},
            "Sum up.\n\n### Input:\nA text.\nLanguage: French\n\nBe brief.",
        ),
        (
            {"instruction": "Sum up.", "input": "A text.", "language": ""},
            "Sum up.\n\n### Input:\nA text.\n\nBe brief.",
        ),
        ({"instruction": "Sum up.", "input": None}, "Sum up.\n\nBe brief."),
        ({"instruction": " ", "input": "A text."}, "### Input:\nA text.\n\nBe brief."),
    ],
)
def test_a_template_leaves_out_what_is_empty(row, text):
    assert prompt_of(TEMPLATE, row) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{a} {b}", "one"),
        ("{b} {a}", "one"),
        ("{{{a}}}", "{one}"),
        ("{n} + {n}", "2 + 2"),
        ("{a}\n", "one"),
        ("{meta.name}: {items[kind=x].text}", "ada: yes"),
    ],
)
def test_a_template_joins_texts_numbers_and_paths(template, text):
    row = {
        "a": "one",
        "b": "",
        "n": 2.0,
        "meta": {"name": "ada"},
        "items": [{"kind": "x", "text": "yes"}],
    }
    assert prompt_of({"template": template}, row) == text


def test_values_keep_their_own_blank_lines_and_braces():
    assert prompt_of({"template": "{a}\n{b}"}, {"a": "{x}\n\n\ny", "b": ""}) == "{x}\n\n\ny"


def test_a_list_of_columns_is_joined_by_blank_lines():
    assert prompt_of(["q", "context"], {"q": "Who?", "context": "Ada."}) == "Who?\n\nAda."
    assert prompt_of(["q", "context"], {"q": "Who?"}) == "Who?"


def test_a_template_without_any_value_is_no_prompt():
    with pytest.raises(RecordError, match="q and context: missing"):
        prompt_of(["q", "context"], {"q": "", "context": None})


def test_a_template_of_lists_is_refused():
    with pytest.raises(RecordError, match="q: expected a text, got list"):
        prompt_of(["q"], {"q": ["a"]})


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("{template: plain}", "names no column"),
        ("{template: '{a} {'}", "a single '{'"),
        ("{templat: x}", "expected the name of a column, a constant or a template"),
        ("{constant: a, more: 1}", "Known: constant"),
        ("3", "expected the name of a column"),
    ],
)
def test_an_invalid_source_is_an_error(prompt, reason):
    with pytest.raises(RecordError, match=reason):
        RowMapping.from_yaml(f"{{prompt: {prompt}, responses: [x], {LABEL}}}")


def test_constants_stand_in_for_columns():
    mapping = """
    prompt: {constant: Tell a joke.}
    system: {constant: Be kind.}
    responses: [{text: x, model: {constant: small}}]
    user: {constant: bo}
    metadata: {origin: {constant: survey}, channel: meta.channel}
    feedback:
      - {kind: rating, column: stars, aspect: {column: criterion}, annotator: {constant: ada}}
      - {kind: label, column: {constant: good}, aspect: tone}
    """
    row = {"x": "Knock.", "stars": 3, "criterion": "humour", "meta": {"channel": "web"}}
    case = parse_case(mapping, row)
    assert [message.text for message in case.interaction.prompt] == ["Be kind.", "Tell a joke."]
    assert (case.interaction.user, case.interaction.responses[0].model) == ("bo", "small")
    assert case.interaction.metadata == {"origin": "survey", "channel": "web"}
    (rating, label) = case.feedback
    assert (rating.aspect, rating.annotator) == ("humour", Annotator.human("ada"))
    assert (label.good, label.aspect) == (True, "tone")


SCORES = [{"name": "brief", "value": 1}, {"name": "Helpful", "value": 3, "by": {"id": "ada"}}]


@pytest.mark.parametrize(
    "scores",
    [
        SCORES,
        json.dumps(SCORES),
        str(SCORES),
        {"name": ["brief", "helpful"], "value": [1, 3], "by": [None, {"id": "ada"}]},
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        "scores[name=helpful].value",
        "scores[name='helpful', by.id=ada].value",
        'scores[by.id="ada"].value',
    ],
)
def test_an_item_is_picked_by_its_fields(scores, path):
    mapping = json.dumps(
        {"prompt": "q", "responses": ["x"], "feedback": [{"kind": "rating", "column": path}]}
    )
    case = parse_case(mapping, {"q": "?", "x": "4", "scores": scores})
    assert [item.value for item in case.of(Rating)] == [3]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("s[1].value", 3),
        ("s[-1].value", 3),
        ("s.1.value", 3),
        ("n.[0]", None),
        ("s[7].value", None),
    ],
)
def test_an_item_is_picked_by_its_index(path, value):
    mapping = json.dumps(
        {"prompt": "q", "responses": ["x"], "feedback": [{"kind": "rating", "column": path}]}
    )
    case = parse_case(mapping, {"q": "?", "x": "4", "s": SCORES})
    assert [item.value for item in case.of(Rating)] == ([] if value is None else [value])


def test_a_column_whose_name_looks_like_a_path_is_a_column():
    mapping = "{prompt: 'a[0].b', responses: ['x.y'], feedback: [{kind: label, column: 'ok['}]}"
    case = parse_case(mapping, {"a[0].b": "?", "x.y": "4", "ok[": "up"})
    assert (case.text("0"), case.of(Label)[0].good) == ("4", True)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([*SCORES, {"name": "helpful", "value": 2}], "2 items fit"),
        ({"name": "helpful", "value": 2}, "expected a list of objects, got an object"),
        (4, "expected a list of objects, got 4"),
        ({"name": ["brief", "helpful"], "value": [2]}, "the lists of name, value differ in length"),
        ("four of five", "neither JSON nor a Python literal"),
    ],
)
def test_a_path_that_is_not_clear_is_refused(scores, reason):
    mapping = (
        "{prompt: q, responses: [x], "
        "feedback: [{kind: rating, column: 'scores[name=helpful].value'}]}"
    )
    with pytest.raises(RecordError, match=rf"scores\[name=helpful\]\.value: {reason}"):
        parse_case(mapping, {"q": "?", "x": "4", "scores": scores})


def test_an_answer_of_several_turns_keeps_its_messages():
    answer = chat("a", "b", "c")[1:] + chat("d", "e")[1:]
    case = parse_case(f"{{prompt: q, responses: [x], {LABEL}}}", {"q": "?", "x": answer, "ok": 1})
    assert [message.text for message in case.interaction.responses[0].messages] == ["b", "c", "e"]


@pytest.mark.parametrize("write", [json.dumps, str, list])
def test_messages_in_cells_are_read(write):
    row = {"q": write(chat("Hi")), "x": write(chat("", "Hello.")[1:]), "ok": 1}
    case = parse_case(f"{{prompt: q, responses: [x], {LABEL}}}", row)
    assert [(m.role, m.text) for m in case.interaction.prompt] == [("user", "Hi")]
    assert case.text("0") == "Hello."


def test_a_text_that_begins_like_a_list_is_a_text():
    row = {"q": "[1] Who?", "x": "[sic] Ada.", "ok": 1}
    case = parse_case(f"{{prompt: q, responses: [x], {LABEL}}}", row)
    assert (case.interaction.prompt[0].text, case.text("0")) == ("[1] Who?", "[sic] Ada.")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x": ["a", "b"]}, r"x: expected one answer, got a list of 2 texts.*x\[0\]"),
        ({"x": ""}, "x: empty, but there is a label of it"),
        ({"x": "nan"}, "x: 'nan' stands for a missing answer"),
        ({"x": float("nan")}, "x: nan stands for a missing answer"),
        ({"q": "NaN"}, "q: missing"),
        ({"x": '[{"role": "assistant", "content": "a"'}, "x: neither JSON"),
    ],
)
def test_an_answer_that_is_not_one_is_refused(change, reason):
    with pytest.raises(RecordError, match=reason):
        parse_case(
            f"{{prompt: q, responses: [x], {LABEL}}}", {"q": "?", "x": "4", "ok": 1, **change}
        )


@pytest.mark.parametrize("cell", ["", "nan", None])
def test_a_pair_whose_better_answer_is_missing_is_refused(cell):
    mapping = "{prompt: q, responses: [good, bad], feedback: [{kind: preference, always: a}]}"
    with pytest.raises(RecordError, match="good: "):
        parse_case(mapping, {"q": "?", "good": cell, "bad": "5"})


def test_a_conversation_ends_with_the_answer():
    mapping = "{conversation: messages, system: s, feedback: [{kind: label, column: label}]}"
    row = {"messages": chat("Hi", "Hello.", "Open?", "Go away."), "label": False, "s": "Be kind."}
    case = parse_case(mapping, row)
    roles = ["system", "user", "assistant", "user"]
    assert [message.role for message in case.interaction.prompt] == roles
    assert (case.text("0"), case.of(Label)[0].good) == ("Go away.", False)


def test_conversations_share_the_prompt():
    mapping = """
    conversation: [a, {messages: b, model: model_b}]
    feedback: [{kind: preference, column: winner}]
    """
    row = {"a": chat("Q", "1", "More", "2"), "b": chat("Q", "9"), "model_b": "m", "winner": "b"}
    case = parse_case(mapping, row)
    assert [message.text for message in case.interaction.prompt] == ["Q"]
    first, second = case.interaction.responses
    assert [message.text for message in first.messages] == ["1", "More", "2"]
    assert (second.text, second.model, case.of(Preference)[0].chosen) == ("9", "m", "1")


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (chat("Hi"), "ends with a message of role user"),
        (chat("Hi", "Hello.")[1:], "no prompt before the answer"),
        ("Hi", "expected a list of messages"),
        (None, "messages: missing"),
    ],
)
def test_a_conversation_without_an_answer_is_refused(messages, reason):
    with pytest.raises(RecordError, match=reason):
        parse_case(f"{{conversation: messages, {LABEL}}}", {"messages": messages, "ok": 1})


def test_the_answer_of_a_conversation_can_be_a_demonstration():
    mapping = "{conversation: messages, feedback: [{kind: demonstration, response: 0}]}"
    case = parse_case(mapping, {"messages": chat("Hi", "Hello.")})
    assert case.of(Demonstration)[0].text == "Hello."


@pytest.mark.parametrize("turns", [[["a", "b"]], "[['a', 'b']]", chat("a", "b")])
def test_history_precedes_the_prompt(turns):
    mapping = f"{{prompt: q, history: h, responses: [x], {LABEL}}}"
    case = parse_case(mapping, {"q": "?", "h": turns, "x": "4", "ok": 1})
    assert [message.text for message in case.interaction.prompt] == ["a", "b", "?"]


def test_a_second_system_prompt_is_refused():
    mapping = f"{{prompt: q, system: s, responses: [x], {LABEL}}}"
    row = {"q": [{"role": "system", "content": "A"}, *chat("Hi")], "x": "4", "ok": 1}
    assert len(parse_case(mapping, {**row, "s": "A"}).interaction.prompt) == 2
    with pytest.raises(RecordError, match="s: differs from the system message"):
        parse_case(mapping, {**row, "s": "B"})


@pytest.mark.parametrize(
    ("field", "value", "result"),
    [
        ("c", 0.5, 0.5),
        ("{column: c, scale: 1-9}", 5, 0.5),
        ("{column: c, scale: 0 to 100}", "25", 0.25),
        ("{column: c, scale: [1, 3]}", 3, 1.0),
        ("{constant: 0.75}", None, 0.75),
    ],
)
def test_confidence_and_scores_have_scales(field, value, result):
    mapping = (
        "{prompt: q, responses: [x], feedback: "
        f"[{{kind: label, column: ok, confidence: {field}}}, {{kind: outcome, score: {field}}}]}}"
    )
    case = parse_case(mapping, {"q": "?", "x": "4", "ok": 1, "c": value})
    assert (case.of(Label)[0].confidence, case.of(Outcome)[0].score) == (result, result)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("c", r"c: 7 is not in \[0, 1\].*confidence: \{column: c, scale: LOW-HIGH\}"),
        ("{column: c, scale: 1-5}", "c: 7 is not on the scale 1 to 5"),
    ],
)
def test_confidence_outside_its_scale_is_refused(field, reason):
    feedback = f"{{kind: label, column: ok, confidence: {field}}}"
    mapping = f"{{prompt: q, responses: [x], feedback: [{feedback}]}}"
    with pytest.raises(RecordError, match=reason):
        parse_case(mapping, {"q": "?", "x": "4", "ok": 1, "c": 7})


@pytest.mark.parametrize(
    ("feedback", "hint"),
    [
        ("{kind: label, column: l, confidence: {column: c, scal: 1}}", "Did you mean 'scale'"),
        ("{kind: preference, strength: {column: c, scale: -3-3, positiv: a}}", "'positive'"),
        ("{kind: preference, flags: {a: x, b: y, ti: z}}", "'tie'"),
        ("{kind: label, column: l, aspect: {colum: c}}", "'column'"),
        ("{kind: preference, strength: {column: c, scale: -1-3}}", "not symmetric"),
        ("{kind: preference, column: c, scores: [x, y]}", "needs one of"),
        ("{kind: spans, column: c, offsets: utf16}", "'code-points', 'utf-16' or 'utf-8'"),
        ("{kind: steps, column: c, labels: l, text: x}", "excludes text"),
        ("{kind: demonstration}", "either a column or a response"),
        ("{kind: demonstration, response: 4}", "no response 4"),
    ],
)
def test_a_mistake_in_a_nested_field_is_named(feedback, hint):
    with pytest.raises(RecordError, match=hint):
        RowMapping.from_yaml(f"{{prompt: p, responses: [o, o2], feedback: [{feedback}]}}")


def test_columns_of_a_mapping():
    mapping = RowMapping.from_yaml(
        """
    prompt: {template: "{q} {meta.topic}"}
    responses: [{text: x, model: m}]
    metadata: [only_metadata]
    feedback:
      - {kind: preference, column: w, a: {column: first}, b: {column: second}, second: 1}
      - {kind: spans, column: marks, severity: s, label: l, confidence: {column: c, scale: 1-3}}
    """.replace("[{text: x, model: m}]", "[{text: x, model: m}, y]")
    )
    columns = {"q", "meta", "meta.topic", "x", "y", "m", "w", "first", "second", "marks", "c"}
    assert mapping.columns() == columns


def test_an_answer_may_be_one_message():
    message = {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}
    row = {"q": "Open?", "raw": json.dumps({"choices": [{"message": message}]}), "good": True}
    path = "raw.choices[0].message"
    mapping = f"{{prompt: q, responses: ['{path}'], feedback: [{{kind: label, column: good}}]}}"
    assert parse_case(mapping, row).interaction.responses[0].text == "Yes."
