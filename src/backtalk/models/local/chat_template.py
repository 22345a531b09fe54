"""Chat templates: conversion between chat messages and tokens, and end-of-sequence tokens."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import jinja2
from pydantic import JsonValue

from backtalk.feedback.chat_answer import is_reasoning_part
from backtalk.feedback.interaction import Message
from backtalk.models.errors import BadRequest, TemplateError

PLAIN = "plain"
"""Name of the template for models that only continue a text: the messages' texts, separated by
empty lines, directly followed by the completion."""

_PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if not loop.first and message.role != 'assistant' %}{{ '\\n\\n' }}{% endif %}"
    "{{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)

_SANITIZE = "sanitize_control_tokens"
"""Parameter of transformers since 5.20 that encodes control tokens in messages as text."""

_RECENT_PROMPTS = 1024
"""Number of prompts whose tokens are stored, as several samples of a prompt are often drawn."""


class ChatTemplate:
    """Conversion between conversations and the tokens of one model.

    Control tokens in the texts of messages are encoded as plain text.

    Parameters
    ----------
    tokenizer : Any
        Tokenizer of the model, from transformers.
    name : str
        Name of the model, for error messages.
    eos_token_ids : frozenset[int]
        Tokens that end a completion.
    template : str, optional
        Jinja chat template, or ``"plain"``; the tokenizer's own template by default.
    options : Mapping[str, JsonValue], optional
        Variables of the template, such as ``enable_thinking``.

    Raises
    ------
    TemplateError
        If there is no template, or no end-of-sequence token.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        name: str,
        eos_token_ids: frozenset[int],
        template: str | None = None,
        options: Mapping[str, JsonValue] | None = None,
    ) -> None:
        if template is None and not tokenizer.chat_template:
            raise TemplateError(
                f"The model {name!r} has no chat template",
                f"Set chat_template to a Jinja template, or to {PLAIN!r} if the model continues "
                "texts",
            )
        if not eos_token_ids:
            raise TemplateError(
                f"The model {name!r} has no end-of-sequence token",
                "Set eos_token of its tokenizer, so that the end of an answer can be recognised",
            )
        _check_sanitizing(tokenizer, name)
        self._tokenizer = tokenizer
        self._name = name
        self._lock = threading.Lock()
        self._recent: dict[str, tuple[int, ...]] = {}
        self._template = _plain_template(tokenizer) if template == PLAIN else template
        self._options = dict(options or {})
        self.eos_token_ids = eos_token_ids

    @property
    def source(self) -> str:
        """Jinja template that renders the same prompts without options: it sets them itself."""
        template: str = self._template or self._tokenizer.get_chat_template()
        settings = "".join(
            f"{{%- set {name} = {_jinja_literal(value)} -%}}"
            for name, value in self._options.items()
        )
        return settings + template

    def prompt_tokens(self, messages: Sequence[Message], *, tools: JsonValue = None) -> list[int]:
        """Return the tokens of a prompt, with those that open the answer.

        If the last message is the assistant's, the answer continues it.
        """
        key = json.dumps([[_as_dict(message) for message in messages], tools])
        with self._lock:
            tokens = self._recent.get(key)
        if tokens is None:
            tokens = tuple(self._render(messages, tools=tools, opens_answer=True))
            with self._lock:
                self._recent[key] = tokens
                if len(self._recent) > _RECENT_PROMPTS:
                    self._recent.pop(next(iter(self._recent)))
        return list(tokens)

    def conversation_tokens(
        self, messages: Sequence[Message], completion: str, *, reasoning: str | None = None
    ) -> tuple[list[int], list[int]]:
        """Return the tokens of a prompt and of its completion, with the end-of-sequence token.

        The completion's tokens are those that the template renders, with any white space that the
        template adds or strips. A completion of a message that the assistant began continues it.

        Parameters
        ----------
        messages : sequence of Message
            Prompt.
        completion : str
            Text of the completion.
        reasoning : str, optional
            Reasoning before the completion, which the template writes; none by default.

        Raises
        ------
        TemplateError
            If the template renders the prompt differently once it is answered, changes the answer,
            or does not end it.
        """
        prompt = self.prompt_tokens(messages)
        if is_begun(messages):
            whole = Message.assistant(messages[-1].text + completion)
            conversation = self._render([*messages[:-1], whole])
        else:
            answer = Message(role="assistant", content=completion, reasoning=reasoning)
            conversation = self._render([*messages, answer], writes_reasoning=True)
        if conversation[: len(prompt)] != prompt:
            raise TemplateError(
                f"The chat template of {self._name!r} writes a prompt differently once it is "
                "answered, so that the answer cannot be scored",
                "Use another chat_template, or template_options: enable_thinking=False helps for "
                "some models",
            )
        tokens = conversation[len(prompt) :]
        ends = [index for index, token in enumerate(tokens) if token in self.eos_token_ids]
        if not ends:
            raise TemplateError(
                f"The chat template of {self._name!r} does not end an answer with a token that "
                "ends generation",
                "Use another chat_template, or set eos_token of its tokenizer",
            )
        tokens = tokens[: ends[0] + 1]
        written = self.decode(tokens).strip()
        if reasoning and reasoning.strip() in written:
            written = written[written.index(reasoning.strip()) + len(reasoning.strip()) :]
            is_whole = written.endswith(completion.strip())
        else:
            is_whole = not reasoning and written == completion.strip()
        if not is_whole:
            raise TemplateError(
                f"The chat template of {self._name!r} writes the answer {completion[:40]!r} as "
                f"{self.decode(tokens)[:40]!r}",
                "Use a chat_template that leaves answers unchanged, and for training on reasoning "
                "one that writes reasoning_content",
            )
        return prompt, tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens."""
        with self._lock:
            text: str = self._tokenizer.decode(
                list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return text

    def _render(
        self,
        messages: Sequence[Message],
        *,
        tools: JsonValue = None,
        opens_answer: bool = False,
        writes_reasoning: bool = False,
    ) -> list[int]:
        continues = opens_answer and is_begun(messages)
        with self._lock:
            try:
                tokens: list[int] = self._tokenizer.apply_chat_template(
                    [
                        *map(_as_dict, messages[:-1]),
                        _as_dict(messages[-1], reasoning=writes_reasoning),
                    ],
                    tools=tools,
                    chat_template=self._template,
                    add_generation_prompt=opens_answer and not continues,
                    continue_final_message=continues,
                    sanitize_control_tokens=True,
                    return_dict=False,
                    **self._options,
                )
            except jinja2.TemplateError as error:
                raise BadRequest(
                    f"The chat template of {self._name!r} refuses the messages: {error}",
                    "Change the roles or their order, or give another chat_template",
                ) from None
            except ValueError as error:
                if not continues:
                    raise
                raise BadRequest(
                    f"The chat template of {self._name!r} cannot continue a message that the "
                    f"assistant began: {str(error).splitlines()[0]}",
                    "End the messages with the user's, or give another chat_template",
                ) from None
        return tokens


def is_begun(messages: Sequence[Message]) -> bool:
    """Return true if the last message is an answer that the assistant began and can continue."""
    last = messages[-1]
    return last.role == "assistant" and not last.tool_calls and bool(last.text.strip())


def _check_sanitizing(tokenizer: Any, name: str) -> None:
    """Check that the tokenizer can encode control tokens in messages as text.

    Earlier versions of transformers take the parameter as a variable of the template and ignore it.

    Raises
    ------
    TemplateError
        If it cannot.
    """
    parameters = inspect.signature(tokenizer.apply_chat_template).parameters
    if _SANITIZE not in parameters:
        raise TemplateError(
            f"The tokenizer of {name!r}, {type(tokenizer).__name__}, would take control tokens in "
            "a user's text for the end of the message",
            "Install 'transformers>=5.20'",
        )


def _jinja_literal(value: JsonValue) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(map(_jinja_literal, value))}]"
        case dict():
            pairs = (
                f"{_jinja_literal(key)}: {_jinja_literal(item)}" for key, item in value.items()
            )
            return f"{{{', '.join(pairs)}}}"
    return repr(value)


def _plain_template(tokenizer: Any) -> str:
    """Return the plain template, with the beginning-of-sequence token if the tokenizer adds one."""
    ids = tokenizer("a")["input_ids"]
    adds_bos = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
    return "{{ bos_token }}" + _PLAIN_TEMPLATE if adds_bos else _PLAIN_TEMPLATE


def _as_dict(message: Message, *, reasoning: bool = False) -> dict[str, Any]:
    """Return a message as templates expect it: content as text, tool arguments as objects."""
    fields = message.model_dump(mode="json", exclude={"reasoning"})
    if reasoning and message.reasoning:
        fields["reasoning_content"] = message.reasoning
    if isinstance(message.content, tuple):
        for part in message.content:
            if "text" not in part and not is_reasoning_part(part):
                raise BadRequest(
                    f"A part of type {part.get('type')!r} cannot be read by a local model",
                    "Send text only, or use an endpoint",
                )
        fields["content"] = message.text
    for call in fields.get("tool_calls", ()):
        function = call.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            with suppress(ValueError):
                function["arguments"] = json.loads(function["arguments"])
    return fields
