"""Commands name the host that receives prompts, and send nothing to a host that nobody named."""

import io

import numpy as np
import pytest

from backtalk.cli import main, sending
from backtalk.feedback import Interaction, as_prompt
from backtalk.models import EndpointSpec, offline_mode
from backtalk.policy import Policy, save_policy
from backtalk.rewards import Scores
from backtalk.rewards.registry import REWARDS
from backtalk.store import Store
from tests.models.server import run_server


@pytest.fixture(scope="module", autouse=True)
def brevity():
    """Judge that prefers short answers."""

    class Brevity:
        name, bounds = "brevity", None

        async def score(self, answers):
            return Scores(np.array([-float(len(text)) for _, text in answers]))

    REWARDS.register("brevity", Brevity)
    yield
    REWARDS.unregister("brevity")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-set-but-no-consent")
    for name in ("OPENAI_BASE_URL", "BACKTALK_STORE", "BACKTALK_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    with offline_mode(), Store("s.db") as store:
        store.add(
            *(
                Interaction(prompt=as_prompt(f"Is it open on day {i}?"), responses=())
                for i in range(9)
            )
        )
        save_policy(store, Policy(model=EndpointSpec(model="small"), name="plain"))
        save_policy(
            store, Policy(model=EndpointSpec(model="small"), system="Be brief.", name="brief")
        )
        yield


@pytest.fixture
def server():
    with run_server() as running:
        yield running


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main([*arguments, "--store", "s.db"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


COMMANDS = [
    ("ask", "Is it open?", "--policy", "plain"),
    ("evaluate", "brief", "--against", "plain", "--judge", "brevity"),
    ("compare", "brief", "--against", "plain", "--judge", "brevity"),
    ("learn-online", "best-of-n", "--policy", "plain", "--judge", "brevity"),
    ("watch", "best-of-n", "--policy", "plain", "--judge", "brevity", "--once"),
    ("simulate", "mail", "--policy", "plain"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_without_an_address_and_a_terminal_nothing_is_sent(run, command):
    code, _, err = run(*command)
    assert code == 1
    assert "'small' has no address" in err
    assert "--send-to https://api.openai.com/v1" in err
    assert "Sending" not in err


@pytest.mark.parametrize("command", COMMANDS[1:3], ids=lambda command: command[0])
def test_an_option_or_the_variable_names_the_address_and_the_host_is_said_first(
    run, command, server, monkeypatch
):
    host = server.url.removeprefix("http://").removesuffix("/v1")
    code, _, err = run(*command, "--split", "all", "--send-to", server.url)
    assert code == 0, err
    assert err.startswith("Sending ")
    assert f" to {host}." in err.splitlines()[0]
    assert server.requests
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    code, _, err = run(*command, "--split", "all")
    assert code == 0, err
    assert f" to {host} (OPENAI_BASE_URL)." in err.splitlines()[0]


@pytest.mark.parametrize(("answer", "error"), [("n", "has no address"), ("y", "offline mode")])
def test_a_terminal_shows_a_question_that_names_host_and_count(run, monkeypatch, answer, error):
    monkeypatch.setattr(sending, "_is_terminal", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
    code, out, err = run(*COMMANDS[1], "--split", "all")
    assert code == 1
    assert "Send 9 prompts to https://api.openai.com/v1? [y/N]" in err
    assert error in err
    assert out == ""


def test_a_judge_without_an_address_is_no_better(run, server):
    with Store("s.db") as store:
        save_policy(
            store, Policy(model=EndpointSpec(model="small", base_url=server.url), name="local")
        )
    command = ("evaluate", "local", "--against", "local", "--judge", "llm:wise")
    code, _, err = run(*command)
    assert code == 1
    assert "'wise' has no address" in err
    assert server.requests == []


def test_learning_that_sends_nothing_needs_no_address(run):
    code, _, err = run("learn", "best-of-n", "--policy", "plain")
    assert code == 1
    assert "has no address" not in err


def test_a_policy_with_an_address_has_its_host_named(run, server):
    with Store("s.db") as store:
        save_policy(
            store, Policy(model=EndpointSpec(model="small", base_url=server.url), name="local")
        )
    code, out, err = run("ask", "Is it open?", "--policy", "local")
    assert code == 0
    assert out.strip()
    assert err.startswith("Sending 1 prompt to 127.0.0.1:")
