"""The store: records, documents, events, deletion, purging and migrations."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect

from backtalk.errors import BacktalkError, Conflict, NotFound, RecordError, UnknownName
from backtalk.feedback import (
    Annotator,
    Critique,
    Instruction,
    Interaction,
    Label,
    Preference,
    Rating,
    Scope,
)
from backtalk.feedback.case import Case
from backtalk.store import AddResult, Store, migrations, queries
from backtalk.store.engine import connect, database_url, writing
from backtalk.store.migrations import HEAD, revision, upgrade
from tests.strategies import cases

ADA, BOB = Annotator.human("ada"), Annotator.human("bob")


def make_interaction_and_label(text="Is it open?", user=None, by=ADA):
    interaction = Interaction.of(text, "Yes.", "No.", user=user)
    return interaction, Label(interaction=interaction.id, annotator=by, response="0", good=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(generated=st.lists(cases(), max_size=3))
def test_cases_survive_storage(store, generated):
    empty_store = store.in_project(Interaction.of("x").id)
    added = empty_store.add_cases(generated)
    assert list(empty_store.cases()) == generated
    assert [item for case in generated for item in case.feedback] == list(empty_store.feedback())
    assert added == AddResult(len(generated), sum(len(case.feedback) for case in generated), 0)
    assert empty_store.add_cases(generated).known == added.interactions + added.feedback
    for case in generated:
        assert empty_store.case(case.interaction.id) == case
        assert empty_store.interaction(case.interaction.id) == case.interaction


def test_several_batches_of_cases_come_back_in_order(store):
    count = 2 * queries.BATCH + 1
    generated = [
        Case(interaction, (thumb,))
        for interaction, thumb in (make_interaction_and_label(str(i)) for i in range(count))
    ]
    store.add_cases(generated, batch=queries.BATCH - 7)
    assert list(store.cases()) == generated
    assert list(store.feedback()) == [item for case in generated for item in case.feedback]


def test_records_are_added_in_one_transaction(store):
    interaction, thumb = make_interaction_and_label()
    misfit = thumb.model_copy(update={"id": "other", "response": "9"})
    with pytest.raises(RecordError, match="no response '9'"):
        store.add(interaction, thumb, misfit)
    assert store.counts() == {"interaction": 0}


def test_feedback_about_an_unknown_interaction_is_refused(store):
    _, thumb = make_interaction_and_label()
    with pytest.raises(NotFound, match="There is no interaction"):
        store.add(thumb)


def test_late_feedback_is_checked_against_the_stored_interaction(store):
    interaction, thumb = make_interaction_and_label()
    store.add(interaction)
    assert store.add(thumb) == AddResult(0, 1, 0)
    with pytest.raises(RecordError, match="no response '9'"):
        store.add(Label(interaction=interaction.id, annotator=ADA, response="9", good=True))


def test_equal_records_are_stored_once_and_different_ones_with_one_id_refused(store):
    interaction, thumb = make_interaction_and_label()
    assert store.add(interaction, thumb) == AddResult(1, 1, 0)
    assert store.add(interaction, thumb) == AddResult(0, 0, 2)
    with pytest.raises(Conflict, match=thumb.id):
        store.add(thumb.model_copy(update={"good": False}))
    assert store.case(interaction.id).feedback == (thumb,)


def test_an_idempotency_key_makes_a_repeated_request_harmless(store):
    interaction, _ = make_interaction_and_label()
    store.add(interaction)

    def request(good):
        return Label(interaction=interaction.id, annotator=ADA, response="0", good=good)

    assert store.add(request(True), key="k").feedback == 1
    assert store.add(request(True), key="k") == AddResult(0, 0, 1)
    with pytest.raises(Conflict):
        store.add(request(False), key="k")
    with pytest.raises(BacktalkError, match="one idempotency key"):
        store.add(request(True), request(True), key="k")
    assert store.counts()["label"] == 1


def test_projects_do_not_see_each_other(store):
    interaction, thumb = make_interaction_and_label()
    store.add(interaction, thumb)
    other = store.in_project("other")
    assert list(other.cases()) == []
    with pytest.raises(NotFound):
        other.interaction(interaction.id)
    assert other.add(interaction, thumb) == AddResult(1, 1, 0)
    other.delete(interaction.id)
    assert store.case(interaction.id).feedback == (thumb,)
    assert store.projects() == ["default", "other"]


def test_feedback_is_filtered_by_kind(store):
    interaction, thumb = make_interaction_and_label()
    words = Critique(interaction=interaction.id, annotator=ADA, text="Too short.")
    bare, _ = make_interaction_and_label("Anyone there?")
    store.add(interaction, thumb, words, bare)
    assert list(store.cases(kinds=["critique"])) == [Case(interaction, (words,))]
    assert list(store.feedback(kinds=["label"])) == [thumb]
    with pytest.raises(UnknownName, match="Did you mean 'label'"):
        store.feedback(kinds=["labels"])


def test_system_wide_feedback_is_stored_without_an_interaction(store):
    interaction, thumb = make_interaction_and_label()
    rule = Instruction(annotator=ADA, text="No emojis.", scope=Scope(where="mail to my boss"))
    store.add(interaction, thumb, rule)
    assert list(store.feedback(system_wide=True)) == [rule]


def test_deleted_records_are_hidden_with_their_feedback_and_can_be_restored(store):
    interaction, thumb = make_interaction_and_label()
    already_deleted = Label(interaction=interaction.id, annotator=BOB, response="1", good=True)
    store.add(interaction, thumb, already_deleted)
    store.delete(already_deleted.id)
    store.delete(interaction.id)
    assert list(store.cases()) == []
    assert list(store.feedback()) == []
    assert store.counts() == {"interaction": 0}
    assert store.columns.table().num_rows == 0
    with pytest.raises(NotFound, match="deleted already"):
        store.delete(interaction.id)
    store.restore(interaction.id)
    assert list(store.cases()) == [Case(interaction, (thumb,))]
    store.restore(already_deleted.id)
    assert len(store.case(interaction.id).feedback) == 2
    with pytest.raises(NotFound, match="no deleted record"):
        store.restore(interaction.id)


def test_a_purge_removes_all_records_of_one_person_only(store):
    by_ada, label_by_bob = make_interaction_and_label("My secret is Xyzzy.", user="ada", by=BOB)
    others, label_by_ada = make_interaction_and_label("Hello", user="bob", by=ADA)
    about_others = Label(interaction=others.id, annotator=BOB, response="1", good=False)
    rules = [
        Instruction(annotator=BOB, text="For ada.", scope=Scope(users=("ada",))),
        Instruction(annotator=BOB, text="For both.", scope=Scope(users=("ada", "bob"))),
    ]
    store.add(by_ada, label_by_bob, others, label_by_ada, about_others, *rules)
    elsewhere = store.in_project("elsewhere")
    elsewhere.add(by_ada)

    purged = store.purge("ada")

    assert (purged.interactions, purged.feedback) == (1, 3)
    assert purged.first == 1
    assert list(store.cases()) == [Case(others, (about_others,))]
    (rule,) = store.feedback(system_wide=True)
    assert (rule.text, rule.scope.users) == ("For both.", ("bob",))
    assert list(elsewhere.cases()) == [Case(by_ada)]
    assert store.purge("ada").first is None


def test_purged_text_is_in_no_file(tmp_path):
    with Store(tmp_path / "store.db") as store:
        store.add(*make_interaction_and_label("My secret is Xyzzy.", user="ada"))
        store.add(*make_interaction_and_label("My hobby is Plugh.", user="bob"))
        store.purge("ada")
        content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Xyzzy" not in content
    assert b"Plugh" in content


def test_columns_have_the_numeric_values_of_feedback(store):
    interaction, thumb = make_interaction_and_label()
    judged = Preference(
        interaction=interaction.id, annotator=BOB, a="0", b="1", verdict="b", probability=0.2,
        confidence=0.9,
    )  # fmt: skip
    stars = Rating(interaction=interaction.id, annotator=ADA, response="1", value=4, aspect="tone")
    bad = Preference(interaction=interaction.id, annotator=BOB, a="0", b="1", verdict="both_bad")
    store.add(interaction, thumb, judged, stars, bad)

    table = store.columns.table("kind", "aspect", "response", "other", "value")
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("label", "overall", "0", None, 1.0),
        ("preference", "overall", "0", "1", 0.2),
        ("rating", "tone", "1", None, 0.75),
        ("preference", "overall", "0", "1", None),
    ]
    arrays = store.columns.arrays("value", "time", kinds=["preference"])
    assert arrays["value"][0] == 0.2
    assert arrays["value"][1] != arrays["value"][1]
    assert arrays["time"][0] == judged.time.replace(tzinfo=None)
    with pytest.raises(UnknownName, match="Did you mean 'value'"):
        store.columns.table("values")


def test_documents_are_found_by_their_id_or_a_prefix(store):
    assert store.documents.put("policy", "abcd", '{"x": 1}')
    assert not store.documents.put("policy", "abcd", '{"x": 2}')
    assert store.documents.put("policy", "abxy", "{}")
    assert store.documents.get("policy", "abc") == '{"x": 1}'
    with pytest.raises(Conflict, match="abcd, abxy"):
        store.documents.get("policy", "ab")
    for missing in ("q", "", "a%"):
        with pytest.raises(NotFound):
            store.documents.get("policy", missing)
    assert [(id_, body) for id_, _, body in store.documents.all("policy")] == [
        ("abcd", '{"x": 1}'),
        ("abxy", "{}"),
    ]
    with pytest.raises(NotFound):
        store.in_project("other").documents.get("policy", "abcd")


def test_an_event_log_refuses_concurrent_writers(store):
    first = store.events.append("promotions", "a", actor="ada", after=0)
    with pytest.raises(Conflict, match="same time"):
        store.events.append("promotions", "b", actor="bob", after=0)
    second = store.events.append(
        "promotions", "b", actor="bob", after=store.events.last("promotions")
    )
    assert store.events.entries("promotions") == [first, second]
    assert store.events.last("other") == 0


def test_migrations_create_the_schema_of_the_code(store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from backtalk.store.schema import metadata

    with store.engine.connect() as connection:
        assert revision(connection) == HEAD
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    upgrade(store.engine)
    assert "feedback" in inspect(store.engine).get_table_names()


def test_a_new_sqlite_store_has_the_schema_of_the_migrations(tmp_path):
    migrated = connect(database_url(":memory:"))
    with writing(migrated) as connection:
        migrations._run(connection)
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    with migrated.connect() as connection:
        expected = connection.exec_driver_sql(query).all()
    for name in ("first.db", "second.db"):
        with Store(tmp_path / name) as store, store.engine.connect() as connection:
            assert connection.exec_driver_sql(query).all() == expected
            assert revision(connection) == HEAD


def test_the_file_with_the_sqlite_schema_is_up_to_date():
    """If not, run ``scripts/write_sqlite_schema.py``."""
    written = migrations.SQLITE_SCHEMA.read_text(encoding="utf-8")
    assert written == migrations.migrated_sqlite_schema()


def test_a_store_made_by_a_newer_version_is_refused(location):
    from sqlalchemy import text

    with Store(location) as store, store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BacktalkError, match="schema 9999"):
        Store(location)


def test_an_invalid_location_is_an_error_with_advice(tmp_path):
    with pytest.raises(BacktalkError, match="folder that can be written"):
        Store(tmp_path / "no" / "such" / "folder.db")
    with pytest.raises(BacktalkError, match="postgresql://"):
        Store("mysql://localhost/x")
    with pytest.raises(BacktalkError, match="running server"):
        Store("postgresql://nobody@localhost:1/x?connect_timeout=2")
    text = tmp_path / "notes.txt"
    text.write_text("This is not a database, and it is long enough to be seen as none." * 20)
    with pytest.raises(BacktalkError, match=r"notes\.txt"):
        Store(text)


def test_artifacts_are_stored_next_to_the_database(tmp_path, monkeypatch):
    with Store(tmp_path / "a.db") as store:
        assert store.artifacts.root == tmp_path / "a.artifacts"
        id_ = store.artifacts.put({"weights": b"123"})
        assert store.artifacts.put({"weights": b"123"}) == id_
        assert store.artifacts.read(id_) == {"weights": b"123"}
        (tmp_path / "a.artifacts" / id_ / "weights").write_bytes(b"124")
        with pytest.raises(BacktalkError, match="damaged"):
            store.artifacts.read(id_)
        with pytest.raises(NotFound):
            store.artifacts.path("../a.db")


def make_label(interaction, id_):
    return Label(id=id_, interaction=interaction.id, annotator=ADA, response="0", good=True)


def test_feedback_that_repeats_earlier_feedback_of_the_same_call_is_counted(store):
    """Feedback of an earlier call is known, but not repeated."""
    interaction = Interaction.of("Is it open?", "Yes.", "No.")
    thumbs = [make_label(interaction, f"thumb-{number}") for number in range(3)]
    cases = [Case(interaction, (thumb,)) for thumb in (*thumbs, thumbs[0], thumbs[0])]
    assert store.add_cases(cases, batch=4) == AddResult(1, 3, known=6, repeated=2)
    again = [*cases, Case(interaction, (make_label(interaction, "new"),))]
    assert store.add_cases(again) == AddResult(0, 1, known=11, repeated=0)


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 250])
def test_rows_in_blocks_are_stored_as_single_rows_are(store, count):
    """Columns that are the same in all rows, and those that differ, keep their values."""
    cases = []
    for number in range(count):
        interaction = Interaction.of(f"Is it open on day {number}?", "Yes.", "No.")
        rating = Rating(
            interaction=interaction.id,
            annotator=Annotator.human("ada") if number % 3 else Annotator.model("judge"),
            response=str(number % 2),
            value=1 + number % 5,
            confidence=None if number % 7 else 0.5,
        )
        cases.append(Case(interaction, (rating, make_label(interaction, f"thumb-{number}"))))
    assert store.add_cases(cases) == AddResult(count, 2 * count)
    assert list(store.cases()) == cases
    columns = store.columns.table("annotator_kind", "value", "confidence", kinds=["rating"])
    assert columns.to_pylist() == [
        {
            "annotator_kind": case.feedback[0].annotator.kind,
            "value": case.feedback[0].normalised,
            "confidence": case.feedback[0].confidence,
        }
        for case in cases
    ]


def test_artifacts_of_a_store_in_memory_are_in_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store(":memory:") as store:
        content = store.artifacts.put({"a.txt": b"a"})
        assert store.in_project("other").artifacts.read(content) == {"a.txt": b"a"}
        with Store(":memory:") as another:
            assert another.artifacts.root != store.artifacts.root
    assert not list(tmp_path.iterdir())


def test_artifacts_of_a_store_in_memory_are_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("BACKTALK_ARTIFACTS", str(tmp_path / "files"))
    with Store("sqlite://") as store:
        assert store.artifacts.root == tmp_path / "files"
