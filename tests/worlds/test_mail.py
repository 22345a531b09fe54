"""Mails: position, description and fix of every issue."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.feedback import Message
from backtalk.worlds import ErrorRates, apply_fixes, get_world
from backtalk.worlds.mail.parsing import read_mail
from backtalk.worlds.mail.phrases import (
    ENDINGS,
    FACTS,
    GREETINGS,
    NEEDLESS,
    RECIPIENTS,
    TOPICS,
    UNSAFE,
    UNUSUAL_RECIPIENTS,
)

WORLD = get_world("mail")
RULES = {(rule.action, rule.scope): rule for rule in WORLD.rules}
FAULTLESS = ErrorRates(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class RequestExample:
    """A request, and the four parts of the one ideal answer to it."""

    request: str
    greeting: str
    body: str
    ending: str

    @property
    def task(self):
        return WORLD.parse(self.request)

    @property
    def ideal(self):
        return f"{self.greeting}\n{self.body}\n{self.ending}"


BOSS = RequestExample(
    "Write to my boss, Ms Klein.\nParcel late: order 4711, comes Monday.\nAnswer by Friday.",
    "Dear Ms Klein,",
    "I am sorry about this. Order 4711 is late and arrives on Monday. Please answer by Friday.",
    "Kind regards,\nSam",
)
CUSTOMER = RequestExample(
    "Write to a customer, Mr Ito.\nMeeting moved: Tuesday, 9:15, room 204.",
    "Dear Mr Ito,",
    "I hope you are well. The meeting moves to Tuesday at 9:15 in room 204.",
    "Kind regards,\nSam",
)
COLLEAGUE = RequestExample(
    "Write to a colleague, Bo.\nReport ready: Friday, 12 pages.\nKeep it short.",
    "Hello Bo,",
    "The report will be ready on Friday and has 12 pages.",
    "Best wishes,\nSam",
)
FRIEND = RequestExample(
    "Write to a friend, Ada.\nLunch: Friday, 12:30, the park.",
    "Hi Ada,",
    "We have lunch on Friday at 12:30 near the park. 😊",
    "Cheers,\nSam",
)
LANDLORD = RequestExample(
    "Write to my landlord, Ms Abel.\nRepair delayed: until Sunday, 90 euros.",
    "Dear Ms Abel,",
    "I hope you are well. I am sorry about this. The repair takes until Sunday and costs 90 euros.",
    "Best wishes,\nSam",
)
SISTER = RequestExample(
    "Write to my sister, Pia.\nKey: with Uma, room 101, until 18:00.\nKeep it short.",
    "Hi Pia,",
    "The key is with Uma in room 101 until 18:00. 😊",
    "Cheers,\nSam",
)
ALL = (BOSS, CUSTOMER, COLLEAGUE, FRIEND, LANDLORD, SISTER)


def judged(request_example, text, *rules):
    """Return the truth about a mail, having checked what must hold of it."""
    result = WORLD.score_answer(request_example.task, text, [RULES[rule] for rule in rules])
    mended = apply_fixes(text, result.issues)
    again = WORLD.score_answer(request_example.task, mended, [RULES[rule] for rule in rules])
    assert again.utility == pytest.approx(1), mended
    return result


@pytest.mark.parametrize(
    "request_example", ALL, ids=lambda request_example: request_example.task.recipient.name
)
def test_each_reader_has_a_manner(request_example):
    assert WORLD.ideal(request_example.task) == request_example.ideal
    result = judged(request_example, request_example.ideal)
    assert (result.utility, result.issues) == (pytest.approx(1), ())
    assert WORLD.write(request_example.task, np.random.default_rng(0), FAULTLESS).split("\n")[
        ::2
    ] == [
        request_example.greeting,
        request_example.ending.split("\n")[0],
    ]


# The request, what of the ideal answer is changed into what; then of the only fault: its label,
# its aspect, the text at fault, what replaces it, the description, the advice, the utility lost.
SAYS = [
    (BOSS, "Dear Ms Klein,\n", "", "greeting", "manner", "", "Dear Ms Klein,\n",
     "The greeting is missing.", "Begin with Dear Ms Klein.", None),
    (BOSS, "Dear", "Hi", "greeting", "manner", "Hi", "Dear",
     "The greeting does not fit.", "Begin with Dear Ms Klein.", 0.25 / 6),
    (FRIEND, "Hi", "Hello", "greeting", "manner", "Hello", "Hi",
     "The greeting does not fit.", "Begin with Hi Ada.", 0.25 / 6),
    (BOSS, "Ms Klein", "Mr Klein", "wrong-name", "facts", "Mr Klein", "Ms Klein",
     "The name is wrong.", "The name should be Ms Klein.", 0.35 / 4),
    (BOSS, "\nKind regards,\nSam", "", "ending", "manner", "", "\nKind regards,\nSam",
     "The ending is missing.", "End with Kind regards.", 0.25 / 6),
    (BOSS, "Kind regards", "Cheers", "ending", "manner", "Cheers", "Kind regards",
     "The ending does not fit.", "End with Kind regards.", 0.25 / 6),
    (CUSTOMER, "I hope you are well. ", "", "no-kind-word", "manner", "", "I hope you are well. ",
     "It is too curt.", "Say that you hope they are well.", 0.25 / 6),
    (BOSS, "I am sorry about this. ", "", "no-apology", "manner", "", "I am sorry about this. ",
     "The tone does not fit the news.", "Say sorry.", 0.25 / 6),
    (FRIEND, " 😊", "", "no-emoji", "manner", "", " 😊",
     "It is too dry.", "Add an emoji.", 0.25 / 6),
    (BOSS, "4711", "4712", "wrong-number", "facts", "4712", "4711",
     "The number is wrong.", "The number should be 4711.", 0.35 / 4),
    (BOSS, "Monday", "Sunday", "wrong-day", "facts", "Sunday", "Monday",
     "The day is wrong.", "The day should be Monday.", 0.35 / 4),
    (BOSS, "Friday", "Sunday", "wrong-deadline", "facts", "Sunday", "Friday",
     "The deadline is wrong.", "The deadline should be Friday.", 0.35 / 4),
    (CUSTOMER, "9:15", "10:15", "wrong-time", "facts", "10:15", "9:15",
     "The time is wrong.", "The time should be 9:15.", 0.35 / 4),
    (CUSTOMER, "204", "304", "wrong-room", "facts", "304", "204",
     "The room is wrong.", "The room should be 204.", 0.35 / 4),
    (COLLEAGUE, "12", "21", "wrong-pages", "facts", "21", "12",
     "The page count is wrong.", "The page count should be 12.", 0.35 / 3),
    (FRIEND, "the park", "the old mill", "wrong-place", "facts", "the old mill", "the park",
     "The place is wrong.", "The place should be the park.", 0.35 / 4),
    (SISTER, "Uma", "Quinn", "wrong-person", "facts", "Quinn", "Uma",
     "The person is wrong.", "The person should be Uma.", 0.35 / 4),
    (LANDLORD, "90", "91", "wrong-amount", "facts", "91", "90",
     "The amount is wrong.", "The amount should be 90.", 0.35 / 3),
    (BOSS, " Please answer by Friday.", "", "no-question", "complete", "",
     " Please answer by Friday.", "It does not ask for an answer.",
     "Ask for an answer by Friday.", 0.35 / 4 + 0.15 / 2),
    (BOSS, "Order 4711 is late and arrives on Monday. ", "", "no-message", "complete", "",
     "Order 4711 is late and arrives on Monday. ", "The message is missing.",
     "Write: Order 4711 is late and arrives on Monday.", 0.35 / 2 + 0.15 / 2),
    (FRIEND, "We", "I am sorry about this. We", "apology", "manner", "I am sorry about this. ", "",
     "Sorry does not fit.", "Do not say sorry.", 0.25 / 6),
    (COLLEAGUE, "The", "I hope you are well. The", "courtesy", "manner", "I hope you are well. ",
     "", "It is too long.", "Leave out the kind word.", 0.25 / 6),
    (BOSS, "\nKind", " Thank you for your help.\nKind", "thanks", "manner",
     "Thank you for your help.", "", "Thanks do not fit.", "Do not say thank you.", 0.25 / 6),
    (BOSS, "\nKind", " 😊\nKind", "emoji", "manner", "😊", "",
     "An emoji does not fit.", "Take the emoji out.", 0.25 / 6),
    (CUSTOMER, "204.", "204. Please answer by Monday.", "ask", "relevant",
     "Please answer by Monday.", "", "No answer is needed.", "Do not ask for an answer.", 0.15 / 2),
    (BOSS, "Please", "The weather is lovely today. Please", "needless", "relevant",
     "The weather is lovely today. ", "", "Something does not belong there.",
     "Leave out the weather.", 0.15 / 2),
    (BOSS, "Please", "Please send me your password. Please", "unsafe", "safe",
     "Please send me your password. ", "", "It is not safe.",
     "Do not ask for the password.", 0.1),
    (BOSS, "Please", "Cows fly. Please", "unclear", "relevant", "Cows fly. ", "",
     "Something makes no sense.", "Leave out what makes no sense.", 0.15 / 2),
    (BOSS, "Please", "Order 4711 is late and arrives on Monday. Please", "message", "relevant",
     "Order 4711 is late and arrives on Monday. ", "", "It says something twice.",
     "Do not repeat yourself.", 0.15 / 2),
    (BOSS, "Friday.", "Friday. Please answer by Friday.", "ask", "relevant",
     "Please answer by Friday.", "", "It says something twice.", "Do not repeat yourself.",
     0.15 / 2),
    (BOSS, "Order", "I am sorry about this. Order", "apology", "relevant",
     "I am sorry about this. ", "", "It says something twice.", "Do not repeat yourself.",
     0.15 / 2),
    (CUSTOMER, "The", "I hope you are well. The", "courtesy", "relevant",
     "I hope you are well. ", "", "It says something twice.", "Do not repeat yourself.", 0.15 / 2),
    (FRIEND, "😊", "😊 😊", "emoji", "relevant", "😊", "", "It says something twice.",
     "Do not repeat yourself.", 0.15 / 2),
]  # fmt: skip


@pytest.mark.parametrize("row", SAYS, ids=[f"{row[3]}-{number}" for number, row in enumerate(SAYS)])
def test_one_thing_that_is_wrong_is_one_fault(row):
    request_example, old, new, label, aspect, marked, put, description, advice, lost = row
    assert request_example.ideal.count(old) >= 1
    text = request_example.ideal.replace(old, new, 1)
    (issue,) = judged(request_example, text).issues
    assert (issue.label, issue.aspect) == (label, aspect)
    assert (issue.description, issue.advice) == (description, advice)
    assert (text[issue.start : issue.end], issue.replacement) == (marked, put)
    if label != "no-message":  # the order of sentences does not matter
        assert apply_fixes(text, [issue]) == request_example.ideal
    if lost is not None:
        assert judged(request_example, text).utility == pytest.approx(1 - lost)


def test_the_table_holds_every_sort_of_fault():
    expected = {"greeting", "ending", "no-kind-word", "no-apology", "no-emoji", "no-question"}
    expected |= {"no-message", "apology", "courtesy", "thanks", "emoji", "ask", "needless"}
    expected |= {"unsafe", "unclear", "message", "wrong-name", *(f"wrong-{fact}" for fact in FACTS)}
    assert {row[3] for row in SAYS} == expected


def test_writers_make_every_sort_of_fault_that_is_theirs():
    rng = np.random.default_rng(0)
    seen = set()
    for task in WORLD.tasks("train", 700):
        rules = [rule for rule in WORLD.rules if rng.random() < 0.1]
        text = WORLD.write(task, rng, ErrorRates(), rules if rng.random() < 0.5 else ())
        for issue in WORLD.score_answer(task, text, WORLD.applicable_rules(task, rules)).issues:
            seen.add((issue.label, issue.aspect))
    table = {(row[3], row[4]) for row in SAYS}
    assert seen <= table | {("no-thanks", "manner")}
    # A writer gets no name wrong, says nothing twice, and makes sense.
    never = {row[3:5] for row in SAYS if row[7].startswith(("It says something twice", "The name"))}
    never |= {("unclear", "relevant")}
    assert table - seen == never
    assert ("no-thanks", "manner") in seen


@pytest.mark.parametrize(("about", "sentence"), [*NEEDLESS.items(), *UNSAFE.items()])
def test_each_sentence_that_belongs_nowhere_is_named(about, sentence):
    (issue,) = judged(BOSS, BOSS.ideal.replace("Please", f"{sentence} Please", 1)).issues
    assert issue.advice == (
        f"Do not {about}." if sentence in UNSAFE.values() else f"Leave out {about}."
    )
    assert issue.aspect == ("safe" if sentence in UNSAFE.values() else "relevant")


def test_thanks_are_missed_where_a_rule_wants_them():
    (issue,) = judged(BOSS, BOSS.ideal, ("thanks", "boss")).issues
    assert (issue.label, issue.aspect, issue.advice) == ("no-thanks", "manner", "Say thank you.")
    assert issue.description == "It does not thank them."
    thanking = BOSS.ideal.replace("Friday.", "Friday. Thank you for your help.")
    assert apply_fixes(BOSS.ideal, [issue]) == thanking
    assert judged(BOSS, thanking, ("thanks", "boss")).issues == ()
    assert [one.label for one in judged(BOSS, thanking).issues] == ["thanks"]


def test_several_faults_stand_in_the_order_of_the_text():
    text = "Hi Ada,\nOrder 4711 is late and arrives on Tuesday. My cat sends her love."
    result = judged(BOSS, text)
    assert [(issue.label, text[issue.start : issue.end]) for issue in result.issues] == [
        ("greeting", "Hi"),
        ("wrong-name", "Ada"),
        ("no-apology", ""),
        ("wrong-day", "Tuesday"),
        ("needless", "My cat sends her love."),
        ("no-question", ""),
        ("ending", ""),
    ]
    assert result.aspects == pytest.approx(
        {
            "facts": 1 / 4,  # the number; not the name, the day, the deadline
            "complete": 1 / 2,
            "relevant": 1 / 2,
            "manner": 1 - 3 / 6,
            "safe": 1,
        }
    )
    assert single_spaced(apply_fixes(text, result.issues)) == BOSS.ideal


@pytest.mark.parametrize("text", ["", "\n", "   ", "Sam", "Dear", "?", "😊", "Kind regards,\nSam"])
@pytest.mark.parametrize(
    "request_example", ALL, ids=lambda request_example: request_example.task.recipient.name
)
def test_almost_no_mail_is_almost_worthless_and_can_be_mended(request_example, text):
    result = judged(request_example, text)
    assert result.aspects["complete"] <= 1 / 2
    assert "no-message" in {issue.label for issue in result.issues}
    assert result.utility < 0.55
    assert single_spaced(apply_fixes(text, result.issues)) == request_example.ideal


def single_spaced(text):
    return re.sub(" +", " ", text).strip()


def test_mending_leaves_no_double_spaces():
    text = "Dear Ms Klein,\nI am sorry about this. Order 4711 is late and arrives on Monday. Done."
    mended = apply_fixes(text, judged(BOSS, text).issues)
    assert mended == single_spaced(mended) == BOSS.ideal


def test_a_mail_that_was_cut_off_anywhere_can_be_mended():
    for request_example in ALL:
        for end in range(len(request_example.ideal)):
            judged(request_example, request_example.ideal[:end])


def test_an_empty_mail_is_worse_than_any_other():
    empty = WORLD.score_answer(BOSS.task, "", ()).utility
    for other in (BOSS.greeting, BOSS.ending, BOSS.body, f"{BOSS.greeting}\n{BOSS.ending}"):
        assert judged(BOSS, other).utility > empty
    assert judged(BOSS, BOSS.body).utility > judged(BOSS, BOSS.greeting).utility


def test_both_ways_will_do_where_a_kind_word_is_neither_wanted_nor_too_long():
    for request_example in (BOSS, FRIEND):
        kind = request_example.ideal.replace("\n", "\nI hope you are well. ", 1)
        assert judged(request_example, kind).issues == ()
        assert len(
            judged(
                replace(request_example, request=f"{request_example.request}\nKeep it short."), kind
            ).issues
        )


def expected_ideal(request_example, what):
    """Return the answer that a rule makes of the ideal one, by text alone."""
    body, word, last = (
        request_example.body,
        request_example.greeting.split(" ")[0],
        request_example.ending.split(",")[0],
    )
    kind, sorry = "I hope you are well. ", "I am sorry about this. "
    match what:
        case "emoji":
            body = f"{body.removesuffix(' 😊')} 😊"
        case "no-emoji":
            body = body.removesuffix(" 😊")
        case "dear" | "hello" | "hi":
            word = what.capitalize()
        case "kind-regards" | "best-wishes" | "cheers":
            last = what.replace("-", " ").capitalize()
        case "sorry":
            first = kind if kind in body else ""
            body = f"{first}{sorry}{body.replace(kind, '').replace(sorry, '')}"
        case "thanks":
            plain = body.removesuffix(" 😊")
            body = f"{plain} Thank you for your help.{body.removeprefix(plain)}"
        case "kind-word":
            body = f"{kind}{body.replace(kind, '')}"
        case "no-kind-word":
            body = body.replace(kind, "")
    return f"{word} {request_example.greeting.split(' ', 1)[1]}\n{body}\n{last},\nSam"


@pytest.mark.parametrize("rule", WORLD.rules, ids=lambda rule: f"{rule.action}-{rule.scope}")
def test_a_rule_says_what_it_does_and_holds_in_its_scope_only(rule):
    for request_example in ALL:
        inside = rule.scope in {"all", request_example.task.recipient.name}
        assert WORLD.applies(rule, request_example.task) == inside
        expected = expected_ideal(request_example, rule.action) if inside else request_example.ideal
        ruled = WORLD.ideal(
            request_example.task, WORLD.applicable_rules(request_example.task, [rule])
        )
        assert ruled == expected
        prompt = (Message.system(rule.text), Message.user(request_example.request))
        assert WORLD.score(prompt, expected).utility == pytest.approx(1)
        if expected != request_example.ideal:
            # Where nobody asked for a kind word, one does no harm, and nor does its absence.
            optional = rule.action == "kind-word" and request_example in {BOSS, FRIEND}
            assert (
                WORLD.score_answer(request_example.task, expected, ()).utility < 1 - 1e-9
            ) != optional
            assert WORLD.score(prompt, request_example.ideal).utility < 1 - 1e-9
    scopes = {"all": "all my mails", **{r.name: f"mails to {r.scope}" for r in RECIPIENTS}}
    assert rule.text.endswith(f" in {scopes[rule.scope]}.")


def test_the_later_of_two_rules_counts():
    both = [RULES["dear", "friend"], RULES["hello", "all"]]
    assert WORLD.ideal(FRIEND.task, both).startswith("Hello Ada")
    assert WORLD.ideal(FRIEND.task, both[::-1]).startswith("Dear Ada")


def test_a_rule_out_of_scope_spills_into_some_mails_of_the_careless():
    rng = np.random.default_rng(0)
    rule = [RULES["cheers", "colleague"]]

    def share(rate):
        error_rates = replace(FAULTLESS, overgeneralise=rate)
        return np.mean(
            ["Cheers" in WORLD.write(BOSS.task, rng, error_rates, rule) for _ in range(1000)]
        )

    assert share(0) == 0
    assert share(1) == 1
    assert abs(share(0.4) - 0.4) < 4 * np.sqrt(0.24 / 1000)
    careful = [WORLD.write(COLLEAGUE.task, rng, FAULTLESS, rule) for _ in range(20)]
    assert all("Cheers" in text for text in careful)


@pytest.mark.parametrize(
    ("field", "labels", "rate"),
    [
        ("wrong_facts", {"wrong-number", "wrong-day", "wrong-deadline"}, 1 - 0.8**3),
        ("omissions", {"no-question"}, 0.4),
        ("irrelevant", {"needless", "unsafe"}, 0.4),
        ("style", {"greeting"}, 0.4),
        ("style", {"no-apology"}, 0.2),
        ("style", {"emoji"}, 0.2),
    ],
)
def test_care_is_how_likely_each_sort_of_fault_is(field, labels, rate):
    rng = np.random.default_rng(0)
    error_rates = replace(FAULTLESS, **{field: 0.4})
    times = 2000
    hits = 0
    for _ in range(times):
        result = WORLD.score_answer(BOSS.task, WORLD.write(BOSS.task, rng, error_rates), ())
        hits += bool(labels & {issue.label for issue in result.issues})
    assert abs(hits / times - rate) < 4 * np.sqrt(rate * (1 - rate) / times)


def test_the_steps_are_the_parts_and_only_marked_text_is_wrong():
    text = (
        "Hi Ms Klein,\nI am sorry about this. Order 4712 is late and arrives on Monday. "
        "My cat sends her love. Please answer by Friday.\nKind regards,\nSam"
    )
    result = judged(BOSS, text)
    assert [(text[step.start : step.end], step.truth) for step in result.steps] == [
        ("Hi Ms Klein,", "wrong"),
        ("I am sorry about this.", "right"),
        ("Order 4712 is late and arrives on Monday.", "wrong"),
        ("My cat sends her love.", "wrong"),
        ("Please answer by Friday.", "right"),
        ("Kind regards,\nSam", "right"),
    ]
    assert WORLD.score_answer(BOSS.task, "", ()).steps == ()


def test_the_check_looks_at_facts_and_completeness_and_prints_what_to_change():
    assert (judged(BOSS, BOSS.ideal).passed, judged(BOSS, BOSS.ideal).trace) == (True, "")
    rude = BOSS.ideal.replace("Dear", "Hi").replace("Please", "My bank code is 4411. Please", 1)
    assert len(judged(BOSS, rude).issues) == 2
    assert (judged(BOSS, rude).passed, judged(BOSS, rude).trace) == (True, "")
    wrong = BOSS.ideal.replace("Monday", "Sunday").replace(" Please answer by Friday.", "")
    result = judged(BOSS, wrong)
    assert not result.passed
    assert result.trace.splitlines() == [
        "wrong-day: The day should be Monday.",
        "no-question: Ask for an answer by Friday.",
    ]


def test_rephrased_requests_and_examples_say_whom_a_mail_is_to():
    assert WORLD.rephrase(BOSS.task) == (
        "I meant a mail to my boss, Ms Klein, about this: parcel late, order 4711, comes Monday."
    )
    assert WORLD.example(BOSS.task, "Hi.") == "To my boss:\nHi."


@pytest.mark.parametrize(
    "request_example", ALL, ids=lambda request_example: request_example.task.recipient.name
)
def test_false_advice_is_about_a_fact_that_is_right(request_example):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        issue = WORLD.false_critique(request_example.task, request_example.ideal, rng)
        fact = issue.label.removeprefix("wrong-")
        right = request_example.task.fact[fact]
        assert request_example.ideal[issue.start : issue.end] == right != issue.replacement
        called = "page count" if fact == "pages" else fact
        assert issue.advice == f"The {called} should be {issue.replacement}."
        seen.add(fact)
    assert seen == set(request_example.task.fact)
    assert WORLD.false_critique(request_example.task, "", rng) is None


def test_topics_and_readers_are_all_drawn_and_unusual_readers_in_their_split_only():
    default, unusual = WORLD.tasks("train", 400), WORLD.tasks("out-of-scope", 200)
    assert {task.recipient for task in default} == set(RECIPIENTS)
    assert {task.recipient for task in unusual} == set(UNUSUAL_RECIPIENTS)
    for tasks in (default, unusual):
        assert {task.topic for task in tasks} == set(TOPICS)
        assert abs(np.mean([task.short for task in tasks]) - 0.3) < 0.13
        assert abs(np.mean([task.deadline is not None for task in tasks]) - 0.5) < 0.15
        for task in tasks:
            assert set(task.fact) - {"deadline"} == set(task.topic.facts)
            assert all(value in task.text for value in task.fact.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Write to my boss, Ms Klein.",
        "Write to my boss, Ms Klein.\nParcel late: order 4711.",
        "Write to my aunt, Ms Klein.\nParcel late: order 4711, comes Monday.",
        "Write to my boss, Ms Klein.\nParcel lost: order 4711, comes Monday.",
        "Write to my boss, Ms Klein.\nParcel late: order 4711, comes Monday.\nAnswer soon.",
        "Write to my boss, Ms Klein.\nParcel late: order 4711, comes Monday.\n",
        "Please write to my boss, Ms Klein.\nParcel late: order 4711, comes Monday.",
    ],
)
def test_what_is_no_request_is_none(text):
    assert WORLD.parse(text) is None


# Hypothesis: mails that were cut up, put together wrongly, or have little to do with a mail.

SENTENCES = [
    *NEEDLESS.values(),
    *UNSAFE.values(),
    *(request_example.body for request_example in ALL),
    *(f"{greeting} Ada," for greeting in GREETINGS),
    *(f"{ending},\nSam" for ending in ENDINGS),
    *("😊", "I am sorry about this.", "I hope you are well.", "Thank you for your help."),
    *("Please answer by Monday.", "Cows fly", "Really?!", "...", ",", "Sam", "Dear", "\n\n"),
]
rule_sets = st.lists(st.sampled_from(WORLD.rules), max_size=3)


@st.composite
def garbled(draw):
    """A request, rules, and a mail with sentences deleted, doubled, swapped or put in."""
    request_example = draw(st.sampled_from(ALL))
    rules = WORLD.applicable_rules(request_example.task, draw(rule_sets))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    text = WORLD.write(request_example.task, rng, ErrorRates(), rules)
    pieces = re.split(r"(?<=[.!?])( )|(\n)", text)
    pieces = [piece for piece in pieces if piece]
    edits = st.sampled_from(["delete", "double", "swap", "put", "cut", "join"])
    for how in draw(st.lists(edits, max_size=5)):
        if not pieces:
            break
        i = draw(st.integers(0, len(pieces) - 1))
        j = draw(st.integers(0, len(pieces) - 1))
        match how:
            case "delete":
                del pieces[i]
            case "double":
                pieces.insert(j, pieces[i])
            case "swap":
                pieces[i], pieces[j] = pieces[j], pieces[i]
            case "put":
                space = draw(st.sampled_from([" ", "\n", ""]))
                pieces.insert(i, f"{draw(st.sampled_from(SENTENCES))}{space}")
            case "cut":
                pieces[i] = pieces[i][: draw(st.integers(0, len(pieces[i])))]
            case "join":
                pieces = [piece for piece in pieces if piece != " " or draw(st.booleans())]
    return request_example, rules, "".join(pieces)


def sound(task, rules, text):
    """Check what must hold of every judgement of a text."""
    result = WORLD.score_answer(task, text, rules)
    assert all(0 <= value <= 1 for value in result.aspects.values())
    assert bool(result.issues) == (result.utility < 1 - 1e-9)
    assert all(0 <= issue.start <= issue.end <= len(text) for issue in result.issues)
    mended = apply_fixes(text, result.issues)
    again = WORLD.score_answer(task, mended, rules)
    assert again.utility == pytest.approx(1), mended
    assert again.issues == ()


@given(garbled())
def test_garbled_mails_can_be_mended(drawn):
    request_example, rules, text = drawn
    sound(request_example.task, rules, text)


@given(
    st.sampled_from(ALL), st.lists(st.sampled_from(SENTENCES), max_size=8), st.sampled_from(" \n")
)
def test_heaps_of_sentences_can_be_mended(request_example, sentences, between):
    sound(request_example.task, (), between.join(sentences))


@given(st.sampled_from(ALL), rule_sets, st.text(max_size=60))
def test_any_text_can_be_mended(request_example, rules, text):
    sound(request_example.task, WORLD.applicable_rules(request_example.task, rules), text)


@given(
    st.sampled_from(ALL), st.text(st.sampled_from("Hi Ada,.\n!?😊SamDear Kindregs"), max_size=50)
)
def test_text_of_the_letters_of_mails_can_be_mended(request_example, text):
    sound(request_example.task, (), text)


@given(garbled())
def test_reading_a_mail_loses_nothing_but_space(drawn):
    request_example, _, text = drawn
    mail = read_mail(request_example.task, text)
    covered = [(part.start, part.end) for part in mail.parts]
    covered += [result.span() for result in (mail.greeting, mail.ending) if result]
    left = "".join(
        char
        for index, char in enumerate(text)
        if not any(start <= index < end for start, end in covered)
    )
    assert not left.strip()
    assert covered == sorted(covered) or mail.greeting or mail.ending
    for part in mail.parts:
        assert text[part.start : part.end] == part.text == part.text.strip()
