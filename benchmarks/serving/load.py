"""The load of a server, made by a process of its own.

``python -m benchmarks.serving.load JSON`` asks as the fields of :class:`OnlineConfig` say, and prints what
came of it as JSON. At a fixed rate, requests are sent when they are due, whatever became of those
before, and the time of an answer counts from when its request was due: a server that stalls is
charged for everything that queued up behind.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import uvloop

from benchmarks.serving.wire import Broken, Client

_ASKED = {
    "messages": [
        {"role": "system", "content": "You answer for a shop. Be brief."},
        {"role": "user", "content": "When do you open tomorrow, and until when?"},
    ],
    "temperature": 0.7,
    "user": "bo",
}


@dataclass(frozen=True)
class Plan:
    """What is asked of a server."""

    port: int
    model: str = "small"
    key: str = "none"
    seconds: float = 5.0
    rate: float = 0.0
    """Requests a second; where it is 0, each of ``callers`` asks again as soon as it has its
    answer."""
    callers: int = 1
    feedback: int = 0
    """After every so many answers one is judged; 0 for none."""


@dataclass
class Seen:
    """What came of it."""

    answers: list[float] = field(default_factory=list)
    """Seconds."""
    judged: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def fail(self, why: str) -> None:
        self.failed[why] = self.failed.get(why, 0) + 1

    def told(self) -> dict[str, Any]:
        return {
            "requests": len(self.answers),
            "per_second": len(self.answers) / self.seconds,
            **quantiles(self.answers),
            "judged": len(self.judged),
            "feedback": quantiles(self.judged) if self.judged else None,
            "failed": self.failed,
        }


def chat_request(client: Client, model: str) -> bytes:
    """Return a request for a small answer."""
    body = json.dumps({"model": model, **_ASKED}).encode()
    return client.request("/v1/chat/completions", body)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    if len(seconds) < 2:
        return {"p50": float("nan"), "p99": float("nan")}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": 1000 * cuts[49], "p99": 1000 * cuts[98]}


class _Load:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.client = Client(plan.port, authorization=f"Bearer {plan.key}")
        self.request = chat_request(self.client, plan.model)
        self.seen = Seen()

    async def ask(self, due: float) -> None:
        try:
            reply = await self.client.send(self.request)
        except (Broken, OSError) as error:
            self.seen.fail(type(error).__name__)
            return
        self.seen.answers.append(time.perf_counter() - due)
        if reply.status != 200:
            self.seen.fail(str(reply.status))
        elif self.plan.feedback and len(self.seen.answers) % self.plan.feedback == 0:
            await self.judge(reply.json()["id"])

    async def judge(self, interaction: str) -> None:
        body = json.dumps({"interaction": interaction, "thumb": "up", "user": "bo"}).encode()
        due = time.perf_counter()
        reply = await self.client.send(self.client.request("/v1/feedback", body))
        self.seen.judged.append(time.perf_counter() - due)
        if reply.status not in {200, 201, 202}:
            self.seen.fail(f"feedback {reply.status}")

    async def at_rate(self) -> None:
        begin = time.perf_counter() + 0.01
        async with asyncio.TaskGroup() as group:
            for place in range(int(self.plan.rate * self.plan.seconds)):
                due = begin + place / self.plan.rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(self.ask(due))
        self.seen.seconds = time.perf_counter() - begin

    async def flat_out(self) -> None:
        begin = time.perf_counter()

        async def caller() -> None:
            while (now := time.perf_counter()) < begin + self.plan.seconds:
                await self.ask(now)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.plan.callers):
                group.create_task(caller())
        self.seen.seconds = time.perf_counter() - begin


def main() -> None:
    plan = Plan(**json.loads(sys.argv[1]))
    if plan.rate:
        # The usual loops round what they wait for up to a millisecond.
        loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    else:
        loop = uvloop.new_event_loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        load = runner.run(_run(plan))
    sys.stdout.write(json.dumps({"plan": asdict(plan), **load.seen.told()}) + "\n")


async def _run(plan: Plan) -> _Load:
    load = _Load(plan)
    await (load.at_rate() if plan.rate else load.flat_out())
    load.client.close()
    return load


if __name__ == "__main__":
    main()
