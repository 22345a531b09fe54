"""Trace exporters, configured by OpenTelemetry's standard environment variables."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError, MissingExtra
from backtalk.serve.redaction import Redactor
from backtalk.serve.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from backtalk.serve.observability.tracing import Tracing

_GROUP = "opentelemetry_traces_exporter"
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def make_tracing(settings: Settings) -> Tracing | None:
    """Return the tracing of a gateway, ``None`` if it is switched off.

    A tracer provider that the program has set up is used. Otherwise one is made as configured by
    ``OTEL_TRACES_EXPORTER``, ``OTEL_EXPORTER_OTLP_ENDPOINT`` and the other standard variables.

    Raises
    ------
    MissingExtra
        If the packages are not installed.
    BacktalkError
        If a variable names an exporter that is not installed.
    """
    if not _is_enabled(settings):
        return None
    try:
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

        from backtalk.serve.observability.tracing import Tracing  # noqa: PLC0415
    except ImportError:
        raise MissingExtra.named("otel", "Tracing") from None
    current = trace.get_tracer_provider()
    owned = not isinstance(current, TracerProvider)
    provider = current if isinstance(current, TracerProvider) else make_provider()
    redactor = Redactor(settings.redact) if settings.traces == "content" else None
    return Tracing(provider, owned=owned, redactor=redactor)


def check_tracing(settings: Settings) -> None:
    """Raise the errors that :func:`make_tracing` would raise, without creating anything.

    Raises
    ------
    MissingExtra
        If the packages are not installed.
    BacktalkError
        If a variable names an exporter that is not installed.
    """
    if not _is_enabled(settings):
        return
    if importlib.util.find_spec("opentelemetry") is None:
        raise MissingExtra.named("otel", "Tracing")
    _exporters()


def _is_enabled(settings: Settings) -> bool:
    return settings.traces != "none" and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def _exporters() -> list[Callable[[], SpanExporter]]:
    names = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")
    return [_exporter(name.strip()) for name in names if name.strip() != "none"]


def make_provider() -> TracerProvider:
    """Return a tracer provider configured by the standard environment variables."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    has_name = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    attributes = {} if has_name else {"service.name": "backtalk"}
    provider = TracerProvider(resource=Resource.create(attributes))
    for exporter in _exporters():
        provider.add_span_processor(BatchSpanProcessor(exporter()))
    return provider


def _exporter(name: str) -> Callable[[], SpanExporter]:
    if name == "otlp":
        protocol = os.environ.get(
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        )
        name = _PROTOCOLS.get(protocol, protocol)
    matches = entry_points(group=_GROUP, name=name)
    if not matches:
        installed = ", ".join(sorted(entry_points(group=_GROUP).names))
        raise BacktalkError(
            f"OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_PROTOCOL names the exporter {name!r}, "
            "which is not installed",
            f"Installed exporters: {installed}. `pip install opentelemetry-exporter-NAME` adds one",
        )
    exporter: Callable[[], SpanExporter] = next(iter(matches)).load()
    return exporter
