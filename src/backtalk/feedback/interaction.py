"""Interactions: a prompt, its responses, and what was shown to the user."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from backtalk.feedback.chat_answer import is_reasoning_part
from backtalk.feedback.record import (
    OMIT_EMPTY,
    Metadata,
    Name,
    OptionalField,
    Propensity,
    Record,
    Time,
    new_id,
    now,
    repeated,
)

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Message(Record):
    """Chat message, as in the OpenAI protocol.

    >>> Message.user("Hello").text
    'Hello'
    """

    role: Role
    content: str | tuple[dict[str, JsonValue], ...] | None
    """Text, or a list of content parts; ``None`` for a message of tool calls only."""
    name: OptionalField[Name] = None
    tool_calls: tuple[dict[str, JsonValue], ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    tool_call_id: OptionalField[Name] = None
    reasoning: OptionalField[str] = None
    """Reasoning of the assistant before this message, apart from its content; ``None`` if unknown.
    Models do not read it unless they are told to."""
    request: dict[str, JsonValue] = Field(default_factory=dict, exclude=True, repr=False)
    """Settings of the request that the prompt came with, on its last message; see
    :mod:`backtalk.feedback.requests`. It is not stored with the message."""

    def __hash__(self) -> int:
        # Parts and tool calls are dictionaries, which have no hash of their own.
        return hash((self.role, self.text, self.tool_call_id))

    @classmethod
    def user(cls, text: str) -> Message:
        """Return a user message."""
        return cls(role="user", content=text)

    @classmethod
    def assistant(cls, text: str) -> Message:
        """Return an assistant message."""
        return cls(role="assistant", content=text)

    @classmethod
    def system(cls, text: str) -> Message:
        """Return a system message."""
        return cls(role="system", content=text)

    @property
    def text(self) -> str:
        """The content as text, without parts of other types (images, audio, reasoning)."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        texts = (part.get("text") for part in self.content if not is_reasoning_part(part))
        return "".join(text for text in texts if isinstance(text, str))


Prompt = Annotated[tuple[Message, ...], Field(min_length=1)]
"""Chat messages, at least one."""


def as_prompt(prompt: str | Message | Prompt | list[Message]) -> Prompt:
    """Return a prompt from a text (one user message), a message or several messages."""
    if isinstance(prompt, str):
        return (Message.user(prompt),)
    if isinstance(prompt, Message):
        return (prompt,)
    return tuple(prompt)


def prompt_text(prompt: Prompt) -> str:
    """Return a prompt as readable text; a single user message is returned without its role."""
    if len(prompt) == 1 and prompt[0].role == "user":
        return prompt[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in prompt)


class MemoryUse(Record):
    """Memory entry that applied to a prompt, shown to the model or withheld at random."""

    entry: Name
    """Id of the memory entry."""
    shown: bool = True
    """False if it was withheld."""
    propensity: Propensity = 1.0
    """Probability, in (0, 1], with which it was shown, whether it was or not."""


class Response(Record):
    """Candidate answer, shown or only sampled."""

    id: Name
    """Id that feedback refers to, unique within the interaction."""
    text: str
    """Text that judges read and that the offsets of spans and steps refer to."""
    messages: tuple[Message, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """All messages of the response, if it is not one plain message: tool calls, several turns."""
    reasoning: OptionalField[str] = None
    """Reasoning of the model before the answer, apart from the text; ``None`` if it reported none.
    Judges and exports may read it; training reads it only if it is told to."""
    model: OptionalField[Name] = None
    """Name of the model that generated it; ``None`` if unknown or written by a person."""
    policy: OptionalField[Name] = None
    """Id of the policy that generated it, if it differs from the interaction's policy."""
    sample: OptionalField[Annotated[int, Field(ge=0)]] = None
    """Index among repeated samples for the same prompt."""
    propensity: OptionalField[Propensity] = None
    """Probability, in (0, 1], with which it was shown at its position."""
    log_probability: OptionalField[Annotated[float, Field(le=0)]] = None
    """Summed log-probability of its tokens, in nats, under the model that generated it."""
    prompt_version: OptionalField[Name] = None
    """Version of the policy's prompt that the model read."""
    prompt_propensity: OptionalField[Propensity] = None
    """Probability, in (0, 1], with which this version was selected among those of the policy."""
    memory: tuple[MemoryUse, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Memory entries that applied to the prompt."""
    metadata: Metadata = Field(default_factory=dict)


class Interaction(Record):
    """Prompt with its responses, the display, the user and the policy that answered.

    >>> interaction = Interaction.of("Are you open?", "Yes.", "We open at nine.")
    >>> [response.id for response in interaction.responses]
    ['0', '1']
    """

    id: Name = Field(default_factory=new_id)
    prompt: Prompt
    responses: tuple[Response, ...] = ()
    shown: OptionalField[tuple[Name, ...]] = None
    """Ids of the responses that were shown, in display order; empty if none was shown, ``None``
    if it was not recorded."""
    user: OptionalField[Name] = None
    """Id of the user. A purge of this user removes the interaction and all feedback on it."""
    policy: OptionalField[Name] = None
    """Id of the policy that answered."""
    propensity: OptionalField[Propensity] = None
    """Probability, in (0, 1], with which the prompt was routed to this policy."""
    session: OptionalField[Name] = None
    """Id of the conversation that the interaction belongs to."""
    parent: OptionalField[Name] = None
    """Id of the interaction that this one continues."""
    time: Time | None = Field(default_factory=now)
    """Time of the interaction; ``None`` if unknown."""
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _valid_ids(self) -> Self:
        ids = [response.id for response in self.responses]
        if len(ids) > 1 and (duplicate := repeated(ids)) is not None:
            raise ValueError(f"responses: the id {duplicate!r} is used by two responses")
        if self.shown is not None:
            if (duplicate := repeated(self.shown)) is not None:
                raise ValueError(f"shown: the response {duplicate!r} is listed twice")
            for id_ in self.shown:
                if id_ not in ids:
                    raise ValueError(f"shown: there is no response {id_!r}, only {ids}")
        return self

    @classmethod
    def of(
        cls,
        prompt: str | Message | Prompt | list[Message],
        *responses: str,
        user: str | None = None,
    ) -> Interaction:
        """Build an interaction from texts.

        Parameters
        ----------
        prompt : str, Message or sequence of Message
            A text, for one user message, or messages.
        *responses : str
            Texts of the responses, which get the ids ``"0"``, ``"1"`` and so on.
        user : str, optional
            Id of the user.
        """
        return cls(
            prompt=as_prompt(prompt),
            responses=tuple(Response(id=str(i), text=text) for i, text in enumerate(responses)),
            user=user,
        )

    def response(self, id: str) -> Response:  # noqa: A002
        """Return the response with that id.

        Raises
        ------
        KeyError
            If there is none.
        """
        for response in self.responses:
            if response.id == id:
                return response
        raise KeyError(id)
