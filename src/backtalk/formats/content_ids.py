"""Records whose ids come from their content, so that importing the same thing twice adds nothing.

>>> from backtalk.feedback import Label
>>> talk = interaction("Is it open?", [Response(id="0", text="Yes.")])
>>> said = feedback(Label, talk, HUMAN, response="0", good=True)
>>> said.id == feedback(Label, talk, HUMAN, response="0", good=True).id
True
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic_core import to_json

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Interaction, Message, Response, as_prompt, prompt_text
from backtalk.feedback.kinds import KINDS, AnyFeedback
from backtalk.feedback.record import content_id
from backtalk.feedback.views import Case

Kind = TypeVar("Kind", bound=AnyFeedback)

HUMAN = Annotator.human()
"""A person of whom nothing is known."""

_NAMES: dict[Any, str] = {kind: name for name, kind in KINDS.items()}


def make_interaction(
    prompt: str | tuple[Message, ...],
    responses: Sequence[Response],
    *,
    distinct: Iterable[str] = (),
    time: datetime | None = None,
    **fields: Any,
) -> Interaction:
    """Build an interaction.

    Parameters
    ----------
    prompt : str | tuple[Message, ...]
        A text, for one user message, or messages.
    responses : sequence of Response
        Their ids, texts and models are part of the interaction's id.
    distinct : Iterable[str], default ()
        What else tells it from another with the same prompt and responses.
    time : datetime, optional
        When it happened, ``None`` where nobody knows.
    fields
        The other fields of an interaction; not part of its id.
    """
    messages = as_prompt(prompt)
    parts: list[str] = []
    for message in messages:
        parts += _message_parts(message)
    parts.append("responses")
    for response in responses:
        parts += (response.id, response.text, response.model or "")
        if response.messages:
            parts.append(to_json(response.messages).decode())
    parts += distinct
    return Interaction(
        id=content_id(*parts), prompt=messages, responses=tuple(responses), time=time, **fields
    )


def plain_interaction(
    prompt: str, texts: tuple[str, ...], *, metadata: dict[str, Any]
) -> Interaction:
    """Build what ``interaction`` builds of a text and texts, whose ids are their places.

    All of it is validated at once, which takes two thirds of the time.

    >>> texts = ("Yes.", "No.")
    >>> slow = interaction("Open?", [Response(id=str(i), text=t) for i, t in enumerate(texts)])
    >>> slow == plain_interaction("Open?", texts, metadata={})
    True
    """
    parts = ["user", prompt, "responses"]
    responses = []
    for index, text in enumerate(texts):
        parts += (str(index), text, "")
        responses.append({"id": str(index), "text": text})
    return Interaction.model_validate(
        {
            "id": content_id(*parts),
            "prompt": ({"role": "user", "content": prompt},),
            "responses": responses,
            "time": None,
            "metadata": metadata,
        }
    )


def _message_parts(message: Message) -> tuple[str, str]:
    content = message.content
    if type(content) is str and not (message.tool_calls or message.tool_call_id or message.name):
        return message.role, content
    return f"{message.role}, as JSON", message.to_json()


def feedback(
    kind: type[Kind],
    about: Interaction | None,
    annotator: Annotator,
    *,
    time: datetime | None = None,
    confidence: float | None = None,
    metadata: dict[str, Any] | None = None,
    distinct: str | None = None,
    **payload: Any,
) -> Kind:
    """Build feedback whose id is determined by what it is about, who said it, when, and what.

    Parameters
    ----------
    kind : type[Kind]
        The class of feedback.
    about : Interaction or None
        The interaction; ``None`` for the system as a whole.
    annotator, time, confidence, metadata
        As in the record. The id does not depend on confidence and metadata.
    distinct : str, optional
        What else tells it from feedback that says the same.
    payload
        The fields that are the kind's own. One that is ``None`` counts as not given.
    """
    said = {name: payload[name] for name in sorted(payload) if payload[name] is not None}
    interaction = None if about is None else about.id
    id_ = content_id(
        interaction or "",
        _NAMES[kind],
        annotator.kind,
        annotator.id,
        "" if time is None else time.isoformat(),
        to_json(said).decode(),
        *(() if distinct is None else (distinct,)),
    )
    if confidence is not None:
        said["confidence"] = confidence
    if metadata:
        said["metadata"] = metadata
    return kind(id=id_, interaction=interaction, annotator=annotator, time=time, **said)  # type: ignore[arg-type]


def case(interaction: Interaction, items: Iterable[AnyFeedback]) -> Case:
    """Put an interaction and feedback together; of feedback that says the same, one is kept."""
    said = tuple(items)
    if len(said) > 1:
        said = tuple({item.id: item for item in said}.values())
    return Case(interaction, said)


def written(id: str, messages: tuple[Message, ...], **fields: Any) -> Response:  # noqa: A002
    """Build a response from the messages that it consists of.

    The text is that of the message where there is one plain message; several are kept as they are
    too, and their text is what a reader would see.
    """
    first = messages[0]
    if len(messages) == 1 and first.role == "assistant":
        plain = isinstance(first.content, str) and not (first.tool_calls or first.name)
        return Response(id=id, text=first.text, messages=() if plain else messages, **fields)
    return Response(id=id, text=prompt_text(messages), messages=messages, **fields)
