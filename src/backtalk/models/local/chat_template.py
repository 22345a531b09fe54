"""From chat messages to tokens and back: the one place that knows templates and end tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import jinja2
from pydantic import JsonValue

from backtalk.feedback.interaction import Message
from backtalk.models.errors import BadRequest, TemplateError

PLAIN = "plain"
"""The name of the template that is none: the messages' texts with an empty line between them, and
the completion directly behind the last. For models that only continue a text."""

_PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if not loop.first and message.role != 'assistant' %}{{ '\\n\\n' }}{% endif %}"
    "{{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)


class ChatTemplate:
    """The tokens of conversations with one model.

    Texts of messages are only ever text: what looks like a control token in them is not one.

    Parameters
    ----------
    tokenizer : Any
        The model's, from transformers.
    name : str
        The model's, for errors.
    end : frozenset[int]
        The tokens that end a completion.
    template : str, optional
        A Jinja chat template, ``"plain"``, or the tokenizer's own.
    options : Mapping[str, JsonValue], optional
        Variables of the template, such as ``enable_thinking``.

    Raises
    ------
    TemplateError
        If there is no template.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        name: str,
        end: frozenset[int],
        template: str | None = None,
        options: Mapping[str, JsonValue] | None = None,
    ) -> None:
        if template is None and not tokenizer.chat_template:
            raise TemplateError(
                f"The model {name!r} has no chat template",
                f"Give a chat_template in Jinja, or {PLAIN!r} for a model that continues texts",
            )
        if not end:
            raise TemplateError(
                f"The model {name!r} has no end-of-sequence token",
                "Set eos_token of its tokenizer, so that it can be seen when an answer is complete",
            )
        self._tokenizer = tokenizer
        self._name = name
        self._lock = threading.Lock()
        self._template = _plain(tokenizer) if template == PLAIN else template
        self._options = dict(options or {})
        self.end = end

    def prompt(self, messages: Sequence[Message], *, tools: JsonValue = None) -> list[int]:
        """Return the tokens after which the model writes its answer."""
        return self._render(messages, tools=tools, add_generation_prompt=True)

    def conversation(
        self, messages: Sequence[Message], completion: str
    ) -> tuple[list[int], list[int]]:
        """Return the tokens of a prompt and those of a completion, with the token that ends it.

        The completion's are what the template writes for it: where the template adds or strips
        white space around an answer, so do they.

        Raises
        ------
        TemplateError
            If the template writes the prompt differently once it is answered, changes the
            answer, or does not end it.
        """
        prompt = self.prompt(messages)
        whole = self._render([*messages, Message.assistant(completion)])
        if whole[: len(prompt)] != prompt:
            raise TemplateError(
                f"The chat template of {self._name!r} writes a prompt differently once it is "
                "answered, so that the answer cannot be scored",
                "Give a chat_template that does not, or template_options: enable_thinking=False "
                "mends it for some models",
            )
        tokens = whole[len(prompt) :]
        ends = [index for index, token in enumerate(tokens) if token in self.end]
        if not ends:
            raise TemplateError(
                f"The chat template of {self._name!r} does not end an answer with a token that "
                "ends generation",
                "Give a chat_template that does, or set eos_token of its tokenizer",
            )
        tokens = tokens[: ends[0] + 1]
        if self.text(tokens).strip() != completion.strip():
            raise TemplateError(
                f"The chat template of {self._name!r} writes the answer {completion[:40]!r} as "
                f"{self.text(tokens)[:40]!r}",
                "Give a chat_template that keeps answers as they are",
            )
        return prompt, tokens

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out."""
        with self._lock:
            decoded: str = self._tokenizer.decode(
                list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return decoded

    def _render(
        self,
        messages: Sequence[Message],
        *,
        tools: JsonValue = None,
        add_generation_prompt: bool = False,
    ) -> list[int]:
        with self._lock:
            try:
                tokens: list[int] = self._tokenizer.apply_chat_template(
                    [_as_dict(message) for message in messages],
                    tools=tools,
                    chat_template=self._template,
                    add_generation_prompt=add_generation_prompt,
                    sanitize_control_tokens=True,
                    return_dict=False,
                    **self._options,
                )
            except jinja2.TemplateError as error:
                raise BadRequest(
                    f"The chat template of {self._name!r} refuses the messages: {error}",
                    "Change the roles or their order, or give another chat_template",
                ) from None
        return tokens


def _plain(tokenizer: Any) -> str:
    """Return the plain template, with the token at the beginning that the tokenizer adds itself."""
    ids = tokenizer("a")["input_ids"]
    begins = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
    return "{{ bos_token }}" + _PLAIN_TEMPLATE if begins else _PLAIN_TEMPLATE


def _as_dict(message: Message) -> dict[str, Any]:
    """Return a message as templates expect it: content as text, arguments of tools as objects."""
    fields = message.to_dict()
    if isinstance(message.content, tuple):
        for part in message.content:
            if "text" not in part:
                raise BadRequest(
                    f"A part of type {part.get('type')!r} cannot be read by a local model",
                    "Give it text only, or use an endpoint",
                )
        fields["content"] = message.text
    for call in fields.get("tool_calls", ()):
        function = call.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            with suppress(ValueError):
                function["arguments"] = json.loads(function["arguments"])
    return fields
