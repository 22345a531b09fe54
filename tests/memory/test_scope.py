"""Scopes of memory entries: which requests they contain."""

import pytest

from backtalk.embedders import HashedTfidf
from backtalk.feedback import Message, Scope
from backtalk.memory.requests import request_text
from backtalk.memory.scope import ScopeClassifier
from backtalk.memory.scope_words import content_words, parse_condition
from backtalk.models.run_sync import run_sync
from backtalk.worlds import get_world

BOSS = Scope(where="in mails to my boss")
STORED = (
    "Write to my boss that the report is ready.",
    "Write to my sister about the party.",
    "Write to a customer about the parcel.",
    "How do I cook rice?",
    "Fix this SQL query.",
)


def verdict(scope, request, stored=()):
    classifier = ScopeClassifier(HashedTfidf.fit(stored), stored)
    return run_sync(classifier.decide([scope], request))[0].verdict


@pytest.mark.parametrize("stored", [(), STORED])
@pytest.mark.parametrize(
    ("where", "request_", "expected"),
    [
        ("in mails to my boss", "Email my boss that I am sick.", "inside"),
        ("in e-mails to my boss", "Write a mail to my boss.", "inside"),
        ("in mails to my boss", "Write to my boss, Ms Klein.", "inside"),
        ("in mails to my boss", "Write a mail to my landlord.", "outside"),
        ("in mails to my boss", "How long do I boil an egg?", "outside"),
        ("in mails to my boss or customers", "Write a mail to a customer.", "inside"),
        ("in mails to my boss or customers", "Write a mail to a friend.", "outside"),
        ("when I ask for Python code", "Python code that reads a file", "inside"),
        ("when I ask for Python code", "Plan a weekend in Lisbon.", "outside"),
        ("everywhere except in mails to my boss", "Write to my sister.", "inside"),
        ("everywhere except in mails to my boss", "Write a mail to my boss.", "outside"),
        ("unless I ask about chemistry", "How far is the moon?", "inside"),
        ("unless I ask about chemistry", "A question on chemistry: what is a mole?", "outside"),
        ("in every answer", "How far is the moon?", "inside"),
        ("always", "How far is the moon?", "inside"),
        ("给老板的邮件", "给老板写一封邮件", "inside"),
        ("给老板的邮件", "今天天气怎么样", "outside"),
    ],
)
def test_words_alone_state_a_scope(where, request_, expected, stored):
    assert verdict(Scope(where=where), request_, stored) == expected


def test_a_scope_about_all_requests_of_the_only_kind_contains_every_request():
    stored = [f"Write to Ms Klein about order {number}." for number in range(30)]
    assert verdict(Scope(where="in all my mails"), "Write to Mr Ito.", stored) == "inside"
    assert verdict(Scope(where="in all my mails"), "Write to Mr Ito.") != "inside"


def test_an_entry_is_never_applied_where_an_example_says_that_it_is_not():
    request = "Write a mail to my boss about the party."
    scope = BOSS.model_copy(update={"outside": (request,)})
    assert verdict(scope, request) == "outside"
    assert verdict(scope, "Write a mail to my boss about the report.") == "inside"


def test_an_example_inside_is_inside_whatever_the_words_say():
    scope = BOSS.model_copy(update={"inside": ("Tell Karen that I am ill.",)})
    assert verdict(scope, "Tell Karen that I am ill.") == "inside"


def test_examples_outside_alone_leave_everything_else_inside():
    scope = Scope(outside=("Write a poem about rain.", "Write a poem about my cat."))
    assert verdict(scope, "How do I cook rice?", STORED) == "inside"
    assert verdict(scope, "Write a poem about snow.", STORED) == "outside"


@pytest.mark.parametrize("where", [None, "in mails to customers"])
def test_scopes_are_learned_from_examples_of_a_world(where):
    world = get_world("mail")
    tasks = world.tasks("train", 120, seed=3)
    stored, rest = [task.text for task in tasks[:60]], tasks[60:]
    inside = [task.text for task in rest if task.recipient.name == "customer"]
    outside = [task.text for task in rest if task.recipient.name != "customer"]
    scope = Scope(where=where, inside=tuple(inside[:4]), outside=tuple(outside[:3]))
    classifier = ScopeClassifier(HashedTfidf.fit(stored), stored)
    verdicts = [
        [run_sync(classifier.decide([scope], text))[0].verdict for text in texts]
        for texts in (inside[4:14], outside[3:23])
    ]
    assert verdicts[0].count("inside") >= 0.9 * len(verdicts[0])
    assert verdicts[1].count("inside") <= 0.1 * len(verdicts[1])


def test_one_example_applies_to_little_else():
    scope = Scope(inside=("Write to my boss, Ms Klein. The meeting moves to Friday at 10:30.",))
    for request in (
        "How do I cook rice?",
        "Fix this SQL query.",
        "Write to my sister, Ada. Lunch.",
    ):
        assert verdict(scope, request, STORED) != "inside"


def test_a_scope_without_a_condition_contains_every_request():
    assert verdict(Scope(users=("ann",)), "Anything.") == "inside"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Write to my boss."], "Write to my boss."),
        (["Write to my boss.", "Make it shorter."], "Write to my boss.\n\nMake it shorter."),
        (["Write to my boss.", "How do I cook rice?"], "How do I cook rice?"),
    ],
)
def test_a_follow_up_is_read_with_the_message_before_it(texts, expected):
    prompt = [Message.system("Be brief.")]
    for text in texts:
        prompt += [Message.user(text), Message.assistant("Done.")]
    assert request_text(tuple(prompt[:-1])) == expected


def test_words_of_scopes_are_stems_without_function_words():
    assert content_words("When I'm asking about my bosses' e-mails") == ("ask", "boss", "mail")
    condition = parse_condition("in offers, but not to dealers")
    assert condition.alternatives == (("offer",),)
    assert condition.exceptions == (("dealer",),)
