"""Readers: files of every type are read, and invalid rows are rejected with line and reason."""

import gzip
import io
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import Preference
from backtalk.formats import FORMATS, ParsedRow, RejectedRow, Rejects, RowMapping, read
from backtalk.formats.ingest import ingest
from backtalk.formats.readers import find_sources
from backtalk.store import Store
from tests.formats.samples import SAMPLES, all_samples, read_case, write_rows
from tests.formats.test_mapping import FULL_ROW, MAPPING


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"prompt": "a", "chosen": "b"', "not JSON"),
        ("[1, 2]", "must be a JSON object"),
        ('{"prompt": "a", "chosen": 3, "rejected": "b"}', "chosen"),
        ('{"prompt": "a", "chosen": "b", "rejected": "b"}', "the same as chosen"),
        ('{"prompt": null, "chosen": NaN, "rejected": "b"}', "chosen: missing"),
        ('{"prompt": "", "chosen": "b"}', "rejected"),
    ],
)
def test_an_invalid_row_is_rejected_with_its_line_and_reason(line, reason, tmp_path):
    good = json.dumps(SAMPLES["trl-preference"])
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{good}\n\n{line}\n{good}\n")
    first, bad, last = read(path, format="trl-preference")
    assert isinstance(first, ParsedRow)
    assert isinstance(last, ParsedRow)
    assert isinstance(bad, RejectedRow)
    assert bad.line == 3
    assert reason in bad.reason


def test_bytes_that_are_not_utf8_are_rejected(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        '{"prompt": "a", "chosen": "é", "rejected": "b"}\n'.encode("latin-1")
        + json.dumps(SAMPLES["trl-preference"]).encode()
    )
    bad, good = read(path, format="trl-preference")
    assert isinstance(bad, RejectedRow)
    assert isinstance(good, ParsedRow)


def test_rejected_rows_can_be_imported_after_correction(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "chosen": 3, "rejected": "b"}\n')
    with Rejects(path) as rejects:
        for row in read(path, format="trl-preference"):
            rejects.add(row)
    assert rejects.path == tmp_path / "rows.jsonl.rejected.jsonl"
    entry = json.loads(rejects.path.read_text())
    assert entry["line"] == 1
    assert "chosen" in entry["reason"]
    entry["row"]["chosen"] = "3"
    rejects.path.write_text(json.dumps(entry))
    assert read_case(rejects.path, format="trl-preference").of(Preference)


@pytest.mark.parametrize("compression", ["plain", "gz", "zst"])
def test_compressed_files_read_like_plain_ones(compression, tmp_path):
    text = (json.dumps(SAMPLES["trl-preference"]) + "\n").encode() * 3
    content = {
        "plain": lambda: text,
        "gz": lambda: gzip.compress(text),
        "zst": lambda: zstandard.compress(text),
    }[compression]()
    path = tmp_path / f"rows.jsonl.{compression}"
    path.write_bytes(content)
    assert len(list(read(path))) == 3


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_truncated_file_yields_its_rows_and_an_error(compress, tmp_path):
    lines = [json.dumps({**SAMPLES["trl-preference"], "id": i}) for i in range(20_000)]
    whole = compress("\n".join(lines).encode())
    path = tmp_path / "rows.jsonl"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    rows = list(read(path, format="trl-preference"))
    assert isinstance(rows[-1], RejectedRow)
    assert len(rows) > 100


def test_csv_json_and_parquet_give_the_same_records(tmp_path):
    rows = [SAMPLES["trl-preference"], {"prompt": "a, b\nc", "chosen": 'x"y', "rejected": "z"}]
    write_rows(tmp_path / "a.jsonl", *rows)
    (tmp_path / "b.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    header = "prompt,chosen,rejected"
    (tmp_path / "d.csv").write_text(f'\ufeff{header}\r\n2 + 2?,4,5\r\n"a, b\nc","x""y",z\r\n')
    results = {
        path.suffix: [row.cases for row in read(path)] for path in sorted(tmp_path.iterdir())
    }
    assert len(results) == 4
    assert all(cases == results[".jsonl"] for cases in results.values())


def test_a_folder_is_read_with_its_subfolders_except_hidden_and_rejected_files(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.jsonl", "deep/b.jsonl", ".hidden.jsonl", "a.jsonl.rejected.jsonl"):
        write_rows(tmp_path / name, SAMPLES["trl-preference"])
    (tmp_path / "notes.txt").write_text("not rows")
    assert [row.source.rsplit("/")[-1] for row in read(tmp_path)] == ["a.jsonl", "b.jsonl"]


def test_standard_input(monkeypatch):
    text = json.dumps(SAMPLES["trl-preference"]).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(text))))
    (row,) = read("-")
    assert row.source == "stdin"


def test_a_missing_input_is_an_error(tmp_path):
    with pytest.raises(BacktalkError, match="There is no file"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(BacktalkError, match="has no file to read"):
        read(tmp_path)


def test_an_empty_file_has_no_rows(tmp_path):
    (tmp_path / "x.jsonl").write_text("")
    assert list(read(tmp_path / "x.jsonl")) == []


def test_line_ends_and_byte_order_marks_do_not_matter(tmp_path):
    rows = [json.dumps({**SAMPLES["trl-preference"], "n": i}) for i in range(3)]
    plain, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    plain.write_text("\n".join(rows))
    other.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode() + b"\r\n\r\n")
    assert [row.cases for row in read(plain)] == [row.cases for row in read(other)]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.parquet", b"PAR1 and then nothing", "not a Parquet file"),
        ("x.jsonl.gz", gzip.compress(b"{}", mtime=0)[:8], "truncated or damaged"),
        ("x.jsonl.zst", zstandard.compress(b"{}" * 99)[:9], "truncated or damaged"),
        ("x.jsonl.zst", b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "not a Zstandard frame"),
        ("x.csv", b"a,b,a\n1,2,3\n", "names the column 'a' twice"),
        ("x.csv", b"prompt,chosen,rejected\n1,2\n", "2 fields where the header has 3"),
        ("x.csv", "prompt,chosen,rejected\né,b,c\n".encode("latin-1"), "not UTF-8"),
        ("x.csv", b'prompt,chosen,rejected\n"1,2,3\n', "not a row of 3 fields"),
        ("x.json", b'[{"prompt": "a", ]', "not JSON"),
        ("x.json", b'[1, {"prompt": "a", "chosen": "b", "rejected": "c"}]', "a JSON object"),
        ("x.jsonl", b'{"prompt": "a", "chosen": Infinity, "rejected": "c"}', "not JSON"),
    ],
)
def test_a_broken_file_is_one_rejected_row(name, content, reason, tmp_path):
    (tmp_path / name).write_bytes(content)
    rows = list(read(tmp_path / name, format="trl-preference"))
    bad = [row for row in rows if isinstance(row, RejectedRow)]
    assert len(bad) == 1, rows
    assert reason in bad[0].reason
    with Rejects(tmp_path / name) as rejects:
        rejects.add(bad[0])
    assert json.loads(rejects.path.read_text())["reason"] == bad[0].reason


def test_an_invalid_row_of_a_table_affects_no_other_row(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('prompt,chosen,rejected\n1,2,3\n"4,5,6\n7,8,9\n7,8\n10,11,12\n')
    rows = list(read(path))
    assert [isinstance(row, ParsedRow) for row in rows] == [True, False, True, False, True]
    assert [row.line for row in rows] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("size", [10, 300_000])
def test_a_json_array_is_read_value_by_value(size, tmp_path):
    rows = [{**SAMPLES["trl-preference"], "chosen": "[{" * (size // 2) + str(i)} for i in range(3)]
    (tmp_path / "x.json").write_text(json.dumps(rows, indent=1))
    texts = [row.cases[0].text("0") for row in read(tmp_path / "x.json")]
    assert texts == [row["chosen"] for row in rows]


def test_missing_values_of_a_parquet_file_are_empty(tmp_path):
    table = {"q": ["a", "b"], "r": ["x", "y"], "stars": [float("nan"), 4.0]}
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    mapping = RowMapping.from_yaml(
        "{prompt: q, responses: [r], feedback: [{kind: rating, column: stars}]}"
    )
    without, with_ = (row.cases[0] for row in read(tmp_path / "x.parquet", format=mapping))
    assert without.feedback == ()
    assert with_.feedback[0].value == 4


def test_progress_ends_at_the_size_of_the_files(tmp_path):
    lines = [json.dumps({**SAMPLES["trl-preference"], "id": i}) for i in range(5_000)]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    write_rows(tmp_path / "b.jsonl", *[SAMPLES["trl-preference"]] * 5_000)
    seen = []
    assert (
        len(list(read(tmp_path, progress=lambda done, total: seen.append((done, total))))) == 10_000
    )
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert seen[-1] == (size, size)
    assert seen == sorted(seen)


def test_rows_rejected_as_text_can_be_corrected_as_text(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"\n')
    with Rejects(path) as rejects:
        for row in read(path, format="trl-preference"):
            rejects.add(row)
    (again,) = read(rejects.path, format="trl-preference")
    assert isinstance(again, RejectedRow)
    assert again.raw == '{"prompt": "a", "chosen": "b", "rejected": "c"'
    entry = json.loads(rejects.path.read_text())
    rejects.path.write_text(json.dumps({**entry, "row": entry["row"] + "}"}))
    assert read_case(rejects.path).text("1") == "c"


def test_without_rejected_rows_there_is_no_file_of_them(tmp_path):
    with Rejects(tmp_path / "x.jsonl") as rejects:
        pass
    assert (rejects.path, rejects.count) == (None, 0)
    assert list(tmp_path.iterdir()) == []


def test_rejected_rows_of_standard_input_are_written_to_the_working_directory(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with Rejects("-") as rejects:
        rejects.add(RejectedRow("stdin", 1, "not JSON", "{"))
    assert rejects.path == tmp_path / "stdin.rejected.jsonl"


ODD_VALUES = st.sampled_from(
    [
        *(None, True, 0, 1, -1, 2.5, 1e300, 10**30, "", "x", "4", "nan", "2020-01-01"),
        *([], [None], [1], ["a"], [[1]], [{}], [{"role": "user"}], {}, {"a": 1}, {"value": None}),
    ]
)


@st.composite
def corrupted_rows(draw):
    """Draw a sample with one to three parts replaced or removed."""
    name, row = draw(st.sampled_from([*all_samples(), ("mapping", FULL_ROW)]))
    row = json.loads(json.dumps(row))
    for _ in range(draw(st.integers(1, 3))):
        node = row
        while True:
            key = draw(st.sampled_from([*node] if isinstance(node, dict) else range(len(node))))
            if not (isinstance(node[key], dict | list) and node[key]) or draw(st.booleans()):
                break
            node = node[key]
        if isinstance(node, dict) and len(node) > 1 and draw(st.booleans()):
            del node[key]
        else:
            node[key] = json.loads(json.dumps(draw(ODD_VALUES)))
    return name, row


@settings(max_examples=1_500)
@given(generated=corrupted_rows())
def test_every_row_is_read_or_rejected(generated, tmp_path_factory):
    name, row = generated
    path = tmp_path_factory.getbasetemp() / "corrupted.jsonl"
    chosen = RowMapping.from_yaml(MAPPING) if name == "mapping" else name
    for layout in FORMATS.values():
        assert layout.matches(row) in {True, False}
    try:
        items = list(read(write_rows(path, row), format=chosen))
    except UnknownName as error:  # the only row lacks a column that the mapping names
        if name != "mapping" or "The file has: " not in error.mend:
            raise
        return
    for item in items:
        if isinstance(item, RejectedRow):
            assert item.reason
            assert "Error" not in item.reason
        else:
            for case in item.cases:
                assert [item.interaction for item in case.feedback] == [
                    case.interaction.id for _ in case.feedback
                ]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("langfuse", ("scores", 0, "dataType")),
        ("langfuse", ("scores", 0, "source")),
        ("mlflow", ("info", "assessments")),
        ("mlflow", ("info", "assessments", 0, "assessment_id")),
        ("mlflow", ("info", "tags")),
        ("mlflow", ("info", "trace_metadata")),
        ("mlflow", ("info", "trace_metadata", "mlflow.trace.user")),
    ],
)
@pytest.mark.parametrize("value", [True, 2.5, ["a"], {"a": 1}])
def test_a_field_of_another_type_is_named_or_not_read(name, path, value, tmp_path):
    row = json.loads(json.dumps(next(row for n, row in all_samples() if n == name)))
    node = row
    for key in path[:-1]:
        node = node[key] if isinstance(node, list) else node.setdefault(key, {})
    node[path[-1]] = value
    for layout in FORMATS.values():
        assert layout.matches(row) in {True, False}
    for item in read(write_rows(tmp_path / "odd.jsonl", row), format=name):
        if isinstance(item, RejectedRow):
            assert str(path[-1]) in item.reason


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_rows_of_a_table_have_the_numbers_of_their_lines_in_the_file(ending, tmp_path):
    text = (
        "\nprompt,chosen,rejected\n"  # line 2
        'one,a,b\n"two\nlines",a,b\n'  # lines 3 to 5
        "\nthree,a\n"  # line 7
        "four,a,b\n"
    )
    path = tmp_path / f"x.{ending}"
    path.write_text(text.replace(",", "\t") if ending == "tsv" else text)
    rows = list(read(path))
    assert [(row.line, isinstance(row, ParsedRow)) for row in rows] == [
        (3, True), (4, True), (7, False), (8, True)
    ]  # fmt: skip


def test_a_header_may_have_a_name_of_several_lines(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('prompt,chosen,rejected,"two\nlines"\none,a,b,c\n')
    (row,) = read(path)
    assert (row.line, isinstance(row, ParsedRow)) == (3, True)


def test_places_are_lines_of_texts_and_rows_of_other_files(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n\n{broken\n')
    with Store(tmp_path / "x.db") as store:
        assert "x.jsonl, line 3: not JSON" in ingest(store, path).first_reason
        pq.write_table(
            pa.table({"prompt": ["a", ""], "chosen": ["b", "b"], "rejected": ["c", "c"]}),
            tmp_path / "x.parquet",
        )
        reason = ingest(store, tmp_path / "x.parquet").first_reason
        assert "x.parquet, row 2: prompt: " in reason


@pytest.mark.parametrize("prompt", ["", "  \n\t", [{"role": "user", "content": " "}]])
def test_an_empty_prompt_is_rejected(prompt, tmp_path):
    path = tmp_path / "x.jsonl"
    answers = {"chosen": "b", "rejected": "c"}
    if not isinstance(prompt, str):
        answers = {name: [{"role": "assistant", "content": text}] for name, text in answers.items()}
    path.write_text(json.dumps({"prompt": prompt, **answers}))
    (row,) = read(path)
    assert isinstance(row, RejectedRow)
    assert row.reason.startswith("prompt: ")


@pytest.mark.parametrize("prompt", ["''", "'   '"])
def test_an_empty_prompt_is_rejected_under_a_mapping(prompt, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f'q,answer,thumb\n"{prompt[1:-1]}",Yes.,up\nOpen?,Yes.,up\n')
    mapping = RowMapping.from_yaml(
        "{prompt: q, responses: [answer], feedback: [{kind: label, column: thumb}]}"
    )
    empty, full = read(path, format=mapping)
    assert (empty.line, isinstance(full, ParsedRow)) == (2, True)
    assert empty.reason.startswith("q: ")


def test_rejected_rows_of_an_earlier_import_are_never_overwritten(tmp_path):
    path = tmp_path / "x.jsonl"
    first = tmp_path / "x.jsonl.rejected.jsonl"
    with Store(tmp_path / "x.db") as store:
        path.write_text("{broken\n")
        assert ingest(store, path).rejects == first
        content = first.read_text()
        assert ingest(store, path).rejects == first  # the same content
        path.write_text("{broken in another way\n")
        second = ingest(store, path).rejects
        assert second == tmp_path / "x.jsonl-2.rejected.jsonl"
    assert first.read_text() == content
    assert "another way" in second.read_text()
    assert [source.name for source in find_sources(tmp_path)] == [str(path)]
