"""Requests with a policy applied: for its model on this machine, and for an upstream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from backtalk.feedback import content_id
from backtalk.models import Completion, EndpointSpec, Model, Request, Usage
from backtalk.models.endpoint.dialect import (
    Dialect,
    known_dialect,
    rejected_parameters,
    remember_dialect,
)
from backtalk.models.text_stream import TextStream, generate_streamed
from backtalk.policy import Policy
from backtalk.policy.system_messages import SYSTEM_ROLES, join_contents
from backtalk.serve.backends.tool_calls import tool_names, with_tool_calls

_POLICY_FIELDS = frozenset(
    {
        "model", "messages", "prompt", "n", "stream", "stream_options", "seed", "temperature",
        "top_p", "max_tokens", "max_completion_tokens", "stop", "logprobs", "top_logprobs", "user",
        "metadata", "store", "safety_identifier", "prompt_cache_key",
    }
)  # fmt: skip
"""Request fields that the policy sets, or that are not forwarded to the model."""


_NEUTRAL: Mapping[str, Sequence[Any]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "tool_choice": ("auto", "none"),
    "parallel_tool_calls": (True,),
    "tools": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "service_tier": ("auto", "default"),
    "min_p": (0,),
    "top_k": (0, -1),
}
"""Values of options that ask for what a model on this machine does anyway."""


class OverriddenModel:
    """Model with the options of a request applied.

    The policy sets the sampling parameters. The request may lower the token limit and add stop
    sequences. Its tools and other options are forwarded to the model.
    For an endpoint and a local model, the request also sets the temperature and top-p that the
    policy leaves open.

    Parameters
    ----------
    model : Model
        Model of the policy.
    body : Mapping[str, Any]
        Body of the request.
    fill : bool
        If true, take temperature and top-p that the policy leaves open from the request.
    is_local : bool, default False
        If true, the model is on this machine: options without an effect are left out, and the tool
        calls in its text are parsed if the request has tools.
    stream : TextStream, optional
        Receiver of the text of a single completion while it is generated.
    """

    def __init__(
        self,
        model: Model,
        body: Mapping[str, Any],
        *,
        fill: bool,
        is_local: bool = False,
        stream: TextStream | None = None,
    ) -> None:
        self._model = model
        self._stream = stream
        self._defaults = sampling_of(body) if fill else {}
        self._options = {name: v for name, v in body.items() if name not in _POLICY_FIELDS}
        self._tool_names = tool_names(body) if is_local else frozenset()
        if is_local:
            self._options = {
                name: value
                for name, value in self._options.items()
                if not has_no_effect(name, value)
            }
            if not self._tool_names:
                self._options.pop("tools", None)
        self._max_tokens = token_limit(body)
        stop = body.get("stop")
        self._stop = (stop,) if isinstance(stop, str) else tuple(stop or ())

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._model.name

    @property
    def identity(self) -> str:
        """Identity of the model."""
        return self._model.identity

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion for each request."""
        changed = [self._apply(request) for request in requests]
        streams = [self._stream, *[None] * (len(changed) - 1)][: len(changed)]
        completions = await generate_streamed(self._model, changed, streams)
        if not self._tool_names:
            return completions
        return [with_tool_calls(completion, self._tool_names) for completion in completions]

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request."""
        return self._model.bound(self._apply(request))

    def _apply(self, request: Request) -> Request:
        sampling = request.sampling
        changes: dict[str, Any] = {
            name: value for name, value in self._defaults.items() if getattr(sampling, name) is None
        }
        if self._max_tokens is not None:
            changes["max_tokens"] = min(sampling.max_tokens or self._max_tokens, self._max_tokens)
        if self._stop:
            changes["stop"] = (*sampling.stop, *self._stop)
        return request.model_copy(
            update={
                "sampling": sampling.model_copy(update=changes),
                "options": {**request.options, **self._options},
            }
        )


def has_no_effect(name: str, value: Any) -> bool:
    """Return true if an option of a request asks for what a model on this machine does anyway.

    >>> has_no_effect("frequency_penalty", 0), has_no_effect("frequency_penalty", 0.5)
    (True, False)
    """
    return value is None or (name in _NEUTRAL and value in _NEUTRAL[name])


def refused_logprobs(body: Mapping[str, Any]) -> str | None:
    """Return the name of the field that requests log-probabilities, ``None`` if none does."""
    if body.get("logprobs") not in (None, False):
        return "logprobs"
    return None if body.get("top_logprobs") in (None, 0) else "top_logprobs"


def sample_seed(seed: int, index: int) -> int:
    """Return the seed of a sample of a request, given the seed of the request.

    The first sample has that seed. The seeds of others are hashes, so that the samples of a request
    are not those of another one with the next seed.
    """
    return seed if index == 0 else int(content_id("sample", str(seed), str(index))[:8], 16) >> 1


def token_limit(body: Mapping[str, Any]) -> int | None:
    """Return the token limit of a request, ``None`` if it has none."""
    values = [body.get("max_completion_tokens"), body.get("max_tokens")]
    limits = [value for value in values if isinstance(value, int) and value > 0]
    return min(limits) if limits else None


def sampling_of(body: Mapping[str, Any]) -> dict[str, float]:
    """Return the temperature and top-p that a request sets to a number."""
    return {
        name: body[name]
        for name in ("temperature", "top_p")
        if type(body.get(name)) in {int, float}
    }


def to_upstream_body(
    policy: Policy,
    request_body: Mapping[str, Any],
    address: str,
    *,
    remembered: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the body of a request with a policy applied.

    Sampling parameters that the policy leaves open stay as the request has them.

    Parameters
    ----------
    policy : Policy
        Policy that draws one sample from an endpoint.
    request_body : Mapping[str, Any]
        Body as received.
    address : str
        Address of the upstream.
    remembered : sequence of str, default ()
        Texts of the memory entries that apply to the request.
    """
    spec = policy.model
    assert isinstance(spec, EndpointSpec)
    sampling = policy.decoder.base_sampling
    body = {**with_tool_descriptions(policy, request_body), "model": spec.model}
    for name in ("temperature", "top_p"):
        if (value := getattr(sampling, name)) is not None:
            body[name] = value
    messages = request_body.get("messages")
    if isinstance(messages, list):
        body["messages"] = _with_policy_messages(policy, messages, remembered)
    limits = [n for n in (sampling.max_tokens, token_limit(request_body)) if n is not None]
    if limits:
        for name in ("max_tokens", "max_completion_tokens"):
            body.pop(name, None)
        body[_limit_field(spec, request_body, address)] = min(limits)
    if sampling.stop:
        stop = request_body.get("stop")
        body["stop"] = [*sampling.stop, *([stop] if isinstance(stop, str) else stop or [])]
    if spec.log_probabilities:
        body["logprobs"] = True
    if spec.send_seed is False:
        body.pop("seed", None)
    return body


def _with_policy_messages(
    policy: Policy, messages: list[Any], remembered: Sequence[str]
) -> list[Any]:
    """Return the messages of a request after those of the policy, with one system message."""
    own = [message.to_dict() for message in policy.messages((), remembered=remembered)]
    leading = list(takewhile(_is_instruction, messages))
    rest = messages[len(leading) :]
    if not own or not leading:
        return [*own, *messages]
    if own[0]["role"] != "system":
        return [*leading, *own, *rest]
    content = join_contents([own[0]["content"], *(message.get("content") for message in leading)])
    return [{**leading[0], "role": "system", "content": content}, *own[1:], *rest]


def _is_instruction(message: Any) -> bool:
    return isinstance(message, dict) and str(message.get("role")) in SYSTEM_ROLES


def with_tool_descriptions(policy: Policy, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body of a request with the policy's descriptions of its tools."""
    tools = body.get("tools")
    if policy.prompt is None or not policy.prompt.tools or not isinstance(tools, list):
        return body
    described = [
        policy.prompt.with_tools([tool])[0] if isinstance(tool, dict) else tool for tool in tools
    ]
    return {**body, "tools": described}


def _limit_field(spec: EndpointSpec, request_body: Mapping[str, Any], address: str) -> str:
    if spec.limit_field is not None:
        return spec.limit_field
    dialect = known_dialect(address, spec.model)
    if dialect is not None and dialect.limit_field is not None:
        return dialect.limit_field
    return "max_completion_tokens" if "max_completion_tokens" in request_body else "max_tokens"


def learn_limit_field(policy: Policy, body: Mapping[str, Any], address: str, error: Any) -> None:
    """Remember the name of the token limit that an upstream takes, after its error.

    Parameters
    ----------
    policy : Policy
        Policy that draws one sample from an endpoint.
    body : Mapping[str, Any]
        Body as sent.
    address : str
        Address of the upstream.
    error : Any
        Body of the error.
    """
    assert isinstance(policy.model, EndpointSpec)
    dialect = known_dialect(address, policy.model.model) or Dialect()
    limits = [name for name in ("max_tokens", "max_completion_tokens") if name in body]
    adapted = dialect.adapted(limits, rejected_parameters(error, limits))
    if adapted != dialect:
        remember_dialect(address, policy.model.model, adapted)
