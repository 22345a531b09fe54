"""Traced functions: operators that record what their results are made of."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import Token
from types import TracebackType
from typing import Any, Literal, overload

from backtalk.errors import BacktalkError
from backtalk.feedback import Message
from backtalk.learn.prompt.trace.application import as_nodes, failure, plain
from backtalk.learn.prompt.trace.code import CodeParameter, read_source
from backtalk.learn.prompt.trace.nodes import RECORDER, Node, Recorder
from backtalk.models import Model, Request, Sampling

Function = Callable[..., Any]


@overload
def traced(function: Function) -> Function: ...
@overload
def traced(function: Function, *, trainable: Literal[False] = ..., name: str = ...) -> Function: ...
@overload
def traced(function: Function, *, trainable: Literal[True]) -> CodeParameter: ...
@overload
def traced(*, trainable: Literal[True]) -> Callable[[Function], CodeParameter]: ...
@overload
def traced(
    *, trainable: Literal[False] = ..., name: str = ...
) -> Callable[[Function], Function]: ...
def traced(function: Function | None = None, *, trainable: bool = False, name: str = "") -> Any:
    """Make an operator of a function, async or not: it takes nodes and returns a node.

    The function itself works with plain values. Nodes in lists and dictionaries count as inputs,
    and so do nodes whose ``.value`` it reads inside. Traced functions that it calls are part of the
    same step. If it raises, a :class:`~backtalk.learn.prompt.trace.TracedError` has a node with the
    exception; errors of Backtalk itself, such as the end of a budget, pass unchanged.

    With ``trainable=True``, the source of the function is a parameter, which runs in a sandbox; see
    :class:`~backtalk.learn.prompt.trace.CodeParameter`.

    Parameters
    ----------
    function : Callable, optional
        Function; its docstring describes it to the optimiser.
    trainable : bool, default False
        If true, return a :class:`~backtalk.learn.prompt.trace.CodeParameter` of its source.
    name : str, optional
        Name in the pseudo-program; default: that of the function.

    Examples
    --------
    >>> from backtalk.learn.prompt.trace import node
    >>> @traced
    ... def greet(greeting, name):
    ...     '''Greet somebody.'''
    ...     return f"{greeting}, {name}!"
    >>> greeting = node("Hello", "greeting", trainable=True)
    >>> greet(greeting, "Ada").value
    'Hello, Ada!'
    """
    if function is None:
        return functools.partial(_trace, trainable=trainable, name=name)
    return _trace(function, trainable=trainable, name=name)


def _trace(function: Function, *, trainable: bool, name: str) -> Function:
    if trainable:
        return CodeParameter(read_source(function))
    make_call = functools.partial(
        _Call,
        inspect.signature(function),
        name or getattr(function, "__name__", type(function).__name__).strip("<>"),
        (inspect.getdoc(function) or "").strip(),
    )
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    ):

        @functools.wraps(function)
        async def operator(*arguments: Any, **keywords: Any) -> Node:
            with make_call(arguments, keywords) as call:
                value = await function(*call.bound.args, **call.bound.kwargs)
            return call.result(value)
    else:

        @functools.wraps(function)
        def operator(*arguments: Any, **keywords: Any) -> Node:
            with make_call(arguments, keywords) as call:
                value = function(*call.bound.args, **call.bound.kwargs)
            return call.result(value)

    return operator


class _Call:
    """Call of a traced function, which records the nodes that it reads."""

    def __init__(
        self,
        signature: inspect.Signature,
        name: str,
        description: str,
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
    ) -> None:
        self._name = name
        self._description = description
        self.bound = signature.bind(*arguments, **keywords)
        self.bound.apply_defaults()
        self._arguments = as_nodes(
            {key: value for key, value in self.bound.arguments.items() if key != "self"}
        )
        for key, argument in self._arguments.items():
            # A function that changes a list in place must not change the parameter.
            value = argument.value
            self.bound.arguments[key] = copy.deepcopy(value) if argument.trainable else value
        self._recorder = Recorder()
        self._token: Token[Recorder | None] | None = None

    def __enter__(self) -> _Call:
        self._token = RECORDER.set(self._recorder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._token is not None
        RECORDER.reset(self._token)
        outer = RECORDER.get()
        if outer is not None:
            outer.reads.update({one.position: one for one in self._recorder.outside()})
        if isinstance(error, Exception) and not isinstance(error, BacktalkError):
            raise failure(
                error, name=self._name, description=self._description, inputs=self._inputs()
            ) from error

    def result(self, value: Any) -> Node:
        """Return the node of the result."""
        return Node(
            plain(value), name=self._name, description=self._description, inputs=self._inputs()
        )

    def _inputs(self) -> dict[str, Node]:
        """Return the arguments, and the other nodes that the function read."""
        inputs = dict(self._arguments)
        known = {one.position for one in inputs.values()}
        for one in self._recorder.outside():
            if one.position not in known:
                key = one.name if one.name not in inputs else f"{one.name}{len(inputs)}"
                inputs[key] = one
        return inputs


@traced
def join_text(*parts: Any, separator: str = "\n\n") -> str:
    """Join the parts to one text; empty ones are left out."""
    texts = (str(part) for part in parts)
    return separator.join(text for text in texts if text)


def model_operator(
    model: Model, *, name: str = "answer", sampling: Sampling | None = None
) -> Callable[..., Any]:
    """Return an async operator ``(instruction, request) -> answer`` of a model.

    Wrap the model by :meth:`backtalk.run.Run.wrap` first, so that its calls are cached and count in
    the budget.

    Parameters
    ----------
    model : Model
        Model.
    name : str, default "answer"
        Name of the result in the pseudo-program.
    sampling : Sampling, optional
        Sampling parameters.
    """

    async def answer(instruction: str, request: str) -> str:
        """Let a language model answer the request under the instruction."""
        system = (Message.system(instruction),) if instruction else ()
        (completion,) = await model.generate(
            [
                Request(
                    messages=(*system, Message.user(request)),
                    sampling=sampling or Sampling(max_tokens=500),
                )
            ]
        )
        return completion.text.strip()

    return traced(answer, name=name)
