"""An OpenAI-compatible server on loopback, which answers well or badly, as told."""

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse


@dataclass
class Told:
    """One answer that is not the usual one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    break_after: int | None = None
    """Break a stream off after so many events."""


@dataclass
class Upstream:
    """What it was asked, and what it is told to answer next."""

    next: deque[Told] = field(default_factory=deque)
    always: Told | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sent: bytes = b""
    """The bytes of the last stream."""
    url: str = ""


def text_of(asked):
    messages = asked.get("messages") or [{"content": str(asked.get("prompt"))}]
    return f"You said: {messages[-1]['content']}"


def reply_of(asked, id_="chatcmpl-up"):
    chat = "messages" in asked
    choices = []
    for index in range(asked.get("n") or 1):
        said: dict[str, Any] = {"text": text_of(asked)}
        reason = "stop"
        if chat:
            message: dict[str, Any] = {"role": "assistant", "content": text_of(asked)}
            if asked.get("tools"):
                name = asked["tools"][0]["function"]["name"]
                call = {
                    "id": id_,
                    "type": "function",
                    "function": {"name": name, "arguments": '{"a": 1}'},
                }
                message, reason = (
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    ("tool_calls"),
                )
            said = {"message": message}
        choices.append({"index": index, **said, "finish_reason": reason, "logprobs": None})
    return {
        "id": id_,
        "object": "chat.completion" if chat else "text_completion",
        "created": 1,
        "model": f"{asked['model']}-2026",
        "choices": choices,
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        "strange": {"id": id_, "number": 1.50},
    }


def events_of(asked, id_="chatcmpl-up"):
    reply = reply_of(asked, id_)
    chat = "messages" in asked
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
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield base | {"choices": [], "usage": reply["usage"]}


def make_upstream():
    """Return the server as an application, and what controls it."""
    control = Upstream()
    app = FastAPI()

    async def answer(request: Request) -> Response:  # noqa: PLR0911
        body = await request.body()
        asked = json.loads(body) if body else {}
        control.asked.append(asked)
        control.headers.append(dict(request.headers))
        control.paths.append(str(request.url).removeprefix(str(request.base_url).rstrip("/")))
        told = control.next.popleft() if control.next else control.always or Told()
        if told.wait:
            await asyncio.sleep(told.wait)
        if told.status != 200 or told.body is not None:
            if isinstance(told.body, bytes):
                return Response(told.body, told.status, headers=told.headers)
            error = {"error": {"message": "no", "type": "x", "param": None, "code": "told"}}
            return JSONResponse(told.body or error, told.status, headers=told.headers)
        if asked.get("stream"):
            return StreamingResponse(_stream(control, asked, told), media_type="text/event-stream")
        if request.url.path.endswith("/completions"):
            return JSONResponse(reply_of(asked), headers={"x-request-id": "up-1"})
        if request.url.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            return JSONResponse(
                {"object": "list", "data": data, "model": asked["model"], "usage": usage}
            )
        if request.url.path.endswith("/models"):
            listed = [{"id": "small", "object": "model", "created": 1, "owned_by": "us"}]
            return JSONResponse({"object": "list", "data": listed})
        return JSONResponse({"path": request.url.path, "method": request.method, "asked": asked})

    app.add_api_route(
        "/{path:path}", answer, methods=["GET", "POST", "DELETE"], response_model=None
    )
    return app, control


async def _stream(control, asked, told):
    control.sent = b""
    for index, event in enumerate(events_of(asked)):
        if index == told.break_after:
            raise RuntimeError("told to break off")
        data = b"data: " + json.dumps(event).encode() + b"\n\n"
        control.sent += data
        yield data
        if told.wait:
            await asyncio.sleep(told.wait)
    control.sent += b"data: [DONE]\n\n"
    yield b"data: [DONE]\n\n"
