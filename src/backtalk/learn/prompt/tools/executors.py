"""Executors of tools: functions of Python, a command, or an HTTP endpoint."""

from __future__ import annotations

import asyncio
import inspect
import json
import shlex
import shutil
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from backtalk.errors import BacktalkError
from backtalk.learn.prompt.tools.calls import ToolCall, ToolTrial, is_failure

Executor = Callable[[ToolCall], Awaitable[ToolTrial]]
"""Function that runs a call and returns it with its result."""

TIMEOUT = 30.0
"""Time limit of a call, in seconds."""


def run_functions(functions: Mapping[str, Callable[..., Any]]) -> Executor:
    """Return an executor of functions of Python, plain or async, by name.

    A call fails if the function raises an exception or its result reports a failure.

    Parameters
    ----------
    functions : Mapping[str, Callable[..., Any]]
        Functions by name of the tool. They take the arguments of the call by keyword.
    """

    async def execute(call: ToolCall) -> ToolTrial:
        if call.name not in functions or call.arguments is None:
            return ToolTrial(call, _not_run(call, functions), failed=True)
        try:
            result = functions[call.name](**call.arguments)
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:  # noqa: BLE001 - any error of a tool is the result of the trial
            return ToolTrial(call, f"{type(error).__name__}: {error}", failed=True)
        text = result if isinstance(result, str) else json.dumps(result, default=str)
        return ToolTrial(call, text, is_failure(text))

    return execute


def run_command(command: str) -> Executor:
    """Return an executor that starts a command for each call.

    The command reads ``{"name": ..., "arguments": {...}}`` from its input and prints the result. A
    call fails if the command ends with a code other than 0, or its output reports a failure.

    Parameters
    ----------
    command : str
        Command with its arguments, as in a shell.

    Raises
    ------
    BacktalkError
        If the command is empty, has an open quotation, or names no program that can be started.
    """
    words = _words(command)

    async def execute(call: ToolCall) -> ToolTrial:
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise _cannot_start(command, error) from None
        try:
            output, errors = await asyncio.wait_for(
                process.communicate(_body(call).encode()), TIMEOUT
            )
        except TimeoutError:
            process.kill()
            await process.wait()
            return ToolTrial(call, f"no result within {TIMEOUT:g} seconds", failed=True)
        text = output.decode(errors="replace").strip()
        if process.returncode:
            return ToolTrial(call, text or errors.decode(errors="replace").strip(), failed=True)
        return ToolTrial(call, text, is_failure(text))

    return execute


def run_http(url: str) -> Executor:
    """Return an executor that posts each call as JSON to an address.

    The body is ``{"name": ..., "arguments": {...}}``. A call fails if the status is 400 or higher,
    or the body of the response reports a failure.

    Parameters
    ----------
    url : str
        Address.

    Raises
    ------
    BacktalkError
        If the address has no host.
    """
    if not urlsplit(url).hostname:
        raise BacktalkError(
            f"The executor {url} has no host", "Name an address such as http://127.0.0.1:8000/call"
        )

    async def execute(call: ToolCall) -> ToolTrial:
        import httpx2  # noqa: PLC0415 - slow to import

        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT) as client:
                response = await client.post(
                    url, content=_body(call), headers={"content-type": "application/json"}
                )
        except (httpx2.ConnectError, httpx2.UnsupportedProtocol) as error:
            raise BacktalkError(
                f"The executor {url} cannot be reached: {error}",
                "Start it, or name another address",
            ) from None
        except httpx2.HTTPError as error:
            return ToolTrial(call, f"{type(error).__name__}: {error}", failed=True)
        text = response.text.strip()
        return ToolTrial(call, text, response.is_error or is_failure(text))

    return execute


def make_executor(name: str) -> Executor:
    """Return the executor that an option names: an address, or else a command."""
    return run_http(name) if name.startswith(("http://", "https://")) else run_command(name)


def _words(command: str) -> list[str]:
    """Return the words of a command whose program can be started."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise _cannot_start(command, error) from None
    if not words or not words[0]:
        raise _cannot_start(command, "it names no program")
    if shutil.which(words[0]) is None:
        raise _cannot_start(command, f"there is no program {words[0]!r}")
    return words


def _cannot_start(command: str, reason: object) -> BacktalkError:
    return BacktalkError(
        f"The executor {command!r} cannot be started: {reason}",
        "Name a command that reads a call as JSON and prints its result, or a URL",
    )


def _body(call: ToolCall) -> str:
    return json.dumps({"name": call.name, "arguments": call.arguments})


def _not_run(call: ToolCall, functions: Mapping[str, Any]) -> str:
    if call.name not in functions:
        return f"There is no tool {call.name!r}, only {', '.join(sorted(functions))}"
    return "The arguments are not a JSON object"
