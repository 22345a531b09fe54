"""Models for tests: from a script, or from a function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence

from backtalk.feedback.record import content_id
from backtalk.models.batching import answer_one_by_one
from backtalk.models.errors import ModelError
from backtalk.models.protocol import Completion, Request, Usage

Answer = str | Completion
"""A text, or a completion that is given out as it is."""

_WORD = re.compile(r"\S+")


class ScriptedModel:
    """Give out the answers of a list in order, whatever the requests. A token is a word.

    Parameters
    ----------
    answers : Sequence[Answer | ModelError]
        Texts, whole completions, or errors to raise.
    name : str, default "scripted"
        What to call the model.

    Examples
    --------
    >>> from backtalk.feedback import as_prompt
    >>> from backtalk.models.run_sync import run_sync
    >>> model = ScriptedModel(["Yes.", "No."])
    >>> question = Request(messages=as_prompt("Is it open?"))
    >>> [completion.text for completion in run_sync(model.generate([question, question]))]
    ['Yes.', 'No.']
    """

    def __init__(self, answers: Sequence[Answer | ModelError], *, name: str = "scripted") -> None:
        self.answers = tuple(answers)
        self.name = name
        self.requests: list[Request] = []
        """What was asked so far."""

    @property
    def identity(self) -> str:
        """The script decides what it answers."""
        return f"{self.name} {content_id(*map(repr, self.answers))}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return the next answers.

        Raises
        ------
        ModelError
            When the script has come to its end.
        """
        return await answer_one_by_one(requests, self._next)

    async def _next(self, request: Request) -> Completion:
        place = len(self.requests)
        if place >= len(self.answers):
            raise ModelError(
                f"The script of {self.name!r} has only {place} answers, and another was asked for",
                "Give it more answers, or use FromFunction",
            )
        self.requests.append(request)
        answer = self.answers[place]
        if isinstance(answer, ModelError):
            raise answer
        return _completed(request, answer, self.name)

    def bound(self, request: Request) -> Usage:
        """Return the most that a request can use."""
        return _bound(request)


class FunctionModel:
    """Answer with what a function says. A token is a word.

    Parameters
    ----------
    function : Callable[[Request], Answer | Awaitable[Answer]]
        From a request to a text or a whole completion; it may be asynchronous.
    name : str
        What to call the model. Functions that answer differently need different names, as caches
        tell models apart by it.

    Examples
    --------
    >>> from backtalk.feedback import as_prompt
    >>> from backtalk.models.run_sync import run_sync
    >>> shout = FunctionModel(lambda request: request.messages[-1].text.upper(), name="shout")
    >>> run_sync(shout.generate([Request(messages=as_prompt("hey"))]))[0].text
    'HEY'
    """

    def __init__(
        self, function: Callable[[Request], Answer | Awaitable[Answer]], *, name: str
    ) -> None:
        self._function = function
        self.name = name

    @property
    def identity(self) -> str:
        """The function's name stands for it."""
        return f"function {self.name}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return what the function says to each request."""
        return await answer_one_by_one(requests, self._answer)

    async def _answer(self, request: Request) -> Completion:
        answer = self._function(request)
        if inspect.isawaitable(answer):
            answer = await answer
        return _completed(request, answer, self.name)

    def bound(self, request: Request) -> Usage:
        """Return the most that a request can use."""
        return _bound(request)


def _completed(request: Request, answer: Answer, name: str) -> Completion:
    if isinstance(answer, Completion):
        return answer
    words = list(_WORD.finditer(answer))
    limit = request.sampling.max_tokens
    within = len(words) <= limit
    return Completion(
        text=answer if within else answer[: words[limit - 1].end()],
        finish_reason="stop" if within else "length",
        usage=Usage(1, _prompt_words(request), min(len(words), limit)),
        model=name,
    )


def _bound(request: Request) -> Usage:
    return Usage(1, _prompt_words(request), request.sampling.max_tokens)


def _prompt_words(request: Request) -> int:
    return sum(len(_WORD.findall(message.text)) for message in request.messages)
