"""Chat templates: conversion between chat messages and tokens, and end-of-sequence tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from pydantic import JsonValue

from backtalk.feedback.answers import MessageText
from backtalk.feedback.interaction import Message
from backtalk.feedback.requests import request_of, with_request
from backtalk.models.errors import TemplateError, UnknownToken
from backtalk.models.local.answer_tokens import AnswerTokenizer, Frame
from backtalk.models.local.template_messages import check_encodable, is_begun, template_message
from backtalk.models.local.template_rendering import TemplateRenderer
from backtalk.models.local.tool_call_answers import Probe, continue_prompt

_MARK = "Answer0To1Mark2"
"""Answer whose place shows what a template writes around answers."""

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
    vocabulary_size : int, optional
        Number of tokens that the model has embeddings for; unknown by default.

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
        vocabulary_size: int | None = None,
    ) -> None:
        self._renderer = TemplateRenderer(tokenizer, name=name, template=template, options=options)
        if not eos_token_ids:
            raise TemplateError(
                f"The model {name!r} has no end-of-sequence token",
                "Set eos_token of its tokenizer, so that the end of an answer can be recognised",
            )
        self._tokenizer = tokenizer
        self._answers = AnswerTokenizer(tokenizer)
        self._name = name
        self._vocabulary_size = vocabulary_size
        self._lock = self._renderer.lock
        self._recent: dict[str, tuple[int, ...]] = {}
        self.eos_token_ids = eos_token_ids

    @property
    def source(self) -> str:
        """Jinja template that renders the same prompts without options: it sets them itself."""
        return self._renderer.source

    def prompt_tokens(
        self,
        messages: Sequence[Message],
        *,
        tools: JsonValue = None,
        options: Mapping[str, JsonValue] | None = None,
    ) -> list[int]:
        """Return the tokens of a prompt, with those that open the answer.

        If the last message is the assistant's, the answer continues it.

        Parameters
        ----------
        messages : sequence of Message
            Prompt. The settings of its request reach the template.
        tools : list, optional
            Definitions of tools; those of the request by default.
        options : Mapping[str, JsonValue], optional
            Further settings of the request; see :data:`~backtalk.feedback.requests.SETTINGS`.
        """
        settings = {**(options or {}), **({} if tools is None else {"tools": tools})}
        if settings:
            messages = with_request(messages, {**request_of(messages), **settings})
        rows = [template_message(message) for message in messages]
        for message in messages:
            check_encodable(message.text, f"The message {message.text[:40]!r}")
        key = json.dumps([rows, request_of(messages)])
        with self._lock:
            tokens = self._recent.get(key)
        if tokens is None:
            tokens = tuple(self._renderer.tokens(messages, opens_answer=True))
            self._check_known(tokens)
            with self._lock:
                self._recent[key] = tokens
                if len(self._recent) > _RECENT_PROMPTS:
                    self._recent.pop(next(iter(self._recent)))
        return list(tokens)

    def conversation_tokens(
        self, messages: Sequence[Message], completion: str, *, reasoning: str | None = None
    ) -> tuple[list[int], list[int]]:
        """Return the tokens of a prompt and of its completion, with the end-of-sequence token.

        The prompt's tokens are those that a sampler reads, and the completion's tokens continue
        them, whatever the tokenizer would merge across the border; they decode to the completion,
        with what the template writes before it (white space, an empty block of thinking) and before
        its end. White space that a template strips is part of it. A completion of a message that
        the assistant began continues it.

        Special tokens in the completion are encoded as text. Other added tokens, such as
        ``<think>``, are encoded as tokens, as models write them.

        A :class:`~backtalk.feedback.answers.MessageText` is rendered as its message, with the tool
        calls and special tokens that the template writes for it.

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
            leaves out its tool calls, or does not end it, or the tokenizer has no tokens that
            decode to the answer.
        BadRequest
            If the template refuses the messages, or a text is not valid Unicode.
        """
        prompt = self.prompt_tokens(messages)
        check_encodable(completion, f"The answer {completion[:40]!r}")
        if isinstance(completion, MessageText):
            return prompt, self._message_tokens(prompt, messages, completion.message, reasoning)
        frame = self._frame(messages, reasoning)
        answer = self._answered(messages, Message.assistant(completion), reasoning)
        body = self._body(messages, answer)
        pieces = None
        if body.endswith(frame.rest):
            pieces = frame.pieces(completion, body.removesuffix(frame.rest))
        if pieces is None:
            raise TemplateError(
                f"The chat template of {self._name!r} writes the answer {completion[:40]!r} as "
                f"{body[: len(completion) + 40]!r}",
                "Use a chat_template that leaves answers unchanged",
            )
        text = "".join(piece.text for piece in pieces)
        is_as_rendered = text + frame.rest.removeprefix(frame.after) == body
        with self._lock:
            own_tokens = self._answers.writes_own_tokens(completion)
        whole = self._renderer.tokens(answer, writes_reasoning=True) if is_as_rendered else []
        with self._lock:
            if whole[: len(prompt)] == prompt and not own_tokens:
                tokens = self._until_end(whole[len(prompt) :])
                if self._answers.is_exact(prompt, tokens, text):
                    self._check_known(tokens)
                    return prompt, [*tokens, frame.end]
            continued = self._answers.encode(prompt, pieces)
            if continued is None:
                raise TemplateError(
                    f"The tokenizer of {self._name!r} cannot write the answer "
                    f"{completion[:40]!r}: {self._answers.explain(completion)}",
                    "Leave it out, or replace those characters; unicodedata.normalize composes "
                    "letters and accents",
                )
            self._check_known(continued)
        return prompt, [*continued, frame.end]

    def _check_known(self, tokens: Sequence[int]) -> None:
        """Raise ``UnknownToken`` if the model has no embedding for a token."""
        size = self._vocabulary_size
        unknown = None if size is None else next((id_ for id_ in tokens if id_ >= size), None)
        if unknown is not None:
            raise UnknownToken(
                f"The tokenizer of {self._name!r} is larger than the model: it writes the token "
                f"{self._tokenizer.convert_ids_to_tokens(unknown)!r} with id {unknown}, and the "
                f"model knows {size:,} tokens",
                "Use the tokenizer that the model was trained with, or a model whose embeddings "
                "were resized to it",
            )

    def _message_tokens(
        self,
        prompt: Sequence[int],
        messages: Sequence[Message],
        message: Message,
        reasoning: str | None,
    ) -> list[int]:
        """Return the tokens of an answer with tool calls, with the end-of-sequence token."""
        probe = Probe.of(message)
        marked = self._body(messages, self._answered(messages, probe.message, reasoning))
        probe.check(marked, f"The chat template of {self._name!r}")
        after = probe.rest(marked)
        position, end = self._find_end(after)
        answer = self._answered(messages, message, reasoning)
        body = self._body(messages, answer)
        content = message.text.strip()
        if not body.endswith(after[position:]) or "".join(content.split()) not in "".join(
            body.split()
        ):
            raise TemplateError(
                f"The chat template of {self._name!r} writes an answer with tool calls as "
                f"{body[:80]!r}",
                "Use a chat_template that leaves answers unchanged",
            )
        self._check_reasoning(reasoning, body)
        conversation = self._renderer.tokens(answer, writes_reasoning=True)
        with self._lock:
            tokens = continue_prompt(
                prompt,
                conversation,
                body.removesuffix(after[position:]),
                content=content,
                eos_token_ids=self.eos_token_ids,
                tokenizer=self._answers,
            )
        if tokens is None:
            raise TemplateError(
                f"The tokenizer of {self._name!r} cannot write the answer {body[:80]!r}",
                "Leave it out, or replace the characters that the tokenizer changes or takes for "
                "its own tokens",
            )
        self._check_known(tokens)
        return [*tokens, end]

    def _answered(
        self, messages: Sequence[Message], answer: Message, reasoning: str | None
    ) -> list[Message]:
        """Return the conversation with an answer."""
        if is_begun(messages):
            request, text = messages[-1].request, messages[-1].text + answer.text
            whole = answer.model_copy(update={"content": text, "request": request})
            return [*messages[:-1], whole]
        return [*messages, answer.model_copy(update={"reasoning": reasoning})]

    def _body(self, messages: Sequence[Message], answered: Sequence[Message]) -> str:
        """Return the text that the template writes after the prompt of an answered conversation.

        Raises
        ------
        TemplateError
            If it writes the prompt differently once it is answered.
        """
        opened = self._renderer.text(messages, opens_answer=True)
        conversation = self._renderer.text(answered, writes_reasoning=True)
        if not conversation.startswith(opened):
            raise TemplateError(
                f"The chat template of {self._name!r} writes a prompt differently once it is "
                "answered, so that the answer cannot be scored",
                "Use another chat_template, or template_options: enable_thinking=False helps for "
                "some models",
            )
        return conversation[len(opened) :]

    def _frame(self, messages: Sequence[Message], reasoning: str | None) -> Frame:
        """Return what the template writes around an answer to a prompt.

        Raises
        ------
        TemplateError
            If it writes the prompt differently once it is answered, or does not end the answer.
        """
        marked = self._body(messages, self._answered(messages, Message.assistant(_MARK), reasoning))
        before, mark, rest = marked.rpartition(_MARK)
        if not mark:
            raise TemplateError(
                f"The chat template of {self._name!r} writes the answer {_MARK!r} as {rest[:40]!r}",
                "Use a chat_template that leaves answers unchanged",
            )
        self._check_reasoning(reasoning, before)
        position, token = self._find_end(rest)
        return Frame(before, rest[:position], token, rest)

    def _check_reasoning(self, reasoning: str | None, written: str) -> None:
        """Raise ``TemplateError`` if the reasoning of an answer is not written."""
        if reasoning and reasoning.strip() not in written:
            raise TemplateError(
                f"The chat template of {self._name!r} does not write the reasoning of an answer",
                "For training on reasoning use a chat_template that writes reasoning_content",
            )

    def _find_end(self, rest: str) -> tuple[int, int]:
        """Return the position of the first token that ends an answer, in a text, and the token.

        Raises
        ------
        TemplateError
            If there is none.
        """
        ends = [
            (rest.index(text), -len(text), token)
            for token in self.eos_token_ids
            if (text := self._token_text(token)) and text in rest
        ]
        if not ends:
            raise TemplateError(
                f"The chat template of {self._name!r} does not end an answer with a token that "
                "ends generation",
                "Use another chat_template, or set eos_token of its tokenizer",
            )
        position, _, token = min(ends)
        return position, token

    def _until_end(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens before the first that ends an answer."""
        return list(takewhile(lambda token: token not in self.eos_token_ids, tokens))

    def _token_text(self, token: int) -> str:
        with self._lock:
            text: str = self._tokenizer.decode([token], skip_special_tokens=False)
        return text

    def answer_text(self, prompt: Sequence[int], tokens: Sequence[int]) -> str:
        """Return the text of an answer's tokens as it follows the prompt, without special tokens.

        Some tokenizers leave out the space of the first token where they decode an answer alone;
        here it is part of the text.

        Parameters
        ----------
        prompt : sequence of int
            Tokens of the prompt.
        tokens : sequence of int
            Tokens of the answer.
        """
        with self._lock:
            return self._answers.text(prompt, tokens)

    def marked_text(self, prompt: Sequence[int], tokens: Sequence[int]) -> str:
        """Return the text of an answer with its special tokens, empty if only its end is one.

        Parameters
        ----------
        prompt : sequence of int
            Tokens of the prompt.
        tokens : sequence of int
            Tokens of the answer, with the end-of-sequence token.
        """
        with self._lock:
            return self._answers.marked_text(prompt, tokens[:-1])

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens."""
        with self._lock:
            text: str = self._tokenizer.decode(
                list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return text
