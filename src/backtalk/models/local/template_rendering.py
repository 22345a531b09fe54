"""Rendering of messages by a chat template, as text and as tokens."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from pydantic import JsonValue

from backtalk.feedback.interaction import Message
from backtalk.feedback.requests import request_of
from backtalk.models.errors import BadRequest, TemplateError
from backtalk.models.local.answer_tokens import special_tokens
from backtalk.models.local.template_messages import (
    SANITIZE,
    is_begun,
    template_message,
    template_settings,
)

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


class TemplateRenderer:
    """Renders messages by the chat template of a model.

    Parameters
    ----------
    tokenizer : Any
        Tokenizer of the model, from transformers.
    name : str
        Name of the model, for error messages.
    template : str, optional
        Jinja chat template, or ``"plain"``; the tokenizer's own template by default.
    options : Mapping[str, JsonValue], optional
        Variables of the template.

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
        template: str | None = None,
        options: Mapping[str, JsonValue] | None = None,
    ) -> None:
        if template is None and not tokenizer.chat_template:
            raise TemplateError(
                f"The model {name!r} has no chat template",
                f"Set chat_template to a Jinja template, or to {PLAIN!r} if the model continues "
                "texts",
            )
        _check_sanitizing(tokenizer, name)
        self._tokenizer = tokenizer
        self._name = name
        self._template = _plain_template(tokenizer) if template == PLAIN else template
        self._options = dict(options or {})
        self._special_tokens = special_tokens(tokenizer)
        self.lock = threading.Lock()
        """Held by whoever uses the tokenizer, which is not safe on several threads."""

    @property
    def source(self) -> str:
        """Jinja template that renders the same prompts without options: it sets them itself."""
        template: str = self._template or self._tokenizer.get_chat_template()
        settings = "".join(
            f"{{%- set {name} = {_jinja_literal(value)} -%}}"
            for name, value in self._options.items()
        )
        return settings + template

    def tokens(
        self,
        messages: Sequence[Message],
        *,
        opens_answer: bool = False,
        writes_reasoning: bool = False,
    ) -> list[int]:
        """Return the tokens of messages; control tokens in them are encoded as text.

        Parameters
        ----------
        messages : sequence of Message
            Messages; the settings of their request reach the template.
        opens_answer : bool, default False
            If true, what opens the answer follows the messages.
        writes_reasoning : bool, default False
            If true, the reasoning of the last message is written.
        """
        tokens: list[int] = self._apply(
            messages,
            opens_answer=opens_answer,
            writes_reasoning=writes_reasoning,
            sanitize_control_tokens=True,
            return_dict=False,
        )
        return tokens

    def text(
        self,
        messages: Sequence[Message],
        *,
        opens_answer: bool = False,
        writes_reasoning: bool = False,
    ) -> str:
        """Return messages as the text that the template writes.

        Parameters
        ----------
        messages : sequence of Message
            Messages; the settings of their request reach the template.
        opens_answer : bool, default False
            If true, what opens the answer follows the messages.
        writes_reasoning : bool, default False
            If true, the reasoning of the last message is written.
        """
        text: str = self._apply(
            messages,
            opens_answer=opens_answer,
            writes_reasoning=writes_reasoning,
            tokenize=False,
        )
        return text

    def _apply(
        self,
        messages: Sequence[Message],
        *,
        opens_answer: bool,
        writes_reasoning: bool,
        **how: Any,
    ) -> Any:
        continues = opens_answer and is_begun(messages)
        tools, variables = template_settings(request_of(messages))
        rows = [
            *map(template_message, messages[:-1]),
            template_message(messages[-1], reasoning=writes_reasoning),
        ]
        self._check_argument_names([row.get("tool_calls") for row in rows])
        with self.lock:
            try:
                return self._tokenizer.apply_chat_template(
                    rows,
                    tools=tools,
                    chat_template=self._template,
                    add_generation_prompt=opens_answer and not continues,
                    continue_final_message=continues,
                    **{**self._options, **variables},
                    **how,
                )
            except jinja2.TemplateError as error:
                raise BadRequest(
                    f"The chat template of {self._name!r} refuses the messages: {error}",
                    "Change the roles or their order, or give another chat_template",
                ) from None
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                if continues and isinstance(error, ValueError):
                    raise BadRequest(
                        f"The chat template of {self._name!r} cannot continue a message that the "
                        f"assistant began: {reason}",
                        "End the messages with the user's, or give another chat_template",
                    ) from None
                raise BadRequest(
                    f"The chat template or tokenizer of {self._name!r} cannot write the messages: "
                    f"{reason}",
                    "Check the content of the messages, or give another chat_template",
                ) from None

    def _check_argument_names(self, value: JsonValue) -> None:
        """Raise ``BadRequest`` if the name of an argument holds a control token.

        transformers encodes those in values as text, and takes those in names for its own.
        """
        if isinstance(value, list):
            for item in value:
                self._check_argument_names(item)
        elif isinstance(value, dict):
            for name, item in value.items():
                control = next((token for token in self._special_tokens if token in name), None)
                if control is not None:
                    raise BadRequest(
                        f"The name of an argument, {name!r}, holds the control token {control!r} "
                        f"of {self._name!r}",
                        "Rename it",
                    )
                self._check_argument_names(item)


def _check_sanitizing(tokenizer: Any, name: str) -> None:
    """Check that the tokenizer can encode control tokens in messages as text.

    Earlier versions of transformers take the parameter as a variable of the template and ignore it.

    Raises
    ------
    TemplateError
        If it cannot.
    """
    parameters = inspect.signature(tokenizer.apply_chat_template).parameters
    if SANITIZE not in parameters:
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
