"""Counting of the tokens of a prompt, by upstreams that can, or by a completion of one token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from backtalk.feedback import Interaction
from backtalk.serve.backends.failover import RETRYABLE
from backtalk.serve.backends.policy_resolver import parse_model_name
from backtalk.serve.backends.upstream import Upstream, UpstreamRequest
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import CHAT, CompletionRequest
from backtalk.serve.gateway.disconnect import cancel_on_disconnect
from backtalk.serve.gateway.endpoints import complete
from backtalk.serve.gateway.proxy import read_body, relay
from backtalk.serve.gateway.translation.exchange import Exchange, with_translated_error
from backtalk.serve.gateway.translation.support import has_api, is_missing
from backtalk.serve.interaction_log import RequestRecord


async def count_prompt_tokens(exchange: Exchange, path: str) -> int | Response:
    """Return the number of tokens of a prompt, or the answer of an upstream that counts them.

    Where the upstream does not count, it is asked for a completion of one token, whose usage has
    the number. It is not logged.

    Parameters
    ----------
    exchange : Exchange
        Request with the prompt.
    path : str
        Path of the endpoint that counts, below ``/v1``.

    Raises
    ------
    APIError
        If the prompt cannot be translated, or its tokens cannot be counted.
    """
    request = exchange.request
    model_name = parse_model_name(exchange.original["model"], request.services.settings)
    if model_name is not None:
        resolved = await request.services.policies.resolve(model_name)
        if not resolved.policy.decoder.is_single_sample:
            raise APIError(
                400,
                f"{exchange.original['model']!r} draws several samples, so that the tokens of its "
                "prompt cannot be counted. Name a policy that draws one, or a model",
                code="unsupported_parameter",
                param="model",
            )
    else:
        response = await _count_by_upstreams(exchange, path)
        if response is not None:
            return with_translated_error(exchange, response) if _is_error(response) else response
    return await _count_by_completion(exchange)


async def _count_by_upstreams(exchange: Exchange, path: str) -> Response | None:
    """Return the answer of the first upstream that counts, ``None`` if none can."""
    request = replace(exchange.whole_request(), path=path)
    failure: Response | None = None
    for upstream in exchange.request.services.upstreams.configured:
        if has_api(upstream, exchange.api) is False:
            continue
        try:
            response = await _send(exchange, request, upstream)
        except APIError as error:
            if error.status < 500:
                raise
            response = error.response()
        if is_missing(response):
            continue
        if response.status_code not in RETRYABLE:
            return response
        failure = failure or response
    return failure


async def _send(exchange: Exchange, request: UpstreamRequest, upstream: Upstream) -> Response:
    """Return the answer of an upstream, with its body."""
    with cancel_on_disconnect(exchange.request.request):
        answer = await exchange.request.services.upstreams.send(request, [upstream])
        if answer.status >= 400 or not answer.is_readable:
            return await relay(answer)
        return Response(await read_body(answer), answer.status, headers=answer.headers)


async def _count_by_completion(exchange: Exchange) -> int | Response:
    limits = {"max_completion_tokens", "stream", "stream_options"}
    request = exchange.as_chat(max_tokens=1)
    body = {name: value for name, value in request.body.items() if name not in limits}
    response = await complete(_unlogged(request, body))
    if _is_error(response):
        return with_translated_error(exchange, response)
    try:
        count = json.loads(bytes(response.body))["usage"]["prompt_tokens"]
    except (ValueError, KeyError, TypeError):
        count = None
    if not isinstance(count, int):
        raise APIError(
            502,
            "The upstream reports no number of tokens. Count them with the tokenizer of the model",
            code="upstream_failed",
        )
    return count


def _unlogged(request: CompletionRequest, body: Mapping[str, Any]) -> CompletionRequest:
    """Return a request for a completion that is not logged."""
    return replace(
        request,
        kind=replace(CHAT, make_interactions=_no_interactions),
        record=replace(request.record, body=body),
        raw_body=json.dumps(body).encode(),
    )


def _no_interactions(record: RequestRecord, completion: Mapping[str, Any]) -> list[Interaction]:
    del record, completion
    return []


def _is_error(response: Response) -> bool:
    return response.status_code >= 400
