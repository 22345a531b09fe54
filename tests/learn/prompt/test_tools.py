"""Documentation of tools: what trials show, when DRAFT stops, what the gate confirms."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Interaction, Message, Outcome, Response, as_prompt
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.prompt.tools.amendment import amend, notes
from backtalk.learn.prompt.tools.calls import (
    ToolCall,
    ToolTrial,
    calls_text,
    is_failure,
    parse_calls,
)
from backtalk.learn.prompt.tools.executors import (
    make_executor,
    run_command,
    run_functions,
    run_http,
)
from backtalk.learn.prompt.tools.exploration import bleu, version_similarity, write_documentation
from backtalk.learn.prompt.tools.signal import CallSignal
from backtalk.learn.prompt.tools.transcripts import recorded_tools, recorded_trials, right_calls
from backtalk.models import Completion, Request, Usage, register_model
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy
from backtalk.run import Run
from backtalk.store import Store

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city. The unit is C or F.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CITIES = ("Rome", "Oslo", "Lima", "Bern", "Cairo", "Quito", "Delhi", "Tokyo")
REQUESTS = [f"Weather in {city} in {unit}" for city in CITIES for unit in ("Celsius", "Fahrenheit")]


def get_weather(**arguments: Any) -> str:
    """Return the weather, after a check of the arguments by their real schema."""
    jsonschema.validate(arguments, SCHEMA)
    return f"21 degrees {arguments['unit']} in {arguments['city']}"


def trial(city: str, unit: str) -> ToolTrial:
    call = ToolCall("get_weather", {"city": city, "unit": unit})
    return run_sync(run_functions({"get_weather": get_weather})(call))


class Reader:
    """Model that calls the tool with the form of the unit that the documentation states last."""

    name = identity = "documentation-reader"

    async def generate(self, requests: Any) -> list[Completion]:
        return [self._answer(request) for request in requests]

    def bound(self, request: Request) -> Usage:
        return Usage(1, 100, 100)

    def _answer(self, request: Request) -> Completion:
        tools: Any = request.options["tools"]
        words = request.messages[-1].text.split()
        full = "celsius" in tools[0]["function"]["description"]
        unit = words[-1].lower() if full else words[-1][0]
        arguments = json.dumps({"city": words[2], "unit": unit})
        call = {"id": "0", "function": {"name": "get_weather", "arguments": arguments}}
        message = Message(role="assistant", content=None, tool_calls=(call,))
        return Completion(text="", message=message, usage=Usage(1, 9, 9), model=self.name)


register_model("documentation-reader")(Reader)
POLICY = Policy(model=NamedSpec(name="documentation-reader"), name="reader")


def transcript(request: str, first: ToolTrial, second: ToolTrial) -> Interaction:
    """Return an interaction with a call, its result, another call and its result."""
    messages = [Message.user(request)]
    for number, one in enumerate((first, second)):
        function = {"name": one.call.name, "arguments": json.dumps(one.call.arguments)}
        call = {"id": f"call-{number}", "type": "function", "function": function}
        messages += [
            Message(role="assistant", content=None, tool_calls=(call,)),
            Message(role="tool", content=one.result, tool_call_id=f"call-{number}"),
        ]
    return Interaction(
        prompt=tuple(messages),
        responses=(Response(id="0", text="It is warm."),),
        metadata={"gateway": {"request": {"tools": [TOOL]}}},
    )


@pytest.mark.parametrize(
    ("result", "failed"),
    [
        ('{"error": "unknown city"}', True),
        ('{"error": null, "degrees": 21}', False),
        ('{"success": false}', True),
        ('{"status": 404, "detail": "no"}', True),
        ('{"status": "error"}', True),
        ('{"status": "open"}', False),
        ("Traceback (most recent call last):\n  ...", True),
        ("ValueError: unit", True),
        ("requests.exceptions.HTTPError: 400", False),
        ("No errors today", False),
        ("21", False),
        ("", False),
    ],
)
def test_a_result_reports_a_failure(result: str, failed: bool) -> None:
    assert is_failure(result) is failed


def test_notes_blame_the_argument_that_made_calls_fail() -> None:
    trials = [trial("Rome", "C"), trial("Oslo", "C"), trial("Lima", "celsius")]
    trials += [trial("Bern", "celsius"), trial("Cairo", "fahrenheit")]
    text = amend(TOOL["function"]["description"], trials)
    assert "The unit is C or F." not in text, "the sentence that trials refute"
    assert 'unit: "celsius", "fahrenheit" worked; "C" failed.' in text
    assert "city:" not in text, "cities that failed are of a form that worked"
    assert '{"city": "Cairo", "unit": "fahrenheit"}' in text


def test_notes_name_forms_of_values_and_missing_and_unknown_arguments() -> None:
    def made(failed: bool, **arguments: Any) -> ToolTrial:
        return ToolTrial(ToolCall("find", arguments), "no" if failed else "yes", failed)

    trials = [
        *(made(False, day=f"2026-05-{day}", count=1) for day in (11, 12, 13)),
        *(made(True, day=f"{day}/5/2026", count=1) for day in (14, 15)),
        made(True, count=1),
        made(True, day="2026-05-16", count=1, colour="red"),
    ]
    text = "\n".join(notes(trials))
    assert '"14/5/2026", "15/5/2026" failed' in text
    assert "day: calls without it failed." in text
    assert "colour: calls with it failed." in text


def test_trials_that_worked_change_no_sentence() -> None:
    assert amend("Weather of a city.", [trial("Rome", "celsius")]).startswith("Weather of a city.")
    assert amend("Weather of a city.", []) == "Weather of a city."


def test_transcripts_hold_trials_with_the_request_and_right_calls(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        question = Interaction.of("Weather in Bern")
        call = {"id": "1", "function": {"name": "get_weather", "arguments": '{"city": "Bern"}'}}
        message = Message(role="assistant", content=None, tool_calls=(call,))
        judged = question.model_copy(
            update={"responses": (Response(id="0", text="", messages=(message,)),)}
        )
        outcome = Outcome(
            interaction=judged.id,
            annotator=Annotator(kind="verifier", id="run"),
            response="0",
            passed=False,
            text="unit is missing",
        )
        store.add(
            transcript("Weather in Rome", trial("Rome", "C"), trial("Rome", "celsius")),
            judged,
            outcome,
        )
        feedback = TrainingSet(store, split="all")
        trials = recorded_trials(feedback)
        assert [(one.call.arguments, one.failed) for one in trials] == [
            ({"city": "Rome", "unit": "C"}, True),
            ({"city": "Rome", "unit": "celsius"}, False),
            ({"city": "Bern"}, True),
        ]
        assert {one.request for one in trials} == {
            as_prompt("Weather in Rome"),
            as_prompt("Weather in Bern"),
        }
        assert [calls[0].arguments for calls in right_calls(trials).values()] == [
            {"city": "Rome", "unit": "celsius"}
        ]
        assert recorded_tools(feedback) == {"get_weather": TOOL}


def test_calls_survive_as_text() -> None:
    calls = [ToolCall("a", {"x": [1, None]}), ToolCall("b", None)]
    assert parse_calls(calls_text(calls)) == calls
    assert parse_calls("It is warm.") == parse_calls('{"name": 1}') == []


def test_a_call_that_copies_another_request_is_not_right() -> None:
    requests = [as_prompt("Weather in Rome"), as_prompt("Weather in Oslo")]

    async def succeed(call: ToolCall) -> ToolTrial:
        return ToolTrial(call, "21", failed=False)

    signal = CallSignal({}, succeed, requests=requests)
    answers = [calls_text([ToolCall("w", {"city": "Rome", "unit": "celsius"})])] * 2
    assert run_sync(signal.score(requests, answers)).tolist() == [1.0, 0.0]
    assert run_sync(signal.score(requests, ["It is warm.", "[]"])).tolist() == [0.0, 0.0]


@pytest.fixture
def tool_url() -> Any:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                status, text = 200, get_weather(**body["arguments"])
            except jsonschema.ValidationError as error:
                status, text = 422, error.message
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_executors_report_results_and_failures(tool_url: str, tmp_path: Path) -> None:
    script = tmp_path / "tool.py"
    script.write_text(
        "import json, sys\n"
        "call = json.load(sys.stdin)\n"
        "sys.exit('no unit') if 'unit' not in call['arguments'] else print(call['name'])\n"
    )
    good = ToolCall("get_weather", {"city": "Rome", "unit": "celsius"})
    bad = ToolCall("get_weather", {"city": "Rome"})
    for execute, message in (
        (run_functions({"get_weather": get_weather}), "'unit' is a required property"),
        (run_http(tool_url), "'unit' is a required property"),
        (run_command(f"{sys.executable} {script}"), "no unit"),
    ):
        assert not run_sync(execute(good)).failed
        failure = run_sync(execute(bad))
        assert failure.failed
        assert message in failure.result


@pytest.mark.parametrize(
    "name", ["no-such-program", "", " ", "''", "python3 'tools.py", "http://", "https:///call"]
)
def test_an_executor_that_cannot_work_is_an_error_before_any_call(name: str) -> None:
    with pytest.raises(BacktalkError, match="executor"):
        make_executor(name)


def test_an_executor_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    not_a_program = tmp_path / "tool"
    not_a_program.write_bytes(b"\x00")
    not_a_program.chmod(0o755)
    for execute in (run_command(str(not_a_program)), run_http("http://127.0.0.1:9")):
        with pytest.raises(BacktalkError, match="executor"):
            run_sync(execute(ToolCall("a", {})))
    failure = run_sync(run_functions({"a": print})(ToolCall("b", {})))
    assert failure.failed
    assert "only a" in failure.result


class TestExploration:
    """Protocol of DRAFT, with a scripted model and the real tool."""

    def explore(self, replies: dict[str, list[str]], **options: Any) -> tuple[Any, list[str]]:
        requests: list[str] = []

        async def ask(request: Any, seed: int) -> str:
            text = request[-1].text
            requests.append(text)
            kind = next(
                key
                for key, words in (
                    ("explore", "Write a request of a user"),
                    ("analyse", "Compare the documentation"),
                    ("rewrite", "Rewrite the description"),
                )
                if words in text
            )
            waiting = replies[kind]
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]

        execute = run_functions({"get_weather": get_weather})
        result = run_sync(write_documentation(TOOL, ask, execute=execute, **options))
        return result, requests

    def test_a_similar_request_is_not_tried(self) -> None:
        first = '{"request": "Weather in Rome now", "arguments": {"city": "Rome", "unit": "C"}}'
        other = '{"request": "Is Oslo cold?", "arguments": {"city": "Oslo", "unit": "celsius"}}'
        result, requests = self.explore(
            {
                "explore": [first, "no JSON", first, other],
                "analyse": ["The unit is wrong."],
                "rewrite": ["<documentation>A.</documentation><next>Try Oslo.</next>", "nothing"],
            },
            rounds=2,
        )
        assert [one.call.arguments["city"] for one in result.trials] == ["Rome", "Oslo"]
        assert [one.failed for one in result.trials] == [True, False]
        assert any("too similar" in text for text in requests)
        assert any("Explore next: Try Oslo." in text for text in requests)

    def test_it_stops_when_the_documentation_hardly_changes(self) -> None:
        text = "Weather of a city. The unit is celsius or fahrenheit."
        explore = [
            f'{{"request": "{city}", "arguments": {{"city": "{city}", "unit": "celsius"}}}}'
            for city in ("Rome is hot", "Oslo or Bergen", "Snow at Delhi")
        ]
        result, _ = self.explore(
            {
                "explore": explore,
                "analyse": ["Fine."],
                "rewrite": [f"<documentation>{text}</documentation>"],
            },
            rounds=5,
        )
        assert result.versions == [TOOL["function"]["description"], text, text]
        assert result.stopped == "the documentation hardly changes any more"

    def test_recorded_failures_are_read_first_and_need_no_executor(self) -> None:
        async def ask(request: Any, seed: int) -> str:
            return "<documentation>Other words for the whole.</documentation>"

        recorded = [trial("Rome", "celsius"), trial("Oslo", "C")]
        result = run_sync(write_documentation(TOOL, ask, recorded=recorded, stop_similarity=1.0))
        assert [one.failed for one in result.trials] == [True, False]
        assert result.stopped == "no further trial differs from those before"


def test_versions_are_compared_by_cosine_and_bleu() -> None:
    text = "Weather of a city on a day of the week."
    assert bleu(text, text) == pytest.approx(1.0)
    assert run_sync(version_similarity(text, text)) == pytest.approx(1.0)
    assert bleu("Nothing in common here at all", text) < 0.1
    # Three of four words, two of three pairs, one of two triples, and half of one quadruple.
    expected = (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25
    assert bleu("a b c d", "a b c e") == pytest.approx(expected)
    # A text of half the length is punished by exp(1 - 4 / 2).
    assert bleu("a b", "a b c d") == pytest.approx(2.718281828**-1)


def learn(store: Store, **options: Any) -> Policy:
    with Run(seed=0) as run:
        method = get_method("draft")
        return run_sync(
            method.learn(POLICY, TrainingSet(store, split="all"), run, rewrite=False, **options)
        )


def test_recorded_trials_alone_document_a_tool(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        for request in REQUESTS:
            city, unit = request.split()[2], request.split()[-1]
            store.add(transcript(request, trial(city, unit[0]), trial(city, unit.lower())))
        learned = learn(store)
    assert learned.prompt is not None
    assert '"celsius"' in learned.prompt.tools["get_weather"]
    assert learned.lineage.notes["confirmed gain"] == pytest.approx(0.5), "the city was right"
    assert learned.lineage.method == "draft"


def test_an_executor_makes_trials_of_the_requests_in_a_store(tmp_path: Path, tool_url: str) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([TOOL]))
    with Store(tmp_path / "s.db") as store:
        store.add(*(Interaction.of(request) for request in REQUESTS))
        learned = learn(store, tools=str(tools), executor=tool_url)
    assert learned.prompt is not None
    assert "celsius" in learned.prompt.tools["get_weather"]


def test_right_documentation_is_not_replaced(tmp_path: Path, tool_url: str) -> None:
    with Store(tmp_path / "s.db") as store:
        for request in REQUESTS:
            city, unit = request.split()[2], request.split()[-1]
            store.add(transcript(request, trial(city, unit[0]), trial(city, unit[0])))
        with pytest.raises(BacktalkError, match="executor=COMMAND"):
            learn(store)
        tools = tmp_path / "tools.json"
        good = {"function": {**TOOL["function"], "description": "The unit is celsius."}}
        tools.write_text(json.dumps([{**TOOL, **good}]))
        with pytest.raises(NoImprovement):
            learn(store, tools=str(tools), executor=tool_url)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"type": "function"}]'])
def test_a_file_without_definitions_is_an_error(tmp_path: Path, text: str) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(text)
    with Store(tmp_path / "s.db") as store, pytest.raises(BacktalkError, match=r"tools\.json"):
        learn(store, tools=str(tools))
