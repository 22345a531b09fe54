"""Unmodified DSPy and LangChain, in a separate environment, as clients of the gateway.

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
    """Function that runs a program in the separate environment, with the gateway's address."""

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
"""Format of completions for DSPy."""


def program(name):
    return str(Path(__file__).parent / "strangers" / f"{name}.py")


def completion_with(text, **body):
    reply = reply_of({"model": "small", "messages": [{"content": ""}], **body})
    reply["choices"][0]["message"]["content"] = text
    return ScriptedReply(body=reply)


def default_replies(count):
    return [ScriptedReply() for _ in range(count)]


def stored_interactions(gateway):
    with gateway.store as store:
        return {case.interaction.id: case.interaction for case in store.cases()}


def test_langchain_gets_completions_and_the_ids_of_the_interactions(gateway, upstream, stranger):
    upstream.next += [*default_replies(6), completion_with('{"a": 9}')]
    answers = json.loads(stranger(program("with_langchain")))
    interactions = stored_interactions(gateway)
    assert len(interactions) == len(answers) == 7
    for name, answer in answers.items():
        interaction = interactions[answer["header"]]
        assert answer["id"] in {None, interaction.id}, name
        assert answer["text"] == interaction.responses[0].text, name
    assert answers["invoked"]["text"] == "You said: at once"
    assert answers["streamed"]["text"] == "You said: in pieces"
    assert (answers["invoked"]["tokens"], answers["streamed"]["tokens"]) == (7, 7)
    assert answers["awaited"]["text"] == "You said: later"
    assert answers["awaited pieces"]["text"] == "You said: later, in pieces"
    assert answers["called"]["calls"] == [{"name": "add_one", "args": {"a": 1}}]
    assert (answers["shaped"]["value"], answers["strictly shaped"]["value"]) == (1, 9)
    first = interactions[answers["invoked"]["id"]]
    assert [message.role for message in first.prompt] == ["system", "user"]
    called = interactions[answers["called"]["header"]].responses[0]
    assert called.messages[0].tool_calls[0]["function"]["name"] == "add_one"


def test_dspy_gets_completions_and_the_ids_of_the_interactions(gateway, upstream, stranger):
    upstream.next += [
        *default_replies(4),
        completion_with(FIELD.format("answer", "Until six.") + END),
        completion_with(
            FIELD.format("reasoning", "Shops are.") + FIELD.format("answer", "Yes.") + END
        ),
    ]
    answers = json.loads(stranger(program("with_dspy")))
    interactions = stored_interactions(gateway)
    assert {id_ for answer in answers.values() for id_ in answer["ids"]} == set(interactions)
    assert len(interactions) == 6, "two answers are two requests of DSPy's"
    assert answers["asked"]["text"] == "You said: at once"
    assert answers["asked again"]["ids"] == answers["asked"]["ids"], (
        "it comes from DSPy's own cache"
    )
    assert answers["several"]["text"] == ["You said: several"] * 2
    assert answers["awaited"]["text"] == "You said: later"
    assert answers["predicted"]["text"] == "Until six."
    assert answers["reasoned"]["text"] == "Yes."
    assert "Is it open?" in interactions[answers["predicted"]["ids"][0]].prompt[-1].text


@pytest.mark.parametrize("name", ["langchain_openai", "dspy"])
def test_the_examples_of_the_page_give_feedback_on_the_interactions(
    gateway, upstream, stranger, tmp_path, name
):
    upstream.always = completion_with(FIELD.format("answer", "Yes.") + END)
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
