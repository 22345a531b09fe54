"""Answers of policies that do more than to draw one sample from an endpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import JSONResponse, Response, StreamingResponse

from backtalk.decode import Decoded
from backtalk.errors import BacktalkError, RecordError
from backtalk.experiments.interleaving import team_draft
from backtalk.feedback import Message, as_prompt
from backtalk.formats.chat import as_messages
from backtalk.models import Usage
from backtalk.serve.backends.policy_resolver import ResolvedPolicy
from backtalk.serve.errors import APIError, refusal_of
from backtalk.serve.gateway.completion_request import CHAT, TEXT, CompletionRequest, EndpointKind
from backtalk.serve.gateway.sse import DONE
from backtalk.serve.interaction_log import text_prompts

_MOST_SAMPLES = 128


async def respond(ask: CompletionRequest, found: ResolvedPolicy) -> Response:
    """Let a policy answer, and keep the answer with the candidates that it was chosen from.

    Raises
    ------
    Refused
        If the policy cannot answer.
    """
    started = time.monotonic()
    samples = samples_of(ask.asked)
    decoded: list[Decoded] = []
    for prompt in _prompts(ask):
        decoded += await _decode(ask, found, prompt, samples)
    return _answered(ask, decoded, samples, started)


async def respond_interleaved(ask: CompletionRequest, arms: tuple[ResolvedPolicy, ...]) -> Response:
    """Let two policies answer a chat, and mix their answers without saying which is whose.

    Raises
    ------
    Refused
        If one of them cannot answer.
    """
    started = time.monotonic()
    samples = samples_of(ask.asked)
    teams = team_draft(samples)
    (prompt,) = _prompts(ask)
    answers = await asyncio.gather(
        *(_decode(ask, result, prompt, teams.count(team)) for team, result in enumerate(arms))
    )
    left = [iter(own) for own in answers]
    decoded = [next(left[team]) for team in teams]
    lost = [t for t, item in zip(teams, decoded, strict=True) for _ in item.candidates[1:]]
    policies = {str(i): arms[team].policy.id for i, team in enumerate((*teams, *lost))}
    known = replace(ask, exchange=replace(ask.exchange, policies=policies))
    return _answered(known, decoded, samples, started)


async def _decode(
    ask: CompletionRequest, found: ResolvedPolicy, prompt: tuple[Message, ...], samples: int
) -> list[Decoded]:
    try:
        return await ask.services.policies.decode(found, prompt, asked=ask.asked, samples=samples)
    except BacktalkError as error:
        raise refusal_of(error) from None


def _answered(
    ask: CompletionRequest, decoded: Sequence[Decoded], samples: int, started: float
) -> Response:
    """Keep what was decoded, and write it as the answer."""
    ask.note(seconds=round(time.monotonic() - started, 6))
    written = _to_openai(ask, decoded)
    ask.keep(_with_candidates(ask.kind, written, decoded, samples))
    if ask.streams:
        events = _events(ask, written)
        return StreamingResponse(
            _each(events), media_type="text/event-stream", headers=ask.headers()
        )
    return JSONResponse(written, headers=ask.headers())


def _prompts(ask: CompletionRequest) -> list[tuple[Message, ...]]:
    if ask.kind is TEXT:
        return [as_prompt(text) for text in text_prompts(ask.asked.get("prompt"))]
    try:
        return [as_messages(ask.asked.get("messages"), "messages")]
    except (RecordError, ValidationError) as error:
        raise APIError(400, str(error), param="messages") from None


def samples_of(asked: Mapping[str, Any]) -> int:
    """Return how many answers a request asks for.

    Raises
    ------
    Refused
        If it is no such number.
    """
    samples = asked.get("n")
    if samples is None:
        return 1
    if type(samples) is not int or not 1 <= samples <= _MOST_SAMPLES:
        raise APIError(400, f"n is not a number from 1 to {_MOST_SAMPLES}", param="n")
    return samples


def _to_openai(ask: CompletionRequest, decoded: Sequence[Decoded]) -> dict[str, Any]:
    used = sum((item.usage for item in decoded), Usage())
    return {
        "id": ask.exchange.id,
        "object": ask.kind.object,
        "created": int(time.time()),
        "model": ask.asked["model"],
        "choices": [_choice(ask.kind, i, item, item.chosen) for i, item in enumerate(decoded)],
        "usage": {
            "prompt_tokens": used.prompt_tokens,
            "completion_tokens": used.completion_tokens,
            "total_tokens": used.tokens,
        },
    }


def _choice(kind: EndpointKind, index: int, decoded: Decoded, place: int) -> dict[str, Any]:
    candidate = decoded.candidates[place]
    said: dict[str, Any] = {"text": candidate.text}
    if kind is CHAT:
        message: dict[str, Any] = {"role": "assistant", "content": candidate.text, "refusal": None}
        if candidate.message is not None and candidate.message.tool_calls:
            message["content"] = candidate.text or None
            message["tool_calls"] = list(candidate.message.tool_calls)
        said = {"message": message}
    return {"index": index, **said, "finish_reason": candidate.finish_reason, "logprobs": None}


def _with_candidates(
    kind: EndpointKind, written: Mapping[str, Any], decoded: Sequence[Decoded], samples: int
) -> dict[str, Any]:
    """Return an answer as it is kept: with scores, and with the candidates that lost.

    Those of several prompts in one request are left out, as the choices are told apart by number.
    """
    choices = [
        {**choice, **_found_out(item, item.chosen)}
        for choice, item in zip(written["choices"], decoded, strict=True)
    ]
    if len(decoded) == samples:
        for item in decoded:
            for place in range(len(item.candidates)):
                if place != item.chosen:
                    lost = _choice(kind, len(choices), item, place)
                    choices.append({**lost, **_found_out(item, place), "hidden": True})
    models = {item.answer.model for item in decoded}
    model = models.pop() if len(models) == 1 else None
    return {**written, "model": model, "choices": choices}


def _found_out(decoded: Decoded, place: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    if decoded.scores is not None:
        results["score"] = float(decoded.scores[place])
    total = decoded.candidates[place].log_probability
    if total is not None:
        results["logprobs"] = {"content": [{"logprob": total}]}
    return results


def _events(ask: CompletionRequest, written: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield a whole answer as the events of a stream."""
    base = {
        "id": written["id"],
        "object": "chat.completion.chunk" if ask.kind is CHAT else written["object"],
        "created": written["created"],
        "model": written["model"],
    }
    for choice in written["choices"]:
        said, end = _pieces(choice)
        place = {"index": choice["index"]}
        yield _event({**base, "choices": [{**place, **said, "finish_reason": None}]})
        last = {**place, **end, "finish_reason": choice["finish_reason"]}
        yield _event({**base, "choices": [last]})
    options = ask.asked.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield _event({**base, "choices": [], "usage": written["usage"]})
    yield DONE


def _pieces(choice: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if "message" not in choice:
        return {"text": choice["text"]}, {"text": ""}
    delta = {name: value for name, value in choice["message"].items() if name != "refusal"}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
    return {"delta": delta}, {"delta": {}}


def _event(value: Any) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


async def _each(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event
