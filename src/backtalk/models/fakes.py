"""Fake models for tests: scripted answers, or answers of a function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence

from backtalk.feedback.record import content_id
from backtalk.models.batching import generate_sequentially
from backtalk.models.errors import ModelError
from backtalk.models.protocol import Completion, Request, Usage

ScriptedAnswer = str | Completion
"""Text, or a complete completion that is returned unchanged."""

_WORD = re.compile(r"\S+")


class ScriptedModel:
    """Return the answers of a list in order, whatever the requests. A token is a word.

    Parameters
    ----------
    answers : Sequence[ScriptedAnswer | ModelError]
        Texts, completions, or errors to raise.
    name : str, default "scripted"
        Name of the model.

    Examples
    --------
    >>> from backtalk.feedback import as_prompt
    >>> from backtalk.models.run_sync import run_sync
    >>> model = ScriptedModel(["Yes.", "No."])
    >>> question = Request(messages=as_prompt("Are you open?"))
    >>> [completion.text for completion in run_sync(model.generate([question, question]))]
    ['Yes.', 'No.']
    """

    def __init__(
        self, answers: Sequence[ScriptedAnswer | ModelError], *, name: str = "scripted"
    ) -> None:
        self.answers = tuple(answers)
        self.name = name
        self.requests: list[Request] = []
        """Requests answered so far."""

    @property
    def identity(self) -> str:
        """Name and content hash of the script."""
        return f"{self.name} {content_id(*map(repr, self.answers))}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return the next answers.

        Raises
        ------
        ModelError
            If the script has no further answer.
        """
        return await generate_sequentially(requests, self._next)

    async def _next(self, request: Request) -> Completion:
        index = len(self.requests)
        if index >= len(self.answers):
            raise ModelError(
                f"The script of {self.name!r} has only {index} answers, and there is "
                "another request",
                "Add answers to the script, or use FunctionModel",
            )
        self.requests.append(request)
        answer = self.answers[index]
        if isinstance(answer, ModelError):
            raise answer
        return _to_completion(request, answer, self.name)

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request."""
        return _bound(request)


class FunctionModel:
    """Return the answers of a function. A token is a word.

    Parameters
    ----------
    function : Callable[[Request], ScriptedAnswer | Awaitable[ScriptedAnswer]]
        Returns a text or a completion for a request; may be asynchronous.
    name : str
        Name of the model. Functions that answer differently need different names, as caches
        identify a model by its name.

    Examples
    --------
    >>> from backtalk.feedback import as_prompt
    >>> from backtalk.models.run_sync import run_sync
    >>> shout = FunctionModel(lambda request: request.messages[-1].text.upper(), name="shout")
    >>> run_sync(shout.generate([Request(messages=as_prompt("hey"))]))[0].text
    'HEY'
    """

    def __init__(
        self,
        function: Callable[[Request], ScriptedAnswer | Awaitable[ScriptedAnswer]],
        *,
        name: str,
    ) -> None:
        self._function = function
        self.name = name

    @property
    def identity(self) -> str:
        """Name of the model."""
        return f"function {self.name}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return the answers of the function."""
        return await generate_sequentially(requests, self._answer)

    async def _answer(self, request: Request) -> Completion:
        answer = self._function(request)
        if inspect.isawaitable(answer):
            answer = await answer
        return _to_completion(request, answer, self.name)

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request."""
        return _bound(request)


def _to_completion(request: Request, answer: ScriptedAnswer, name: str) -> Completion:
    if isinstance(answer, Completion):
        return answer
    words = list(_WORD.finditer(answer))
    limit = request.sampling.local_max_tokens
    complete = len(words) <= limit
    return Completion(
        text=answer if complete else answer[: words[limit - 1].end()],
        finish_reason="stop" if complete else "length",
        usage=Usage(1, _prompt_words(request), min(len(words), limit)),
        model=name,
    )


def _bound(request: Request) -> Usage:
    return Usage(1, _prompt_words(request), request.sampling.local_max_tokens)


def _prompt_words(request: Request) -> int:
    return sum(len(_WORD.findall(message.text)) for message in request.messages)
