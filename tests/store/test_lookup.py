"""Rows by id agree with the rows that a scan of the table selects."""

import random

import pytest

from backtalk.feedback import Interaction
from backtalk.store import schema
from backtalk.store.lookup import rows_by_id


def make(session):
    return Interaction.of("Hi", "Hello").model_copy(update={"session": session})


@pytest.mark.parametrize("count", [0, 1, 2, 3, 511, 512, 513, 1300])
def test_rows_are_those_of_a_scan(store, count):
    generator = random.Random(count)
    interactions = [make(f"s{i % 7}").model_copy(update={"id": f"id-{i}"}) for i in range(1_400)]
    store.add(*interactions)
    names = [f"id-{generator.randrange(2_000)}" for _ in range(count)]
    with store.engine.connect() as connection:
        rows = [
            tuple(row)
            for row in rows_by_id(connection, schema.interactions, ("id", "session"), 1, names)
        ]
    scanned = [(i.id, i.session) for i in interactions if i.id in set(names)]
    assert sorted(rows) == sorted(scanned)


def test_another_column_may_hold_the_ids_and_other_projects_are_left_out(store):
    store.add(*(make(f"s{i % 3}") for i in range(30)))
    with store.engine.connect() as connection:
        args = (connection, schema.interactions, ("session",))
        assert len(list(rows_by_id(*args, 1, {"s0", "s2"}, key="session"))) == 20
        assert list(rows_by_id(*args, 2, {"s0", "s2"}, key="session")) == []


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a%sb", "%(project)s", "?", ":x", "ä\n"])
def test_ids_are_values_not_text_of_the_statement(store, name):
    store.add(make(name))
    with store.engine.connect() as connection:
        rows = rows_by_id(connection, schema.interactions, ("session",), 1, [name], key="session")
        assert [tuple(row) for row in rows] == [(name,)]
