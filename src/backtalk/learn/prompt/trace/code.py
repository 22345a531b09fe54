"""Code as a parameter: the source of a function, which runs in the sandbox of programs."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator

from backtalk.errors import BacktalkError
from backtalk.learn.prompt.trace.application import TracedError, as_nodes
from backtalk.learn.prompt.trace.nodes import Node


class CodeParameter:
    r"""Function whose source an optimiser may rewrite.

    The source runs in a separate process without files, network and other processes, with limits
    on time and memory. It may import ``collections``, ``functools``, ``itertools``, ``math``,
    ``re`` and ``string``. Arguments and results are JSON values. A failure is a
    :class:`~backtalk.learn.prompt.trace.TracedError` with the traceback as feedback.

    Parameters
    ----------
    source : str
        Source of one function, imports and helpers included. The function is the last definition.
    description : str, optional
        Meaning, and conditions on the source; default: the function's docstring.
    seconds : float, default 1.0
        CPU time limit of a call in seconds.
    memory_mb : int, default 256
        Memory limit of a call in MiB.

    Raises
    ------
    BacktalkError
        If the source is no such function.

    Examples
    --------
    >>> count = CodeParameter("def count(text):\n    return len(text.split())")
    >>> count("three short words").value
    3
    """

    def __init__(
        self,
        source: str,
        *,
        description: str = "",
        seconds: float = 1.0,
        memory_mb: int = 256,
    ) -> None:
        source = textwrap.dedent(source).strip()
        try:
            function = _last_function(source)
            check_source(source, function.name, _argument_names(function))
        except ValueError as error:
            raise BacktalkError(
                f"The source is no function that can be learned: {error}",
                "Give the text of one `def` with named arguments",
            ) from None
        self.name = function.name
        self._description = description or ast.get_docstring(function) or ""
        self._signature = _signature(function)
        self._seconds = seconds
        self._memory_mb = memory_mb
        check = partial(check_source, name=self.name, arguments=_argument_names(function))
        self.parameter = Node(
            source,
            name=f"{self.name}_code",
            description=f"Source of the function {self.name}; its name and arguments stay.",
            trainable=True,
            kind=Annotated[str, AfterValidator(check)],
        )
        """Node of the source."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Node:
        """Return the result as a node.

        Raises
        ------
        TracedError
            If the function fails in the sandbox.
        BacktalkError
            If an argument is no JSON value.
        """
        bound = self._signature.bind(*arguments, **keywords)
        nodes = as_nodes(bound.arguments)
        values = {key: one.value for key, one in nodes.items()}
        try:
            json.dumps(values)
        except (TypeError, ValueError) as error:
            raise BacktalkError(
                f"An argument of {self.name} is no JSON value: {error}",
                "Pass texts, numbers, lists and dictionaries to a function that is learned",
            ) from None
        node = partial(
            Node,
            name=self.name,
            description=self._description,
            inputs={"code": self.parameter, **nodes},
        )
        from backtalk.worlds.programs.sandbox import (  # noqa: PLC0415 - slow to import
            ProgramFailure,
            call_function,
        )

        # The sandbox passes positional arguments.
        program = f"{self.parameter.value}\n\ndef _call(values): return {self.name}(**values)\n"
        try:
            value = call_function(
                program, "_call", [values], seconds=self._seconds, memory_mb=self._memory_mb
            )
        except ProgramFailure as error:
            raise TracedError(node(str(error), failed=True)) from None
        return node(value)


def read_source(function: Callable[..., Any]) -> str:
    """Return the source of a function without its decorators.

    Raises
    ------
    BacktalkError
        If there is no source, as for functions of an interactive session.
    """
    try:
        source = textwrap.dedent(inspect.getsource(function))
        definition = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError):
        definition = None
    if not isinstance(definition, ast.FunctionDef) or definition.name != function.__name__:
        raise BacktalkError(
            f"The source of {function.__name__} cannot be read as a function",
            "Define it with `def` in a file, or pass its text to CodeParameter",
        )
    return "\n".join(source.splitlines()[definition.lineno - 1 :])


def check_source(source: str, name: str, arguments: list[str]) -> str:
    """Return the source of a function if it has the right form.

    Parameters
    ----------
    source : str
        Text of imports, helpers and the function.
    name : str
        Name of the function.
    arguments : list of str
        Names of its arguments.

    Raises
    ------
    ValueError
        If it does not parse, does something else than define functions, or the function has another
        name or other arguments.
    """
    function = _last_function(source)
    if function.name != name or _argument_names(function) != arguments:
        raise ValueError(f"its last definition must be def {name}({', '.join(arguments)})")
    return source


def _last_function(source: str) -> ast.FunctionDef:
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from None
    allowed = (ast.FunctionDef, ast.Import, ast.ImportFrom)
    if not body or not all(isinstance(one, allowed) for one in body):
        raise ValueError("only imports and functions may stand there")
    function = body[-1]
    if not isinstance(function, ast.FunctionDef):
        raise ValueError("the last definition must be a function")  # noqa: TRY004 - for pydantic
    if function.decorator_list:
        raise ValueError("the function must have no decorator")
    return function


def _argument_names(function: ast.FunctionDef) -> list[str]:
    arguments = function.args
    if arguments.vararg or arguments.kwarg or arguments.posonlyargs:
        raise ValueError("all arguments must have names: no *, ** or /")
    return [one.arg for one in (*arguments.args, *arguments.kwonlyargs)]


def _signature(function: ast.FunctionDef) -> inspect.Signature:
    """Return the signature; the values of defaults stay in the source."""
    arguments = function.args
    required = len(arguments.args) - len(arguments.defaults)
    parameters = [
        inspect.Parameter(
            one.arg,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if index < required else None,
        )
        for index, one in enumerate(arguments.args)
    ]
    parameters += [
        inspect.Parameter(
            one.arg,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is None else None,
        )
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return inspect.Signature(parameters)
