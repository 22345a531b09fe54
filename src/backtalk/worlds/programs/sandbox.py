"""Sandbox that runs untrusted programs on test cases.

Each program runs in its own process, with limits on time, memory and output, and without files,
child processes, environment or network, as far as the system allows. The process returns results
only and never sees the expected values, so a program cannot forge a pass.
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
_MAX_SHOWN = 1000


@dataclass(frozen=True)
class ProgramTestCase:
    """Call of the function under test with its expected result, a JSON value."""

    arguments: tuple[Any, ...]
    expected: Any

    @property
    def call(self) -> str:
        """Call as Python source."""
        return f"f({', '.join(map(repr, self.arguments))})"


@dataclass(frozen=True)
class Isolation:
    """Isolation that the system provides in addition to resource limits."""

    network: bool
    """If true, there is no network, not even the loopback interface."""
    processes: bool
    """If true, other processes can be neither seen nor killed."""


@dataclass(frozen=True)
class TestRun:
    """Result of running a program on test cases."""

    __test__ = False

    passed: tuple[bool, ...]
    """Result of each case."""
    trace: str
    """Traceback of the first error, or the first difference from the expected result."""
    error_type: str = ""
    """Type of the first error, such as "NameError"; empty if there is none."""
    completed: bool = True
    """If true, all cases ran to completion."""
    timed_out: bool = False
    output: str = ""
    """First characters of the program's output."""
    isolation: Isolation = Isolation(network=False, processes=False)

    @property
    def share(self) -> float:
        """Share of cases that passed, in [0, 1]."""
        return sum(self.passed) / len(self.passed) if self.passed else 1.0

    @property
    def runs(self) -> bool:
        """If true, it ran to completion without an error."""
        return self.completed and not self.error_type

    @property
    def out_of_memory(self) -> bool:
        """If true, it exceeded the memory limit."""
        return self.error_type == "MemoryError"


class ProgramFailure(Exception):
    """Failure of a program in the sandbox, with its traceback."""


class Sandbox:
    """Fork server process, started on demand and restarted after a failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self.isolation = Isolation(network=False, processes=False)

    def run(self, request: dict[str, Any], *, seconds: float) -> dict[str, Any] | None:
        """Return the server's reply, ``None`` after two failures."""
        with self._lock:
            for _ in range(2):
                try:
                    server = self._get_server()
                    _send(server, request)
                    return _receive(server, 10 * seconds + 20)
                except (OSError, ValueError):
                    self._close()
        return None

    def close(self) -> None:
        """Stop the server."""
        with self._lock:
            self._close()

    def _get_server(self) -> subprocess.Popen[bytes]:
        if self._server is not None and self._owner == os.getpid():
            return self._server
        # After a fork, the server belongs to the parent process.
        self._owner = os.getpid()
        # The working folder is removed afterwards, so that no file can be created in it.
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
    messages: dict[str, Any] = json.loads(_read(server, size, last))
    return messages


def _read(server: subprocess.Popen[bytes], count: int, last: float) -> bytes:
    assert server.stdout
    fd = server.stdout.fileno()
    parts = []
    while count:
        ready = select.select([fd], [], [], max(0.0, last - time.monotonic()))[0]
        part = os.read(fd, count) if ready else b""
        if not part:
            raise ValueError("the fork server does not reply")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


_SANDBOX = Sandbox()
atexit.register(_SANDBOX.close)


def run_tests(
    program: str,
    cases: Sequence[ProgramTestCase],
    *,
    seconds: float = 0.2,
    memory_mb: int = 256,
    guarded: bool = True,
) -> TestRun:
    """Return the result of running a program's function ``f`` on test cases.

    Parameters
    ----------
    program : str
        Source of the program; it may be hostile.
    cases : sequence of ProgramTestCase
        Calls with their expected results.
    seconds : float, default 0.2
        CPU time limit for all cases, in seconds.
    memory_mb : int, default 256
        Memory limit in MiB.
    guarded : bool, default True
        If true, an audit hook of the interpreter refuses access to the outside as well.
    """
    answer, messages = _run(
        program,
        "f",
        [case.arguments for case in cases],
        seconds=seconds,
        memory_mb=memory_mb,
        guarded=guarded,
    )
    if answer is None:
        trace = "The program broke off its own test."
        return TestRun((False,) * len(cases), trace, completed=False, isolation=_SANDBOX.isolation)
    results = [message for message in messages if "end" not in message]
    passed = tuple(
        index < len(results)
        and "value" in results[index]
        and same_value(results[index]["value"], case.expected)
        for index, case in enumerate(cases)
    )
    error = next((message for message in results if "error" in message), None)
    completed = any("end" in message for message in messages) or error is not None
    return TestRun(
        passed,
        _trace(
            cases,
            results,
            passed,
            error,
            _termination_message(answer, seconds, completed=completed),
        ),
        error_type=str(error["error_type"]) if error else "",
        completed=completed,
        timed_out=bool(answer["late"]),
        output=answer["output"],
        isolation=_SANDBOX.isolation,
    )


def call_function(
    program: str,
    function: str,
    arguments: Sequence[Any],
    *,
    seconds: float = 1.0,
    memory_mb: int = 256,
) -> Any:
    """Return the result of one function of a program, a JSON value.

    Parameters
    ----------
    program : str
        Source of the program; it may be hostile.
    function : str
        Name of the function.
    arguments : sequence of Any
        Positional arguments, JSON values.
    seconds : float, default 1.0
        CPU time limit in seconds.
    memory_mb : int, default 256
        Memory limit in MiB.

    Raises
    ------
    ProgramFailure
        If the program fails, exceeds a limit, or returns something that is no JSON value.
    """
    answer, messages = _run(
        program, function, [arguments], seconds=seconds, memory_mb=memory_mb, guarded=True
    )
    result = messages[0] if messages else {}
    if "value" in result:
        return result["value"]
    if answer is None:
        raise ProgramFailure("The program broke off the sandbox.")
    if "error" in result:
        raise ProgramFailure(str(result["error"]))
    if "shown" in result:
        raise ProgramFailure(
            f"{function} returned {result['shown']}, which is no text, number, truth value, None, "
            "list or dictionary of these, or is too large."
        )
    raise ProgramFailure(_termination_message(answer, seconds, completed=False))


def _run(
    program: str,
    function: str,
    calls: Sequence[Sequence[Any]],
    *,
    seconds: float,
    memory_mb: int,
    guarded: bool,
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the server's reply, ``None`` after two failures, and the program's messages."""
    token = secrets.token_hex(16)
    request = {
        "token": token,
        "program": program,
        "function": function,
        "cases": [json.dumps(arguments) for arguments in calls],
        "seconds": seconds,
        "memory": memory_mb << 20,
        "guarded": guarded,
    }
    answer = _SANDBOX.run(request, seconds=seconds)
    return answer, [] if answer is None else _parse_messages(answer["results"], token)


def _parse_messages(results: str, token: str) -> list[dict[str, Any]]:
    """Return the messages with the token; other text written by the program is ignored."""
    messages = []
    for line in results.split("\n"):
        if line.startswith(f"{token} "):
            with suppress(ValueError):
                messages.append(json.loads(line[len(token) + 1 :]))
    return [message for message in messages if isinstance(message, dict)]


def _termination_message(answer: dict[str, Any], seconds: float, *, completed: bool) -> str:
    if answer["late"]:
        return f"The program did not end within {seconds:g} seconds."
    return "" if completed else f"The program broke off with exit status {answer['status']}."


def _trace(
    cases: Sequence[ProgramTestCase],
    results: Sequence[dict[str, Any]],
    passed: Sequence[bool],
    error: dict[str, Any] | None,
    termination: str,
) -> str:
    if error is not None:
        return str(error["error"])
    for case, message, right in zip(cases, results, passed, strict=False):
        if not right:
            returned = message.get("shown", repr(message.get("value")))[:_MAX_SHOWN]
            return f"{case.call} returned {returned}, expected {case.expected!r}"
    return termination


def same_value(actual: Any, expected: Any) -> bool:
    """Return true if two values are equal and of the same type, with all their parts."""
    if type(actual) is not type(expected):
        return False
    if isinstance(actual, dict):
        return actual.keys() == expected.keys() and all(
            same_value(value, expected[key]) for key, value in actual.items()
        )
    if isinstance(actual, list):
        return len(actual) == len(expected) and all(map(same_value, actual, expected))
    return bool(actual == expected)
