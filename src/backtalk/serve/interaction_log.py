"""Conversion of a request and its completion to interactions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from backtalk.errors import RecordError
from backtalk.feedback import Interaction, MemoryUse, Message, Prompt
from backtalk.feedback.record import new_id
from backtalk.formats.chat import as_messages
from backtalk.models.endpoint.answer_checks import count_completion_tokens
from backtalk.serve.response_records import chat_responses, numbered_choices, text_responses

_OMITTED_FIELDS = frozenset({"messages", "prompt", "stream", "stream_options", "user", "n"})
"""Request fields that are not copied to ``metadata.gateway.request``."""

GATEWAY = "gateway"
"""Key of the metadata that the gateway sets."""


@dataclass(frozen=True)
class PolicyPrompt:
    """Prompt of a policy as its model read it for one prompt of a request."""

    version: str | None
    """Version of the policy's prompt; ``None`` if the policy has none."""
    memory: tuple[MemoryUse, ...] = ()
    """Memory entries that applied, shown or withheld."""
    propensity: float | None = None
    """Probability with which this version was selected; ``None`` if the policy has one prompt."""

    def response_fields(self) -> dict[str, Any]:
        """Return the fields of a response that describe it."""
        fields = {"prompt_version": self.version, "memory": self.memory}
        selected = {} if self.propensity is None else {"prompt_propensity": self.propensity}
        return {**fields, **selected}


@dataclass(frozen=True)
class RequestRecord:
    """Request as recorded for the interaction log."""

    id: str
    """Id of the interaction and of the completion."""
    project: str
    body: Mapping[str, Any]
    """Parsed body of the request."""
    user: str | None = None
    session: str | None = None
    parent: str | None = None
    """Id of the interaction that this one continues."""
    policy: str | None = None
    propensity: float | None = None
    policies: Mapping[str, str] = field(default_factory=dict)
    """Policy ids by response id, if several policies answer."""
    prompts: dict[str, tuple[PolicyPrompt, ...]] = field(default_factory=dict)
    """Prompts of the policies that answer, by policy id; one for each prompt of the request."""
    idempotency_key: str | None = None
    """Key that equal requests have, sent again by the caller."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Contents of ``metadata.gateway``, such as the upstream and the caller's key."""

    @property
    def draw_unit(self) -> str:
        """Unit that is shown the same memory entries: the session, or this request."""
        return self.unit_of(self.session or self.idempotency_key or self.id)

    def unit_of(self, name: str) -> str:
        """Return the unit of this user's conversation that has a name."""
        return "\n".join((self.project, self.user or "", name))


_ID_PREFIXES = ("resp_", "msg_", ":")
"""Prefixes of ids: of responses, of messages, and of ids that would else seem to have one."""


def interaction_id(project: str, default: str, prefix: str = "") -> str:
    """Return a new id, with the project as a prefix unless it is the default project.

    The prefix lets feedback find its project if the caller may use several.

    Parameters
    ----------
    project : str
        Project of the interaction.
    default : str
        Project of the gateway's settings.
    prefix : str, default ""
        Beginning of the id, by which clients know the kind of answer: ``resp_`` or ``msg_``.
    """
    if project == default:
        return f"{prefix}{new_id()}"
    if not prefix and project.startswith(_ID_PREFIXES):
        prefix = ":"
    return f"{prefix}{project}:{new_id()}"


def project_from_id(id_: str) -> str | None:
    """Return the project in an interaction id, ``None`` if it names none.

    >>> project_from_id("mail:0123"), project_from_id("resp_mail:0123"), project_from_id("0123")
    ('mail', 'mail', None)
    """
    project, _, _ = id_.rpartition(":")
    prefix = next((prefix for prefix in _ID_PREFIXES if project.startswith(prefix)), "")
    return project.removeprefix(prefix) or None


def chat_interactions(record: RequestRecord, completion: Mapping[str, Any]) -> list[Interaction]:
    """Return the interaction of a chat completion as a list of length one."""
    prompt = chat_prompt(record.body.get("messages"))
    responses = chat_responses(completion, has_stop=bool(record.body.get("stop")))
    return [_interaction(record, 0, prompt, responses)]


def text_interactions(record: RequestRecord, completion: Mapping[str, Any]) -> list[Interaction]:
    """Return the interactions of a text completion, one for each prompt.

    The first has the id of the completion. The others have a suffix: ``-1``, ``-2`` and so on.
    """
    prompts = completion_prompts(record.body.get("prompt"))
    choices = numbered_choices(completion)
    count = max(1, len(choices) // max(1, len(prompts)))
    interactions = []
    for index, prompt in enumerate(prompts):
        responses = text_responses(choices[index * count : (index + 1) * count], completion)
        interactions.append(_interaction(record, index, (Message.user(prompt),), responses))
    return interactions


def completion_prompts(prompt: Any) -> list[str]:
    """Return the prompts of a text completion as texts; token ids are written as JSON."""
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt:
        if all(isinstance(item, str) for item in prompt):
            return list(prompt)
        if all(isinstance(item, list) for item in prompt):
            return [json.dumps(item) for item in prompt]
    return [json.dumps(prompt)]


def chat_prompt(messages: Any) -> Prompt:
    """Return the messages of a chat as a prompt; invalid ones as one message, written as JSON."""
    try:
        return as_messages(messages, "messages")
    except (RecordError, ValidationError):
        return (Message.user(json.dumps(sanitise_json(messages), ensure_ascii=False)),)


def completion_notes(completion: Mapping[str, Any], interaction: str) -> dict[str, Any]:
    """Return the fields of ``metadata.gateway`` that come from a completion.

    ``upstream_id`` is the upstream's own id. ``cut`` and ``error`` say that the answer is not
    whole. ``completion_tokens`` is the least number of tokens of all choices, if ``usage`` reports
    fewer.

    Parameters
    ----------
    completion : Mapping[str, Any]
        Completion as it was sent, or assembled from a stream.
    interaction : str
        Id of the interaction, which completions of policies have.
    """
    notes = {name: completion[name] for name in ("usage", "cut", "error") if completion.get(name)}
    id_ = completion.get("id")
    if isinstance(id_, str) and id_ and id_ != interaction:
        notes["upstream_id"] = id_
    tokens = count_completion_tokens(completion)
    if tokens is not None and notes["usage"]["completion_tokens"] != tokens:
        notes["completion_tokens"] = tokens
    return notes


def _interaction(
    record: RequestRecord,
    index: int,
    prompt: Prompt,
    responses: Sequence[dict[str, Any]],
) -> Interaction:
    request = {name: v for name, v in record.body.items() if name not in _OMITTED_FIELDS}
    request_metadata = request.pop("metadata", None)
    metadata = {**request_metadata} if isinstance(request_metadata, dict) else {}
    if GATEWAY in metadata:
        request["metadata"] = {GATEWAY: metadata[GATEWAY]}
    metadata[GATEWAY] = {**record.notes, "request": request}
    for response in responses:
        if (policy := record.policies.get(response["id"])) is not None:
            response["policy"] = policy
        read = record.prompts.get(policy or record.policy or "", ())
        if index < len(read):
            response.update(read[index].response_fields())
    fields = {
        "id": record.id if index == 0 else f"{record.id}-{index}",
        "prompt": prompt,
        "responses": responses,
        "shown": [
            response["id"]
            for response in responses
            if not response.get("metadata", {}).get("hidden")
        ],
        "user": record.user,
        "session": record.session,
        "parent": record.parent,
        "policy": record.policy,
        "propensity": record.propensity,
        "metadata": metadata,
    }
    try:
        return Interaction.model_validate(fields)
    except ValidationError:
        fields["prompt"] = [message.to_dict() for message in prompt]
        return Interaction.model_validate(sanitise_json(fields))


def sanitise_json(value: Any) -> Any:
    r"""Return JSON without lone surrogates, infinity and NaN, which databases cannot store.

    >>> sanitise_json({"a": "x\ud800", "b": float("inf")})
    {'a': 'x\ufffd', 'b': 'inf'}
    """
    if isinstance(value, str):
        return (
            value
            if value.isascii()
            else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [sanitise_json(item) for item in value]
    if isinstance(value, dict):
        return {sanitise_json(name): sanitise_json(item) for name, item in value.items()}
    return value
