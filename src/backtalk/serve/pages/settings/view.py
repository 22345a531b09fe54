"""What a gateway runs with and how it is, in rows of words; no secret is among them."""

from __future__ import annotations

import os
from pathlib import Path

from backtalk.serve.services import Services
from backtalk.serve.settings import Settings, UpstreamSettings
from backtalk.store.engine import database_url

Rows = list[tuple[str, str]]


def runs_with(settings: Settings) -> Rows:
    """Return how a gateway is set up."""
    limits, retry = settings.limits, settings.retry
    rate = "no limit" if limits.rate is None else f"{limits.rate:g} a second and key"
    traced = {"none": "nothing", "spans": "requests without their texts", "content": "all of them"}
    asked = {"always": "always", "if-any": "once there is one", "never": "never"}
    return [
        ("store", database_url(settings.store).render_as_string(hide_password=True)),
        ("project where none is named", settings.project),
        *((f"upstream {i}", _upstream(own)) for i, own in enumerate(settings.upstreams, 1)),
        ("a key is asked for", asked[settings.keys]),
        ("pages that may send feedback", ", ".join(settings.origins) or "none"),
        ("blackened before it is stored", ", ".join(settings.redact) or "nothing"),
        ("traced", traced[settings.traces]),
        ("requests", f"{rate}, {limits.burst:,} at once"),
        ("largest body", f"{limits.body_bytes:,} bytes"),
        ("feedback in one request", f"{limits.feedback_rows:,}"),
        (
            "an upstream is given",
            (
                f"{retry.connect_timeout:g} s to connect, {retry.read_timeout:g} s without a byte, "
                f"{retry.max_attempts} tries; after {retry.failure_threshold} failures it rests for "
                f"{retry.open_seconds:g} s"
            ),
        ),
        ("most that is kept on disk", f"{settings.max_log_bytes:,} bytes"),
        ("state", str(settings.state_folder)),
    ]


def _upstream(upstream: UpstreamSettings) -> str:
    text = upstream.base_url
    if upstream.model is not None:
        text += f", as {upstream.model}"
    if upstream.api_key_env is not None:
        there = "set" if os.environ.get(upstream.api_key_env) else "not set"
        text += f", key in {upstream.api_key_env} ({there})"
    return text


def state_of(services: Services) -> Rows:
    """Return how the gateway's store, spool and upstreams are."""
    resting = [server.name for server in services.upstreams.configured if server.breaker.is_open]
    rows = [
        ("store", "away" if services.writer.store_unavailable else "there"),
        ("waiting on disk for the store", f"{services.writer.log.backlog:,} bytes"),
        ("set aside because no store takes it", _lines(services.writer.dead_letters.path)),
        ("upstreams that rest", ", ".join(resting) or "none"),
    ]
    url = database_url(services.settings.store)
    file = Path(url.database or "")
    if url.get_backend_name() == "sqlite" and file.is_file():
        rows.append(("size of the store", f"{file.stat().st_size / 1e6:,.1f} MB"))
    return rows


def _lines(file: Path) -> str:
    if not file.exists():
        return "nothing"
    with file.open("rb") as opened:
        return f"{sum(1 for _ in opened):,} records, in {file}"
