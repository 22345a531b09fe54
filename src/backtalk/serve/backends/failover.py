"""Failover between upstreams: retries with backoff, and a circuit breaker for each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp

from backtalk.serve.backends.upstream import (
    TRANSPORT_ERRORS,
    Upstream,
    UpstreamRequest,
    UpstreamResponse,
)
from backtalk.serve.errors import APIError
from backtalk.serve.observability.metrics import Metrics
from backtalk.serve.settings import RetryPolicy, UpstreamSettings

if TYPE_CHECKING:
    from backtalk.serve.observability.tracing import Tracing

_GATEWAY_FAILURES = frozenset({502, 503, 504, 520, 521, 522, 523, 524, 529})
"""Status codes that mean that an upstream is down or overloaded. Those from 520 are Cloudflare's
and Anthropic's."""

RETRYABLE = frozenset({408, 425, 429, 500}) | _GATEWAY_FAILURES
"""Status codes of transient failures."""

NOT_PROCESSED = frozenset({425, 429, 503})
"""Status codes of requests that were not processed, so that any request may be retried."""

_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Exceptions of requests that were never sent, so that any request may be retried."""


class Upstreams:
    """Upstream servers of the gateway and of its policies.

    Parameters
    ----------
    settings : sequence of UpstreamSettings
        Upstreams of the gateway, in the order in which they are tried.
    retry : RetryPolicy
        Timeouts, retries and circuit breaking.
    metrics : Metrics
        Counters of attempts.
    tracing : Tracing, optional
        Tracing, if it is switched on.
    """

    def __init__(
        self,
        settings: Sequence[UpstreamSettings],
        retry: RetryPolicy,
        metrics: Metrics,
        tracing: Tracing | None = None,
    ) -> None:
        self._retry = retry
        self._metrics = metrics
        self._tracing = tracing
        self._rng = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._upstreams: dict[UpstreamSettings, Upstream] = {}
        self.configured = [self.upstream_for(upstream) for upstream in settings]

    def upstream_for(self, settings: UpstreamSettings) -> Upstream:
        """Return the upstream with these settings; all its users share one circuit breaker."""
        if settings not in self._upstreams:
            self._upstreams[settings] = Upstream(settings, self._retry)
        return self._upstreams[settings]

    async def send(
        self, request: UpstreamRequest, upstreams: Sequence[Upstream] | None = None
    ) -> UpstreamResponse:
        """Send a request to the first upstream that responds, with retries.

        Parameters
        ----------
        request : UpstreamRequest
            Request.
        upstreams : sequence of Upstream, optional
            Upstreams to try in order. Default: those of the gateway.

        Returns
        -------
        UpstreamResponse
            Response whose headers have arrived; from then on nothing is retried. An error response
            is returned if no upstream gave a better one. Upstreams whose circuit breaker is open
            are tried if no other one responds, once each.

        Raises
        ------
        APIError
            If no upstream responds.
        """
        upstreams = self.configured if upstreams is None else upstreams
        if not upstreams:
            raise APIError(
                404,
                "This gateway has no upstream: only policies such as backtalk:PROJECT answer, and "
                "GET /v1/models lists them. Start it with --upstream URL to forward other requests",
                code="model_not_found",
                param="model",
            )
        first_error: APIError | None = None
        last: UpstreamResponse | None = None
        for upstream, attempts in self._candidates(upstreams):
            if attempts == 0 and last is not None:
                break
            try:
                response = await self._send_and_record(upstream, request, max(attempts, 1))
            except APIError as error:
                first_error = first_error or error
                continue
            if last is not None:
                last.release()
            if response.status not in RETRYABLE:
                return response
            last = response
        if last is not None:
            return last
        assert first_error is not None
        raise first_error

    async def close(self) -> None:
        """Close all connections."""
        for upstream in self._upstreams.values():
            await upstream.close()

    def _candidates(self, upstreams: Sequence[Upstream]) -> Iterator[tuple[Upstream, int]]:
        """Yield upstreams with the number of attempts; 0 for those whose breaker is open, last."""
        rejecting = []
        for upstream in upstreams:
            if upstream.breaker.allow_request():
                yield upstream, self._retry.max_attempts
            else:
                rejecting.append(upstream)
        for upstream in rejecting:
            yield upstream, 0

    async def _send_and_record(
        self, upstream: Upstream, request: UpstreamRequest, max_attempts: int
    ) -> UpstreamResponse:
        """Send a request with retries, and record one outcome for the circuit breaker."""
        breaker = upstream.breaker
        record = breaker.record_cancellation
        try:
            response = await self._send_with_retries(upstream, request, max_attempts)
        except APIError:
            record = breaker.record_failure
            raise
        else:
            is_failure = response.status in _GATEWAY_FAILURES
            record = breaker.record_failure if is_failure else breaker.record_success
            return response
        finally:
            record()

    async def _send_with_retries(
        self, upstream: Upstream, request: UpstreamRequest, max_attempts: int
    ) -> UpstreamResponse:
        for retry in range(max_attempts):
            error: Exception | None = None
            response: UpstreamResponse | None = None
            try:
                response = UpstreamResponse(await self._attempt(upstream, request), upstream)
                delay = self._delay_after(response, request)
            except TRANSPORT_ERRORS as caught:
                error = caught
                may_resend = request.idempotent or isinstance(error, _NEVER_SENT)
                delay = 0.0 if may_resend else None
            is_last = retry == max_attempts - 1 or upstream.breaker.is_open
            if delay is not None and not is_last:
                await self._wait_for_retry(retry, delay, response)
                if not upstream.breaker.is_open:
                    if response is not None:
                        response.release()
                    continue
            break
        if response is not None:
            return response
        assert error is not None
        raise _transport_failed(upstream, error) from None

    def _delay_after(self, response: UpstreamResponse, request: UpstreamRequest) -> float | None:
        """Return the minimum seconds before a retry, ``None`` if there is none.

        ``x-should-retry`` decides if the upstream sends it, as for the ``openai`` client.
        """
        status = response.status
        should_retry = response.response.headers.get("x-should-retry") if status >= 400 else None
        if should_retry == "false":
            return None
        if should_retry != "true" and not (
            status in RETRYABLE and (request.idempotent or status in NOT_PROCESSED)
        ):
            return None
        delay = response.retry_delay
        if delay is None:
            return 0.0
        return delay if delay <= self._retry.max_backoff else None

    async def _wait_for_retry(
        self, retry: int, delay: float, response: UpstreamResponse | None
    ) -> None:
        backoff = min(self._retry.backoff * 2**retry, self._retry.max_backoff)
        try:
            await asyncio.sleep(max(backoff * self._rng.uniform(0.5, 1), delay))
        except asyncio.CancelledError:
            if response is not None:
                response.release()
            raise

    async def _attempt(
        self, upstream: Upstream, request: UpstreamRequest
    ) -> aiohttp.ClientResponse:
        outcome = "cancelled"
        try:
            response = await self._send_traced(upstream, request)
        except TRANSPORT_ERRORS as error:
            outcome = type(error).__name__
            raise
        else:
            outcome = str(response.status)
            return response
        finally:
            self._metrics.count_attempt(upstream.name, outcome)

    async def _send_traced(
        self, upstream: Upstream, request: UpstreamRequest
    ) -> aiohttp.ClientResponse:
        if self._tracing is None:
            return await upstream.send(request)
        url = upstream.name + request.path.partition("?")[0]
        with self._tracing.attempt(request.method, url, request.headers) as attempt:
            response = await upstream.send(replace(request, headers=attempt.headers))
            attempt.set_status_code(response.status)
            return response


def _transport_failed(upstream: Upstream, error: Exception) -> APIError:
    reason = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        return APIError(
            504, f"The upstream {upstream.name} did not respond in time: {reason}", code="timeout"
        )
    return APIError(
        502,
        f"The upstream {upstream.name} could not be reached: {reason}. Check that it runs",
        code="upstream_unreachable",
    )
