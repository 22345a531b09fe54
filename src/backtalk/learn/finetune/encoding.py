"""Tokenisation of feedback: prompts and responses as prompt trees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import TYPE_CHECKING

from backtalk.feedback.answers import MessageText
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseColumns, ResponseTokens
from backtalk.learn.left_out_rows import REASON, LeftOutRows
from backtalk.models.errors import BadRequest, TemplateError

if TYPE_CHECKING:
    from backtalk.models.local.chat_template import ChatTemplate

Encoded = tuple[list[int], list[int]] | str
"""Tokens of a prompt and of a response, or the reason why there are none."""
Span = tuple[int, int, float]
"""Characters of a text and their value: start, end (exclusive), value."""


@dataclass(frozen=True)
class ResponseText(ResponseColumns):
    """A response as text, with its columns."""

    text: str
    """Text; for a response with tool calls a :class:`~backtalk.feedback.answers.MessageText`."""
    weights: tuple[Span, ...] | None = None
    """Loss weights of spans of the text. A token has the weight of the last span that overlaps
    it, and 1 outside all spans."""
    reward_spans: tuple[Span, ...] = ()
    """Token rewards of spans of the text; 0 outside all spans."""
    token_rewards: tuple[float, ...] | None = None
    """Reward of each token, the end-of-sequence token included, in place of ``reward_spans``."""
    reasoning: str | None = None
    """Reasoning before the response, which the encoder reads only if it is told to."""
    is_complete: bool = True
    """If false, the response is cut off, and its end-of-sequence token is masked."""


_COLUMNS = tuple(column.name for column in fields(ResponseColumns))


class Encoder:
    """Tokenises prompts and responses into trees with the model's chat template.

    A response ends with exactly one end-of-sequence token. What exceeds ``max_length`` is left out
    and counted, never truncated. What the chat template or the tokenizer cannot write is left out,
    counted and listed.

    Parameters
    ----------
    chat : ChatTemplate
        Chat template of the model.
    max_length : int, optional
        Maximum number of tokens of a prompt with one response; no limit by default.
    prepare : Callable[[Prompt], Prompt], default tuple
        Transformation of a prompt before tokenisation, such as adding the system prompt.
    report : Callable[[int], None], optional
        Progress callback with the number of texts tokenised.
    reasoning : bool, default False
        If true, tokenise responses with the reasoning before them.
    """

    def __init__(
        self,
        chat: ChatTemplate,
        *,
        max_length: int | None = None,
        prepare: Callable[[Prompt], Prompt] = tuple,
        report: Callable[[int], None] | None = None,
        reasoning: bool = False,
    ) -> None:
        self._reasoning = reasoning
        self.chat = chat
        self.max_length = max_length
        self._prepare = prepare
        self._report = report
        self.left_out: Counter[str] = Counter()
        """Number of trees and examples left out, by reason."""
        self.refused = LeftOutRows()
        """Rows of which no tokens can be made."""
        self._cache: dict[tuple[str, str, str | None, bool], Encoded] = {}

    def tree(
        self,
        prompt: Prompt,
        texts: Sequence[ResponseText],
        *,
        weight: float = 1.0,
        features: Mapping[str, float] | None = None,
        pairs: Sequence[PairLabel] = (),
        anchors: Sequence[str] = (),
    ) -> PromptTree | None:
        """Return the tree of a prompt and its responses.

        It is ``None`` if a response is too long, or there are no tokens for it.

        Parameters
        ----------
        prompt : Prompt
            Messages up to the response.
        texts : sequence of ResponseText
            Responses.
        weight : float, default 1.0
            Loss weight of the tree.
        features : Mapping[str, float], optional
            Columns of the tree.
        pairs : sequence of PairLabel, default ()
            Preferences between the responses.
        anchors : sequence of str, default ()
            Texts of the KL anchors.
        """
        messages = self._prepare(prompt)
        rows = len(pairs) or len(texts)
        self.refused.total += rows
        prompt_tokens: tuple[int, ...] = ()
        responses = []
        for text in [*texts, *map(ResponseText, anchors)]:
            encoded = self._tokenise(messages, text)
            if isinstance(encoded, str):
                self._refuse(prompt, text.text, encoded, rows=rows)
                return None
            start, tokens = encoded
            if self._is_too_long(start, tokens):
                self.left_out[self._too_long] += 1
                return None
            prompt_tokens = tuple(start)
            responses.append(self._response(text, tokens))
        count = len(texts)
        return PromptTree(
            prompt_tokens,
            tuple(responses[:count]),
            weight,
            features or {},
            tuple(pairs),
            tuple(responses[count:]),
        )

    def leaves_out(self, prompt: Prompt, texts: Sequence[str]) -> bool:
        """Return whether a response is too long or has no tokens; count one row if so.

        Parameters
        ----------
        prompt : Prompt
            Messages up to the responses.
        texts : sequence of str
            Texts of the responses of the row.
        """
        messages = self._prepare(prompt)
        for text in texts:
            encoded = self._tokenise(messages, ResponseText(text))
            if isinstance(encoded, str):
                self.refused.total += 1
                self._refuse(prompt, text, encoded)
                return True
            if self._is_too_long(*encoded):
                self.left_out[self._too_long] += 1
                return True
        return False

    def fits(self, prompt: Prompt, text: str) -> bool:
        """Return whether a response has tokens and is short enough; nothing is counted."""
        encoded = self._tokenise(self._prepare(prompt), ResponseText(text))
        return not isinstance(encoded, str) and not self._is_too_long(*encoded)

    @property
    def _too_long(self) -> str:
        return f"longer than {self.max_length} tokens"

    def _is_too_long(self, prompt: Sequence[int], tokens: Sequence[int]) -> bool:
        return self.max_length is not None and len(prompt) + len(tokens) > self.max_length

    def _refuse(self, prompt: Prompt, text: str, reason: str, *, rows: int = 1) -> None:
        self.left_out[REASON] += rows
        self.refused.count += rows
        self.refused.add(prompt, text, reason)

    def _tokenise(self, messages: Prompt, text: ResponseText) -> Encoded:
        """Return the tokens of a prompt and a response, or the reason why there are none."""
        reasoning = text.reasoning if self._reasoning else None
        key = prompt_key(messages), text.text, reasoning, isinstance(text.text, MessageText)
        if key not in self._cache:
            try:
                self._cache[key] = self.chat.conversation_tokens(
                    messages, text.text, reasoning=reasoning
                )
            except (TemplateError, BadRequest) as error:
                self._cache[key] = str(error)
            if self._report is not None:
                self._report(len(self._cache))
        return self._cache[key]

    def _response(self, text: ResponseText, tokens: list[int]) -> ResponseTokens:
        weights = None
        rewards = None
        if text.weights is not None or text.reward_spans:
            spans = self._character_spans(text.text, tokens)
            if text.weights is not None:
                weights = _token_values(spans, text.weights, 1.0)
            if text.reward_spans:
                rewards = _token_values(spans, text.reward_spans, 0.0)
        if text.token_rewards is not None:
            rewards = text.token_rewards
        if not text.is_complete:
            weights = (*(weights or (1.0,) * len(tokens))[:-1], 0.0)
        columns = {name: getattr(text, name) for name in _COLUMNS}
        return ResponseTokens(tuple(tokens), weights, rewards, **columns)

    def _character_spans(self, text: str, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """Return the characters of the text, ``(start, end)``, that each token overlaps."""
        prefixes = [self.chat.decode(tokens[: i + 1]) for i in range(len(tokens))]
        shift = prefixes[-1].rfind(text.strip()) - (len(text) - len(text.lstrip()))
        complete = [len(prefix.rstrip("\ufffd")) for prefix in prefixes]
        starts = [0, *accumulate(complete[:-1], max)]
        # A token may be a part of a character only, which the next ones complete.
        return [
            (start - shift, max(len(prefix), start + 1) - shift)
            for start, prefix in zip(starts, prefixes, strict=True)
        ]


def _token_values(
    token_spans: Sequence[tuple[int, int]], spans: Sequence[Span], default: float
) -> tuple[float, ...]:
    """Return the value of each token: that of the last span that overlaps it."""
    results = []
    for begin, stop in token_spans:
        values = [value for start, end, value in spans if start < stop and begin < end]
        results.append(values[-1] if values else default)
    return tuple(results)
