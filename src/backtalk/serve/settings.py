"""How a gateway is set up. No secret is among the settings: they name variables that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from backtalk.errors import BacktalkError
from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.models.endpoint.endpoint import plain_address
from backtalk.store.engine import database_url

Seconds = Annotated[float, Field(gt=0)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

WhenKeys = Literal["always", "if-any", "never"]


def _address(address: str) -> str:
    try:
        return plain_address(address)
    except BacktalkError as error:
        raise ValueError(str(error)) from None


Address = Annotated[str, AfterValidator(_address)]
"""The address of an OpenAI-compatible server, up to and with ``/v1``."""


class UpstreamSettings(Record):
    """A server that answers what the gateway is asked."""

    base_url: Address
    api_key_env: OptionalField[Variable] = None
    """The variable that holds its key. Without one, the caller's own key is passed on where the
    gateway itself asks for none."""
    model: OptionalField[Name] = None
    """What the model is called there, whatever the caller calls it."""


class Limits(Record):
    """What one caller may ask of the gateway."""

    rate: OptionalField[Annotated[float, Field(gt=0)]] = None
    """Requests a second and key, on average, in each worker process; no limit, if left out."""
    burst: Annotated[int, Field(gt=0)] = 50
    """Requests at once, of a key that has rested."""
    body_bytes: Annotated[int, Field(gt=0)] = 20_000_000
    """The largest body of a request."""
    feedback_rows: Annotated[int, Field(gt=0)] = 1_000
    """The most feedback in one request."""


class RetryPolicy(Record):
    """How long the gateway waits for an upstream, and how often it asks again."""

    connect: Seconds = 5.0
    """Seconds until a connection stands."""
    read: Seconds = 600.0
    """Seconds without a byte of the answer."""
    max_attempts: Annotated[int, Field(gt=0)] = 3
    """How often an upstream is asked before the next one is."""
    backoff: Seconds = 0.25
    """Seconds before the second try; doubled for each further one, less a random half."""
    longest_pause: Seconds = 8.0
    """The most seconds between two tries. An upstream that asks for more is not asked again."""
    failures: Annotated[int, Field(gt=0)] = 5
    """After so many failures in a row an upstream is left alone."""
    open_seconds: Seconds = 10.0
    """For so many seconds; then one request tries whether it is back."""


class Settings(Record):
    """A gateway.

    Examples
    --------
    >>> Settings(upstreams=({"base_url": "http://localhost:8000/v1"},)).state_folder
    PosixPath('backtalk.serve')
    """

    store: Name = "backtalk.db"
    """A SQLite file, or a URL."""
    project: Name = "default"
    """Where interactions go whose caller names no project."""
    upstreams: tuple[UpstreamSettings, ...] = ()
    """Asked in this order; the second one only when the first fails."""
    keys: WhenKeys = "always"
    """When a key is asked for: always, only once the store has had one, or never."""
    state: OptionalField[Path] = None
    """Where the gateway keeps what the store has not got yet; beside a SQLite file, if left
    out."""
    origins: tuple[Name, ...] = ()
    """The pages that may send feedback from a browser: ``https://example.org``, or ``*``."""
    redact: tuple[Name, ...] = ()
    """What is blackened before anything is stored: ``email``, ``phone``, ``card``, or
    ``package.module:function``."""
    limits: Limits = Limits()
    patience: RetryPolicy = RetryPolicy()
    traces: Literal["none", "spans", "content"] = "none"
    """What OpenTelemetry gets to see: nothing; requests, without what people write; that too. Where
    it goes is said by its own variables, such as ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
    acknowledge_after: Seconds = 1.0
    """Feedback that the store did not take by then is acknowledged once it is safe on disk."""
    spool_bytes: Annotated[int, Field(gt=0)] = 4_000_000_000
    """The most that is kept on disk while the store is away."""
    close_after: Seconds = 10.0
    """How long a gateway that shuts down tries to hand everything to the store. What it cannot
    hand over stays on disk for the next one."""

    @property
    def state_folder(self) -> Path:
        """Where the gateway keeps what the store has not got yet."""
        if self.state is not None:
            return self.state
        url = database_url(self.store)
        if url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}:
            return Path(str(url.database)).with_suffix(".serve")
        return Path("backtalk.serve")
