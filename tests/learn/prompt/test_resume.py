"""Commands killed with SIGKILL: they go on, and pay twice for nothing but requests in flight."""

import pytest
from benchmarks.paid_endpoint import CONCURRENCY, PaidEndpoint
from benchmarks.prompt_resume import Bench

SEARCH = ("-o", "candidates=3", "-o", "examples=6", "-o", "confirmation=10", "--limit", "24")
COMMANDS = {
    "prompt": ("prompt", *SEARCH),
    "ape": ("ape", *SEARCH, "-o", "pool=4"),
    "memory": ("memory", "-o", "rewrite=true", "--limit", "16"),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with PaidEndpoint() as endpoint:
        yield Bench(tmp_path_factory.mktemp("resume"), endpoint)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_goes_on_without_paying_twice(bench, command):
    whole = bench.run(COMMANDS[command])
    assert whole.repeated == 0
    half = len(whole.payments) // 2
    killed = bench.run(COMMANDS[command], kills=(2, half))
    assert killed.kills == 2
    assert killed.outcome == whole.outcome
    assert killed.payments.keys() == whole.payments.keys()
    assert 0 < killed.repeated <= killed.kills * CONCURRENCY
    if command == "memory":
        assert whole.outcome.entries
    else:
        assert "Say please." in whole.outcome.prompt
