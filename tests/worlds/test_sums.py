"""Sums: scoring of texts, descriptions of issues, fixes."""

import re
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.worlds.sums.task import Operation, SumTask
from backtalk.worlds.sums.world import SumsWorld
from backtalk.worlds.world import ErrorRates, Issue, apply_fixes
from tests.operations import count_lines

WORLD = SumsWorld()
RULES = {(rule.action, rule.scope): rule for rule in WORLD.rules}
APPLES = SumTask("Ada", "apples", 12, (Operation("+", 7, "buys {}"), Operation("-", 5, "loses {}")))
FAULTLESS = ErrorRates(0, 0, 0, 0, 0)
LABELS = {
    *("nothing", "no-answer", "wrong-answer", "answer-follows", "missing-step", "no-working"),
    *("working", "wrong-result", "wrong-number", "wrong-operation", "follows", "unfinished"),
    *("misplaced", "extra-step", "needless", "unclear"),
    *("sign", "number", "lead", "unit", "opening", "closing"),
}


def careless(share):
    return ErrorRates(*(share * value for value in (0.5, 0.4, 0.5, 0.5, 1.0)))


def drawn(count, *, unusual=False, seed=0):
    rng = np.random.default_rng(seed)
    return [WORLD.draw(rng, unusual=unusual) for _ in range(count)]


def some_rules(rng, task):
    rules = [WORLD.rules[i] for i in rng.integers(len(WORLD.rules), size=rng.integers(5))]
    return WORLD.applicable_rules(task, rules)


def garbled(text, rng):
    """Return a text with lines cut, swapped, doubled, broken off, or words put in."""
    lines = text.split("\n")
    for _ in range(rng.integers(1, 5)):
        at, other = rng.integers(len(lines), size=2)
        match rng.integers(8):
            case 0:
                lines[at] = ""
            case 1:
                lines[at], lines[other] = lines[other], lines[at]
            case 2:
                lines.insert(other, lines[at])
            case 3:
                lines[at] = lines[at][: rng.integers(len(lines[at]) + 1)]
            case 4:
                words = lines[at].split(" ")
                words.insert(rng.integers(len(words) + 1), str(rng.choice(["7", "=", "cat"])))
                lines[at] = " ".join(words)
            case 5:
                lines.insert(at, str(rng.choice(["Done.", "Let us see.", "So: 4", "1. 2 + 2"])))
            case 6:
                lines[at] = re.sub(r"\d+", lambda _: str(rng.integers(30)), lines[at], count=2)
            case _:
                lines = "\n".join(lines)[: rng.integers(1, len("\n".join(lines)) + 2)].split("\n")
    return "\n".join(lines)


def cases(count, seed=0):
    """Yield tasks with rules in force and answers of every quality."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        task = WORLD.draw(rng, unusual=i % 5 == 0)
        rules = some_rules(rng, task)
        rules_in_force = rules if i % 2 else tuple(WORLD.rules[j] for j in rng.integers(39, size=2))
        text = WORLD.write(task, rng, careless(rng.random()), rules_in_force)
        yield task, rules, garbled(text, rng) if i % 3 else text


@pytest.mark.parametrize("unusual", [False, True])
def test_a_request_can_be_read_back(unusual):
    for task in drawn(3000, unusual=unusual):
        assert WORLD.parse(task.text) == task
        assert len(re.findall(r"\d|\w+|[^\w\s]", task.text)) <= 45
        assert re.fullmatch(r"[\w .,?+*/-]+", task.text)
    assert len({task.text for task in drawn(3000, unusual=unusual)}) > 2500


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is the time?",
        "Work out 3.",
        "Work out 3 - 5 + 9.",
        "Work out 3 + 4 + 5 * 2.",
        "Work out 7 / 2 + 1.",
        "Work out 3 + 4 - 5. ",
        "Ada has 12 apples. He buys 7 and loses 5. How many has he?",
        "Ada has 12 apples. She eats 7 and loses 5. How many has she?",
        "Ada has 12 apples. She buys 7 and loses 25. How many has she?",
        "Work out 30 * 5 / 2.",
    ],
)
def test_what_is_no_request_is_none(text):
    assert WORLD.parse(text) is None


@given(st.text())
def test_no_text_is_too_strange_to_parse_or_judge(text):
    WORLD.parse(text)
    for rules in [(), (RULES["only-answer", "all"], RULES["done", "all"])]:
        result = WORLD.score_answer(APPLES, text, rules)
        assert 0 <= result.utility < 1
        assert WORLD.score_answer(
            APPLES, apply_fixes(text, result.issues), rules
        ).utility == pytest.approx(1)


def test_an_expression_is_worked_out_product_first():
    for task in drawn(3000) + drawn(2000, unusual=True):
        value = eval(task.expression.replace("/", "//")) if not task.thing else None
        assert value in {None, task.answer}
        results = [to for *_, to in task.values]
        assert results[-1] == task.answer
        assert all(0 <= to <= 99 for to in results)
        for step, to in zip(task.steps, results, strict=True):
            assert eval(step.replace("/", "//").replace("=", "==")), step
            assert step.endswith(f"= {to}")


def test_a_task_is_frozen_and_hashable_and_has_a_level():
    assert hash(APPLES) == hash(replace(APPLES))
    with pytest.raises(FrozenInstanceError):
        APPLES.start = 3
    assert (APPLES.level, APPLES.answer) == (1, 14)
    assert APPLES.steps == ("12 + 7 = 19", "19 - 5 = 14")
    assert APPLES.text == "Ada has 12 apples. She buys 7 and loses 5. How many has she?"
    assert {task.level for task in drawn(300)} == {1, 2, 3, 4}
    for task in drawn(500, unusual=True):
        assert task.level == 5 or any(operation.operator == "/" for operation in task.operations)
    assert not any(
        operation.operator == "/" for task in drawn(2000) for operation in task.operations
    )
    shared = {task.text for task in WORLD.tasks("train", 300)}
    assert not shared & {task.text for task in WORLD.tasks("held-out", 300)}


def test_what_is_ideal_is_faultless_and_short():
    rng = np.random.default_rng(0)
    longest = 0
    for task in drawn(700) + drawn(300, unusual=True):
        for rules in [(), some_rules(rng, task), WORLD.applicable_rules(task, WORLD.rules[5:])]:
            ideal = WORLD.ideal(task, rules)
            result = WORLD.score_answer(task, ideal, rules)
            assert result.utility == pytest.approx(1)
            assert (result.issues, result.passed, result.trace) == ((), True, "")
            assert all(step.truth == "right" for step in result.steps)
            longest = max(longest, len(re.findall(r"\d|\w+|[^\w\s]|\n", ideal)))
        assert WORLD.write(task, rng, FAULTLESS) == WORLD.ideal(task)
    assert 4 * longest / 3 <= WORLD.max_tokens <= 2 * longest


def test_mending_every_fault_makes_an_answer_perfect_and_each_alone_makes_none_worse():
    raised = alone = 0
    for task, rules, text in cases(2000):
        result = WORLD.score_answer(task, text, rules)
        assert bool(result.issues) == (result.utility < 1 - 1e-9), text
        mended = apply_fixes(text, result.issues)
        assert WORLD.score_answer(task, mended, rules).utility == pytest.approx(1), (text, mended)
        for issue in result.issues:
            better = WORLD.score_answer(task, apply_fixes(text, [issue]), rules)
            assert better.utility > result.utility - 1e-9, (text, issue)
            assert len(better.issues) < len(result.issues), (text, issue)
            alone += 1
            raised += better.utility > result.utility + 1e-9
    assert raised > 0.98 * alone


def test_faults_have_places_in_order_that_do_not_overlap():
    for task, rules, text in cases(3000, seed=1):
        result = WORLD.score_answer(task, text, rules)
        for issue in result.issues:
            assert 0 <= issue.start <= issue.end <= len(text)
            assert text[issue.start : issue.end] != issue.replacement
            assert issue.aspect in WORLD.weights
            for words in (issue.description, issue.advice):
                assert words.endswith(".")
                assert len(words.split()) <= 10, words
        for first, second in pairwise(result.issues):
            assert first.end <= second.start
        assert set(result.aspects) == set(WORLD.weights)
        assert all(0 <= value <= 1 for value in result.aspects.values())
        lines = [(step.start, step.end) for step in result.steps]
        assert lines == sorted(lines)
    assert sum(WORLD.weights.values()) == pytest.approx(1)


def check_text(*lines, rules=()):
    text = "\n".join(lines)
    result = WORLD.score_answer(APPLES, text, [RULES[rule] for rule in rules])
    return result, [(issue.label, text[issue.start : issue.end]) for issue in result.issues]


@pytest.mark.parametrize(
    ("lines", "issues", "truths"),
    [
        (["12 + 7 = 19", "19 - 5 = 14", "Answer: 14"], [], ["right", "right"]),
        (["7 + 12 = 19", "19 - 5 = 14", "Answer: 14"], [], ["right", "right"]),
        (
            ["12 + 7 = 18", "18 - 5 = 13", "Answer: 13"],
            [("wrong-result", "18"), ("follows", "18 - 5 = 13"), ("answer-follows", "13")],
            ["wrong", "follows"],
        ),
        (
            ["12 + 8 = 20", "20 - 5 = 14", "Answer: 14"],
            [("wrong-number", "8 = 20"), ("wrong-result", "20")],
            ["wrong", "wrong"],
        ),
        (
            ["12 - 7 = 5", "19 - 5 = 14", "Answer: 15"],
            [("wrong-operation", "- 7 = 5"), ("wrong-answer", "15")],
            ["wrong", "right"],
        ),
        (["12 + 7 = 19", "Answer: 14"], [("missing-step", "")], ["right"]),
        (["Answer: 14"], [("no-working", "")], []),
        (
            ["12 + 7 = 19", "19 -"],
            [("unfinished", "19 -"), ("no-answer", "")],
            ["right", "wrong"],
        ),
        (
            ["12 + 7 = 19", "12 + 7 = 19", "19 - 5 = 14", "Answer: 14", "Done."],
            [("misplaced", "\n12 + 7 = 19"), ("closing", "\nDone.")],
            ["right", "right", "right"],
        ),
        (["I do not know."], [("nothing", "I do not know.")], []),
    ],
)
def test_known_faults(lines, issues, truths):
    result, labelled = check_text(*lines)
    assert labelled == issues
    assert [step.truth for step in result.steps] == truths


def test_advice_says_what_to_write_and_the_trace_what_was_found():
    result, _ = check_text("12 + 7 = 18", "18 - 5 = 13", "Answer: 15")
    assert [issue.advice for issue in result.issues] == [
        "Step 1 should be 12 + 7 = 19.",
        "Step 2 should be 19 - 5 = 14.",
        "The answer should be 14.",
    ]
    assert result.issues[0].description == "Step 1 is worked out wrongly."
    assert not result.passed
    assert result.trace.splitlines() == [
        "step 1: expected 12 + 7 = 19, found 12 + 7 = 18",
        "step 2: expected 19 - 5 = 14, found 18 - 5 = 13",
        "expected 14, found 15",
    ]
    assert check_text("Answer: 15")[0].trace == "expected 14, found 15"
    assert check_text("Result: 14 apples")[0].passed


def test_the_right_answer_counts_for_more_than_the_layout():
    right = check_text("1. 12 + 7 equals 19", "2. 19 - 5 equals 14", "So: 14")[0]
    wrong = check_text("12 + 7 = 18", "18 - 5 = 13", "Answer: 13")[0]
    assert right.passed
    assert right.utility > wrong.utility
    assert check_text("")[0].utility < 0.1


def test_rules_change_what_is_right_in_their_scope():
    assert len(WORLD.rules) >= 8
    texts = [rule.text for rule in WORLD.rules]
    assert not [a for a in texts for b in texts if a != b and a in b]
    for rule in WORLD.rules:
        tasks = [task for task in drawn(60) if WORLD.applies(rule, task)]
        for task in tasks:
            if rule.action == "unit" and not task.thing:
                continue
            plain, ruled = WORLD.ideal(task), WORLD.ideal(task, [rule])
            for text, rules in [(plain, [rule]), (ruled, [])]:
                result = WORLD.score_answer(task, text, rules)
                assert {issue.aspect for issue in result.issues} == {"manner"}
                assert result.aspects["manner"] < 1
        assert tasks
    assert WORLD.ideal(APPLES, [RULES["unit", "apples"], RULES["number", "all"]]) == (
        "1. 12 + 7 = 19\n2. 19 - 5 = 14\nAnswer: 14 apples"
    )
    assert not WORLD.applies(RULES["so", "coins"], APPLES)


def test_a_writer_is_as_good_as_it_takes_care():
    rng = np.random.default_rng(0)
    for error_rates, mean, faultless in [
        (ErrorRates(), (0.6, 0.85), (0.05, 0.2)),
        (careless(1), (0.2, 0.6), (0, 0.08)),
    ]:
        results = [
            WORLD.score_answer(task, WORLD.write(task, rng, error_rates), ())
            for task in drawn(2000)
        ]
        utilities = np.array([result.utility for result in results])
        assert mean[0] < utilities.mean() < mean[1]
        assert faultless[0] <= (utilities > 1 - 1e-9).mean() <= faultless[1]
    assert len({WORLD.write(APPLES, rng, ErrorRates()) for _ in range(100)}) > 40


def test_every_sort_of_fault_occurs():
    rng = np.random.default_rng(0)
    labels = Counter()
    for task in drawn(4000):
        rules = some_rules(rng, task)
        result = WORLD.score_answer(task, WORLD.write(task, rng, ErrorRates(), rules), rules)
        labels.update(issue.label for issue in result.issues)
    assert set(labels) == LABELS


def test_writers_follow_rules_in_scope_and_spill_others():
    rng = np.random.default_rng(0)
    inside, outside = RULES["so", "apples"], RULES["so", "coins"]
    assert WORLD.write(APPLES, rng, FAULTLESS, [inside]).endswith("So: 14")
    assert WORLD.write(APPLES, rng, FAULTLESS, [outside]).endswith("Answer: 14")
    spilling = ErrorRates(0, 0, 0, 0, overgeneralise=0.4)
    spilt = [WORLD.write(APPLES, rng, spilling, [outside]).endswith("So: 14") for _ in range(500)]
    assert 0.3 < np.mean(spilt) < 0.5


def test_examples_and_rephrased_requests():
    assert WORLD.example(APPLES, "Answer: 14") == "Sum about apples:\nAnswer: 14"
    assert WORLD.rephrase(APPLES) == "I meant: 12 apples, 7 more, 5 fewer. How many is that?"
    bare = WORLD.parse("Work out 3 + 4 * 2 - 5.")
    assert bare.steps == ("4 * 2 = 8", "3 + 8 = 11", "11 - 5 = 6")
    assert WORLD.rephrase(bare) == "I meant: how much is 3 + 4 * 2 - 5?"
    assert WORLD.example(bare, "Answer: 6") == "Bare sum:\nAnswer: 6"


def test_misleading_advice_spoils_what_is_right():
    rng = np.random.default_rng(0)
    misled = spared = 0
    for task, _, text in cases(2000, seed=3):
        issue = WORLD.false_critique(task, text, rng)
        before = WORLD.score_answer(task, text, ())
        if issue is None:
            spared += before.aspects["correct"] == 1
            continue
        misled += 1
        assert issue.label in LABELS
        assert (issue.start, issue.end) not in {
            (original.start, original.end) for original in before.issues
        }
        assert WORLD.score_answer(task, apply_fixes(text, [issue]), ()).utility < before.utility
    assert misled > 1000
    assert spared < 20


def test_judging_takes_few_operations():
    for task, _, text in cases(500):
        assert count_lines(lambda task=task, text=text: WORLD.score_answer(task, text, ())) < 10_000


@pytest.mark.parametrize("piece", ["1 + 1 = 2\n", "9", "x ", "Answer: "])
def test_the_work_of_judging_grows_no_faster_than_the_text(piece):
    short, long = (
        count_lines(lambda count=count: WORLD.score_answer(APPLES, piece * count, ()))
        for count in (250, 1000)
    )
    assert long < 5 * short
    assert WORLD.score_answer(APPLES, piece * 10_000, ()).issues


def test_a_fault_is_a_record_that_mends_its_place():
    result, _ = check_text("12 + 7 = 18", "19 - 5 = 14", "Answer: 14")
    assert result.issues == (
        Issue(
            *("steps", "wrong-result", 9, 11, "19"),
            "Step 1 is worked out wrongly.",
            "Step 1 should be 12 + 7 = 19.",
        ),
    )
