"""Running untrusted programs on test cases, with nothing that they could harm.

Each program runs in a process of its own: bounded in time, memory and output, without files, child
processes, environment or network, as far as the system allows. Only what the function returned
comes back; the expected values never go there, so that no program can print itself a pass.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SERVER = Path(__file__).with_name("fork_server.py")


@dataclass(frozen=True)
class Case:
    """One call of the function, and what it is to return: anything that JSON can say."""

    arguments: tuple[Any, ...]
    expected: Any

    @property
    def call(self) -> str:
        """The call as Python writes it."""
        return f"f({', '.join(map(repr, self.arguments))})"


@dataclass(frozen=True)
class Isolation:
    """What the system keeps out of a program's reach, beside its limits."""

    network: bool
    """No network, not even the machine's own."""
    processes: bool
    """No other process, to see or to kill."""


@dataclass(frozen=True)
class TestRun:
    """What happened when a program was tested."""

    __test__ = False

    passed: tuple[bool, ...]
    """For each case, whether the function returned what was expected."""
    trace: str
    """The first error as the interpreter prints it, or what was found and what was expected."""
    sort: str = ""
    """The type of the first error: "NameError"."""
    ended: bool = True
    """Whether every case ran to its end."""
    timed_out: bool = False
    output: str = ""
    """The beginning of what the program printed."""
    isolation: Isolation = Isolation(network=False, processes=False)

    @property
    def share(self) -> float:
        """The share of the cases that passed."""
        return sum(self.passed) / len(self.passed) if self.passed else 1.0

    @property
    def runs(self) -> bool:
        """Whether it ran to its end without an error."""
        return self.ended and not self.sort

    @property
    def out_of_memory(self) -> bool:
        """Whether it needed more memory than there is."""
        return self.sort == "MemoryError"


class Sandbox:
    """An interpreter that forks for each program. Restarts where it was lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self.isolation = Isolation(network=False, processes=False)

    def run(self, request: dict[str, Any], *, seconds: float) -> dict[str, Any] | None:
        """Return the server's answer, or nothing if twice it did not give one."""
        with self._lock:
            for _ in range(2):
                try:
                    server = self._started()
                    _send(server, request)
                    return _receive(server, 10 * seconds + 20)
                except (OSError, ValueError):
                    self._close()
        return None

    def close(self) -> None:
        """End the interpreter."""
        with self._lock:
            self._close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._server is not None and self._owner == os.getpid():
            return self._server
        # A fork of this process has its parent's interpreter, which it must leave alone.
        self._owner = os.getpid()
        # Once it is removed, its folder is not only empty, but nothing can be put there.
        with tempfile.TemporaryDirectory(prefix="backtalk-") as folder:
            self._server = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-S", str(_SERVER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                cwd=folder,
                bufsize=0,
                start_new_session=True,
            )
            self.isolation = Isolation(**_receive(self._server, 30))
        return self._server

    def _close(self) -> None:
        if self._server is None or self._owner != os.getpid():
            return
        self._server.kill()
        self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        self._server = None


def _send(server: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    view = memoryview(len(body).to_bytes(4, "big") + body)
    assert server.stdin
    while view:
        view = view[os.write(server.stdin.fileno(), view) :]


def _receive(server: subprocess.Popen[bytes], seconds: float) -> dict[str, Any]:
    last = time.monotonic() + seconds
    size = int.from_bytes(_read(server, 4, last), "big")
    told: dict[str, Any] = json.loads(_read(server, size, last))
    return told


def _read(server: subprocess.Popen[bytes], count: int, last: float) -> bytes:
    assert server.stdout
    fd = server.stdout.fileno()
    parts = []
    while count:
        ready = select.select([fd], [], [], max(0.0, last - time.monotonic()))[0]
        part = os.read(fd, count) if ready else b""
        if not part:
            raise ValueError("the interpreter does not answer")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


_SANDBOX = Sandbox()
atexit.register(_SANDBOX.close)


def run_tests(
    program: str,
    cases: Sequence[Case],
    *,
    seconds: float = 0.2,
    memory_mb: int = 256,
    guarded: bool = True,
) -> TestRun:
    """Return what a program's function ``f`` does on these cases.

    Parameters
    ----------
    program : str
        The text of the program, from whomever.
    cases : sequence of Case
        The calls, and what each is to return.
    seconds : float, default 0.2
        How long it may compute altogether.
    memory_mb : int, default 256
        How much memory it may use, in MiB.
    guarded : bool, default True
        Whether the interpreter refuses what reaches outside, and not only the system.
    """
    token = secrets.token_hex(16)
    request = {
        "token": token,
        "program": program,
        "cases": [json.dumps(case.arguments) for case in cases],
        "seconds": seconds,
        "memory": memory_mb << 20,
        "guarded": guarded,
    }
    answer = _SANDBOX.run(request, seconds=seconds)
    if answer is None:
        trace = "The program broke off its own test."
        return TestRun((False,) * len(cases), trace, ended=False, isolation=_SANDBOX.isolation)
    told = _told(answer["results"], token)
    results = [message for message in told if "end" not in message]
    passed = tuple(
        index < len(results)
        and "value" in results[index]
        and same(results[index]["value"], case.expected)
        for index, case in enumerate(cases)
    )
    error = next((message for message in results if "error" in message), None)
    ended = any("end" in message for message in told) or error is not None
    return TestRun(
        passed,
        _trace(cases, results, passed, error, _broken_off(answer, seconds, ended=ended)),
        sort=str(error["sort"]) if error else "",
        ended=ended,
        timed_out=bool(answer["late"]),
        output=answer["output"],
        isolation=_SANDBOX.isolation,
    )


def _told(results: str, token: str) -> list[dict[str, Any]]:
    """Return the messages under the token; whatever else the program wrote there is not read."""
    told = []
    for line in results.split("\n"):
        if line.startswith(f"{token} "):
            with suppress(ValueError):
                told.append(json.loads(line[len(token) + 1 :]))
    return [message for message in told if isinstance(message, dict)]


def _broken_off(answer: dict[str, Any], seconds: float, *, ended: bool) -> str:
    if answer["late"]:
        return f"The program did not end within {seconds:g} seconds."
    return "" if ended else f"The program broke off with exit status {answer['status']}."


def _trace(
    cases: Sequence[Case],
    found: Sequence[dict[str, Any]],
    passed: Sequence[bool],
    error: dict[str, Any] | None,
    broken_off: str,
) -> str:
    if error is not None:
        return str(error["error"])
    for case, message, right in zip(cases, found, passed, strict=False):
        if not right:
            returned = message.get("shown", repr(message.get("value")))
            return f"{case.call} returned {returned}, expected {case.expected!r}"
    return broken_off


def same(found: Any, expected: Any) -> bool:
    """Return whether two values are equal and of the same type, lists in each of their parts."""
    if type(found) is not type(expected):
        return False
    if isinstance(found, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(found == expected)
