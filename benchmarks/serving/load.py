"""Load generator, run in a separate process.

``python -m benchmarks.serving.load JSON`` sends requests as the fields of :class:`LoadSpec` say,
and prints the result as JSON. At a fixed rate, requests are sent when they are due, regardless of
earlier ones, and latency is measured from the due time: a server that stalls is charged for all
requests that queue up.
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

from benchmarks.serving.wire import Client, ConnectionBroken

_BODY = {
    "messages": [
        {"role": "system", "content": "You answer for a shop. Be brief."},
        {"role": "user", "content": "When do you open tomorrow, and until when?"},
    ],
    "temperature": 0.7,
    "user": "bo",
}


@dataclass(frozen=True)
class LoadSpec:
    """Load on a server."""

    port: int
    model: str = "small"
    key: str = "none"
    seconds: float = 5.0
    rate: float = 0.0
    """Requests per second. If 0, each of ``callers`` sends its next request as soon as it has the
    response."""
    callers: int = 1
    feedback: int = 0
    """Send feedback after every ``feedback`` completions; 0 for none."""


@dataclass
class LoadResult:
    """Measurements of a load."""

    latencies: list[float] = field(default_factory=list)
    """Latencies of completions in seconds."""
    feedback_latencies: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def count_failure(self, reason: str) -> None:
        self.failed[reason] = self.failed.get(reason, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        return {
            "requests": len(self.latencies),
            "per_second": len(self.latencies) / self.seconds,
            **quantiles(self.latencies),
            "feedback_count": len(self.feedback_latencies),
            "feedback": quantiles(self.feedback_latencies) if self.feedback_latencies else None,
            "failed": self.failed,
        }


def chat_request(client: Client, model: str) -> bytes:
    """Return a request for a short completion."""
    body = json.dumps({"model": model, **_BODY}).encode()
    return client.request("/v1/chat/completions", body)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    if len(seconds) < 2:
        return {"p50": float("nan"), "p99": float("nan")}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": 1000 * cuts[49], "p99": 1000 * cuts[98]}


class _Load:
    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.client = Client(spec.port, authorization=f"Bearer {spec.key}")
        self.request = chat_request(self.client, spec.model)
        self.result = LoadResult()

    async def send_request(self, due: float) -> None:
        try:
            reply = await self.client.send(self.request)
        except (ConnectionBroken, OSError) as error:
            self.result.count_failure(type(error).__name__)
            return
        self.result.latencies.append(time.perf_counter() - due)
        if reply.status != 200:
            self.result.count_failure(str(reply.status))
        elif self.spec.feedback and len(self.result.latencies) % self.spec.feedback == 0:
            await self.send_feedback(reply.json()["id"])

    async def send_feedback(self, interaction: str) -> None:
        body = json.dumps({"interaction": interaction, "thumb": "up", "user": "bo"}).encode()
        due = time.perf_counter()
        reply = await self.client.send(self.client.request("/v1/feedback", body))
        self.result.feedback_latencies.append(time.perf_counter() - due)
        if reply.status not in {200, 201, 202}:
            self.result.count_failure(f"feedback {reply.status}")

    async def run_at_rate(self) -> None:
        begin = time.perf_counter() + 0.01
        async with asyncio.TaskGroup() as group:
            for index in range(int(self.spec.rate * self.spec.seconds)):
                due = begin + index / self.spec.rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(self.send_request(due))
        self.result.seconds = time.perf_counter() - begin

    async def run_flat_out(self) -> None:
        begin = time.perf_counter()

        async def caller() -> None:
            while (now := time.perf_counter()) < begin + self.spec.seconds:
                await self.send_request(now)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.spec.callers):
                group.create_task(caller())
        self.result.seconds = time.perf_counter() - begin


def main() -> None:
    spec = LoadSpec(**json.loads(sys.argv[1]))
    if spec.rate:
        # The default loops round timeouts up to a millisecond.
        loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    else:
        loop = uvloop.new_event_loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        load = runner.run(_run(spec))
    sys.stdout.write(json.dumps({"plan": asdict(spec), **load.result.to_dict()}) + "\n")


async def _run(spec: LoadSpec) -> _Load:
    load = _Load(spec)
    await (load.run_at_rate() if spec.rate else load.run_flat_out())
    load.client.close()
    return load


if __name__ == "__main__":
    main()
