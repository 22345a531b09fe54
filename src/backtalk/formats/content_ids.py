"""Records with ids made from their content, so that importing a row twice adds nothing.

>>> from backtalk.feedback import Label
>>> interaction = make_interaction("Is it open?", [Response(id="0", text="Yes.")])
>>> label = make_feedback(Label, interaction, HUMAN, response="0", good=True)
>>> label.id == make_feedback(Label, interaction, HUMAN, response="0", good=True).id
True
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from pydantic_core import to_json

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import (
    Interaction,
    Message,
    Prompt,
    Response,
    as_prompt,
    prompt_text,
)
from backtalk.feedback.kinds import KINDS, AnyFeedback, FeedbackT
from backtalk.feedback.record import content_id

HUMAN = Annotator.human()
"""An unknown person."""

_KIND_NAMES: dict[Any, str] = {kind: name for name, kind in KINDS.items()}


def make_interaction(
    prompt: str | Prompt,
    responses: Sequence[Response],
    *,
    distinct: Iterable[str] = (),
    time: datetime | None = None,
    **fields: Any,
) -> Interaction:
    """Build an interaction whose id is determined by its prompt and responses.

    Parameters
    ----------
    prompt : str or tuple of Message
        A text, for one user message, or messages.
    responses : sequence of Response
        Responses; their ids, texts and models are part of the interaction's id.
    distinct : iterable of str, default ()
        Further parts of the id, which distinguish interactions with the same prompt and responses.
    time : datetime, optional
        Time of the interaction; unknown by default.
    **fields : Any
        Other fields of the interaction; not part of its id.
    """
    messages = as_prompt(prompt)
    parts: list[str] = []
    for message in messages:
        parts += _message_parts(message)
    parts.append("responses")
    for response in responses:
        parts += (response.id, response.text, response.model or "")
        if response.messages:
            parts.append(f"[{','.join(map(_json_of_message, response.messages))}]")
    parts += distinct
    return Interaction(
        id=content_id(*parts), prompt=messages, responses=tuple(responses), time=time, **fields
    )


def _message_parts(message: Message) -> tuple[str, str]:
    content = message.content
    if type(content) is str and not (message.tool_calls or message.tool_call_id or message.name):
        return message.role, content
    return f"{message.role}, as JSON", _json_of_message(message)


def _json_of_message(message: Message) -> str:
    """Return a message as JSON without its reasoning, which is no part of ids."""
    return message.model_dump_json(exclude={"reasoning"})


def make_feedback(
    kind: type[FeedbackT],
    interaction: Interaction | None,
    annotator: Annotator,
    *,
    time: datetime | None = None,
    confidence: float | None = None,
    metadata: dict[str, Any] | None = None,
    distinct: str | None = None,
    **fields: Any,
) -> FeedbackT:
    """Build feedback whose id is determined by interaction, annotator, time and content.

    Parameters
    ----------
    kind : type
        Class of the feedback.
    interaction : Interaction or None
        Interaction that the feedback is about; ``None`` for the system as a whole.
    annotator : Annotator
        Source of the feedback.
    time : datetime, optional
        Time of the feedback; unknown by default.
    confidence : float, optional
        Confidence of the annotator, in [0, 1]; not part of the id.
    metadata : dict, optional
        Metadata of the feedback; not part of the id.
    distinct : str, optional
        Further part of the id, which distinguishes feedback with the same content.
    **fields : Any
        Fields of that kind of feedback. ``None`` leaves a field at its default, if it has one.
    """
    data = {
        name: fields[name]
        for name in sorted(fields)
        if fields[name] is not None or name in _required_fields(_KIND_NAMES[kind])
    }
    interaction_id = None if interaction is None else interaction.id
    id_ = content_id(
        interaction_id or "",
        _KIND_NAMES[kind],
        annotator.kind,
        annotator.id,
        "" if time is None else time.isoformat(),
        to_json(data).decode(),
        *(() if distinct is None else (distinct,)),
    )
    if confidence is not None:
        data["confidence"] = confidence
    if metadata:
        data["metadata"] = metadata
    return kind(id=id_, interaction=interaction_id, annotator=annotator, time=time, **data)  # type: ignore[arg-type]


@cache
def _required_fields(kind: str) -> frozenset[str]:
    fields = KINDS[kind].model_fields
    return frozenset(name for name, field in fields.items() if field.is_required())


def make_case(interaction: Interaction, feedback: Iterable[AnyFeedback]) -> Case:
    """Build a case; of feedback with the same id, one is kept."""
    items = tuple(feedback)
    if len(items) > 1:
        items = tuple({item.id: item for item in items}.values())
    return Case(interaction, items)


def response_from_messages(id: str, messages: Prompt, **fields: Any) -> Response:  # noqa: A002
    """Build a response from its messages.

    One plain message becomes the response's text. Otherwise the messages are kept as they are, and
    the text is their readable form.

    Parameters
    ----------
    id : str
        Id of the response within its interaction.
    messages : tuple of Message
        Messages of the response, at least one.
    **fields : Any
        Other fields of the response.
    """
    first = messages[0]
    thoughts = [message.reasoning for message in messages if message.reasoning]
    if thoughts:
        fields["reasoning"] = "\n\n".join(thoughts)
    if len(messages) == 1 and first.role == "assistant":
        plain = isinstance(first.content, str) and not (first.tool_calls or first.name)
        return Response(id=id, text=first.text, messages=() if plain else messages, **fields)
    return Response(id=id, text=prompt_text(messages), messages=messages, **fields)
