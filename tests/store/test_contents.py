"""Large parts of messages are stored once, and interactions are read as they were written."""

import base64
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from sqlalchemy import func, select, text

from backtalk.feedback import Annotator, Interaction, Label, Message, Response
from backtalk.feedback.case import Case
from backtalk.store import Store, contents, migrations, schema
from backtalk.store.contents import lock_for_purge
from backtalk.store.detail import conversation, get_detail
from backtalk.store.engine import writing
from backtalk.store.incremental_reader import IncrementalReader
from backtalk.store.inserts import InsertBatch
from backtalk.store.search import SearchQuery, search
from backtalk.store.stream_writer import StreamWriter
from tests.strategies import cases

ADA = Annotator.human("ada")


def encoded(seed, size=30_000):
    return base64.b64encode(random.Random(seed).randbytes(size)).decode()


def picture(seed, size=30_000):
    url = f"data:image/png;base64,{encoded(seed, size)}"
    return {"type": "image_url", "image_url": {"url": url}}


PARTS = [
    picture(1),
    {"type": "input_audio", "input_audio": {"data": encoded(2), "format": "wav"}},
    {"type": "file", "file": {"file_data": encoded(3), "filename": "a.pdf"}},
    {"type": "image", "source": {"type": "base64", "data": encoded(4)}},
    {"type": "tool_result", "content": [{"type": "image", "source": {"data": encoded(5)}}]},
    {"type": "odd", "values": [[encoded(6)], "short", None, 1.5]},
]


def turns(count, *parts, user="ada", session="s"):
    """Return the turns of a conversation, each of which repeats the ones before it."""
    messages = [Message(role="user", content=({"type": "text", "text": "What is it?"}, *parts))]
    result = []
    for number in range(count):
        result.append(
            Interaction(
                id=f"{session}-{number}",
                prompt=tuple(messages),
                responses=(Response(id="0", text=f"Answer {number}"),),
                user=user,
                session=session,
            )
        )
        messages += [Message.assistant(f"Answer {number}"), Message.user("And now?")]
    return result


def count(store, table):
    with store.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar()


def stored_size(store):
    """Return the number of characters in the columns ``body``."""
    total = 0
    with store.engine.connect() as connection:
        for table in (schema.interactions, schema.contents):
            query = select(func.coalesce(func.sum(func.length(table.c.body)), 0))
            total += connection.execute(query).scalar()
    return total


def add(store, interactions):
    store.add(*interactions)


def add_cases(store, interactions):
    store.add_cases(Case(interaction, ()) for interaction in interactions)


def add_streamed(store, interactions):
    writer = StreamWriter(store.engine)
    for interaction in interactions:
        writer.write([("default", interaction)])


@pytest.mark.parametrize("write", [add, add_cases, add_streamed])
def test_a_picture_in_five_turns_is_stored_once(store, write):
    talk = turns(5, picture(1, 300_000), *PARTS)
    write(store, talk)
    size = len(talk[0].to_json())
    assert size < stored_size(store) < 1.05 * size
    assert [store.interaction(turn.id) for turn in talk] == talk
    write(store, talk)  # again
    assert count(store, schema.contents) == 7


def test_every_reader_returns_whole_interactions(store):
    talk = turns(3, *PARTS)
    labels = [Label(interaction=t.id, annotator=ADA, response="0", good=True) for t in talk]
    store.add(*talk)
    assert StreamWriter(store.engine).write([("default", label) for label in labels])
    assert [case.interaction for case in store.cases()] == talk
    assert store.case(talk[1].id).interaction == talk[1]
    assert get_detail(store, talk[1].id).interaction == talk[1]
    assert conversation(store, talk[0]) == talk
    page = search(store, SearchQuery(text="What is it"))
    assert [hit.interaction for hit in page.hits] == talk[::-1]
    since = get_detail(store, talk[0].id).received
    reader = IncrementalReader(
        store, policies=[], kinds=["label"], since=since, without_policy=True
    )
    assert list(reader.new_interactions()) == talk
    assert [interaction for interaction, _ in reader.new_feedback()] == talk
    assert store.add(*talk).known == 3  # equal content is no conflict


LARGE = encoded(7, 12_000)
NUMBERS = [1234567890] * 2_000


@pytest.mark.parametrize(
    "content",
    [
        '"\\/content/' + "0" * 64 + '"',
        "\\/content/" + "0" * 64,
        f'"{LARGE}"',
        f'x"{LARGE}',
        f'{LARGE}"x',
        f'\\"{LARGE}',
        "," + ",".join(map(str, NUMBERS)) + ",",
    ],
)
def test_no_text_is_taken_for_a_reference(store, content):
    digest = contents.sha256(b"x").hexdigest()
    odd = {"type": "x", content: [content, LARGE, *NUMBERS, "y"]}
    talk = turns(1, picture(1), {"type": "text", "text": content}, odd)[0]
    plain = Interaction.of(content, f'say "\\/content/{digest}"')
    store.add(talk, plain)
    assert store.interaction(talk.id) == talk
    assert store.interaction(plain.id) == plain


def test_large_texts_stay_where_a_search_reads_them(store):
    text = "word " * 10_000 + "needle"
    talk = turns(1, {"type": "text", "text": text})[0]
    store.add(talk)
    assert count(store, schema.contents) == 0
    assert [hit.interaction for hit in search(store, SearchQuery(text="needle")).hits] == [talk]


def test_a_purge_removes_the_parts_that_nobody_else_has(store):
    ada, bo = turns(2, picture(1), picture(2)), turns(2, picture(2), user="bo", session="b")
    store.add(*ada, *bo)
    assert count(store, schema.contents) == 2
    assert store.purge("ada").interactions == 2
    assert (count(store, schema.contents), count(store, schema.content_uses)) == (1, 2)
    assert store.interaction(bo[1].id) == bo[1]
    store.purge("bo")
    assert (count(store, schema.contents), count(store, schema.content_uses)) == (0, 0)


@pytest.mark.parametrize("write", [add_cases, add_streamed])
def test_parts_of_an_interaction_whose_id_is_taken_are_not_stored(store, write):
    mine = turns(1, picture(1))
    theirs = turns(1, picture(2), user="eve")
    write(store, mine)
    write(store, theirs)
    write(store, [turns(1, picture(3))[0], turns(1, picture(4))[0]])
    write(store, [i.model_copy(update={"id": "new"}) for i in (*mine, *theirs)])  # the first counts
    plain = turns(1)[0].model_copy(update={"id": "plain"})
    write(store, [plain, turns(1, picture(5))[0].model_copy(update={"id": "plain"})])
    assert (count(store, schema.contents), count(store, schema.content_uses)) == (1, 2)
    assert store.interaction("new").user == "ada"


def test_a_thousand_parts_are_stored(store):
    small = base64.b64encode(bytes(12_000)).decode()
    talk = turns(1, *({"type": "image", "data": f"{small}{i}"} for i in range(1_000)))[0]
    store.add(talk)
    assert count(store, schema.contents) == 1_000
    assert store.interaction(talk.id) == talk


def insert(connection, interaction):
    batch = InsertBatch(1)
    batch.add([interaction], ())
    batch.insert(connection)


def test_a_purge_waits_for_a_transaction_that_uses_the_part(postgres_database):
    first, second = turns(2, picture(1))
    second = second.model_copy(update={"user": "bo"})
    with Store(postgres_database) as store, ThreadPoolExecutor() as pool:
        store.add(first)
        with writing(store.engine) as connection:
            insert(connection, second)
            purge = pool.submit(store.purge, "ada")
            wait_for_lock(store)
        assert purge.result().interactions == 1
        assert store.interaction(second.id) == second


def test_a_transaction_that_uses_a_part_waits_for_a_purge(postgres_database):
    first, second = turns(2, picture(1))
    second = second.model_copy(update={"user": "bo"})
    with Store(postgres_database) as store, ThreadPoolExecutor() as pool:
        store.add(first)
        with writing(store.engine) as connection:
            lock_for_purge(connection, 1)
            added = pool.submit(store.add, second)
            wait_for_lock(store)
            own = select(schema.interactions.c.id).where(schema.interactions.c.user == "ada")
            contents.delete_uses(connection, 1, own)
        added.result()
        assert store.interaction(second.id) == second


def wait_for_lock(store):
    """Wait until a connection waits for an advisory lock."""
    query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    while True:
        with store.engine.connect() as connection:
            if connection.execute(query).scalar():
                return


def test_projects_do_not_share_parts(store, location):
    talk = turns(1, picture(1))[0]
    store.add(talk)
    with Store(location, project="other") as other:
        other.add(talk)
        store.purge("ada")
        assert other.interaction(talk.id) == talk


def test_an_interaction_that_is_purged_while_it_is_read_is_an_error(store):
    talk = turns(1, picture(1))[0]
    store.add(talk)
    with store.engine.connect() as connection:
        body = connection.execute(select(schema.interactions.c.body)).scalar()
    store.purge("ada")
    with pytest.raises(contents.Conflict, match="was purged while it was read"):
        contents.stored_interaction(store.engine, store.project_id, body)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(case=cases(max_feedback=3))
def test_any_interaction_is_read_as_it_was_written(case, store, monkeypatch):
    monkeypatch.setattr(contents, "MIN_LENGTH", 1)
    store.add(case.interaction, *case.feedback)
    assert store.interaction(case.interaction.id) == case.interaction


def test_a_downgrade_puts_the_parts_back(store):
    talk = turns(3, *PARTS)
    store.add(*talk)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with store.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0008")
        connection.commit()
        bodies = connection.execute(select(schema.interactions.c.body)).scalars().all()
    assert [Interaction.model_validate_json(body) for body in bodies] == talk
