"""Tools, and trials of them, in the interactions of a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.interaction import Message, Prompt, Response
from backtalk.feedback.kinds import Outcome
from backtalk.learn.prompt.tools.calls import (
    ToolCall,
    ToolDefinition,
    ToolTrial,
    definition_name,
    is_failure,
    parse_call,
)
from backtalk.learn.training_set import TrainingSet


def recorded_tools(feedback: TrainingSet) -> dict[str, ToolDefinition]:
    """Return the definitions of tools by name, the last of each as the requests of a store had it.

    The gateway and importers keep the ``tools`` of a request in the metadata of its interaction.
    """
    return {
        name: definition
        for case in feedback.every_case()
        for definition in _tools(case.interaction.metadata)
        if (name := definition_name(definition)) is not None
    }


def recorded_trials(feedback: TrainingSet) -> list[ToolTrial]:
    """Return the trials in the interactions of a training set, each one once.

    A result is the message of the tool that answers the call, in the prompt of a later turn or in
    the response. A call without one has the result that an outcome states, if the call is all that
    the response is.
    """
    results: dict[tuple[str, str, str], ToolTrial] = {}
    for case in feedback.every_case():
        for trial in _trials(case):
            key = "" if trial.request is None else prompt_key(trial.request)
            results.setdefault((key, trial.call.key, trial.result), trial)
    return list(results.values())


def right_calls(trials: Sequence[ToolTrial]) -> dict[str, list[ToolCall]]:
    """Return the calls that succeeded, by key of the request."""
    calls: dict[str, list[ToolCall]] = {}
    for trial in trials:
        if trial.request is not None and not trial.failed:
            known = calls.setdefault(prompt_key(trial.request), [])
            if trial.call not in known:
                known.append(trial.call)
    return calls


def _tools(metadata: Mapping[str, Any]) -> Iterator[ToolDefinition]:
    gateway = metadata.get("gateway")
    request = gateway.get("request") if isinstance(gateway, Mapping) else None
    for source in (metadata, request):
        tools = source.get("tools") if isinstance(source, Mapping) else None
        yield from (
            tool for tool in (tools if isinstance(tools, list) else ()) if isinstance(tool, Mapping)
        )


def _trials(case: Case) -> Iterator[ToolTrial]:
    prompt = case.interaction.prompt
    yield from _answered(prompt)
    for response in case.interaction.responses:
        yield from _answered((*prompt, *response.messages), start=len(prompt))
        yield from _judged(case, response)


def _answered(messages: Sequence[Message], *, start: int = 0) -> Iterator[ToolTrial]:
    """Yield the calls in messages from ``start`` that a message of a tool answers."""
    for position, message in enumerate(messages):
        if position < start or not message.tool_calls:
            continue
        answers = {
            later.tool_call_id: later
            for later in messages[position + 1 :]
            if later.role == "tool" and later.tool_call_id is not None
        }
        for call in message.tool_calls:
            if (answer := answers.get(str(call.get("id")))) is not None:
                yield ToolTrial(
                    parse_call(call),
                    answer.text,
                    is_failure(answer.text),
                    _request(messages[:position]),
                )


def _judged(case: Case, response: Response) -> Iterator[ToolTrial]:
    """Yield the only call of a response with the outcome that is stated for it."""
    calls = [call for message in response.messages for call in message.tool_calls]
    if len(calls) != 1 or any(message.role == "tool" for message in response.messages):
        return
    outcomes = [
        item
        for item in case.of(Outcome)
        if item.response == response.id and item.passed is not None
    ]
    for outcome in outcomes[-1:]:
        yield ToolTrial(
            parse_call(calls[0]),
            outcome.text,
            outcome.passed is False,
            _request(case.interaction.prompt),
        )


def _request(messages: Sequence[Message]) -> Prompt | None:
    """Return the messages up to the last one of the user."""
    ends = [index for index, message in enumerate(messages) if message.role == "user"]
    return tuple(messages[: ends[-1] + 1]) if ends else None
