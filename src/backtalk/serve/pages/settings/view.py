"""Configuration and state of a gateway as table rows, without secrets."""

from __future__ import annotations

import os
from pathlib import Path

from backtalk.serve.services import Services
from backtalk.serve.settings import Settings, UpstreamSettings
from backtalk.store.engine import database_url

TableRows = list[tuple[str, str]]


def describe_settings(settings: Settings) -> TableRows:
    """Return the configuration of a gateway."""
    limits, retry = settings.limits, settings.retry
    rate = "no limit" if limits.rate is None else f"{limits.rate:g} per second and key"
    traces = {"none": "none", "spans": "requests without texts", "content": "requests with texts"}
    keys = {"always": "always", "if-any": "once a key exists", "never": "never"}
    return [
        ("store", database_url(settings.store).render_as_string(hide_password=True)),
        ("default project", settings.project),
        *(
            (f"upstream {i}", _upstream(upstream))
            for i, upstream in enumerate(settings.upstreams, 1)
        ),
        ("API key required", keys[settings.keys]),
        ("allowed origins of feedback", ", ".join(settings.origins) or "none"),
        ("redacted before storing", ", ".join(settings.redact) or "nothing"),
        ("traces", traces[settings.traces]),
        ("time limit of a memory", f"{settings.memory_timeout:g} s"),
        ("rate limit", f"{rate}, burst of {limits.burst:,}"),
        ("maximum body size", f"{limits.max_body_bytes('/v1/chat/completions'):,} bytes"),
        ("maximum feedback items per request", f"{limits.feedback_rows:,}"),
        (
            "upstream retry policy",
            (
                f"connect timeout {retry.connect_timeout:g} s, "
                f"read timeout {retry.read_timeout:g} s, "
                f"{retry.max_attempts} attempts; after {retry.failure_threshold} failures the "
                f"circuit opens for {retry.open_seconds:g} s"
            ),
        ),
        ("maximum size of the write-ahead log", f"{settings.max_log_bytes:,} bytes"),
        ("state folder", str(settings.state_folder)),
    ]


def _upstream(upstream: UpstreamSettings) -> str:
    text = upstream.base_url
    if upstream.model is not None:
        text += f", as {upstream.model}"
    if upstream.api_key_env is not None:
        state = "set" if os.environ.get(upstream.api_key_env) else "not set"
        text += f", key in {upstream.api_key_env} ({state})"
    return text


def describe_state(services: Services) -> TableRows:
    """Return the state of the store, the write-ahead log and the upstreams."""
    open_circuits = [
        server.name for server in services.upstreams.configured if server.breaker.is_open
    ]
    rows = [
        ("store", "unavailable" if services.writer.store_unavailable else "available"),
        ("write-ahead log, not yet stored", f"{services.writer.log.backlog:,} bytes"),
        ("rejected records", _lines(services.writer.dead_letters.path)),
        ("upstreams with an open circuit", ", ".join(open_circuits) or "none"),
    ]
    url = database_url(services.settings.store)
    file = Path(url.database or "")
    if url.get_backend_name() == "sqlite" and file.is_file():
        rows.append(("size of the store", f"{file.stat().st_size / 1e6:,.1f} MB"))
    return rows


def _lines(file: Path) -> str:
    if not file.exists():
        return "none"
    with file.open("rb") as lines:
        return f"{sum(1 for _ in lines):,} records, in {file}"
