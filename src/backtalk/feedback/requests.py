"""Settings of a request that are part of its prompt: tools, response format, reasoning.

A server passes them to the chat template, so that the model reads them. The last message of a
prompt carries them, so that they stay with it wherever it is rendered; they are no part of the
stored message.

>>> prompt = with_request((Message.user("Hi"),), {"reasoning_effort": "low", "temperature": 1})
>>> request_of(prompt), request_of(without_request(prompt))
({'reasoning_effort': 'low'}, {})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Interaction, Message, Prompt

SETTINGS = (
    "tools", "documents", "response_format", "reasoning_effort", "enable_thinking",
    "chat_template_kwargs",
)  # fmt: skip
"""Parameters of a request that chat templates read."""


def with_request(prompt: Sequence[Message], parameters: Mapping[str, Any]) -> Prompt:
    """Return a prompt with the settings of a request; ``functions`` are tools.

    Parameters
    ----------
    prompt : sequence of Message
        Messages.
    parameters : Mapping[str, Any]
        Parameters of the request; those that no chat template reads are ignored.
    """
    settings = {name: parameters[name] for name in SETTINGS if parameters.get(name) is not None}
    functions, reasoning = parameters.get("functions"), parameters.get("reasoning")
    if "tools" not in settings and isinstance(functions, list) and functions:
        settings["tools"] = [{"type": "function", "function": item} for item in functions]
    if "reasoning_effort" not in settings and isinstance(reasoning, dict):
        effort = reasoning.get("effort")
        settings |= {} if effort is None else {"reasoning_effort": effort}
    if not settings or not prompt:
        return tuple(prompt)
    return (*prompt[:-1], prompt[-1].model_copy(update={"request": settings}))


def without_request(prompt: Sequence[Message]) -> Prompt:
    """Return a prompt as it is stored, without the settings of its request."""
    return tuple(
        message.model_copy(update={"request": {}}) if message.request else message
        for message in prompt
    )


def stored_prompt_key(prompt: Sequence[Message]) -> str:
    """Return the key of a prompt as it is stored: equal whatever the settings of its request."""
    return prompt_key(without_request(prompt))


def request_of(prompt: Sequence[Message]) -> dict[str, JsonValue]:
    """Return the settings of a prompt's request; empty if it has none."""
    return {name: value for message in prompt for name, value in message.request.items()}


def with_settings_in_metadata(interaction: Interaction) -> Interaction:
    """Return an interaction that keeps the settings of its prompt's request when it is stored.

    They are in its metadata, from which :func:`requested_prompt` reads them.

    >>> prompt = with_request((Message.user("Hi"),), {"reasoning_effort": "low"})
    >>> stored = with_settings_in_metadata(Interaction(prompt=prompt)).to_dict()
    >>> request_of(requested_prompt(Interaction.model_validate(stored)))
    {'reasoning_effort': 'low'}
    """
    settings = request_of(interaction.prompt)
    if not settings:
        return interaction
    return interaction.model_copy(update={"metadata": {**interaction.metadata, **settings}})


def as_requested(interaction: Interaction) -> Interaction:
    """Return an interaction with its prompt as the model read it; see :func:`requested_prompt`."""
    prompt = requested_prompt(interaction)
    if prompt == interaction.prompt:
        return interaction
    return interaction.model_copy(update={"prompt": prompt})


def requested_prompt(interaction: Interaction) -> Prompt:
    """Return the prompt of an interaction as the model read it, with the settings of its request.

    The gateway stores the parameters of a request in the metadata, and importers those of a row.
    """
    gateway = interaction.metadata.get("gateway")
    request = gateway.get("request") if isinstance(gateway, dict) else None
    return with_request(
        interaction.prompt, request if isinstance(request, dict) else interaction.metadata
    )
