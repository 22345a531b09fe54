"""Tracing: the spans of a request, by the semantic conventions."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    server_attributes,
    url_attributes,
)
from opentelemetry.trace import SpanKind, StatusCode

from backtalk.errors import BacktalkError
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy
from backtalk.promotion import promote
from backtalk.serve.observability.exporter import check_tracing, make_provider, make_tracing
from backtalk.serve.observability.tracing import Tracing
from backtalk.store import Store
from tests.serve.conftest import running_gateway
from tests.serve.upstream import ScriptedReply

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
KNOWN = {
    value
    for module in (gen_ai, error_attributes, http_attributes, server_attributes, url_attributes)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
} | {"http.request.resend_count"}


@pytest.fixture(scope="module")
def exporter():
    """Exporter of all spans of the process, whose tracer provider may be set already."""
    in_memory = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(in_memory))
    return in_memory


def gateway_spans(exporter):
    """Return the spans of the gateway, without those of the upstream."""
    ended = exporter.get_finished_spans()
    return [span for span in ended if span.instrumentation_scope.name == "backtalk"]


@pytest.fixture
def spans(exporter):
    """Function that waits for a number of spans and returns them."""
    exporter.clear()

    def wait_for_spans(count):
        deadline = time.monotonic() + 30
        while len(gateway_spans(exporter)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(gateway_spans(exporter)) == count
        return gateway_spans(exporter)

    return wait_for_spans


@pytest.fixture
def traced(settings, exporter):
    with running_gateway(settings.model_copy(update={"traces": "spans"})) as running:
        yield running


def split_spans(ended):
    """Return the server span, the completion span, and the spans of the attempts."""
    (server,) = [span for span in ended if span.kind is SpanKind.SERVER]
    (answer,) = [span for span in ended if gen_ai.GEN_AI_OPERATION_NAME in span.attributes]
    attempts = [span for span in ended if span not in {server, answer}]
    return server, answer, attempts


def test_a_completion_has_three_nested_spans(traced, upstream, spans):
    response = traced.chat("Hi", temperature=0.5, max_tokens=9, user="bo")
    server, answer, (attempt,) = split_spans(spans(3))
    assert (server.name, answer.name, attempt.name) == (
        "POST /v1/chat/completions",
        "chat small",
        "POST",
    )
    assert (answer.kind, attempt.kind) == (SpanKind.CLIENT, SpanKind.CLIENT)
    assert answer.parent.span_id == server.context.span_id
    assert attempt.parent.span_id == answer.context.span_id
    port = int(upstream.url.split(":")[2].split("/")[0])
    assert dict(answer.attributes) == {
        gen_ai.GEN_AI_OPERATION_NAME: gen_ai.GenAiOperationNameValues.CHAT.value,
        gen_ai.GEN_AI_PROVIDER_NAME: gen_ai.GenAiProviderNameValues.OPENAI.value,
        gen_ai.GEN_AI_REQUEST_MODEL: "small",
        gen_ai.GEN_AI_REQUEST_TEMPERATURE: 0.5,
        gen_ai.GEN_AI_REQUEST_MAX_TOKENS: 9,
        gen_ai.GEN_AI_RESPONSE_ID: "chatcmpl-up",
        gen_ai.GEN_AI_RESPONSE_MODEL: "small-2026",
        gen_ai.GEN_AI_RESPONSE_FINISH_REASONS: ("stop",),
        gen_ai.GEN_AI_USAGE_INPUT_TOKENS: 3,
        gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: 4,
        server_attributes.SERVER_ADDRESS: "127.0.0.1",
        server_attributes.SERVER_PORT: port,
        "backtalk.interaction": response.json()["id"],
        "backtalk.project": "default",
    }
    assert server.attributes[http_attributes.HTTP_ROUTE] == "/v1/chat/completions"
    assert server.attributes[http_attributes.HTTP_RESPONSE_STATUS_CODE] == 200
    assert attempt.attributes[url_attributes.URL_FULL] == f"{upstream.url}/chat/completions"
    assert {span.status.status_code for span in (server, answer, attempt)} == {StatusCode.UNSET}


def test_all_attributes_are_those_of_the_conventions(traced, spans):
    traced.chat("Hi", n=2, seed=1, stop=["x"], top_p=0.5, stream=True, presence_penalty=0.1)
    names = {name for span in spans(3) for name in span.attributes}
    assert {name for name in names if not name.startswith("backtalk.")} <= KNOWN


def test_the_trace_context_is_propagated_from_the_caller_to_the_upstream(traced, upstream, spans):
    traced.http.headers["traceparent"] = CALLER
    traced.chat("Hi")
    server, _, (attempt,) = split_spans(spans(3))
    assert f"{server.context.trace_id:032x}" == CALLER.split("-")[1]
    assert f"{server.parent.span_id:016x}" == CALLER.split("-")[2]
    forwarded = upstream.headers[-1]["traceparent"]
    assert forwarded == (f"00-{server.context.trace_id:032x}-{attempt.context.span_id:016x}-01")


def test_the_span_of_a_stream_covers_it_and_has_the_time_to_first_chunk(traced, spans):
    response = traced.chat("Hi", stream=True, stream_options={"include_usage": True})
    assert response.text.endswith("data: [DONE]\n\n")
    server, answer, (attempt,) = split_spans(spans(3))
    assert answer.attributes[gen_ai.GEN_AI_REQUEST_STREAM] is True
    assert answer.attributes[gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS] == 4
    assert answer.attributes[gen_ai.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] > 0
    assert attempt.end_time <= answer.end_time <= server.end_time


def test_each_attempt_has_a_span_with_its_error(traced, upstream, spans):
    upstream.next += [ScriptedReply(503), ScriptedReply(429)]
    assert traced.chat("Hi").status_code == 200
    server, answer, attempts = split_spans(spans(5))
    statuses = [span.attributes[http_attributes.HTTP_RESPONSE_STATUS_CODE] for span in attempts]
    assert statuses == [503, 429, 200]
    assert [span.attributes.get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert [span.attributes.get(error_attributes.ERROR_TYPE) for span in attempts] == [
        "503",
        "429",
        None,
    ]
    assert error_attributes.ERROR_TYPE not in answer.attributes
    assert server.status.status_code is StatusCode.UNSET


def test_an_unreachable_upstream_is_an_error_of_all_three_spans(settings, exporter, spans):
    nowhere = settings.upstreams[0].model_copy(update={"base_url": "http://127.0.0.1:9/v1"})
    changed = {"traces": "spans", "upstreams": (nowhere,)}
    with running_gateway(settings.model_copy(update=changed)) as running:
        assert running.chat("Hi").status_code == 502
    server, answer, attempts = split_spans(spans(5))
    assert len(attempts) == 3
    for span in (server, answer):
        assert span.attributes[error_attributes.ERROR_TYPE] == "502"
    assert all("Connect" in span.attributes[error_attributes.ERROR_TYPE] for span in attempts)
    assert {span.status.status_code for span in (server, answer, *attempts)} == {StatusCode.ERROR}


def test_a_client_error_is_an_error_of_the_completion_span_only(traced, upstream, spans):
    upstream.next.append(ScriptedReply(400))
    traced.chat("Hi")
    server, answer, _ = split_spans(spans(3))
    assert server.status.status_code is StatusCode.UNSET
    assert answer.attributes[error_attributes.ERROR_TYPE] == "400"


def test_a_policy_is_named_in_the_trace(settings, exporter, spans):
    policy = Policy(model=NamedSpec(name="writer"), name="plain")
    with Store(settings.store, project="mail") as store:
        promote(store, policy, actor="ada")
    with running_gateway(settings.model_copy(update={"traces": "spans"})) as running:
        messages = "Write to my boss, Ms Klein.\nReport ready: Friday, 12 pages."
        response = running.chat(messages, model="backtalk:mail")
        assert response.status_code == 200
    _, answer, attempts = split_spans(spans(2))
    assert attempts == []
    assert answer.name == "chat backtalk:mail"
    assert answer.attributes["backtalk.policy"] == policy.id
    assert answer.attributes["backtalk.project"] == "mail"
    assert answer.attributes[gen_ai.GEN_AI_RESPONSE_ID] == response.json()["id"]


def test_other_endpoints_have_spans_too(traced, spans):
    response = traced.chat("Hi").json()
    spans(3)
    traced.feedback({"interaction": response["id"], "thumb": "up"})
    traced.http.post("/v1/embeddings", json={"model": "small", "input": "a"})
    traced.http.get("/health")
    ended = spans(7)[3:]
    assert sorted(span.name for span in ended) == [
        "POST",
        "POST /v1/embeddings",
        "POST /v1/feedback",
        "embeddings small",
    ]


def test_message_content_is_not_traced_by_default(traced, spans):
    traced.chat("a secret")
    assert "secret" not in "".join(span.to_json() for span in spans(3))


def test_message_content_is_traced_as_messages_and_redacted(settings, exporter, spans):
    changed = {"traces": "content", "redact": ("email",)}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    with running_gateway(settings.model_copy(update=changed)) as running:
        body = {
            "model": "small",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "I am bo@example.org"}]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": "5"},
                {"role": "user", "content": "So?"},
            ],
        }
        assert running.http.post("/v1/chat/completions", json=body).status_code == 200
    _, answer, _ = split_spans(spans(3))
    messages = json.loads(answer.attributes[gen_ai.GEN_AI_INPUT_MESSAGES])
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user"]
    assert "example.org" not in str(messages)
    assert messages[1]["parts"] == [
        {"type": "tool_call", "id": "c", "name": "f", "arguments": "{}"}
    ]
    assert messages[2]["parts"] == [{"type": "tool_call_response", "id": "c", "response": "5"}]
    assert json.loads(answer.attributes[gen_ai.GEN_AI_OUTPUT_MESSAGES]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "You said: So?"}],
            "finish_reason": "stop",
        }
    ]


def test_a_gateway_without_tracing_forwards_the_trace_context(gateway, upstream, exporter):
    exporter.clear()
    gateway.http.headers["traceparent"] = CALLER
    gateway.chat("Hi")
    assert upstream.headers[-1]["traceparent"] == CALLER
    time.sleep(0.1)
    assert gateway_spans(exporter) == []


def test_opentelemetry_is_not_imported_without_tracing(tmp_path):
    code = (
        "import sys; from backtalk.serve import Settings, create_app; "
        "create_app(Settings()); print('opentelemetry.sdk.trace' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "False"


def test_spans_reach_a_collector_under_the_name_of_the_service(monkeypatch):
    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            """Write no log."""

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=collector.handle_request)
    thread.start()
    address = f"http://127.0.0.1:{collector.server_port}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    traces = Tracing(make_provider(), owned=True)
    traces.tracer.start_span("a span").end()
    asyncio.run(traces.close())
    thread.join(60)
    collector.server_close()
    ((path, request),) = received
    assert path == "/v1/traces"
    (resource,) = request.resource_spans
    attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert attributes["service.name"] == "backtalk"
    assert resource.scope_spans[0].spans[0].name == "a span"


def test_the_standard_variables_configure_the_exporters(settings, monkeypatch):
    on = settings.model_copy(update={"traces": "spans"})
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "nonsense")
    with pytest.raises(BacktalkError, match="'nonsense', which is not installed"):
        check_tracing(on)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console,none")
    check_tracing(on)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert make_tracing(on) is None


def test_reasoning_is_a_part_of_its_own_and_redacted() -> None:
    from backtalk.serve.observability.genai_attributes import output_messages
    from backtalk.serve.redaction import Redactor

    message = {"role": "assistant", "content": "42", "reasoning_content": "Ask bo@example.org."}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    (written,) = json.loads(output_messages({"choices": choices}, Redactor(["email"])))
    assert written["parts"] == [
        {"type": "reasoning", "content": "Ask " + "•" * 14 + "."},
        {"type": "text", "content": "42"},
    ]
