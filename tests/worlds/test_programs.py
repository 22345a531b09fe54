"""Programs: scoring, positions of issues, and the sandbox."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.worlds.programs.cases import cases_for
from backtalk.worlds.programs.phrases import RULES
from backtalk.worlds.programs.sandbox import ProgramTestCase, TestRun, run_tests, same_value
from backtalk.worlds.programs.task import ProgramTask
from backtalk.worlds.programs.world import ProgramsWorld
from backtalk.worlds.world import ErrorRates, apply_fixes, split_of

WORLD = ProgramsWorld()
FAULTLESS = ErrorRates(0, 0, 0, 0, 0)
SUMS = (ProgramTestCase(([1, 2],), 3), ProgramTestCase(([4],), 4))
SUM = "def f(xs):\n    return sum(xs)"


def drawn(seed: int, *, unusual: bool = False) -> ProgramTask:
    return WORLD.draw(np.random.default_rng(seed), unusual=unusual)


tasks = st.builds(drawn, st.integers(0, 10**6), unusual=st.booleans())
rule_sets = st.lists(st.sampled_from(RULES), max_size=3)
few = settings(max_examples=40, deadline=None)


def test_reads_what_it_states():
    for unusual in (False, True):
        for seed in range(3000):
            task = drawn(seed, unusual=unusual)
            assert WORLD.parse(task.text) == task
            assert hash(WORLD.parse(task.text)) == hash(task)


@given(st.text())
def test_knows_no_foreign_request(text):
    assert WORLD.parse(text) is None
    assert WORLD.parse(f"Write a function f(xs) that returns {text}.") is None


@pytest.mark.parametrize(
    "text",
    [
        "Write a function f(xs) that returns the sum of the numbers above 99.",
        "Write a function f(x, y) that returns x times 3, then plus 4.",
        "Write a function f(s) that returns x times 3.",
        "Write a function f(xs) that returns the list of.",
    ],
)
def test_knows_no_request_that_is_nearly_one(text):
    assert WORLD.parse(text) is None


def test_has_many_specifications_of_short_text_that_unusual_ones_never_share():
    default = {drawn(seed).text for seed in range(4000)}
    unusual = {drawn(seed, unusual=True).text for seed in range(4000)}
    assert len(default) > 1500
    assert len(unusual) > 300
    assert not default & unusual
    assert {split_of(text) for text in default} == {"train", "held-out"}
    assert max(len(text.split()) for text in default | unusual) < 25


def test_reference_agrees_with_python_on_examples():
    for text, arguments, expected in [
        ("f(xs) that returns the sum of the even numbers, each times 3", ([1, 2, 4],), 18),
        ("f(xs) that returns the reversed list of the numbers above 2", ([1, 3, 4],), [4, 3]),
        ("f(x, y) that returns x times 3, then minus y, then at most 9", (2, 1), 5),
        ("f(s) that returns the first 3 letters of s, then backwards", ("house",), "uoh"),
        ("f(xs, ys) that returns the largest of the products of xs and ys", ([1, 2], [3, 4]), 8),
        ("f(a, b) that returns a and b, then negated", (True, True), False),
    ]:
        task = WORLD.parse(f"Write a function {text}.")
        assert task is not None
        assert same_value(task.result(arguments), expected)


def outcome(task, numbers):
    """The result on a list of numbers; there may be none that the task is about."""
    with suppress(ValueError):
        return task.result((numbers,))


@few
@given(tasks)
def test_cases_are_few_fixed_and_tell_near_specifications_apart(task):
    cases = cases_for(task)
    assert 4 <= len(cases) <= 8
    expected = [case.expected for case in cases]
    if task.kind.name == "lists" and task.steps[-1].template.result == "int":
        rng = np.random.default_rng(0)
        others = {outcome(task, rng.integers(1, 30, 7).tolist()) for _ in range(50)}
        # "The largest of the odd numbers, each modulo 2" is 1 whatever the numbers are.
        assert len(set(expected)) > 1 or len(others - {None}) == 1


@few
@given(tasks, rule_sets)
def test_ideal_is_without_fault_and_a_rule_in_force_changes_it(task, rules):
    rules = WORLD.applicable_rules(task, rules)
    ideal = WORLD.ideal(task, rules)
    right = WORLD.score_answer(task, ideal, rules)
    assert (right.utility, right.issues, right.passed, right.trace) == (1, (), True, "")
    plain = WORLD.ideal(task)
    if rules:
        for text, held in ((plain, rules), (ideal, ())):
            missed = WORLD.score_answer(task, text, held)
            assert missed.utility < 1
            assert {issue.aspect for issue in missed.issues} == {"manner"}
            assert missed.passed
    assert len(WORLD.ideal(task, RULES).split()) < 60


def garbled(text: str, rng: np.random.Generator) -> str:
    lines = text.split("\n")
    way = rng.integers(8)
    position, other = rng.integers(len(lines), size=2)
    if way == 0:
        del lines[position]
    elif way == 1:
        lines[position], lines[other] = lines[other], lines[position]
    elif way == 2:
        lines.insert(other, lines[position])
    elif way == 3:
        return text[: rng.integers(len(text))]
    elif way == 4:
        words = ["xs", "return", "(", '"', "import os", "def f(xs):", "\n", "    ", "x = 3", "#"]
        at = rng.integers(len(text))
        return text[:at] + words[rng.integers(len(words))] + text[at:]
    elif way == 5:
        lines.insert(position, "Here is the program:")
    elif way == 6:
        return f"{text}\n{text}"
    return "\n".join(lines)


@settings(max_examples=120, deadline=None)
@given(tasks, rule_sets, st.integers(0, 10**6), st.booleans())
def test_mends_what_is_written_and_what_is_garbled(task, rules, seed, garble):
    rng = np.random.default_rng(seed)
    rules = WORLD.applicable_rules(task, rules)
    text = WORLD.write(task, rng, ErrorRates(), rules)
    text = garbled(text, rng) if garble else text
    result = WORLD.score_answer(task, text, rules)
    assert all(0 <= value <= 1 for value in result.aspects.values())
    assert result.utility == pytest.approx(WORLD.utility(result.aspects))
    assert bool(result.issues) == (result.utility < 1 - 1e-9)
    assert WORLD.score_answer(task, apply_fixes(text, result.issues), rules).utility == 1
    ends = 0
    for issue in result.issues:
        assert ends <= issue.start <= issue.end <= len(text)
        ends = issue.end
        for sentence in (issue.description, issue.advice):
            assert sentence.endswith(".")
            assert len(sentence.split()) <= 10
        assert (
            WORLD.score_answer(task, apply_fixes(text, [issue]), rules).utility
            >= result.utility - 1e-9
        )


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n",
        "def f",
        "def f(xs):",
        "\x00",
        "\ud800",
        "(" * 500,
        "-" * 1900 + "1",
        "a" * 10**6,
    ],
)
def test_assesses_any_text(text):
    task = drawn(1)
    result = WORLD.score_answer(task, text, RULES[:2])
    assert 0 <= result.utility < 1
    assert not result.passed
    assert result.trace
    assert WORLD.score_answer(task, apply_fixes(text, result.issues), RULES[:2]).utility == 1


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_assesses_any_text_at_random(text):
    result = WORLD.score_answer(drawn(2), text, ())
    assert result.issues
    assert WORLD.score_answer(drawn(2), apply_fixes(text, result.issues), ()).utility == 1


def test_judges_by_what_a_program_does():
    task = WORLD.parse("Write a function f(xs) that returns the sum of the even numbers.")
    assert task is not None
    other = (
        "def f(numbers):\n    total = 0\n    for n in numbers:\n        if not n % 2:\n"
        "            total += n\n    return total"
    )
    assert WORLD.score_answer(task, other, ()).utility == 1
    wrong = WORLD.score_answer(task, WORLD.ideal(task).replace("== 0", "== 1"), ())
    (issue,) = wrong.issues
    assert (issue.label, issue.replacement, issue.advice) == (
        "wrong-constant",
        "0",
        "Change 1 to 0.",
    )
    assert not wrong.passed
    assert wrong.trace == "f([3, 8, -5, 12, 6]) returned -2, expected 26"


@pytest.mark.parametrize(
    ("old", "new", "label", "trace"),
    [
        ("xs):", "xs)", "no-colon", "SyntaxError"),
        ("return ", "", "no-return", "returned None"),
        ("sum(xs)", "sum(zs)", "wrong-name", "NameError: name 'zs' is not defined"),
        ("sum(xs)", "len(xs)", "wrong-function", "expected"),
        (" > 3", " < 3", "wrong-operator", "expected"),
        ("    xs = [x for x in xs if x > 3]\n", "", "no-line", "expected"),
        ("    return", "    while True: pass\n    return", "endless", "did not end"),
        ("    return", "    import os\n    return", "unsafe", ""),
        ("    return", "    print(xs)\n    return", "print", ""),
    ],
)
def test_names_a_single_fault(old, new, label, trace):
    task = WORLD.parse("Write a function f(xs) that returns the sum of the numbers above 3.")
    assert task is not None
    text = WORLD.ideal(task).replace(old, new)
    result = WORLD.score_answer(task, text, ())
    assert [issue.label for issue in result.issues] == [label]
    assert trace in result.trace
    assert apply_fixes(text, result.issues) == WORLD.ideal(task)


def test_a_writer_errs_as_often_as_it_is_careless():
    rng = np.random.default_rng(5)
    utilities, labels = [], Counter[str]()
    for number in range(250):
        task = drawn(number)
        assert WORLD.score_answer(task, WORLD.write(task, rng, FAULTLESS), ()).utility == 1
        result = WORLD.score_answer(task, WORLD.write(task, rng, ErrorRates()), ())
        utilities.append(result.utility)
        labels.update(issue.label for issue in result.issues)
    assert 0.6 < np.mean(utilities) < 0.85
    assert 0.05 < np.mean(np.array(utilities) == 1) < 0.25
    assert labels.keys() >= {
        *("wrong-constant", "wrong-operator", "wrong-name", "no-line", "no-return", "no-colon"),
        *("print", "unsafe", "comment", "docstring", "check", "type"),
    }
    assert len({WORLD.write(drawn(1), rng, ErrorRates()) for _ in range(40)}) > 15


def test_rules_hold_in_their_scope_and_spill_beyond_it():
    task = WORLD.parse("Write a function f(s) that returns s backwards, then in capitals.")
    assert task is not None
    inside = next(rule for rule in RULES if (rule.action, rule.scope) == ("done", "strings"))
    outside = next(rule for rule in RULES if (rule.action, rule.scope) == ("done", "lists"))
    rng = np.random.default_rng(0)
    assert WORLD.applies(inside, task)
    assert not WORLD.applies(outside, task)
    assert WORLD.write(task, rng, FAULTLESS, [inside]).endswith("# done")
    assert not WORLD.write(task, rng, FAULTLESS, [outside]).endswith("# done")
    spilling = ErrorRates(0, 0, 0, 0, overgeneralise=1.0)
    assert WORLD.write(task, rng, spilling, [outside]).endswith("# done")
    assert len({rule.text for rule in RULES}) == len(RULES) >= 8
    assert "strings" in WORLD.example(task, "")
    assert task.specification in WORLD.rephrase(task)


def test_misleads_into_something_worse():
    rng = np.random.default_rng(0)
    misled = 0
    for number in range(30):
        task = drawn(number)
        text = WORLD.ideal(task)
        issue = WORLD.false_critique(task, text, rng)
        if issue is not None:
            misled += 1
            assert WORLD.score_answer(task, apply_fixes(text, [issue]), ()).utility < 1
            assert len(issue.advice.split()) <= 10
    assert misled > 20


HOSTILE = {
    "endless loop": "while True: pass",
    "endless loop inside": "def f(xs):\n    while True: pass",
    "one long operation": "10 ** 10 ** 10",
    "memory hog": "x = 'a' * 10 ** 10",
    "slow memory hog": "x = [1]\nwhile True: x += x",
    "fork bomb": "import os\nwhile True: os.fork()",
    "thread bomb": "import _thread\nwhile True: _thread.start_new_thread(lambda: 1, ())",
    "kill the parent": "import os\nos.kill(os.getppid(), 9)",
    "kill everybody": "import os\nos.kill(-1, 9)",
    "kill the group": "import os\nos.killpg(0, 9)",
    "leave at once": "import os\nos._exit(0)",
    "exit": "raise SystemExit(0)",
    "exit when called": "def f(xs):\n    raise SystemExit(0)",
    "close every file": "import os\nos.closerange(0, 200)\ndef f(xs): return 0",
    "close every file, stay": "import os\nos.closerange(0, 200)\nwhile True: pass",
    "junk for a result": (
        "import os\nfor fd in range(3, 9):\n  try: os.write(fd, b'x {1}\\n')\n  except OSError: 0"
    ),
    "huge output": "while True: print('x' * 10 ** 5)",
    "deep recursion": "def f(xs): return f(xs)",
    "huge text of an error": (
        "class E(Exception):\n  def __str__(self): return 'x' * 10 ** 6\nraise E"
    ),
    "an error whose text fails": "class E(Exception):\n  def __str__(self): raise E\nraise E",
    "huge result": "def f(xs): return [[1] * 999] * 999",
    "endless result": "def f(xs):\n  xs.append(xs)\n  return xs",
    "liar": "class L(int):\n  def __eq__(self, o): return True\ndef f(xs): return L(3)",
    "read a file": "open('/etc/passwd').read()",
    "write a file": "open('junk', 'w').write('x')",
    "shell": "import os\nos.system('sleep 60')",
    "network": "import socket\nsocket.create_connection(('127.0.0.1', 22))",
    "ignore signals": (
        "import signal\nfor n in (2, 14, 15, 24): signal.signal(n, lambda *a: 0)\nwhile 1: pass"
    ),
    "spoil the harness": "import json\njson.dumps = None\ndef f(xs): return 0",
    "surrogate": "def f(xs): return '\\ud800'",
}


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("program", HOSTILE.values(), ids=HOSTILE)
def test_sandbox_holds_against(program, guarded):
    if not guarded and not run_tests(SUM, SUMS).isolation.processes:
        pytest.skip("only the interpreter's guard is between programs and this process")
    run = run_tests(program, SUMS, guarded=guarded)
    assert run.passed == (False, False)
    assert run.trace
    assert len(run.trace) < 3000
    assert len(run.output) <= 2000
    assert run_tests(SUM, SUMS).passed == (True, True)


def run_of(program: str) -> TestRun:
    return run_tests(program, SUMS)


def test_sandbox_says_what_happened():
    assert run_of("while True: pass").timed_out
    assert run_of("x = 'a' * 10 ** 10").out_of_memory
    assert run_of("def f(xs): return sum(zs)").trace.startswith(
        "Traceback (most recent call last):\n"
        '  File "program.py", line 1, in f\n'
        "    def f(xs): return sum(zs)\n"
        "                          ^^\n"
        "NameError: name 'zs' is not defined"
    )
    assert run_of("def f(xs)\n    return 1").trace.endswith("SyntaxError: expected ':'")
    assert "'f' is not defined" in run_of("").trace
    assert run_of("print('hello')\ndef f(xs): return sum(xs)").output == "hello\n"
    part = run_of("def f(xs):\n    while len(xs) == 1: pass\n    return 3")
    assert (part.passed, part.timed_out, part.runs) == ((True, False), True, False)
    part = run_of("def f(xs): return 3")
    assert (part.share, part.trace) == (0.5, "f([4]) returned 3, expected 4")


@pytest.mark.parametrize("value", ["3.0", "'3'", "True", "(3,)", "[3]", "None", "print(3)"])
def test_sandbox_takes_nothing_else_for_the_right_value(value):
    assert run_tests(f"def f(): return {value}", [ProgramTestCase((), 3)]).passed == (False,)
    assert run_tests("def f(): return 1", [ProgramTestCase((), True)]).passed == (False,)


def test_a_program_cannot_print_itself_a_pass():
    forged = "\n".join(
        f"print('{line}')" for line in ('{"value": 3}', '{"value": 4}', '{"end": true}')
    )
    assert run_of(forged).passed == (False, False)


def test_arguments_are_fresh_for_every_case_and_the_environment_is_empty():
    cases = [ProgramTestCase(([1],), 1), ProgramTestCase(([1],), 1)]
    assert run_tests("def f(xs):\n    xs.append(1)\n    return len(xs) - 1", cases).share == 1
    text = "import os\ndef f(): return os.environ.get('HOME') or os.environ.get('PATH')"
    assert run_tests(text, [ProgramTestCase((), None)]).share == 1


def test_sandbox_survives_a_fork_of_this_process():
    assert run_of(SUM).share == 1
    pid = os.fork()
    if pid == 0:
        os._exit(0 if run_of(SUM).share == 1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert run_of(SUM).share == 1
