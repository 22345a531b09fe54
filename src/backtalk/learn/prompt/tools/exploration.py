"""DRAFT: a tool's documentation is rewritten by trial and error until it hardly changes.

Qu et al. (2024), "From exploration to mastery: enabling LLMs to master tools via self-driven
interactions", section 2: an explorer tries the tool with requests that differ from earlier ones,
an analyser says what the results show about the documentation, and a rewriter applies that and
says what to explore next.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log
from typing import Any

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt, prompt_text
from backtalk.learn.prompt.meta_prompts import shorten, user_request
from backtalk.learn.prompt.tools.calls import (
    ToolCall,
    ToolDefinition,
    ToolTrial,
    calls_text,
    definition_name,
    definition_text,
)
from backtalk.learn.prompt.tools.executors import Executor

MAX_SIMILARITY = 0.9
"""Similarity to an earlier request from which a request explores nothing new."""
STOP_SIMILARITY = 0.75
"""Similarity of two versions of the documentation from which it is finished."""
_MAX_ATTEMPTS = 3
"""Number of requests that the explorer may write for one trial."""
_MAX_HISTORY = 5

Ask = Callable[[Prompt, int], Awaitable[str]]
"""Function from a request and a seed to the reply of the model that explores and writes."""


@dataclass
class Documentation:
    """Result of the exploration of a tool."""

    versions: list[str]
    """Descriptions, the first as it was."""
    trials: list[ToolTrial] = field(default_factory=list)
    """Trials in their order."""
    stopped: str = ""
    """Reason why the exploration ended."""

    @property
    def text(self) -> str:
        """Last version."""
        return self.versions[-1]


async def write_documentation(
    definition: ToolDefinition,
    ask: Ask,
    *,
    execute: Executor | None = None,
    recorded: Sequence[ToolTrial] = (),
    rounds: int = 5,
    max_similarity: float = MAX_SIMILARITY,
    stop_similarity: float = STOP_SIMILARITY,
    embedder: EmbedderName = "hashed",
) -> Documentation:
    """Return the documentation of a tool after trial and error.

    Recorded trials come first, failures before successes. Further ones are made with an executor.

    Parameters
    ----------
    definition : ToolDefinition
        Definition of the tool.
    ask : Ask
        Model that explores, analyses and rewrites.
    execute : Executor, optional
        Function that runs a call; without one, only recorded trials are read.
    recorded : sequence of ToolTrial, default ()
        Trials of the tool that cost nothing.
    rounds : int, default 5
        Maximum number of trials that are read.
    max_similarity : float, default 0.9
        Cosine similarity to an earlier request, up to 1, from which a request is not tried.
    stop_similarity : float, default 0.75
        Similarity of two versions, in [0, 1], from which no further trial is made; see
        :func:`version_similarity`.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and versions.
    """
    result = Documentation([definition_text(definition)])
    waiting = sorted(recorded, key=lambda trial: not trial.failed)
    trials = _Trials(definition, ask, execute, result, waiting, max_similarity, embedder)
    direction = ""
    for number in range(rounds):
        trial = await trials.next(direction, number)
        if trial is None:
            result.stopped = "no further trial differs from those before"
            return result
        result.trials.append(trial)
        critique = await ask(_analysis_request(definition, result, trial), number)
        reply = await ask(_rewriting_request(definition, result, critique), number)
        text, direction = parse_rewriting(reply)
        if not text:
            continue
        similarity = await version_similarity(result.text, text, embedder)
        result.versions.append(text)
        if similarity > stop_similarity:
            result.stopped = "the documentation hardly changes any more"
            return result
    result.stopped = f"{rounds} trials"
    return result


async def version_similarity(first: str, second: str, embedder: EmbedderName = "hashed") -> float:
    """Return the mean of the cosine similarity and the BLEU score of two versions.

    Qu et al. (2024), section 2.4.

    Parameters
    ----------
    first, second : str
        Versions, the older one first.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the versions.
    """
    return (await _similarity(second, [first], embedder) + bleu(second, first)) / 2


def bleu(candidate: str, reference: str) -> float:
    """Return the BLEU score of a text, in [0, 1], with n-grams of up to four words.

    Papineni et al. (2002), "BLEU: a method for automatic evaluation of machine translation". Longer
    n-grams without a match count as half a match, as in NIST's ``mteval``, where halves accumulate.
    """
    words, others = candidate.split(), reference.split()
    if not words or not others:
        return float(words == others)
    logs, smooth = [], 1.0
    for size in range(1, min(4, len(words), len(others)) + 1):
        own, other = _ngrams(words, size), _ngrams(others, size)
        matches = (own & other).total()
        if not matches:
            smooth /= 2
        logs.append(log((matches or smooth) / own.total()))
    brevity = min(0.0, 1 - len(others) / len(words))
    return exp(brevity + sum(logs) / len(logs))


def parse_rewriting(reply: str) -> tuple[str, str]:
    """Return the documentation in a reply and the direction of the next trial.

    >>> parse_rewriting("<documentation>Finds a day.</documentation> <next>Try Sunday.</next>")
    ('Finds a day.', 'Try Sunday.')
    """
    text, direction = _tagged(reply, "documentation"), _tagged(reply, "next")
    return text, direction


def parse_exploration(reply: str) -> tuple[str, dict[str, Any]] | None:
    """Return the request and the arguments in a reply of the explorer; ``None`` without JSON."""
    match = re.search(r"\{.*\}", reply, re.DOTALL)
    try:
        data = json.loads(match[0]) if match else None
    except ValueError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("arguments"), dict):
        return None
    return str(data.get("request") or ""), data["arguments"]


def _tagged(reply: str, tag: str) -> str:
    match = re.search(rf"<{tag}>(.*?)(?:</{tag}>|\Z)", reply, re.DOTALL)
    return match[1].strip() if match else ""


def _ngrams(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))


@dataclass
class _Trials:
    """Trials of a tool that differ from one another, recorded ones first."""

    definition: ToolDefinition
    ask: Ask
    execute: Executor | None
    result: Documentation
    waiting: list[ToolTrial]
    max_similarity: float
    embedder: EmbedderName

    async def next(self, direction: str, number: int) -> ToolTrial | None:
        """Return the next trial; ``None`` if there is none that differs from those before."""
        while self.waiting:
            trial = self.waiting.pop(0)
            if await self._is_new(trial):
                return trial
        return await self._explore(direction, number)

    async def _is_new(self, trial: ToolTrial) -> bool:
        known = [_trial_text(other) for other in self.result.trials]
        return await _similarity(_trial_text(trial), known, self.embedder) < self.max_similarity

    async def _explore(self, direction: str, number: int) -> ToolTrial | None:
        """Let the model write a request, reflecting on rejected ones, and run its call."""
        rejected = ""
        for attempt in range(_MAX_ATTEMPTS if self.execute is not None else 0):
            request = _exploration_request(self.definition, self.result, direction, rejected)
            parsed = parse_exploration(await self.ask(request, 10 * number + attempt))
            if parsed is None:
                rejected = "the reply was no JSON object with `request` and `arguments`"
                continue
            text, arguments = parsed
            call = ToolCall(definition_name(self.definition) or "", arguments)
            request_messages = (Message.user(text),) if text else None
            if not await self._is_new(ToolTrial(call, "", failed=False, request=request_messages)):
                rejected = f"the request {text!r} is too similar to an earlier one"
                continue
            assert self.execute is not None
            return replace(await self.execute(call), request=request_messages)
        return None


async def _similarity(text: str, others: Sequence[str], embedder: EmbedderName) -> float:
    """Return the highest cosine similarity of a text to others; 0 without any."""
    if not others:
        return 0.0
    from backtalk.embedders.registry import get_embedder  # noqa: PLC0415 - slow to import

    texts = [text, *others]
    vectors = await get_embedder(embedder, texts).embed(texts)
    return float((vectors[1:] @ vectors[0]).max())


def _trial_text(trial: ToolTrial) -> str:
    """Return the request of a trial, or else its call, by which trials are compared."""
    call = calls_text([trial.call])
    return call if trial.request is None else f"{prompt_text(trial.request[-1:])}\n{call}"


def _quote_trial(trial: ToolTrial) -> str:
    request = "" if trial.request is None else f"Request: {shorten(prompt_text(trial.request))}\n"
    verdict = "failed" if trial.failed else "result"
    return f"{request}Call: {calls_text([trial.call])}\n{verdict}: {shorten(trial.result)}"


def _quote_tool(definition: ToolDefinition, description: str) -> str:
    function = dict(definition.get("function") or {})
    return "Tool:\n" + json.dumps({**function, "description": description}, ensure_ascii=False)


def _exploration_request(
    definition: ToolDefinition, result: Documentation, direction: str, rejected: str
) -> Prompt:
    return user_request(
        _quote_tool(definition, result.text),
        *(_quote_trial(trial) for trial in result.trials[-_MAX_HISTORY:]),
        f"Explore next: {direction}" if direction else "",
        f"Try something else: {rejected}." if rejected else "",
        "Write a request of a user that needs this tool and differs from those above, with the "
        'arguments of the call. Reply with JSON: {"request": "...", "arguments": {...}}',
    )


def _analysis_request(
    definition: ToolDefinition, result: Documentation, trial: ToolTrial
) -> Prompt:
    return user_request(
        _quote_tool(definition, result.text),
        _quote_trial(trial),
        "Compare the documentation with this trial. Say in one or two sentences what the "
        "documentation lacks or gets wrong.",
    )


def _rewriting_request(definition: ToolDefinition, result: Documentation, critique: str) -> Prompt:
    return user_request(
        _quote_tool(definition, result.text),
        *(_quote_trial(trial) for trial in result.trials[-_MAX_HISTORY:]),
        f"Critique: {critique}",
        "Rewrite the description so that it agrees with the trials. Write it between "
        "<documentation> and </documentation>, then what to try next between <next> and </next>.",
    )
