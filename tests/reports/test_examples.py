"""Example answers are stored with their evaluation, under the old name of the document too."""

from types import SimpleNamespace

import pytest

from backtalk.evaluate.examples import Example
from backtalk.reports import read_examples, save_examples
from backtalk.store import Store

EXAMPLE = Example(
    prompt="Why?",
    candidate="Because.",
    baseline="No idea.",
    candidate_value=0.9,
    baseline_value=0.1,
)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as store:
        yield store


def test_examples_are_read_as_they_were_saved(store):
    evaluation = SimpleNamespace(id="e1")
    assert read_examples(store, evaluation) == []
    save_examples(store, evaluation, [EXAMPLE])
    assert read_examples(store, evaluation) == [EXAMPLE]


def test_examples_of_the_old_document_kind_are_read(store):
    store.documents.put("exhibits", "e1", f"[{EXAMPLE.to_json()}]")
    assert read_examples(store, SimpleNamespace(id="e1")) == [EXAMPLE]
