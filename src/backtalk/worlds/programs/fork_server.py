"""Fork server that runs untrusted programs, each in an isolated child process.

Not to be imported: :mod:`backtalk.worlds.programs.sandbox` starts it as a program, in an
interpreter without site packages, environment and files. Messages are frames of JSON with a
four-byte length prefix. Forking a warm interpreter is faster than starting one, which takes longer
than most programs run.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import functools
import gc
import itertools
import json
import linecache
import math
import os
import re
import resource
import select
import signal
import string
import sys
import time
import traceback
from types import TracebackType
from typing import Any

_ALLOWED_MODULES = (collections, functools, itertools, math, re, string)
"""Modules for programs, loaded here because programs cannot open files."""

_NEW_USER, _NEW_NET, _NEW_PID, _NEW_IPC = 0x10000000, 0x40000000, 0x20000000, 0x08000000
_NOBODY = 65534
_RESULTS = 3
_MAX_RESULT, _MAX_OUTPUT, _MAX_TRACE, _MAX_SHOWN = 1 << 16, 2000, 2000, 200
_MAX_TEXT = 1 << 14
_TICK = 0.02
_FORBIDDEN = re.compile(
    r"open|os\.(?:(?!listdir|scandir).)*|subprocess\..*|socket\..*|ctypes\..*|shutil\..*|fcntl\..*"
    r"|signal\..*|gc\..*|sys\.(?:addaudithook|settrace|setprofile|_getframe)|pty\..*|mmap\..*"
)
_LIBC = ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> bool:
    try:
        return bool(_LIBC.unshare(flags) == 0)
    except AttributeError:
        return False


def _isolate() -> dict[str, bool]:
    """Isolate the server from the network and other processes, as far as the system allows.

    The server becomes the first process of a PID namespace: no process in it can kill the server,
    and the server can kill all others.
    """
    if os.getuid() == 0:
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
    network = _unshare(_NEW_USER | _NEW_NET | _NEW_IPC)
    if not _unshare(_NEW_PID):
        return {"network": network, "processes": False}
    pid = os.fork()
    if pid:
        os.closerange(0, 1024)
        os.waitpid(pid, 0)
        os._exit(0)
    return {"network": network, "processes": os.getpid() == 1}


def _read(fd: int, count: int) -> bytes:
    parts = []
    while count:
        part = os.read(fd, count)
        if not part:
            sys.exit(0)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _send(fd: int, message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    view = memoryview(len(body).to_bytes(4, "big") + body)
    while view:
        view = view[os.write(fd, view) :]


def main() -> None:
    """Serve requests until the pipe is closed."""
    request_fd, response_fd = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    isolation = _isolate()
    gc.freeze()
    _send(response_fd, isolation)
    while True:
        request = json.loads(_read(request_fd, int.from_bytes(_read(request_fd, 4), "big")))
        _send(response_fd, _run(request, alone=isolation["processes"]))


def _run(request: dict[str, Any], *, alone: bool) -> dict[str, Any]:
    """Return the results, output and exit status of a program."""
    results, results_in = os.pipe()
    output, output_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _apply_limits(request, results_in, output_in)
            _Harness(request).run()
            sys.stdout.flush()
        finally:
            os._exit(0)
    os.close(results_in)
    os.close(output_in)
    reader = _PipeReader({results: _MAX_RESULT, output: _MAX_OUTPUT})
    late = reader.read_until_end(pid, request["seconds"])
    status = _end(pid, reader.status, alone=alone)
    os.close(results)
    os.close(output)
    return {
        "results": reader.data[results].decode(errors="replace"),
        "output": reader.data[output].decode(errors="replace"),
        "late": late,
        "status": os.waitstatus_to_exitcode(status),
    }


def _end(pid: int, status: int | None, *, alone: bool) -> int:
    """Kill the processes that a program left; return its exit status."""
    for victim in (-1, pid) if alone else (-pid, pid):
        # Do not kill a process that has exited: its PID may have been reused.
        if victim != pid or status is None:
            with contextlib.suppress(OSError):
                os.kill(victim, signal.SIGKILL)
    if status is None:
        status = os.waitpid(pid, 0)[1]
    with contextlib.suppress(ChildProcessError):
        while alone:
            os.waitpid(-1, 0)
    return status


class _PipeReader:
    """Reader of pipes; it discards bytes above the limit of each."""

    def __init__(self, max_bytes: dict[int, int]) -> None:
        self._max_bytes = max_bytes
        self.data = dict.fromkeys(max_bytes, b"")
        self.status: int | None = None

    def read_until_end(self, pid: int, seconds: float) -> bool:
        """Read until a process exits; return true if it timed out."""
        waiting = set(self._max_bytes)
        last = time.monotonic() + 10 * seconds + 1
        while waiting:
            ready = select.select(list(waiting), [], [], _TICK)[0]
            for fd in ready:
                part = os.read(fd, 1 << 16)
                self.data[fd] = (self.data[fd] + part)[: self._max_bytes[fd]]
                if not part:
                    waiting.discard(fd)
            if _cpu_seconds(pid) > seconds or time.monotonic() > last:
                return True
            if not ready and self._has_exited(pid):
                return False
        # A program can close both pipes and keep running.
        while not self._has_exited(pid):
            if _cpu_seconds(pid) > seconds or time.monotonic() > last:
                return True
            time.sleep(0.0002)
        return False

    def _has_exited(self, pid: int) -> bool:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            self.status = status
        return bool(done)


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def _apply_limits(request: dict[str, Any], results: int, output: int) -> None:
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    if results != _RESULTS:
        os.dup2(results, _RESULTS)
    os.closerange(_RESULTS + 1, 1024)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    bounds = {
        "AS": request["memory"],
        "CPU": math.ceil(request["seconds"]) + 1,
        "FSIZE": 0,
        "NOFILE": 0,
        "NPROC": 0,
        "CORE": 0,
    }
    for name, bound in bounds.items():
        with contextlib.suppress(AttributeError, OSError, ValueError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (bound, bound))
    for name in ("ctypes", "_ctypes", "resource", "__main__"):
        sys.modules.pop(name, None)


def _audit_hook(event: str, _: Any) -> None:
    if _FORBIDDEN.fullmatch(event):
        raise PermissionError(f"{event} is not allowed here")


class _Harness:
    """Runner of the function under test; reports its results, not their correctness."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._token = request["token"]
        self._program = request["program"]
        self._cases = request["cases"]
        self._function = request["function"]
        self._guarded = request["guarded"]

    def run(self) -> None:
        """Run all cases and report each result or error."""
        lines = [f"{line}\n" for line in self._program.splitlines()]
        linecache.cache["program.py"] = (len(self._program), None, lines, "program.py")
        if self._guarded:
            sys.addaudithook(_audit_hook)
        known: dict[str, Any] = {"__name__": "program"}
        try:
            exec(compile(self._program, "program.py", "exec"), known)  # noqa: S102 - its purpose
            function = known[self._function] if self._function in known else self._missing()
        except BaseException as error:  # noqa: BLE001 - a program may raise anything
            self._send_message({"error": self._trace(error), "error_type": type(error).__name__})
            return
        for case in self._cases:
            try:
                message = _encode(function(*json.loads(case)))
            except BaseException as error:  # noqa: BLE001 - a program may raise anything
                message = {"error": self._trace(error), "error_type": type(error).__name__}
            self._send_message(message)
        self._send_message({"end": True})

    def _missing(self) -> Any:
        raise NameError(f"name {self._function!r} is not defined")

    def _send_message(self, message: dict[str, Any]) -> None:
        view = memoryview(f"{self._token} {json.dumps(message)}\n".encode())
        while view:
            view = view[os.write(_RESULTS, view) :]

    @staticmethod
    def _trace(error: BaseException) -> str:
        try:
            # The first frame is that of the harness.
            trace = error.__traceback__ and error.__traceback__.tb_next
            _drop_hook_frame(trace)
            message = "".join(traceback.format_exception(type(error), error, trace)).rstrip()
        except BaseException:  # noqa: BLE001 - its own text may raise too
            message = type(error).__name__
        half = _MAX_TRACE // 2
        return (
            message if len(message) <= _MAX_TRACE else f"{message[:half]}\n...\n{message[-half:]}"
        )


def _drop_hook_frame(trace: TracebackType | None) -> None:
    """Remove the frame of the audit hook from a traceback."""
    while trace and trace.tb_next:
        if trace.tb_next.tb_frame.f_code is _audit_hook.__code__:
            trace.tb_next = None
        trace = trace.tb_next


def _encode(value: Any) -> dict[str, Any]:
    if _is_plain_json(value, 3):
        return {"value": value}
    return {"shown": repr(value)[:_MAX_SHOWN]}


def _is_plain_json(value: Any, depth: int) -> bool:
    """Return true if JSON represents a value exactly."""
    if type(value) is list:
        return (
            depth > 0
            and len(value) < 1000
            and all(_is_plain_json(part, depth - 1) for part in value)
        )
    if type(value) is dict:
        return (
            all(type(key) is str for key in value)
            and len(value) < 1000
            and _is_plain_json([*value, *value.values()], depth)
        )
    if type(value) is int:
        return value.bit_length() < 1000
    if type(value) is str:
        return len(value) < _MAX_TEXT
    return value is None or type(value) in {bool, float}


if __name__ == "__main__":
    main()
