"""Contradictions between texts: precision and recall on a table of pairs, and their symmetry."""

import sys

import pytest

from backtalk.feedback import Scope
from backtalk.memory import MemoryEntry
from backtalk.memory.contradictions import contradiction, topics_of
from backtalk.memory.settlement import covers, overlap, settle
from tests.memory.contradiction_pairs import TUNED, UNSEEN


def rates(table):
    """Return the precision and the recall on a table of pairs."""
    positive = [pair for pair in table[True] if contradiction(*pair) is not None]
    false = [pair for pair in table[False] if contradiction(*pair) is not None]
    return len(positive) / (len(positive) + len(false)), len(positive) / len(table[True])


@pytest.mark.parametrize(("name", "table"), [("tuned", TUNED), ("unseen", UNSEEN)])
def test_contradictions_are_told_from_near_misses(name, table, capsys):
    precision, recall = rates(table)
    with capsys.disabled():
        pairs = sum(map(len, table.values()))
        sys.stdout.write(
            f"\n{pairs} {name} pairs: precision {precision:.2f}, recall {recall:.2f}\n"
        )
    assert precision >= 0.95
    assert recall >= 0.9


@pytest.mark.parametrize("table", [TUNED, UNSEEN])
def test_a_contradiction_is_symmetric_and_has_a_common_topic(table):
    for a, b in [pair for pairs in table.values() for pair in pairs]:
        assert (contradiction(a, b) is None) == (contradiction(b, a) is None)
        assert contradiction(a, a) is None
        if contradiction(a, b) is not None:
            assert topics_of(a) & topics_of(b), (a, b)


@pytest.mark.parametrize("last", ["metric", "imperial"])
@pytest.mark.parametrize(
    "form",
    [
        *("{} after all", "No, {}.", "Actually, {}, not {other}", "{} instead of {other}, please"),
        *("I changed my mind: {} units", "Go back to {}", "not {other} but {}", "Switch to {}"),
        *("No more {other}, use {}", "The user prefers {} units", "I want {} again"),
    ],
)
def test_changes_of_mind_contradict_what_was_said_before(form, last):
    other = {"metric": "imperial", "imperial": "metric"}[last]
    text = form.format(last, other=other)
    for before in (f"Use {other} units.", f"{other}, please", f"{other}, not {last}"):
        assert contradiction(text, before) == "units", (text, before)
        assert contradiction(text, before.replace(other, "x").replace(last, other)) is None


def test_only_the_last_statement_of_a_text_counts():
    text = "metric, not imperial; no, imperial after all"
    assert contradiction(text, "Use imperial units.") is None
    assert contradiction(text, "Use metric units.") == "units"


def entry(text, users=(), people=(), where=None, **fields):
    scope = Scope(users=users, where=where)
    return MemoryEntry(kind="preference", text=text, scope=scope, people=people, **fields)


@pytest.mark.parametrize(
    ("newer", "older", "winner", "is_open"),
    [
        ({}, {}, "newer", False),
        ({"people": ("ada",)}, {"people": ("ada",)}, "newer", False),
        ({"people": ("ada",)}, {"people": ("bo",)}, "newer", True),
        ({"people": ("ada",)}, {"people": ("bo", "cy")}, "older", True),
        ({"users": ("ada",)}, {"people": ("bo", "cy")}, "newer", False),
        ({"people": ("bo",)}, {"users": ("ada",), "people": ("ada",)}, "older", False),
        ({"people": ("ada",)}, {"users": ("ada",), "people": ("ada",)}, "newer", False),
        (
            *({"users": ("ada",), "people": ("bo",)}, {"users": ("ada",), "people": ("ada",)}),
            *("older", False),
        ),
        ({"where": "in e-mails"}, {}, "newer", False),
        ({}, {"where": "in e-mails"}, "older", False),
    ],
)
def test_contradictions_are_settled_by_whose_they_are_and_by_the_newer(
    newer, older, winner, is_open
):
    settlement = settle(entry("newer", **newer), entry("older", **older))
    assert (settlement.winner.text, settlement.is_open) == (winner, is_open)


def test_scopes_overlap_unless_users_or_conditions_differ():
    everybody, ada, bo = Scope(), Scope(users=("ada",)), Scope(users=("bo",))
    mails, posts = Scope(where="in E-mails"), Scope(where="in posts")
    assert overlap(everybody, ada)
    assert overlap(ada, Scope(users=("bo", "ada")))
    assert not overlap(ada, bo)
    assert overlap(mails, everybody)
    assert overlap(mails, Scope(where="in  e-mails"))
    assert not overlap(mails, posts)
    assert covers(everybody, ada)
    assert covers(everybody, mails)
    assert not covers(mails, everybody)
    assert not covers(ada, everybody)
    assert not covers(ada, bo)
    assert covers(Scope(users=("bo", "ada")), ada)


@pytest.mark.parametrize(
    ("a", "b", "contradict"),
    [
        ("On “No tea: tea, cup”: Add “tea”.", "On “No tea: tea, cup”: Leave out owl.", False),
        ("On “A list”: Add milk.", "On “A list”: about “tea”: Leave out milk.", True),
        ("On “A list”: Add milk.", "On “Another list”: Leave out milk.", False),
        ("On “A list”: Add milk.", "Add milk.", False),
    ],
)  # fmt: skip
def test_corrections_contradict_each_other_on_one_request_alone(a, b, contradict):
    assert (contradiction(a, b) is not None) == contradict
    assert (contradiction(b, a) is not None) == contradict


@pytest.mark.parametrize("text", ["x is \r", "The name is  .", "my name is ,", "is", "I am \n"])
def test_texts_without_a_value_state_no_fact(text):
    assert contradiction(text, "My name is Ada.") is None
    topics_of(text)


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("Scrap that, metric units please.", "Use imperial units."),
        ("Metric is better after all.", "Use imperial units."),
        ("Enough with the emojis.", "Use emojis."),
        ("I've had it with emojis.", "Use emojis."),
        ("Emojis are fine again.", "No emojis."),
        ("Bring back the emojis.", "No emojis."),
        ("Feel free to use emojis.", "No emojis."),
        ("Sources aren't needed.", "Always cite sources."),
        ("No need for sources.", "Always cite sources."),
        ("Back to English, please.", "Answer in German."),
        ("I no longer need German.", "Answer in German."),
        ("I eat meat again.", "Suggest vegetarian dishes."),
        ("I'd rather have a window seat.", "Book aisle seats."),
        ("Forget what I said about emojis.", "Use emojis."),
        ("Ignore my rule about sources.", "Always cite sources."),
        ("Never mind the units.", "Use metric units."),
        ("I take back what I said about the tone.", "Use a formal tone."),
        ("Forget the emoji thing.", "No emojis in mails."),
    ],
)
def test_changes_of_mind_are_found_in_other_words(newer, older):
    assert contradiction(newer, older) is not None
    assert topics_of(newer) & topics_of(older)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Forget what I said about units.", "Use emojis."),
        ("Never mind the emojis.", "Use metric units."),
        ("Do not forget to cite sources.", "Always cite sources."),
        ("Forget the emoji rule.", "Ignore my rule about emojis."),
        ("Scrap that, metric units please.", "Use metric units."),
        ("I need short answers.", "Be brief."),
    ],
)
def test_what_is_taken_back_is_that_subject_alone(a, b):
    assert contradiction(a, b) is None
    assert contradiction(b, a) is None
