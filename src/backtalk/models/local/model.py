"""A language model on this machine, by transformers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from backtalk.errors import MissingExtra
from backtalk.feedback.interaction import Message
from backtalk.feedback.record import content_id
from backtalk.models.batching import BatchedCompletions
from backtalk.models.errors import BadRequest, ContextTooLong, ModelError
from backtalk.models.local.loading import Dtype
from backtalk.models.protocol import Completion, Request, Usage

if TYPE_CHECKING:
    from backtalk.models.local.chat_template import ChatTemplate
    from backtalk.models.local.engine import Engine
    from backtalk.models.local.sampler import Row

T = TypeVar("T")


class LocalModel:
    """A causal language model, loaded from safetensors when it is first used.

    What is drawn for a request depends on its prompt, sampling, seed and sample alone, and not on
    what else is in the batch, up to rounding in the model's arithmetic: exact in practice in
    float32, while the half-precision formats may round a close call differently.

    A prompt that does not fit into the context window is an error. One that leaves less room than
    ``max_tokens`` is answered until the window is full, with ``finish_reason`` "length". Nothing
    is cut off silently.

    A completion's log-probability is the sum over all tokens that were drawn, the end-of-sequence
    token and those of a stop text included, by the model's own distribution: temperature 1, no
    top-p. Tool calls are left in the text as the model writes them.

    Parameters
    ----------
    model : str
        A folder, or a name on the Hugging Face hub.
    revision : str, optional
        Which revision of a hub model.
    name : str, optional
        What to call it; the model as given by default.
    dtype : Dtype, default "auto"
        The number format; "auto" is float32 on a processor, else what the weights are kept in.
    device : str, default "auto"
        ``"cuda"``, ``"mps"``, ``"cpu"``; "auto" takes the first that is there.
    chat_template : str, optional
        A Jinja template in the place of the model's own; ``"plain"`` for a model that only
        continues texts.
    template_options : Mapping[str, JsonValue], optional
        Variables of the template, such as ``{"enable_thinking": False}``.
    adapters : sequence of str, default ()
        Folders of adapters (peft) that are added to the weights, one after the other.
    batch_tokens : int, default 16384
        How many tokens, padding included, are worked on at once.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        name: str | None = None,
        dtype: Dtype = "auto",
        device: str = "auto",
        chat_template: str | None = None,
        template_options: Mapping[str, JsonValue] | None = None,
        adapters: Sequence[str] = (),
        batch_tokens: int = 16384,
    ) -> None:
        self.name = name or model
        self._model = model
        self._adapters = tuple(adapters)
        self._revision = revision
        self._dtype = dtype
        self._device = device
        self.chat_template = chat_template
        """The template in the place of the model's own, if any."""
        self.template_options = dict(template_options or {})
        """The variables of the template."""
        self._batch_tokens = batch_tokens

    @cached_property
    def identity(self) -> str:
        """What the model's files hold, the number format and the template."""
        template = [self.chat_template, self.template_options]
        if template == [None, {}]:
            return self._engine.identity
        written = json.dumps(template, sort_keys=True)
        return f"{self._engine.identity} template {content_id(written)}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion a request, in order.

        A request's ``options`` may hold ``tools``, for the template. The seconds of a batch are
        shared equally among its requests.

        Raises
        ------
        ContextTooLong, RequestRefused
            For a request that cannot be answered, after all others have been.
        MissingExtra, UnknownModel, TemplateError
            If the model cannot be loaded or has no template.
        """
        return await _in_thread(lambda cancelled: self._generate(requests, cancelled))

    async def score(
        self, texts: Sequence[tuple[tuple[Message, ...], str]]
    ) -> list[NDArray[np.float64]]:
        """Return the log-probability, in nats, of each token of each completion.

        The tokens are those of the chat template of the whole conversation, up to and with the
        one that ends the answer.

        Raises
        ------
        ContextTooLong
            If a prompt and its completion do not fit into the context window.
        TemplateError
            If the template does not keep prompt and completion as they are.
        """
        return await _in_thread(lambda _: self._score(texts))

    def bound(self, request: Request) -> Usage:
        """Return the most that a request can use; its prompt's tokens are exact."""
        prompt = self.chat.prompt(request.messages, tools=request.options.get("tools"))
        return Usage(1, len(prompt), max(self._room(request, len(prompt)), 0))

    def to_train(self) -> Engine:
        """Return weights that nobody else has, in float32, and their tokenizer."""
        return self._load(dtype="float32", shared=False)

    @property
    def engine(self) -> Engine:
        """Its weights and tokenizer, which others may use too and nobody may change."""
        return self._engine

    @cached_property
    def _engine(self) -> Engine:
        return self._load(dtype=self._dtype, shared=True)

    def _load(self, *, dtype: Dtype, shared: bool) -> Engine:
        try:
            from backtalk.models.local.engine import load_engine  # noqa: PLC0415 - loads torch
        except ImportError:
            raise MissingExtra.named("train", "A local model") from None
        return load_engine(
            self._model,
            revision=self._revision,
            dtype=dtype,
            device=self._device,
            adapters=self._adapters,
            shared=shared,
        )

    @cached_property
    def chat(self) -> ChatTemplate:
        """What turns conversations into tokens."""
        from backtalk.models.local.chat_template import ChatTemplate  # noqa: PLC0415 - loads Jinja

        return ChatTemplate(
            self._engine.tokenizer,
            name=self.name,
            end=self._engine.eos_token_ids,
            template=self.chat_template,
            options=self.template_options,
        )

    def _generate(
        self, requests: Sequence[Request], cancelled: Callable[[], bool]
    ) -> list[Completion]:
        started = time.monotonic()
        answers = BatchedCompletions(len(requests))
        rows: dict[int, Row] = {}
        for index, request in enumerate(requests):
            try:
                rows[index] = self._row(request)
            except ModelError as failure:
                answers.fail(index, failure)
                if failure.stops_batch:
                    return answers.finish()
        self._engine.draw(
            list(rows.values()),
            batch_tokens=self._batch_tokens,
            complete=self._holds_stop,
            cancelled=cancelled,
        )
        seconds = (time.monotonic() - started) / max(len(rows), 1)
        for index, row in rows.items():
            answers.add(index, [self._completion(row, seconds)])
        return answers.finish()

    def _row(self, request: Request) -> Row:
        from backtalk.models.local.sampler import Row  # noqa: PLC0415 - loads torch

        for option in request.options:
            if option != "tools":
                raise BadRequest(
                    f"The local model {self.name!r} has no option {option!r}",
                    "Leave it out; known: tools",
                )
        prompt = self.chat.prompt(request.messages, tools=request.options.get("tools"))
        most = self._room(request, len(prompt))
        if most < 1:
            raise self._too_long(f"A prompt of {len(prompt)} tokens")
        return Row(tuple(prompt), request.sampling, most, request.draw_seed)

    def _room(self, request: Request, prompt: int) -> int:
        window, most = self._engine.context_length, request.sampling.max_tokens
        return most if window is None else min(most, window - prompt)

    def _too_long(self, what: str) -> ContextTooLong:
        return ContextTooLong(
            f"{what} does not fit into the {self._engine.context_length} of {self.name!r}",
            "Shorten it, or use a model with a longer context window",
        )

    def _holds_stop(self, row: Row) -> bool:
        stops = row.sampling.stop
        if not stops:
            return False
        # A token holds at least a byte, so a stop text lies within as many as it has bytes.
        reach = max(len(stop.encode()) for stop in stops) + 4
        end = self.chat.text(row.tokens[-reach:])
        return any(stop in end for stop in stops)

    def _completion(self, row: Row, seconds: float) -> Completion:
        text = self.chat.text(row.tokens)
        cuts = [place for stop in row.sampling.stop if (place := text.find(stop)) >= 0]
        return Completion(
            text=text[: min(cuts)] if cuts else text,
            finish_reason=row.finish or "length",
            usage=Usage(1, len(row.prompt), len(row.tokens), seconds),
            model=self.name,
            log_probability=min(row.log_probability, 0.0),
        )

    def _score(self, texts: Sequence[tuple[tuple[Message, ...], str]]) -> list[NDArray[np.float64]]:
        pairs = [self.chat.conversation(messages, text) for messages, text in texts]
        for prompt, rest in pairs:
            together = len(prompt) + len(rest)
            if self._engine.context_length is not None and together > self._engine.context_length:
                raise self._too_long(f"A conversation of {together} tokens")
        return self._engine.log_probabilities(pairs, batch_tokens=self._batch_tokens)


async def _in_thread(work: Callable[[Callable[[], bool]], T]) -> T:
    """Run work on a thread, and tell it when nobody waits for it any more."""
    cancelled = threading.Event()
    try:
        return await asyncio.to_thread(work, cancelled.is_set)
    finally:
        cancelled.set()
