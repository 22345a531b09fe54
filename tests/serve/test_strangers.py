"""DSPy and LangChain, unmodified, in an environment of their own, in front of the gateway.

``make strangers`` makes the environment and runs these tests; they are skipped where it is absent.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.serve.upstream import ScriptedReply, reply_of

PYTHON = Path(
    os.environ.get("BACKTALK_STRANGERS", REPOSITORY / ".venv" / "strangers" / "bin" / "python")
)
PAGE = REPOSITORY / "docs" / "serve.md"
BLOCK = re.compile(r"^```python no-run\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="DSPy and LangChain are not installed; `make strangers` does it"
)


@pytest.fixture
def stranger(gateway, tmp_path):
    """Run a program in the strangers' environment, with the gateway's address."""

    def run(*arguments):
        environment = {
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "LANGSMITH_TRACING": "false",
        }
        command = [str(PYTHON), *arguments, f"{gateway.url}/v1"]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


FIELD = "[[ ## {} ## ]]\n{}\n\n"
END = "[[ ## completed ## ]]"
"""How DSPy's models write their answers."""


def program(name):
    return str(Path(__file__).parent / "strangers" / f"{name}.py")


def said(text, **asked):
    reply = reply_of({"model": "small", "messages": [{"content": ""}], **asked})
    reply["choices"][0]["message"]["content"] = text
    return ScriptedReply(body=reply)


def default(count):
    return [ScriptedReply() for _ in range(count)]


def kept(gateway):
    with gateway.store as store:
        return {case.interaction.id: case.interaction for case in store.cases()}


def test_langchain_gets_answers_and_the_ids_by_which_they_are_kept(gateway, upstream, stranger):
    upstream.next += [*default(6), said('{"a": 9}')]
    told = json.loads(stranger(program("with_langchain")))
    interactions = kept(gateway)
    assert len(interactions) == len(told) == 7
    for name, answer in told.items():
        interaction = interactions[answer["header"]]
        assert answer["id"] in {None, interaction.id}, name
        assert answer["text"] == interaction.responses[0].text, name
    assert told["invoked"]["text"] == "You said: at once"
    assert told["streamed"]["text"] == "You said: in pieces"
    assert (told["invoked"]["tokens"], told["streamed"]["tokens"]) == (7, 7)
    assert told["awaited"]["text"] == "You said: later"
    assert told["awaited pieces"]["text"] == "You said: later, in pieces"
    assert told["called"]["calls"] == [{"name": "add_one", "args": {"a": 1}}]
    assert (told["shaped"]["value"], told["strictly shaped"]["value"]) == (1, 9)
    first = interactions[told["invoked"]["id"]]
    assert [message.role for message in first.prompt] == ["system", "user"]
    called = interactions[told["called"]["header"]].responses[0]
    assert called.messages[0].tool_calls[0]["function"]["name"] == "add_one"


def test_dspy_gets_answers_and_the_ids_by_which_they_are_kept(gateway, upstream, stranger):
    upstream.next += [
        *default(4),
        said(FIELD.format("answer", "Until six.") + END),
        said(FIELD.format("reasoning", "Shops are.") + FIELD.format("answer", "Yes.") + END),
    ]
    told = json.loads(stranger(program("with_dspy")))
    interactions = kept(gateway)
    assert {id_ for answer in told.values() for id_ in answer["ids"]} == set(interactions)
    assert len(interactions) == 6, "two answers are two requests of DSPy's"
    assert told["asked"]["text"] == "You said: at once"
    assert told["asked again"]["ids"] == told["asked"]["ids"], "it comes from DSPy's own cache"
    assert told["several"]["text"] == ["You said: several"] * 2
    assert told["awaited"]["text"] == "You said: later"
    assert told["predicted"]["text"] == "Until six."
    assert told["reasoned"]["text"] == "Yes."
    assert "Is it open?" in interactions[told["predicted"]["ids"][0]].prompt[-1].text


@pytest.mark.parametrize("name", ["langchain_openai", "dspy"])
def test_the_page_tells_how_feedback_finds_the_answers(gateway, upstream, stranger, tmp_path, name):
    upstream.always = said(FIELD.format("answer", "Yes.") + END)
    (block,) = [text for text in BLOCK.findall(PAGE.read_text()) if f"import {name}" in text
                or f"from {name}" in text]  # fmt: skip
    file = tmp_path / "block.py"
    address = f"{gateway.url}/v1"
    client = f"from backtalk.client import Client\nfeedback = Client({address!r})\n"
    file.write_text(client + block.replace("http://localhost:8080/v1", address))
    stranger(str(file))
    with gateway.store as store:
        judged = [case for case in store.cases() if case.feedback]
    assert [case.feedback[0].good for case in judged] == [True] * block.count("thumb=")
    assert judged
