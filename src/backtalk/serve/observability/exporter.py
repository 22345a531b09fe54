"""Where traces go, by the variables that OpenTelemetry's programs have in common."""

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


def traces_of(settings: Settings) -> Tracing | None:
    """Return what traces a gateway, ``None`` where it is not traced.

    A provider that the program has set up is used as it is; else one is made as the variables
    ``OTEL_TRACES_EXPORTER``, ``OTEL_EXPORTER_OTLP_ENDPOINT`` and their like say.

    Raises
    ------
    MissingExtra
        If the packages are not installed.
    BacktalkError
        If a variable names an exporter that is not installed.
    """
    if not _wanted(settings):
        return None
    try:
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

        from backtalk.serve.observability.tracing import Tracing  # noqa: PLC0415
    except ImportError:
        raise MissingExtra.named("otel", "Tracing") from None
    present = trace.get_tracer_provider()
    owned = not isinstance(present, TracerProvider)
    provider = present if isinstance(present, TracerProvider) else provider_of()
    redactor = Redactor(settings.redact) if settings.traces == "content" else None
    return Tracing(provider, owned=owned, redactor=redactor)


def check_traces(settings: Settings) -> None:
    """Refuse what :func:`traces_of` would refuse, and make nothing."""
    if not _wanted(settings):
        return
    if importlib.util.find_spec("opentelemetry") is None:
        raise MissingExtra.named("otel", "Tracing")
    _exporters()


def _wanted(settings: Settings) -> bool:
    return settings.traces != "none" and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def _exporters() -> list[Callable[[], SpanExporter]]:
    names = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")
    return [_exporter(name.strip()) for name in names if name.strip() != "none"]


def provider_of() -> TracerProvider:
    """Return a provider that sends spans where the standard variables say."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    made = TracerProvider(resource=Resource.create({} if named else {"service.name": "backtalk"}))
    for exporter in _exporters():
        made.add_span_processor(BatchSpanProcessor(exporter()))
    return made


def _exporter(name: str) -> Callable[[], SpanExporter]:
    if name == "otlp":
        protocol = os.environ.get(
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        )
        name = _PROTOCOLS.get(protocol, protocol)
    result = entry_points(group=_GROUP, name=name)
    if not result:
        known = ", ".join(sorted(entry_points(group=_GROUP).names))
        raise BacktalkError(
            f"OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_PROTOCOL asks for the exporter {name!r}, "
            "which is not installed",
            f"Installed are {known}; `pip install opentelemetry-exporter-NAME` adds one",
        )
    loaded: Callable[[], SpanExporter] = next(iter(result)).load()
    return loaded
