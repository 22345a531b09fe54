"""Gateway settings. They name environment variables instead of containing secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from backtalk.errors import BacktalkError
from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.models.options import normalise_url
from backtalk.serve.fine_tuning.settings import FineTuningSettings
from backtalk.store.engine import database_url, state_folder

SETTINGS_VARIABLE = "BACKTALK_SERVE"
"""Environment variable that passes the settings to other processes of a gateway, as JSON."""

Seconds = Annotated[float, Field(gt=0)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

Bytes = Annotated[int, Field(gt=0)]

_BODY_BYTES = 20_000_000
_ENDPOINT_BYTES: Mapping[str, int] = {
    "/v1/chat/completions": 50_000_000,
    "/v1/responses": 50_000_000,
    "/v1/messages": 50_000_000,
    "/v1/audio": 30_000_000,
    "/v1/images": 100_000_000,
    "/v1/uploads": 70_000_000,
    "/v1/files": 520_000_000,
}
"""Default sizes in bytes, which leave room for what hosted APIs accept."""

KeyRequirement = Literal["always", "if-any", "never"]


def _validate_address(address: str) -> str:
    try:
        return normalise_url(address)
    except BacktalkError as error:
        raise ValueError(str(error)) from None


Address = Annotated[str, AfterValidator(_validate_address)]
"""Base URL of an OpenAI-compatible server, including ``/v1``."""


class _SettingsRecord(Record):
    """Record that accepts settings under the names of the previous version."""

    OLD_NAMES: ClassVar[Mapping[str, str]] = {}
    """Current names by old name."""

    @model_validator(mode="before")
    @classmethod
    def _rename_old_fields(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        old = [name for name in fields if name in cls.OLD_NAMES]
        for name in old:
            if cls.OLD_NAMES[name] in fields:
                raise ValueError(f"{name} is the old name of {cls.OLD_NAMES[name]}; give one only")
        return {cls.OLD_NAMES.get(name, name): value for name, value in fields.items()}


class UpstreamSettings(Record):
    """OpenAI-compatible server behind the gateway."""

    base_url: Address
    api_key_env: OptionalField[Variable] = None
    """Environment variable that holds the API key. If omitted, the caller's key is forwarded,
    provided that the gateway itself requires none."""
    model: OptionalField[Name] = None
    """Model name sent to this server. Default: the name in the request."""
    apis: OptionalField[tuple[Literal["chat", "responses", "messages"], ...]] = None
    """APIs of the server: chat completions, OpenAI's Responses, Anthropic's Messages. Requests for
    the others are translated to chat completions. Default: learned from the first request."""


class Limits(Record):
    """Limits on the requests of one caller."""

    rate: OptionalField[Annotated[float, Field(gt=0)]] = None
    """Average requests per second for each key and worker process. Default: unlimited."""
    burst: Annotated[int, Field(gt=0)] = 50
    """Maximum number of requests at once, for a key that has been idle."""
    body_bytes: OptionalField[Bytes] = None
    """Maximum size of a request body in bytes, decompressed, at every endpoint that
    ``endpoint_bytes`` does not name. Default: as large as OpenAI's and Anthropic's APIs take, and
    20 MB elsewhere."""
    endpoint_bytes: Mapping[str, Bytes] = {}
    """Maximum sizes by the beginning of a path, such as ``/v1/audio``. The longest one applies."""
    feedback_rows: Annotated[int, Field(gt=0)] = 1_000
    """Maximum number of feedback rows in one request."""

    def max_body_bytes(self, path: str) -> int:
        """Return the maximum size of a request body in bytes.

        >>> Limits(endpoint_bytes={"/v1/audio": 10}).max_body_bytes("/v1/audio/speech")
        10
        >>> Limits().max_body_bytes("/v1/feedback"), Limits(body_bytes=5).max_body_bytes("/v1/x")
        (20000000, 5)
        """
        for limits in (self.endpoint_bytes, _ENDPOINT_BYTES if self.body_bytes is None else {}):
            prefixes = [prefix for prefix in limits if path.startswith(prefix)]
            if prefixes:
                return limits[max(prefixes, key=len)]
        return self.body_bytes or _BODY_BYTES


class RetryPolicy(_SettingsRecord):
    """Timeouts, retries and circuit breaking of upstream requests."""

    OLD_NAMES: ClassVar[Mapping[str, str]] = {
        "connect": "connect_timeout",
        "read": "read_timeout",
        "tries": "max_attempts",
        "pause": "backoff",
        "longest_pause": "max_backoff",
        "failures": "failure_threshold",
        "rest": "open_seconds",
    }

    connect_timeout: Seconds = 5.0
    """Connection timeout in seconds."""
    read_timeout: Seconds = 600.0
    """Maximum number of seconds between two bytes of a response."""
    max_attempts: Annotated[int, Field(gt=0)] = 3
    """Maximum number of requests to an upstream before the next upstream is tried."""
    backoff: Seconds = 0.25
    """Delay in seconds before the first retry. It doubles with each further retry; up to half of it
    is removed at random."""
    max_backoff: Seconds = 8.0
    """Maximum delay in seconds between two attempts. A request is not retried if the upstream's
    ``Retry-After`` exceeds it."""
    failure_threshold: Annotated[int, Field(gt=0)] = 5
    """Number of consecutive requests that fail, with all their retries, before the circuit breaker
    of an upstream opens. Lost connections, timeouts and the statuses of overloaded servers and of
    proxies (502, 503, 504, 520 to 524, 529) are failures; other responses are not."""
    open_seconds: Seconds = 10.0
    """Number of seconds for which the other upstreams are tried first. Then a single request probes
    the upstream. If no other one responds, requests are sent to it all the same, but not
    retried."""


class Settings(_SettingsRecord):
    """Settings of a gateway.

    Examples
    --------
    >>> Settings(upstreams=({"base_url": "http://localhost:8000/v1"},)).state_folder
    PosixPath('backtalk.serve')
    >>> Settings(patience={"tries": 1}).retry.max_attempts  # names of the previous version
    1
    """

    OLD_NAMES: ClassVar[Mapping[str, str]] = {
        "patience": "retry",
        "spool_bytes": "max_log_bytes",
        "close_after": "shutdown_timeout",
    }

    store: Name = "backtalk.db"
    """SQLite file or database URL."""
    project: Name = "default"
    """Project of interactions whose request names none."""
    policies: tuple[Name, ...] = ()
    """Names of policies of the project that clients may request without ``backtalk:PROJECT/``."""
    upstreams: tuple[UpstreamSettings, ...] = ()
    """OpenAI-compatible servers, tried in order."""
    keys: KeyRequirement = "always"
    """``"always"``: require an API key. ``"if-any"``: require one as soon as the store has had its
    first key. ``"never"``: do not require keys."""
    state: OptionalField[Path] = None
    """Folder of the write-ahead log and the caches. Default: next to the SQLite file."""
    origins: tuple[Name, ...] = ()
    """Origins of web pages that may send requests from a browser, such as
    ``https://example.org``; ``*`` allows all."""
    redact: tuple[Name, ...] = ()
    """Redactions applied before anything is stored: ``email``, ``phone``, ``card``, or
    ``package.module:function``."""
    limits: Limits = Limits()
    retry: RetryPolicy = RetryPolicy()
    fine_tuning: FineTuningSettings = FineTuningSettings()
    memory_timeout: Seconds = 1.0
    """Number of seconds to wait for a policy's memory. Then the answer is made without it."""
    traces: Literal["none", "spans", "content"] = "none"
    """OpenTelemetry tracing: off, spans without message content, or spans with message content.
    ``OTEL_EXPORTER_OTLP_ENDPOINT`` and the other standard variables set the destination."""
    acknowledge_after: Seconds = 1.0
    """Number of seconds to wait for the store before feedback is acknowledged as queued on disk."""
    max_log_bytes: Annotated[int, Field(gt=0)] = 4_000_000_000
    """Maximum size of the write-ahead log in bytes."""
    shutdown_timeout: Seconds = 10.0
    """Number of seconds to write pending records to the store on shutdown. Remaining records stay
    on disk for the next gateway."""

    @property
    def state_folder(self) -> Path:
        """Folder of the write-ahead log and the caches."""
        if self.state is not None:
            return self.state
        return state_folder(database_url(self.store))
