"""``backtalk status``: what a project learned in the last week."""

import json

import pytest

from backtalk.cli import main
from backtalk.feedback import Scope
from backtalk.feedback.record import now
from backtalk.memory import Memory, MemoryEntry, MemorySpec
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Lineage, Policy, PromptTemplate, save_policy
from backtalk.promotion import promote
from backtalk.store import Store


@pytest.fixture
def location(tmp_path):
    location = str(tmp_path / "store.db")
    plain = Policy(model=EndpointSpec(model="small"), name="plain")
    clearer = plain.derive(
        lineage=Lineage(method="prompt", parent=plain.id, time=now()),
        prompt=PromptTemplate(rules=("Be brief.",)),
        memory=MemorySpec(revision=1),
    ).named("clearer")
    with Store(location) as store:
        memory = Memory(store)
        memory.add([MemoryEntry(id="a1", kind="principle", text="Name the hour.")])
        scope = Scope(users=("bo",))
        memory.add([MemoryEntry(id="b1", kind="preference", text="Use metric units.", scope=scope)])
        memory.forget(memory.get("a1").id, actor="ada")
        for policy in (plain, clearer):
            save_policy(store, policy)
        promote(store, clearer, actor="ada")
    return location


def test_status_lists_the_lessons_of_the_week(location, capsys):
    assert main(["status", "--store", location]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("learned"))
    policy, *entries = lines[start + 1 : start + 5]
    text = " ".join(" ".join(line.split()) for line in (policy, *entries))
    for words in (
        'gains the rule "Be brief."',
        "active",
        "for bo: Use metric units.",
        "not in use",
    ):
        assert words in text
    assert "Name the hour." not in text


def test_lessons_are_in_the_json_output(location, capsys):
    assert main(["status", "--store", location, "--json"]) == 0
    learned = json.loads(capsys.readouterr().out)["learned"]
    assert [(entry["id"], entry["in_use"]) for entry in learned["entries"]] == [
        ("a1", False),
        ("b1", False),
    ]
    (policy,) = learned["policies"]
    assert policy["active"]
    assert policy["changes"][0] == 'The prompt gains the rule "Be brief."'
