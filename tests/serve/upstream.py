"""Fake OpenAI-compatible server on loopback, with scripted replies."""

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse


@dataclass
class ScriptedReply:
    """Reply that replaces the default one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    break_after: int | None = None
    """Number of events after which a stream breaks off."""


@dataclass
class Upstream:
    """Recorded requests, and the next replies."""

    next: deque[ScriptedReply] = field(default_factory=deque)
    always: ScriptedReply | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sent: bytes = b""
    """Bytes of the last stream."""
    url: str = ""


def text_of(body):
    """Return the text of the reply to a request."""
    messages = body.get("messages") or [{"content": str(body.get("prompt"))}]
    return f"You said: {messages[-1]['content']}"


def reply_of(body, id_="chatcmpl-up"):
    """Return the reply to a request, without streaming."""
    chat = "messages" in body
    choices = []
    for index in range(body.get("n") or 1):
        content: dict[str, Any] = {"text": text_of(body)}
        reason = "stop"
        if chat:
            message: dict[str, Any] = {"role": "assistant", "content": text_of(body)}
            if body.get("tools"):
                name = body["tools"][0]["function"]["name"]
                call = {
                    "id": id_,
                    "type": "function",
                    "function": {"name": name, "arguments": '{"a": 1}'},
                }
                message, reason = (
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    ("tool_calls"),
                )
            content = {"message": message}
        choices.append({"index": index, **content, "finish_reason": reason, "logprobs": None})
    return {
        "id": id_,
        "object": "chat.completion" if chat else "text_completion",
        "created": 1,
        "model": f"{body['model']}-2026",
        "choices": choices,
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        "strange": {"id": id_, "number": 1.50},
    }


def events_of(body, id_="chatcmpl-up"):
    """Yield the events of the streamed reply to a request."""
    reply = reply_of(body, id_)
    chat = "messages" in body
    base = {
        "id": id_,
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": 1,
        "model": reply["model"],
    }
    for choice in reply["choices"]:
        index = choice["index"]
        if not chat:
            pieces = [{"text": w} for w in choice["text"].split(" ")]
        elif choice["message"].get("tool_calls"):
            call = choice["message"]["tool_calls"][0]
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            first = {**call, "index": 0, "function": {"name": name, "arguments": ""}}
            pieces = [{"delta": {"role": "assistant", "content": None, "tool_calls": [first]}}] + [
                {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}}
                for part in (arguments[:3], arguments[3:])
            ]
        else:
            words = choice["message"]["content"].split(" ")
            pieces = [{"delta": {"role": "assistant", "content": words[0]}}] + [
                {"delta": {"content": f" {word}"}} for word in words[1:]
            ]
        for piece in pieces:
            yield base | {"choices": [{"index": index, **piece, "finish_reason": None}]}
        end = {"delta": {}} if chat else {"text": ""}
        yield base | {
            "choices": [{"index": index, **end, "finish_reason": choice["finish_reason"]}]
        }
    if (body.get("stream_options") or {}).get("include_usage"):
        yield base | {"choices": [], "usage": reply["usage"]}


def make_upstream():
    """Return the server as an application, and the object that controls it."""
    control = Upstream()
    app = FastAPI()

    async def answer(request: Request) -> Response:  # noqa: PLR0911
        raw_body = await request.body()
        is_form = request.headers.get("content-type", "").startswith("multipart/")
        body = raw_body if is_form else json.loads(raw_body) if raw_body else {}
        control.bodies.append(body)
        control.headers.append(dict(request.headers))
        control.paths.append(str(request.url).removeprefix(str(request.base_url).rstrip("/")))
        reply = control.next.popleft() if control.next else control.always or ScriptedReply()
        if reply.wait:
            await asyncio.sleep(reply.wait)
        if reply.status != 200 or reply.body is not None:
            if isinstance(reply.body, bytes):
                return Response(reply.body, reply.status, headers=reply.headers)
            error = {"error": {"message": "no", "type": "x", "param": None, "code": "scripted"}}
            return JSONResponse(reply.body or error, reply.status, headers=reply.headers)
        if body.get("stream"):
            return StreamingResponse(_stream(control, body, reply), media_type="text/event-stream")
        if request.url.path.endswith("/completions"):
            return JSONResponse(reply_of(body), headers={"x-request-id": "up-1"})
        if request.url.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            return JSONResponse(
                {"object": "list", "data": data, "model": body["model"], "usage": usage}
            )
        if request.url.path.endswith("/models"):
            listed = [{"id": "small", "object": "model", "created": 1, "owned_by": "us"}]
            return JSONResponse({"object": "list", "data": listed})
        return JSONResponse({"path": request.url.path, "method": request.method, "body": body})

    app.add_api_route(
        "/{path:path}", answer, methods=["GET", "POST", "DELETE"], response_model=None
    )
    return app, control


async def _stream(control, body, reply):
    control.sent = b""
    for index, event in enumerate(events_of(body)):
        if index == reply.break_after:
            raise RuntimeError("the stream breaks off by the script")
        data = b"data: " + json.dumps(event).encode() + b"\n\n"
        control.sent += data
        yield data
        if reply.wait:
            await asyncio.sleep(reply.wait)
    control.sent += b"data: [DONE]\n\n"
    yield b"data: [DONE]\n\n"
