"""Cases: interactions with their feedback, and merging cases that share a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from backtalk.feedback.answers import response_content_id
from backtalk.feedback.interaction import Interaction, Message, Response
from backtalk.feedback.kinds import AnyFeedback, FeedbackT
from backtalk.feedback.latest_votes import latest_votes
from backtalk.feedback.record import content_id


@dataclass(frozen=True, slots=True)
class Case:
    """An interaction and its feedback."""

    interaction: Interaction
    feedback: tuple[AnyFeedback, ...] = ()
    is_merged: bool = False
    """If true, the case was merged from several interactions with the same prompt."""

    def of(self, kind: type[FeedbackT]) -> list[FeedbackT]:
        """Return the feedback of one kind, in order."""
        return [item for item in self.feedback if isinstance(item, kind)]

    def latest(self) -> Case:
        """Return the case without judgements that a later one by the same annotator supersedes.

        See :func:`~backtalk.feedback.latest_votes.latest_votes`.
        """
        feedback = latest_votes(self.feedback, is_merged=self.is_merged)
        return self if feedback is self.feedback else replace(self, feedback=feedback)

    def text(self, response: str) -> str:
        """Return the text of the response with that id."""
        return self.interaction.response(response).text


def prompt_key(prompt: tuple[Message, ...]) -> str:
    """Return the content id of a prompt, equal for two interactions with the same prompt.

    Prompts with different settings of their request, such as other tools, have different keys.
    """
    parts = [part for message in prompt for part in _message_parts(message)]
    for message in prompt:
        if message.request:
            parts += ["request", json.dumps(message.request, sort_keys=True)]
    return content_id(*parts)


def _message_parts(message: Message) -> tuple[str, str, str]:
    plain = isinstance(message.content, str) and not (
        message.tool_calls or message.tool_call_id or message.name
    )
    if plain:
        return message.role, "text", message.text
    return message.role, "json", message.model_dump_json(exclude={"reasoning"})


def merge_by_prompt(cases: Iterable[Case]) -> list[Case]:
    """Merge cases that have the same prompt, so that their responses can be compared.

    Responses with the same model, text and messages become one. Merged interactions have no
    ``shown``, as there is no longer a single display. Feedback that would compare a response with
    itself is left out. All cases are held in memory.

    Returns
    -------
    list of Case
        One case per prompt, in order of first appearance. A merged interaction's id is determined
        by the prompt, the ids of its responses by model, text and messages.
    """
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(prompt_key(case.interaction.prompt), []).append(case)
    return [group[0] if len(group) == 1 else _merge(key, group) for key, group in groups.items()]


def _merge(key: str, group: list[Case]) -> Case:
    responses: dict[str, Response] = {}
    feedback: list[AnyFeedback] = []
    for case in group:
        new_ids = {}
        for response in case.interaction.responses:
            new_id = response_content_id(response)
            new_ids[response.id] = new_id
            responses.setdefault(new_id, response.model_copy(update={"id": new_id}))
        feedback += [
            moved
            for item in case.latest().feedback
            if (moved := _with_new_ids(item, interaction=key, responses=new_ids)) is not None
        ]
    merged = Interaction(
        id=key,
        prompt=group[0].interaction.prompt,
        responses=tuple(responses.values()),
        time=None,
    )
    return Case(merged, tuple(feedback), is_merged=True)


def _with_new_ids(
    item: AnyFeedback, *, interaction: str, responses: dict[str, str]
) -> AnyFeedback | None:
    """Return feedback with new interaction and response ids, ``None`` if it is no longer valid."""
    data: dict[str, Any] = item.to_dict()
    data["interaction"] = interaction
    for field in ("response", "a", "b", "chosen"):
        if data.get(field) is not None:
            data[field] = responses[data[field]]
    if "tiers" in data:
        data["tiers"] = [[responses[id_] for id_ in tier] for tier in data["tiers"]]
    if "shown" in data:
        data["shown"] = [
            {**entry, "response": responses[entry["response"]]} for entry in data["shown"]
        ]
    try:
        return type(item).model_validate(data)
    except ValidationError:
        return None
