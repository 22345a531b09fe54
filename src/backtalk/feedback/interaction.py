"""What was asked, what was answered, and what of it was shown to whom, how."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

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
    """One chat message, as in the OpenAI protocol.

    >>> Message.user("Hello").text
    'Hello'
    """

    role: Role
    content: str | tuple[dict[str, JsonValue], ...] | None
    """The text, or a list of content parts; ``None`` where there are only tool calls."""
    name: OptionalField[Name] = None
    tool_calls: tuple[dict[str, JsonValue], ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    tool_call_id: OptionalField[Name] = None

    @classmethod
    def user(cls, text: str) -> Message:
        """Return what a user said."""
        return cls(role="user", content=text)

    @classmethod
    def assistant(cls, text: str) -> Message:
        """Return what the model said."""
        return cls(role="assistant", content=text)

    @classmethod
    def system(cls, text: str) -> Message:
        """Return a system instruction."""
        return cls(role="system", content=text)

    @property
    def text(self) -> str:
        """The content as text; parts that are not text (images, audio) are left out."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part["text"]) for part in self.content if "text" in part)


Prompt = Annotated[tuple[Message, ...], Field(min_length=1)]


def as_prompt(prompt: str | Message | tuple[Message, ...] | list[Message]) -> tuple[Message, ...]:
    """Return chat messages from a text (one user message), a message or several."""
    if isinstance(prompt, str):
        return (Message.user(prompt),)
    if isinstance(prompt, Message):
        return (prompt,)
    return tuple(prompt)


def prompt_text(prompt: tuple[Message, ...]) -> str:
    """Return the messages as readable text; a lone user message is its bare text."""
    if len(prompt) == 1 and prompt[0].role == "user":
        return prompt[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in prompt)


class Response(Record):
    """A candidate answer, shown or only sampled."""

    id: Name
    """Unique within its interaction; feedback refers to it."""
    text: str
    """What a judge reads, and what offsets of spans and steps count in."""
    messages: tuple[Message, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """The whole of it where it is more than one plain message: tool calls, several turns."""
    model: OptionalField[Name] = None
    """The model that wrote it, where known; a person's own text has none."""
    policy: OptionalField[Name] = None
    """The id of the policy that wrote it, where it was not the interaction's."""
    sample: OptionalField[Annotated[int, Field(ge=0)]] = None
    """Its index among repeated samples for the same prompt."""
    propensity: OptionalField[Propensity] = None
    """The probability with which it was shown where it was shown."""
    log_probability: OptionalField[Annotated[float, Field(le=0)]] = None
    """The summed log-probability, in nats, under the model that wrote it."""
    metadata: Metadata = Field(default_factory=dict)


class Interaction(Record):
    """One prompt, the responses to it, what was shown, who asked, and which policy answered.

    >>> talk = Interaction.of("Is it open?", "Yes.", "We open at nine.")
    >>> [response.id for response in talk.responses]
    ['0', '1']
    """

    id: Name = Field(default_factory=new_id)
    prompt: Prompt
    responses: tuple[Response, ...] = ()
    shown: OptionalField[tuple[Name, ...]] = None
    """The ids of the responses that were shown, in the order in which they were. ``None`` where
    that was not recorded, empty where nothing was shown."""
    user: OptionalField[Name] = None
    """Who asked. A purge of this user removes the interaction and all that was said about it."""
    policy: OptionalField[Name] = None
    """The id of the policy that answered."""
    propensity: OptionalField[Propensity] = None
    """The probability with which this policy, among those in play, got the prompt."""
    session: OptionalField[Name] = None
    """The conversation that the interaction belongs to."""
    parent: OptionalField[Name] = None
    """The interaction that this one continues."""
    time: Time | None = Field(default_factory=now)
    """When it happened; ``None`` where nobody knows."""
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ids_fit(self) -> Self:
        ids = [response.id for response in self.responses]
        if len(ids) > 1 and (twice := repeated(ids)) is not None:
            raise ValueError(f"responses: the id {twice!r} is given to two responses")
        if self.shown is not None:
            if (twice := repeated(self.shown)) is not None:
                raise ValueError(f"shown: the response {twice!r} is listed twice")
            for id_ in self.shown:
                if id_ not in ids:
                    raise ValueError(f"shown: there is no response {id_!r}, only {ids}")
        return self

    @classmethod
    def of(
        cls,
        prompt: str | Message | tuple[Message, ...] | list[Message],
        *responses: str,
        user: str | None = None,
    ) -> Interaction:
        """Build an interaction from texts; the responses get the ids ``"0"``, ``"1"`` and so on."""
        return cls(
            prompt=as_prompt(prompt),
            responses=tuple(Response(id=str(i), text=text) for i, text in enumerate(responses)),
            user=user,
        )

    def response(self, id: str) -> Response:  # noqa: A002
        """Return the response of that id.

        Raises
        ------
        KeyError
            If there is none.
        """
        for response in self.responses:
            if response.id == id:
                return response
        raise KeyError(id)
