"""Mappings: verdicts by number, sign, score and flag, spans, steps, and who said it."""

import json
import pickle

import pytest

from backtalk import Store
from backtalk.errors import RecordError
from backtalk.feedback import Label, Preference, Rating, Spans, Steps
from backtalk.formats import ParsedRow, RejectedRow, RowMapping, read
from backtalk.formats.ingest import ingest
from tests.formats.samples import write_rows

PAIR = {"q": "2 + 2?", "x": "4", "y": "5"}


def preference(fields, row):
    mapping = RowMapping.from_yaml(
        f"{{prompt: q, responses: [x, y], feedback: [{{kind: preference, {fields}}}]}}"
    )
    (case,) = mapping.parse({**PAIR, **row})
    for item in case.feedback:
        item.check(case.interaction)
    return case.of(Preference)


def read_verdicts(tmp_path, feedback, values, *, responses="[x, y]"):
    """Return the result of each row of a file, a record or the reason of its rejection."""
    mapping = RowMapping.from_yaml(f"{{prompt: q, responses: {responses}, feedback: [{feedback}]}}")
    rows = [{**PAIR, "n": number, "w": value} for number, value in enumerate(values)]
    return [
        row.reason if isinstance(row, RejectedRow) else row.cases[0].feedback[0]
        for row in read(write_rows(tmp_path / "rows.jsonl", *rows), format=mapping)
    ]


@pytest.mark.parametrize("value", [0, 1, "0", "1", 1.0, "1.0", -1])
def test_numbers_that_could_count_from_zero_are_refused(value):
    with pytest.raises(RecordError, match=r"w: .* could count from 0 or from 1.*a: 0 and b: 1"):
        preference("column: w", {"w": value})


@pytest.mark.parametrize(
    ("fields", "values", "verdicts"),
    [
        ("a: 0, b: 1", (0, 1.0, "1.0"), "abb"),
        ("a: 1, b: 2", (1, "2", 2.0), "abb"),
        ("a: 1, b: 0", (0, 1), "ba"),
        ("tie: 0", (1, 2), "ab"),
        ("a: 1, b: -1, tie: 0", (1, -1), "ab"),
        ("a: true, b: false", (True, "False"), "ab"),
    ],
)
def test_numbers_with_a_meaning_in_the_mapping_are_read(fields, values, verdicts):
    read_values = [preference(f"column: w, {fields}", {"w": value})[0].verdict for value in values]
    assert "".join(read_values) == verdicts


def test_numbers_that_count_from_one_are_read(tmp_path):
    items = read_verdicts(tmp_path, "{kind: preference, column: w}", [1, 1, 2, "1"])
    assert [item.verdict for item in items] == ["a", "a", "b", "a"]


@pytest.mark.parametrize(
    "values", [[0, 1], [1, 1], [0, 1, 2], [1, 2, 3], [-1, 1], ["0.0", "1.0"], [0, 2]]
)
def test_a_column_of_other_numbers_is_refused(tmp_path, values):
    for reason in read_verdicts(tmp_path, "{kind: preference, column: w}", values):
        assert "could count from 0 or from 1" in reason


def test_a_zero_late_in_a_file_is_refused(tmp_path):
    *items, reason = read_verdicts(tmp_path, "{kind: preference, column: w}", [1, 2] * 500 + [0])
    assert {item.verdict for item in items} == {"a", "b"}
    assert "does not define the value 0" in reason


@pytest.mark.parametrize("values", [[0, 1, 2], [1, 2], [-1, 0, 1], [0, 1, 0.5], [5, 1]])
@pytest.mark.parametrize("kind", ["label", "outcome"])
def test_labels_among_other_numbers_are_refused(tmp_path, kind, values):
    reasons = read_verdicts(tmp_path, f"{{kind: {kind}, column: w}}", values)
    assert all("may not mean" in reason for reason in reasons)


@pytest.mark.parametrize(
    "values", [[0, 1], ["0.0", "1.0"], [0.0, 1.0], [-1, 1], [False, True], ["👎", "👍"]]
)
def test_labels_of_two_values_are_read(tmp_path, values):
    items = read_verdicts(tmp_path, "{kind: label, column: w}", values)
    assert [item.good for item in items] == [False, True]


def test_labels_with_values_in_the_mapping_are_read(tmp_path):
    items = read_verdicts(tmp_path, "{kind: label, column: w, good: [1], bad: [0, -1]}", [-1, 0, 1])
    assert [item.good for item in items] == [False, False, True]


def test_ratings_outside_the_default_scale_are_refused_with_the_others(tmp_path):
    feedback = "{kind: rating, column: w}"
    assert all(
        "the values run from 1 to 10, not from 1 to 5" in reason
        for reason in read_verdicts(tmp_path, feedback, [1, 3, 8, 10])
    )
    good, bad = read_verdicts(tmp_path, feedback, [5, 6])
    assert isinstance(good, Rating)
    assert "6 is not on the scale 1 to 5. Name the scale" in bad
    assert read_verdicts(tmp_path, "{kind: rating, column: w, scale: 1-10}", [8, 10])[1].value == 10


def test_positions_that_seem_to_count_from_one_are_refused(tmp_path):
    reasons = read_verdicts(tmp_path, "{kind: choice, column: w}", [1, 2])
    assert all("none is 0" in reason for reason in reasons)
    items = read_verdicts(tmp_path, "{kind: choice, column: w}", [1, 0])
    assert [item.chosen for item in items] == ["1", "0"]
    items = read_verdicts(tmp_path, "{kind: choice, column: w, base: 1}", [1, 2])
    assert [item.chosen for item in items] == ["0", "1"]


def test_each_file_of_a_folder_is_settled_by_its_own_rows(tmp_path):
    for name, values in (("a", [1, 2]), ("b", [0, 1])):
        rows = [{**PAIR, "w": value} for value in values]
        write_rows(tmp_path / f"{name}.jsonl", *rows)
    mapping = RowMapping.from_yaml(
        "{prompt: q, responses: [x, y], feedback: [{kind: preference, column: w}]}"
    )
    results = [isinstance(row, ParsedRow) for row in read(tmp_path, format=mapping)]
    assert results == [True, True, False, False]


@pytest.mark.parametrize(
    ("number", "verdict", "strength"),
    [(-3, "a", 1.0), (1, "b", 1 / 3), ("2", "b", 2 / 3), (0, "tie", None)],
)
def test_the_sign_of_a_strength_is_the_verdict(number, verdict, strength):
    (item,) = preference("strength: {column: s, scale: -3-3, positive: b}", {"s": number})
    assert (item.verdict, item.strength) == (verdict, strength)
    assert preference("strength: {column: s, scale: -3-3, positive: b}", {"s": None}) == []


def test_a_sign_without_a_meaning_is_refused():
    with pytest.raises(RecordError, match="positive: b"):
        preference("strength: {column: s, scale: -3-3}", {"s": 2})


@pytest.mark.parametrize(
    ("fields", "number", "strength"),
    [
        ("{column: s, scale: 0-3}", 1, 1 / 3),
        ("{column: s, scale: 1-3}", "1", 1 / 3),
        ("{column: s, scale: -3-3}", -3, 1.0),
        ("{column: s, scale: -3-3, positive: a}", 3, 1.0),
        ("s", 0.5, 0.5),
    ],
)
def test_strength_is_a_share_of_the_strongest(fields, number, strength):
    (item,) = preference(f"column: w, strength: {fields}", {"w": "a", "s": number})
    assert item.strength == strength


@pytest.mark.parametrize(
    ("fields", "number", "reason"),
    [
        ("s", 3, r"s: 3 is not in \[0, 1\].*strength: \{column: s, scale: LOW-HIGH\}"),
        ("{column: s, scale: 0-3}", 4, "not on the scale 0 to 3"),
        ("{column: s, scale: 0-3}", 0, "strength 0 contradicts"),
        ("{column: s, scale: -3-3, positive: b}", 3, "contradicts the verdict 'a'"),
    ],
)
def test_a_strength_that_does_not_fit_is_refused(fields, number, reason):
    with pytest.raises(RecordError, match=reason):
        preference(f"column: w, strength: {fields}", {"w": "a", "s": number})


@pytest.mark.parametrize(
    ("scores", "verdict"), [((3, "2.5"), "a"), ((0, 1), "b"), (("1", 1.0), "tie")]
)
def test_the_higher_score_is_better(scores, verdict):
    (item,) = preference("scores: [s, t]", dict(zip("st", scores, strict=True)))
    assert item.verdict == verdict
    assert preference("scores: [s, t]", {}) == []
    with pytest.raises(RecordError, match="t: missing"):
        preference("scores: [s, t]", {"s": 1})


def test_flags_name_the_verdict():
    fields = "flags: {a: wa, b: wb, tie: wt}"
    assert preference(fields, {"wa": "0.0", "wb": 1.0, "wt": None})[0].verdict == "b"
    assert preference(fields, {"wa": 0, "wb": 0, "wt": True})[0].verdict == "tie"
    for flags in ({"wa": 0, "wb": 0, "wt": 0}, {"wa": 1, "wb": 1, "wt": 0}):
        with pytest.raises(RecordError, match="wa, wb, wt: exactly one must be true"):
            preference(fields, flags)


def test_the_winner_is_named_by_its_model():
    fields = "column: w, a: {column: ma}, b: {column: mb}"
    models = {"ma": "small", "mb": "large"}
    for word, verdict in [("Large", "b"), ("small", "a"), ("tie", "tie")]:
        assert preference(fields, models | {"w": word})[0].verdict == verdict
    with pytest.raises(RecordError, match="stands for both"):
        preference(fields, {"ma": "m", "mb": "m", "w": "m"})
    with pytest.raises(RecordError, match="does not define the value 'third'"):
        preference(fields, models | {"w": "third"})


def test_equal_rows_of_different_people_are_kept():
    mapping = "{prompt: q, responses: [x], %s, feedback: [{kind: label, column: w%s}]}"
    votes = [("ada", 1), ("bo", 1), ("cy", 0), ("ada", 1)]
    for user, annotator in (
        ("time: t", ", annotator: who"),
        ("user: who", ""),
        ("session: who", ""),
    ):
        parsed = [
            RowMapping.from_yaml(mapping % (user, annotator)).parse(
                {**PAIR, "who": who, "w": vote}
            )[0]
            for who, vote in votes
        ]
        assert len({case.of(Label)[0].id for case in parsed}) == 3


@pytest.mark.parametrize("person", ["", "nan", None, float("nan")])
def test_a_missing_person_is_unknown(person):
    mapping = "{prompt: q, responses: [x], feedback: [{kind: label, column: w, annotator: who}]}"
    (case,) = RowMapping.from_yaml(mapping).parse({**PAIR, "w": 1, "who": person})
    assert case.of(Label)[0].annotator.id == "unknown"


def test_columns_that_no_row_has_are_in_the_summary(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", {**PAIR, "rater": "ada", "w": None})
    mapping = RowMapping.from_yaml(
        "{prompt: q, responses: [x], feedback: [{kind: label, column: w, annotator: who}]}"
    )
    with Store(tmp_path / "x.db") as store:
        result = ingest(store, path, format=mapping)
    missing, empty = result.unusual
    assert missing.endswith("column 'who' of the mapping is in none of the first rows (1)")
    assert empty == "row without feedback, as its cells are empty (1)"


def test_a_mapping_can_be_passed_to_another_process():
    mapping = RowMapping.from_yaml(
        "{prompt: [q, c], responses: [x], feedback: [{kind: label, column: w, good: up}]}"
    )
    mapping.parse({**PAIR, "w": "up"})
    assert pickle.loads(pickle.dumps(mapping)) == mapping


TEXT = "Yeah 🚀 rocket is fast"


def spans(fields, cell, text=TEXT):
    mapping = RowMapping.from_yaml(
        f"{{prompt: q, responses: [x], feedback: [{{kind: spans, column: s{fields}}}]}}"
    )
    (case,) = mapping.parse({"q": "?", "x": text, "s": cell})
    for item in case.feedback:
        item.check(case.interaction)
    return [
        [(text[span.start : span.end], span.label) for span in item.spans]
        for item in case.of(Spans)
    ]


@pytest.mark.parametrize(
    ("fields", "cell"),
    [
        (", offsets: code-points", [{"start": 7, "end": 13, "label": "e"}]),
        (", offsets: utf-16", [{"start": 8, "end": 14, "label": "e"}]),
        (", offsets: utf-8", json.dumps([{"start": 10, "end": 16, "label": "e"}])),
        (", text: t", [{"start": 7, "end": 13, "label": "e", "t": "rocket"}]),
        (", text: t", str([{"t": "rocket", "label": "e"}])),
        (", start: 0, end: 1, label: 2, offsets: code-points", [[7, 13, "e"]]),
        (
            ", start: at.from, end: at.to, label: {constant: e}, offsets: utf-16",
            [{"at": {"from": 8, "to": 14}}],
        ),
        (", label: labels, text: t", [{"t": "rocket", "labels": ["e"]}]),
    ],
)
def test_spans_of_each_layout_mark_the_same_part(fields, cell):
    assert spans(fields, cell) == [[("rocket", "e")]]


@pytest.mark.parametrize(
    ("fields", "item", "reason"),
    [
        ("", {"start": 8, "end": 14}, "'🚀' stands before the end.*offsets: utf-16"),
        (", offsets: utf-16", {"start": 6, "end": 14}, "inside the character '🚀'"),
        (", text: t", {"start": 8, "end": 14, "t": "rocket"}, "count utf-16; say so"),
        (", text: t", {"start": 0, "end": 2, "t": "rocket"}, "marks 'Ye', not 'rocket'"),
        (", text: t", {"t": "a"}, "in the response 2 times"),
        (", text: t", {"t": "slow"}, "not in the response"),
        ("", {"start": 0}, r"s\.0\.end: missing"),
        ("", {"start": "a", "end": 4}, r"s\.0\.start: expected a number"),
        (", offsets: utf-16", {"start": 0, "end": 99}, "outside the text"),
        (", severity: v", {"start": 0, "end": 4, "v": 3}, r"s\.0\.v: 3 is not in \[0, 1\]"),
    ],
)
def test_spans_that_mark_something_else_are_refused(fields, item, reason):
    with pytest.raises(RecordError, match=reason):
        spans(fields, [{"label": "e", **item}])


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ([{"start": 0, "end": 4}], r"s\.0\.label: missing"),
        ({"start": 0}, "s: expected a list"),
        ("no list", "s: neither JSON"),
        (["Yeah"], r"s\.0: expected an object"),
    ],
)
def test_a_cell_without_marks_is_refused(cell, reason):
    with pytest.raises(RecordError, match=reason):
        spans("", cell)


def test_an_empty_list_marks_nothing_and_an_empty_cell_says_nothing():
    assert spans("", []) == [[]]
    assert spans("", "[]") == [[]]
    assert spans("", None) == spans("", "") == []


def test_praise_severity_and_comments_of_spans():
    mapping = RowMapping.from_yaml("""
    prompt: q
    responses: [x]
    feedback:
      - kind: spans
        column: s
        good: [Clear]
        severity: {column: level, scale: 1-5}
        comment: note
        label: tags
    """)
    cell = [{"start": 0, "end": 4, "tags": ["clear", "rude"], "level": 3, "note": "hm"}]
    (case,) = mapping.parse({"q": "?", "x": "Yeah, fast", "s": cell})
    first, second = case.of(Spans)[0].spans
    assert (first.good, second.good) == (True, False)
    assert (first.severity, first.comment) == (0.5, "hm")


def steps(fields, row, responses):
    mapping = RowMapping.from_yaml(
        f"{{prompt: q, responses: {responses}, feedback: [{{kind: steps, column: c{fields}}}]}}"
    )
    (case,) = mapping.parse({"q": "?", **row})
    (item,) = case.of(Steps)
    item.check(case.interaction)
    text = case.text("0")
    return [(text[step.start : step.end], step.verdict) for step in item.steps]


JOINED = '[{text: c, separator: "\\n"}]'


@pytest.mark.parametrize(
    ("fields", "row", "responses"),
    [
        (", labels: l", {"c": ["Two", "Four"], "l": [True, False]}, JOINED),
        (", labels: l", {"c": "['Two', 'Four']", "l": "[1, -1]"}, JOINED),
        (
            ", label: v",
            {"r": "Two\n\nFour", "c": [{"text": "Two", "v": "+"}, {"text": "Four", "v": "-"}]},
            "[r]",
        ),
        (
            ", wrong: 0, start: s, end: e",
            {
                "r": "Two Four",
                "c": [{"s": 0, "e": 3, "label": 1}, {"s": 4, "e": 8, "label": 0}],
            },
            "[r]",
        ),
    ],
)
def test_steps_of_each_layout(fields, row, responses):
    assert steps(fields, row, responses) == [("Two", "right"), ("Four", "wrong")]


def test_a_step_that_recurs_is_the_next_one():
    row = {"c": ["4", "2 + 2 = 4", "4"], "l": ["right", None, "neutral"]}
    assert steps(", labels: l", row, JOINED) == [("4", "right"), ("4", "neutral")]


@pytest.mark.parametrize(
    ("fields", "row", "reason"),
    [
        (", labels: l", {"c": ["Two"], "l": [0]}, "0 could mean wrong or neutral"),
        (", labels: l", {"c": ["Two"], "l": [1, 1]}, "l: 2 labels for 1 steps"),
        (", labels: l", {"c": ["Two"], "l": [None]}, "no step has a label"),
        (", labels: l", {"c": ["Two"], "l": ["fine"]}, "does not define the value 'fine'"),
        ("", {"c": ["Two"]}, r"c\.0: expected an object.*labels: COLUMN"),
    ],
)
def test_steps_that_are_not_clear_are_refused(fields, row, reason):
    with pytest.raises(RecordError, match=reason):
        steps(fields, row, JOINED)


def test_a_step_that_is_not_in_the_response_is_refused():
    row = {"r": "Four", "c": ["Two"], "l": [1]}
    with pytest.raises(RecordError, match="'Two' is not in the response"):
        steps(", labels: l", row, "[r]")


@pytest.mark.parametrize("value", ["none", "nothing", -1])
def test_a_choice_of_nothing_is_a_choice_and_is_stored(tmp_path, value):
    feedback = "{kind: choice, column: w, base: 0}"
    picked, nothing = read_verdicts(tmp_path, feedback, [1, value])
    assert (picked.chosen, nothing.chosen) == ("1", None)
    mapping = f"{{prompt: q, responses: [x, y], id: n, feedback: [{feedback}]}}"
    with Store(tmp_path / "store.db") as store:
        ingest(store, tmp_path / "rows.jsonl", format=RowMapping.from_yaml(mapping))
        stored = [item for case in store.cases() for item in case.feedback]
    assert {item.chosen for item in stored} == {"1", None}


def test_a_rank_below_zero_is_refused(tmp_path):
    mapping = RowMapping.from_yaml(
        "{prompt: q, responses: [x, y], feedback: [{kind: ranking, columns: [a, b]}]}"
    )
    with pytest.raises(RecordError, match="b: the rank -1 is below 0"):
        list(mapping.parse({**PAIR, "a": 1, "b": -1}))
