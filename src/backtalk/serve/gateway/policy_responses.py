"""Completions of policies whose decoders need more than one sample from an endpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import JSONResponse, Response, StreamingResponse

from backtalk.decode import DecoderOutput
from backtalk.errors import BacktalkError, RecordError
from backtalk.experiments.interleaving import team_draft
from backtalk.feedback import Prompt
from backtalk.formats.chat import as_messages
from backtalk.models import LocalSpec, Usage
from backtalk.models.text_stream import TextStream
from backtalk.policy import Policy
from backtalk.serve.backends.policy_requests import refused_logprobs
from backtalk.serve.backends.policy_resolver import ResolvedPolicy
from backtalk.serve.errors import APIError, api_error_for
from backtalk.serve.gateway.completion_request import CHAT, CompletionRequest, EndpointKind
from backtalk.serve.gateway.policy_prompts import recall, request_prompts, select_prompts
from backtalk.serve.gateway.policy_streams import PolicyStream, PolicyStreamingResponse
from backtalk.serve.gateway.sse import DONE, iterate
from backtalk.serve.interaction_log import sanitise_json

_MAX_SAMPLES = 128


async def respond(request: CompletionRequest, resolved: ResolvedPolicy) -> Response:
    """Respond by a policy, and log the completion with all candidates.

    Raises
    ------
    APIError
        If the policy fails.
    """
    started = time.monotonic()
    samples = sample_count(request.body)
    outputs: list[DecoderOutput] = []
    _refuse_logprobs(request, resolved)
    prompts = _prompts(request)
    remembered = await recall(request, resolved.policy)
    composed = await select_prompts(request, resolved)
    if request.is_streaming and resolved.can_stream and len(prompts) == 1:
        return await _stream(
            request, resolved, prompts[0], remembered=remembered[0], composed=composed[0]
        )
    for prompt, texts, policy in zip(prompts, remembered, composed, strict=True):
        outputs += await _decode(
            request, resolved, prompt, samples=samples, remembered=texts, composed=policy
        )
    return _log_and_respond(request, outputs, samples, started)


async def _stream(
    request: CompletionRequest,
    resolved: ResolvedPolicy,
    prompt: Prompt,
    *,
    remembered: Sequence[str],
    composed: Policy,
) -> Response:
    """Respond with the samples of one prompt, sent while they are generated."""
    samples = sample_count(request.body)

    async def decode(streams: Sequence[TextStream]) -> list[DecoderOutput]:
        return await _decode(
            request,
            resolved,
            prompt,
            samples=samples,
            remembered=remembered,
            composed=composed,
            streams=streams,
        )

    def log_outputs(outputs: Sequence[DecoderOutput]) -> dict[str, Any]:
        return _log(request, outputs, samples)

    stream = PolicyStream(request, samples=samples, decode=decode, log=log_outputs)
    await stream.start()
    return PolicyStreamingResponse(stream, headers=request.response_headers())


async def respond_interleaved(
    request: CompletionRequest, arms: tuple[ResolvedPolicy, ...]
) -> Response:
    """Respond to a chat by two policies, with their samples interleaved by team draft.

    Raises
    ------
    APIError
        If a policy fails.
    """
    started = time.monotonic()
    samples = sample_count(request.body)
    teams = team_draft(samples)
    (prompt,) = _prompts(request)

    async def decode(team: int, arm: ResolvedPolicy) -> list[DecoderOutput]:
        (texts,) = await recall(request, arm.policy)
        (policy,) = await select_prompts(request, arm)
        return await _decode(
            request, arm, prompt, samples=teams.count(team), remembered=texts, composed=policy
        )

    outputs_by_team = await asyncio.gather(*(decode(team, arm) for team, arm in enumerate(arms)))
    remaining = [iter(outputs) for outputs in outputs_by_team]
    outputs = [next(remaining[team]) for team in teams]
    hidden_teams = [
        team for team, output in zip(teams, outputs, strict=True) for _ in output.candidates[1:]
    ]
    policies = {str(i): arms[team].policy.id for i, team in enumerate((*teams, *hidden_teams))}
    request = replace(request, record=replace(request.record, policies=policies))
    return _log_and_respond(request, outputs, samples, started)


async def _decode(
    request: CompletionRequest,
    resolved: ResolvedPolicy,
    prompt: Prompt,
    *,
    samples: int,
    remembered: Sequence[str],
    composed: Policy,
    streams: Sequence[TextStream] = (),
) -> list[DecoderOutput]:
    policies = request.services.policies
    if not streams and resolved.can_stream:
        streams = [TextStream(is_read=False) for _ in range(samples)]
    try:
        return await policies.decode(
            resolved,
            prompt,
            body=sanitise_json(request.body),
            samples=samples,
            remembered=remembered,
            composed=composed,
            streams=streams,
        )
    except BacktalkError as error:
        raise api_error_for(error) from None
    except asyncio.CancelledError:  # the caller has disconnected
        for stream in streams:
            stream.cancel()
        raise


def _log_and_respond(
    request: CompletionRequest, outputs: Sequence[DecoderOutput], samples: int, started: float
) -> Response:
    request.note(seconds=round(time.monotonic() - started, 6))
    completion = _log(request, outputs, samples)
    headers = request.response_headers()
    if request.is_streaming:
        events = _events(request, completion)
        return StreamingResponse(iterate(events), media_type="text/event-stream", headers=headers)
    return JSONResponse(completion, headers=headers)


def _log(
    request: CompletionRequest, outputs: Sequence[DecoderOutput], samples: int
) -> dict[str, Any]:
    """Log samples as a completion with all candidates, and return it as it is sent."""
    completion = _to_openai(request, outputs)
    request.log_completion(_with_candidates(request.kind, completion, outputs, samples))
    return completion


def _prompts(request: CompletionRequest) -> list[Prompt]:
    try:
        if request.kind is CHAT:
            as_messages(request.body.get("messages"), "messages")
    except (RecordError, ValidationError) as error:
        raise APIError(400, str(error), param="messages") from None
    return request_prompts(request)


def _refuse_logprobs(request: CompletionRequest, resolved: ResolvedPolicy) -> None:
    """Raise an error if a model on this machine is to answer with log-probabilities of tokens."""
    if not isinstance(resolved.policy.model, LocalSpec):
        return
    if (name := refused_logprobs(request.body)) is not None:
        raise APIError(
            400,
            f"A model on this machine does not answer with {name}; leave it out. The interaction "
            "is stored with the log-probability of the whole answer",
            code="unsupported_parameter",
            param=name,
        )


def sample_count(body: Mapping[str, Any]) -> int:
    """Return the number of samples (``n``) of a request.

    Raises
    ------
    APIError
        If ``n`` is invalid.
    """
    samples = body.get("n")
    if samples is None:
        return 1
    if type(samples) is not int or not 1 <= samples <= _MAX_SAMPLES:
        raise APIError(400, f"n must be an integer from 1 to {_MAX_SAMPLES}", param="n")
    return samples


def _to_openai(request: CompletionRequest, outputs: Sequence[DecoderOutput]) -> dict[str, Any]:
    usage = sum((output.usage for output in outputs), Usage())
    return {
        "id": request.record.id,
        "object": request.kind.object,
        "created": int(time.time()),
        "model": request.body["model"],
        "choices": [
            _choice(request.kind, i, output, output.chosen) for i, output in enumerate(outputs)
        ],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.tokens,
        },
    }


def _choice(
    kind: EndpointKind, index: int, output: DecoderOutput, candidate_index: int
) -> dict[str, Any]:
    candidate = output.candidates[candidate_index]
    content: dict[str, Any] = {"text": candidate.text}
    if kind is CHAT:
        message: dict[str, Any] = {"role": "assistant", "content": candidate.text, "refusal": None}
        if candidate.message is not None and candidate.message.tool_calls:
            message["content"] = candidate.text or None
            message["tool_calls"] = list(candidate.message.tool_calls)
        if candidate.reasoning:
            message["reasoning_content"] = candidate.reasoning
        content = {"message": message}
    return {"index": index, **content, "finish_reason": candidate.finish_reason, "logprobs": None}


def _with_candidates(
    kind: EndpointKind,
    completion: Mapping[str, Any],
    outputs: Sequence[DecoderOutput],
    samples: int,
) -> dict[str, Any]:
    """Return a completion for the log: with scores, and the candidates that were not chosen.

    If the request has several prompts, these candidates are omitted, because choices are assigned
    to prompts by their index.
    """
    choices = [
        {**choice, **_logged_fields(output, output.chosen)}
        for choice, output in zip(completion["choices"], outputs, strict=True)
    ]
    if len(outputs) == samples:
        for output in outputs:
            for index in range(len(output.candidates)):
                if index != output.chosen:
                    choice = _choice(kind, len(choices), output, index)
                    choices.append({**choice, **_logged_fields(output, index), "hidden": True})
    models = {output.answer.model for output in outputs}
    model = models.pop() if len(models) == 1 else None
    return {**completion, "model": model, "choices": choices}


def _logged_fields(output: DecoderOutput, candidate_index: int) -> dict[str, Any]:
    """Return the fields of a choice that are logged and not sent."""
    fields: dict[str, Any] = {}
    if output.scores is not None:
        fields["score"] = float(output.scores[candidate_index])
    log_probability = output.candidates[candidate_index].log_probability
    if log_probability is not None:
        fields["log_probability"] = log_probability
    if output.rewritten_request is not None:
        fields["rewritten_request"] = output.rewritten_request
    return fields


def _events(request: CompletionRequest, completion: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield a completion as server-sent events."""
    base = {
        "id": completion["id"],
        "object": "chat.completion.chunk" if request.kind is CHAT else completion["object"],
        "created": completion["created"],
        "model": completion["model"],
    }
    for choice in completion["choices"]:
        content, end = _choice_deltas(choice)
        index = {"index": choice["index"]}
        yield _event({**base, "choices": [{**index, **content, "finish_reason": None}]})
        last = {**index, **end, "finish_reason": choice["finish_reason"]}
        yield _event({**base, "choices": [last]})
    options = request.body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield _event({**base, "choices": [], "usage": completion["usage"]})
    yield DONE


def _choice_deltas(choice: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content of a choice as a delta, and the empty delta of the last event."""
    if "message" not in choice:
        return {"text": choice["text"]}, {"text": ""}
    delta = {name: value for name, value in choice["message"].items() if name != "refusal"}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
    return {"delta": delta}, {"delta": {}}


def _event(value: Any) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"
