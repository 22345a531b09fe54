"""Rows as Langfuse, MLflow, Phoenix and TensorZero export them: invented contents.

The structures are those of langfuse 5.0 and its server, mlflow 3.17, arize-phoenix and its client
3.5, and TensorZero's tables of April 2026.
"""

QUESTION = [{"role": "user", "content": "Is it open?"}]
TIME = "2026-03-01T09:00:00Z"


# Langfuse


def langfuse_score(id_="s1", name="user-feedback", kind="BOOLEAN", **fields):
    """Return a score of the API."""
    return {
        "id": id_,
        "timestamp": TIME,
        "createdAt": TIME,
        "updatedAt": TIME,
        "environment": "default",
        "name": name,
        "dataType": kind,
        "traceId": "t1",
        "observationId": None,
        "source": "API",
        "authorUserId": None,
        "comment": None,
        "metadata": {},
        "configId": None,
        "queueId": None,
        **fields,
    }


def langfuse_trace(**fields):
    """Return a trace of the API, as in the list of traces."""
    return {
        "id": "t1",
        "timestamp": TIME,
        "name": "chat",
        "input": {"messages": QUESTION},
        "output": "Yes.",
        "sessionId": "session-1",
        "release": None,
        "version": None,
        "userId": "user-1",
        "metadata": {},
        "tags": ["web"],
        "public": False,
        "environment": "default",
        "htmlPath": "/project/p/traces/t1",
        "latency": 1.5,
        "totalCost": 0.01,
        "observations": ["o1"],
        "scores": ["s1"],
        **fields,
    }


def langfuse_observation(id_="o2", parent="o1", **fields):
    """Return an observation of the API."""
    return {
        "id": id_,
        "traceId": "t1",
        "type": "GENERATION",
        "name": "llm",
        "startTime": TIME,
        "endTime": TIME,
        "model": "gpt-4o",
        "modelParameters": {},
        "input": QUESTION,
        "output": {"role": "assistant", "content": "Yes."},
        "level": "DEFAULT",
        "parentObservationId": parent,
        "usageDetails": {"input": 3},
        "metadata": {},
        **fields,
    }


LANGFUSE_TABLE = {
    "id": "t1",
    "timestamp": TIME,
    "name": "chat",
    "userId": "user-1",
    "sessionId": None,
    "release": None,
    "version": None,
    "environment": "default",
    "tags": [],
    "bookmarked": False,
    "public": False,
    "input": '{"messages":[{"role":"user","content":"Is it open?"}]}',
    "output": "Yes.",
    "metadata": {},
    "comments": [
        {"id": "c", "content": "Too short.", "author_email": "ada@example.com", "created_at": TIME}
    ],
    "user-feedback": [1],
    "tone": ["Good"],
    "clarity": [0.7],
    "unused": None,
}
"""Row of the exported table of traces, in which each score has a column."""


# MLflow


def assessment(name, value, source="HUMAN", by="ada", kind="feedback", **fields):
    """Return an assessment of a trace."""
    return {
        "assessment_id": f"a-{name}-{value}",
        "assessment_name": name,
        "trace_id": "tr-1",
        "source": {"source_type": source, "source_id": by},
        "create_time": TIME,
        "last_update_time": TIME,
        kind: {"value": value},
        "valid": True,
        **fields,
    }


def mlflow_trace(*assessments, inputs='{"question": "Is it open?"}', outputs='"Yes."'):
    """Return a trace as ``Trace.to_json`` writes it."""
    return {
        "info": {
            "trace_id": "tr-1",
            "trace_location": {
                "type": "MLFLOW_EXPERIMENT",
                "mlflow_experiment": {"experiment_id": "1"},
            },
            "request_time": TIME,
            "state": "OK",
            "trace_metadata": {
                "mlflow.trace.user": "user-1",
                "mlflow.trace.session": "session-1",
                "mlflow.traceInputs": inputs,
                "team": "web",
            },
            "assessments": list(assessments),
            "tags": {"mlflow.traceName": "answer", "stage": "beta"},
            "request_preview": inputs,
            "response_preview": outputs,
            "execution_duration_ms": 863,
        },
        "data": {
            "spans": [
                {
                    "trace_id": "7bzCqddn17pVqUkDPCPaLw==",
                    "span_id": "RfAY06xirQU=",
                    "parent_span_id": None,
                    "name": "answer",
                    "start_time_unix_nano": 1796002738572770752,
                    "end_time_unix_nano": 1796002739436662192,
                    "events": [],
                    "status": {"code": "STATUS_CODE_OK", "message": ""},
                    "attributes": {
                        "mlflow.spanType": '"UNKNOWN"',
                        "mlflow.spanInputs": inputs,
                        "mlflow.spanOutputs": outputs,
                        "mlflow.llm.model": '"gpt-4o"',
                    },
                    "links": [],
                }
            ]
        },
    }


def mlflow_table(*assessments):
    """Return a row of the table of ``mlflow.search_traces``."""
    trace = mlflow_trace(*assessments)
    return {
        "trace_id": "tr-1",
        "trace": "",
        "client_request_id": None,
        "state": "OK",
        "request_time": 1772355600000,
        "execution_duration": 863,
        "request": {"question": "Is it open?"},
        "response": "Yes.",
        "trace_metadata": trace["info"]["trace_metadata"],
        "tags": trace["info"]["tags"],
        "spans": trace["data"]["spans"],
        "assessments": list(assessments),
    }


# Phoenix


def phoenix_span(span="2" * 16, parent=None, kind="LLM", **attributes):
    """Return a row of the table of spans."""
    names = {
        "llm.model_name": "gpt-4o",
        "llm.input_messages": [{"message.role": "user", "message.content": "Is it open?"}],
        "llm.output_messages": [{"message.role": "assistant", "message.content": "Yes."}],
        "input.value": '{"messages": []}',
        "output.value": "Yes.",
        "user.id": "user-1",
        "session.id": "session-1",
        **attributes,
    }
    return {
        "name": "llm",
        "span_kind": kind,
        "parent_id": parent,
        "start_time": TIME,
        "end_time": TIME,
        "status_code": "OK",
        "status_message": "",
        "events": [],
        "context.span_id": span,
        "context.trace_id": "a" * 32,
        **{f"attributes.{name}": value for name, value in names.items()},
    }


def phoenix_annotation(name="correctness", kind="HUMAN", span="2" * 16, **fields):
    """Return a row of the table of annotations, with its index."""
    result = {"label": None, "score": None, "explanation": None}
    return {
        "span_id": span,
        "id": f"annotation-{name}",
        "created_at": TIME,
        "updated_at": TIME,
        "source": "APP",
        "user_id": "VXNlcjox",
        "annotation_name": name,
        "annotator_kind": kind,
        "metadata": {},
        "identifier": "",
        **{f"result.{part}": fields.get(part, value) for part, value in result.items()},
    }


# TensorZero

INFERENCE = "0195b5b4-1111-7000-8000-000000000001"
EPISODE = "0195b5b4-0000-7000-8000-000000000001"


def inference(id_=INFERENCE, **fields):
    """Return a row of the table ChatInference, as JSON."""
    return {
        "id": id_,
        "function_name": "answer",
        "variant_name": "gpt_4o_mini",
        "episode_id": EPISODE,
        "input": '{"system":"Be brief.","messages":[{"role":"user","content":'
        '[{"type":"text","text":"Is it open?"}]}]}',
        "output": '[{"type":"text","text":"Yes."}]',
        "tool_params": "",
        "inference_params": '{"chat_completion":{"temperature":0.5}}',
        "processing_time_ms": 12,
        "timestamp": "2026-03-01 09:00:00",
        "tags": {"user_id": "7"},
        "extra_body": "[]",
        "ttft_ms": None,
        **fields,
    }


def metric(value, name="thumbs_up", target=INFERENCE, **fields):
    """Return a row of BooleanMetricFeedback or FloatMetricFeedback."""
    return {
        "id": f"feedback-{name}-{value}",
        "target_id": target,
        "metric_name": name,
        "value": value,
        "tags": {},
        "timestamp": "2026-03-01 09:05:00",
        "snapshot_hash": None,
        **fields,
    }


def comment(text="Too short.", target=INFERENCE, kind="inference"):
    """Return a row of CommentFeedback."""
    return {
        "id": "feedback-comment",
        "target_id": target,
        "target_type": kind,
        "value": text,
        "tags": {"author": "ada"},
        "timestamp": "2026-03-01 09:05:00",
    }


def demonstration(value='[{"type":"text","text":"Yes, from nine."}]'):
    """Return a row of DemonstrationFeedback."""
    return {
        "id": "feedback-demonstration",
        "inference_id": INFERENCE,
        "value": value,
        "tags": {},
        "timestamp": "2026-03-01 09:05:00",
    }


TRACE_TOOLS = {
    "langfuse": [
        langfuse_trace(scores=[langfuse_score(value=1, stringValue="True")], observations=[]),
        {**LANGFUSE_TABLE, "id": "t2"},
        langfuse_observation(),
    ],
    "mlflow": [mlflow_trace(assessment("thumbs_up", value=True))],
    "phoenix": [phoenix_span(), phoenix_span(span="3" * 16, kind="CHAIN")],
    "tensorzero": [inference()],
}
"""Rows of each format."""
