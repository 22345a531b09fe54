"""Traced programs: graphs of nodes, code in the sandbox, and OptoPrime."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from backtalk.errors import BacktalkError
from backtalk.feedback import prompt_text
from backtalk.learn.prompt.trace import (
    CodeParameter,
    Node,
    OptoPrime,
    TracedError,
    join_text,
    model_operator,
    node,
    traced,
)
from backtalk.learn.prompt.trace.pseudo_program import pseudo_program
from backtalk.learn.prompt.trace.suggestion import parse_suggestion
from backtalk.models import Budget, BudgetExceeded
from backtalk.models.fakes import FunctionModel, ScriptedModel
from backtalk.models.protocol import Request
from backtalk.models.run_sync import run_sync
from backtalk.run import Run

LONGEST = """
def longest(text):
    '''Return the longest word.'''
    return max(text.split(), key=len)
"""


@traced
def double(x: int) -> int:
    """Return twice x."""
    return 2 * x


@traced
def divide(a: float, b: float) -> float:
    """Divide a by b."""
    return a / b


def names(nodes: Sequence[Node]) -> list[str]:
    return [one.name for one in nodes]


def suggest(**values: Any) -> str:
    return json.dumps({"reasoning": "So it says.", "suggestion": values})


def test_the_minimal_subgraph_has_the_paths_from_parameters_and_nothing_else() -> None:
    x, unused = node(3, "x", trainable=True), node(1, "unused", trainable=True)
    constant = double(double(node(5, "five")))
    result = double(x) + constant
    double(unused)
    subgraph = result.backward("Too high.")
    assert names(subgraph.nodes) == ["x", "double", "add"]
    assert subgraph.inputs == [constant]
    assert x.subgraphs == [subgraph]
    assert unused.subgraphs == []


def test_a_long_program_and_many_shared_nodes_take_linear_time() -> None:
    value = node(1, "x", trainable=True)
    x = value
    for _ in range(3_000):
        value = value - value
    assert len(value.backward("Wrong.").nodes) == 3_001
    assert len(x.subgraphs) == 1


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda x: 10 - x, 7),
        (lambda x: x * 2 - 1, 5),
        (lambda x: 2 * x + x, 9),
        (lambda x: x / 2, 1.5),
        (lambda x: 6 / x, 2),
        (lambda x: x // 2, 1),
        (lambda x: x % 2, 1),
        (lambda x: x**2, 9),
        (lambda x: -x, -3),
        (lambda x: abs(-x), 3),
        (lambda x: x < 4, True),
        (lambda x: x >= 4, False),
        (lambda x: x == 3, True),
        (lambda x: x != 3, False),
        (lambda x: node([5, 6, 7, 8])[x], 8),
        (lambda x: join_text("n", x, separator="="), "n=3"),
    ],
)
def test_operators_of_python_make_traced_nodes(make: Callable[[Node], Node], expected: Any) -> None:
    x = node(3, "x", trainable=True)
    result = make(x)
    assert result.value == expected
    assert result.backward("Wrong.").parameters[0] is x


def test_nodes_are_containers_of_nodes() -> None:
    words = node(["a", "b"], "words", trainable=True)
    assert [word.value for word in words] == ["a", "b"]
    assert len(words) == 2
    assert "a" in words
    assert next(iter(words)).call("upper").value == "A"
    assert list(node({"k": 1})) == ["k"]


def test_a_node_in_an_f_string_is_refused_because_the_text_would_not_be_traced() -> None:
    with pytest.raises(BacktalkError, match="join_text"):
        f"{node('a', 'text')}"


def test_what_a_traced_function_reads_inside_is_an_input() -> None:
    greeting, unread = node("Hi", "greeting", trainable=True), node(1, "unread", trainable=True)

    @traced
    def greet(people: list[str]) -> str:
        inner = double(2)
        return f"{greeting.value} {people[0]} {inner.value}"

    result = greet([node("Ada", "name", trainable=True), "Bob"])
    assert result.value == "Hi Ada 4"
    parameters = result.backward("Longer.").parameters
    assert sorted(names(parameters)) == ["greeting", "name"]
    assert unread.subgraphs == []


def test_what_an_inner_function_reads_is_an_input_of_the_outer_one() -> None:
    factor = node(3, "factor", trainable=True)

    @traced
    def scale(x: int) -> Any:
        return x * factor.value

    @traced
    def total(x: int) -> Any:
        return scale(x) + double(factor)

    result = total(2)
    assert result.value == 12
    assert names(result.backward("Wrong.").nodes) == ["factor", "total"]


def test_a_function_that_changes_its_argument_leaves_the_parameter_as_it_is() -> None:
    rules = node(["Be brief."], "rules", trainable=True)

    @traced
    def number(lines: list[str]) -> list[str]:
        lines.append("End.")
        return lines

    assert number(rules).value == ["Be brief.", "End."]
    assert rules.value == ["Be brief."]


def test_objects_that_can_be_called_are_functions() -> None:
    class Shout:
        async def __call__(self, text: str) -> str:
            return text.upper()

    x = node("hi", "x", trainable=True)
    result = run_sync(traced(Shout())(x))
    assert (result.value, result.name) == ("HI", "Shout")
    assert traced(lambda text: text)(x).name == "lambda"


def test_methods_and_variable_arguments_can_be_traced() -> None:
    class Adder:
        def __init__(self) -> None:
            self.offset = node(1, "offset", trainable=True)

        @traced
        def total(self, *values: int, scale: int = 1) -> Any:
            return scale * (self.offset.value + sum(values))

    result = Adder().total(1, node(2, "two", trainable=True), scale=2)
    assert result.value == 8
    assert sorted(names(result.backward("Wrong.").parameters)) == ["offset", "two"]


def test_concurrent_calls_do_not_mix_what_they_read() -> None:
    a, b = (node(name, name, trainable=True) for name in "ab")

    @traced
    async def read(which: str) -> str:
        await asyncio.sleep(0)
        value: str = (a if which == "a" else b).value
        await asyncio.sleep(0)
        return value

    async def both() -> list[Node]:
        return list(await asyncio.gather(read("a"), read("b")))

    results = run_sync(both())
    assert [names(one.backward("Wrong.").parameters) for one in results] == [["a"], ["b"]]


def test_an_exception_is_a_node_whose_text_is_feedback() -> None:
    divisor = node(0, "divisor", trainable=True)
    with pytest.raises(TracedError, match="ZeroDivisionError") as caught:
        divide(1, divisor)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    caught.value.backward("For the input 1:")
    program = pseudo_program(divisor.subgraphs)
    assert "raised an exception" in program.code
    assert program.feedback.startswith("For the input 1:\nZeroDivisionError")


def test_the_end_of_a_budget_is_no_feedback() -> None:
    with Run(budget=Budget(calls=1)) as run:
        answer = model_operator(run.wrap(FunctionModel(lambda _: "Yes.", name="yes")))
        instruction = node("Answer.", "instruction", trainable=True)
        assert run_sync(answer(instruction, "One?")).value == "Yes."
        with pytest.raises(BudgetExceeded):
            run_sync(answer(instruction, "Two?"))


def test_a_node_without_a_parameter_takes_no_feedback() -> None:
    with pytest.raises(BacktalkError, match="trainable=True"):
        double(1).backward("Wrong.")


def test_the_pseudo_program_shows_code_values_and_feedback() -> None:
    x = node(2, "x", trainable=True, kind=Annotated[int, Field(le=9)], description="A digit.")
    (double(double(x)) + double(3)).backward("It should be 10.")
    assert pseudo_program(x.subgraphs).text == (
        "#Code\n"
        "double1 = double(x=x)\n"
        "double2 = double(x=double1)\n"
        "add1 = add(a=double2, b=double3)\n\n"
        "#Documentation\n[double] Return twice x.\n[add] Return a + b.\n\n"
        "#Variables\nx = 2\n\n"
        '#Constraints\nx: {"maximum": 9, "type": "integer"} A digit.\n\n'
        "#Inputs\ndouble3 = 6\n\n"
        "#Others\ndouble1 = 4\ndouble2 = 8\n\n"
        "#Outputs\nadd1 = 14\n\n"
        "#Feedback\nIt should be 10."
    )


def test_a_batch_is_one_program_with_the_feedback_of_each_output() -> None:
    x = node(2, "x", trainable=True)
    results = [x + number for number in (1, 2)]
    for result in results:
        result.backward(f"{result.value} is odd." if result.value % 2 else "Good.")
    model = ScriptedModel([suggest(x=3)])
    run_sync(OptoPrime([x], model).step())
    text = prompt_text(model.requests[0].messages)
    assert text.count("x = 2") == 1
    assert "add1: 3 is odd.\nadd2: Good." in text


def make_answers(*replies: str) -> tuple[ScriptedModel, Node, OptoPrime]:
    model = ScriptedModel(replies)
    x = node(3, "x", trainable=True, kind=Annotated[int, Field(ge=0, le=9)])
    return model, x, OptoPrime([x], model)


@pytest.mark.parametrize(
    "reply",
    [
        suggest(x=4),
        f"Sure:\n```json\n{suggest(x=4)}\n```",
        suggest(x="4"),
        '{"note": {}} {"suggestion": {"x": 4}, "reasoning": "two\nlines"}',
    ],
)
def test_a_step_reads_the_json_of_a_reply(reply: str) -> None:
    _, x, optimiser = make_answers(reply)
    (x + 1).backward("It should be 5.")
    assert run_sync(optimiser.step()).values == {"x": 4}
    assert x.value == 4
    assert x.subgraphs == []


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I cannot.", "no JSON object"),
        ('{"suggestion": 4}', "no JSON object"),
        (suggest(y=4), "no variable 'y'"),
        (suggest(x=10), "less than or equal to 9"),
        (suggest(x="four"), "valid integer"),
        (suggest(x=None), "valid integer"),
    ],
)
def test_a_wrong_reply_goes_back_with_the_reason(reply: str, reason: str) -> None:
    model, x, optimiser = make_answers(reply, suggest(x=4))
    (x + 1).backward("It should be 5.")
    step = run_sync(optimiser.step())
    assert x.value == 4
    assert reason in step.rejected[0]
    assert reason in prompt_text(model.requests[1].messages)


def test_without_a_correct_reply_all_values_stay() -> None:
    _, x, optimiser = make_answers("No.", "Never.")
    (x + 1).backward("It should be 5.")
    step = run_sync(optimiser.step())
    assert (x.value, dict(step.values), len(step.rejected)) == (3, {}, 2)


def test_values_of_other_parameters_are_shown_and_do_not_change() -> None:
    x, y = node(1, "x", trainable=True), node(2, "y", trainable=True)
    model = ScriptedModel([suggest(y=5), suggest(x=5)])
    (x + y).backward("More.")
    run_sync(OptoPrime([x], model).step())
    assert (x.value, y.value) == (5, 2)
    assert "Do not change: y." in prompt_text(model.requests[0].messages)


@pytest.mark.parametrize(("size", "seen"), [(0, False), (1, True)])
def test_a_step_reads_earlier_values_and_their_feedback(size: int, seen: bool) -> None:
    model = ScriptedModel([suggest(x=4), suggest(x=5)])
    x = node(3, "x", trainable=True)
    optimiser = OptoPrime([x], model, memory_size=size)
    for feedback in ("Three is low.", "Four is low."):
        (x + 1).backward(feedback)
        run_sync(optimiser.step())
    assert ("Three is low." in prompt_text(model.requests[1].messages)) == seen


def test_without_the_trace_the_model_reads_values_and_feedback_only() -> None:
    model = ScriptedModel([suggest(x=4)])
    x = node(3, "x", trainable=True)
    (double(x) + 1).backward("It should be 9.")
    run_sync(OptoPrime([x], model, show_trace=False).step())
    text = prompt_text(model.requests[0].messages)
    assert "It should be 9." in text
    assert "double(x=x)" not in text


def test_code_is_learned_and_runs_in_the_sandbox() -> None:
    longest = CodeParameter(LONGEST)
    better = LONGEST.replace("text.split()", "text.replace('-', ' ').split()").strip()
    model = ScriptedModel([suggest(longest_code=better)])
    optimiser = OptoPrime([longest.parameter], model)
    result = longest("to a well-known place")
    assert result.value == "well-known"
    result.backward("A hyphen separates words.")
    run_sync(optimiser.step())
    assert longest("to a well-known place").value == "known"
    assert "[longest] Return the longest word." in prompt_text(model.requests[0].messages)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return open('/etc/passwd').read()", "PermissionError"),
        ("import socket; return socket.socket()", "Error"),
        ("import os; return os.fork()", "PermissionError"),
        ("import backtalk; return 1", "Error"),
        ("return 1 / 0", "line 2, in run"),
        ("return {1, 2}", "is no text, number"),
    ],
)
def test_code_that_fails_or_leaves_the_sandbox_is_feedback(body: str, reason: str) -> None:
    run = CodeParameter(f"def run(x):\n    {body}")
    with pytest.raises(TracedError, match="run failed") as caught:
        run(1)
    caught.value.backward()
    assert reason in run.parameter.subgraphs[0].feedback


def test_code_that_does_not_end_is_stopped() -> None:
    run = CodeParameter("def run(x):\n    while True:\n        x += 1", seconds=0.1)
    with pytest.raises(TracedError, match="did not end within"):
        run(1)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def longest(words):\n    return 1", r"def longest\(text\)"),
        ("def other(text):\n    return 1", r"def longest\(text\)"),
        ("def longest(text) return 1", "line 1"),
        ("print('side effect')\ndef longest(text):\n    return 1", "only imports"),
        ("@cache\ndef longest(text):\n    return 1", "no decorator"),
        ("async def longest(text):\n    return 1", "only imports"),
        ("", "only imports"),
    ],
)
def test_code_of_another_form_is_rejected(source: str, reason: str) -> None:
    longest = CodeParameter(LONGEST)
    with pytest.raises(BacktalkError, match=reason):
        parse_suggestion(suggest(longest_code=source), {"longest_code": longest.parameter})


def test_code_may_import_and_have_helpers_and_defaults() -> None:
    root = CodeParameter(
        "import math\ndef helper(x):\n    return math.sqrt(x)\n"
        "def root(x, *, digits=1):\n    return round(helper(x), digits)"
    )
    assert (root(2).value, root(2, digits=3).value) == (1.4, 1.414)
    with pytest.raises(TypeError):
        root()
    with pytest.raises(BacktalkError, match="no JSON value"):
        root(object())


def test_a_decorator_makes_a_parameter_of_a_function() -> None:
    @traced(trainable=True)
    def shout(text: str) -> str:
        """Return the text in capitals."""
        return text.upper()

    assert isinstance(shout, CodeParameter)
    assert shout.parameter.value.startswith("def shout(text: str) -> str:")
    assert shout(node("hi", "text")).value == "HI"
    with pytest.raises(BacktalkError, match="CodeParameter"):
        traced(lambda x: x, trainable=True)


def climb(request: Request) -> str:
    """Reply as a model would that reads the feedback: by one more than the last value."""
    text = prompt_text(request.messages)
    present = int(text.split("#Variables\nx = ")[1].split("\n")[0])
    return suggest(x=present + 1)


def learn(run: Run, model: FunctionModel, steps: int, path: Path | None = None) -> int:
    """Take steps, saving the state after each."""
    x = node(0, "x", trainable=True)
    optimiser = OptoPrime([x], run.wrap(model))
    if path is not None and path.exists():
        optimiser.load(path)
    while optimiser.steps < steps:
        double(x).backward("More.")
        run_sync(optimiser.step())
        if path is not None:
            optimiser.save(path)
    value: int = x.value
    return value


def test_a_run_that_is_repeated_pays_for_no_step_twice(tmp_path: Path) -> None:
    asked: list[Request] = []

    def reply(request: Request) -> str:
        asked.append(request)
        return climb(request)

    for _ in range(2):
        node(0, "other")
        with Run(tmp_path) as run:
            assert learn(run, FunctionModel(reply, name="climber"), 3) == 3
    assert len(asked) == 3


def test_an_optimiser_goes_on_from_its_saved_state(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with Run() as run:
        model = FunctionModel(climb, name="climber")
        assert learn(run, model, 2, path) == 2
        assert learn(run, model, 5, path) == 5
    state = json.loads(path.read_text())
    assert [one["values"]["x"] for one in state["memory"]] == [2, 3, 4]


def test_a_state_of_other_parameters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    x, text = node(1, "x", trainable=True), node("a", "text", trainable=True)
    OptoPrime([text], ScriptedModel([])).save(path)
    with pytest.raises(BacktalkError, match="valid integer"):
        OptoPrime([x], ScriptedModel([])).load(path)
    with pytest.raises(BacktalkError, match="there are 2"):
        OptoPrime([x, text], ScriptedModel([])).load(path)
    path.write_text("{}")
    with pytest.raises(BacktalkError, match=r"OptoPrime\.save"):
        OptoPrime([x], ScriptedModel([])).load(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptoPrime([node(1, "x")], ScriptedModel([])), "not a parameter"),
        (
            lambda: OptoPrime(
                [node(1, "x", trainable=True), node(2, "x", trainable=True)], ScriptedModel([])
            ),
            "Two parameters",
        ),
        (lambda: node(object(), "x", trainable=True), "JSON"),
        (lambda: node(1, "two words"), "no name"),
        (lambda: CodeParameter("x = 1"), "no function"),
        (lambda: CodeParameter("def f(*xs): return 1"), "must have names"),
        (lambda: setattr(node(1, "x"), "value", 2), "not a parameter"),
        (
            lambda: run_sync(OptoPrime([node(1, "x", trainable=True)], ScriptedModel([])).step()),
            "no feedback",
        ),
    ],
)
def test_wrong_use_is_explained(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(BacktalkError, match=message):
        make()
