"""Local causal language models, by transformers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from backtalk.errors import MissingExtra
from backtalk.feedback.record import content_id
from backtalk.feedback.requests import SETTINGS, request_of
from backtalk.models.batching import CompletionBatch
from backtalk.models.errors import BadRequest, ContextTooLong, ModelError
from backtalk.models.fetched.cache import find_model
from backtalk.models.options import Dtype
from backtalk.models.protocol import Completion, PromptResponse, Request, Usage
from backtalk.models.text_stream import TextStream, settled_text

if TYPE_CHECKING:
    from backtalk.models.local.chat_template import ChatTemplate
    from backtalk.models.local.engine import Engine
    from backtalk.models.local.sampler import SequenceState

T = TypeVar("T")

_OPTIONS = tuple(name for name in SETTINGS if name != "response_format")
"""Options of a request that the chat template receives."""


class LocalModel:
    """Causal language model, loaded from safetensors on first use.

    A completion depends on the prompt, sampling, seed and sample index of its request alone, and
    not on the rest of the batch, up to rounding in the model's arithmetic. In float32 this is exact
    in practice. Half-precision formats may round a close call differently.

    If the last message of a prompt is the assistant's, the completion continues it.

    A prompt that does not fit into the context window is an error. If a prompt leaves less room
    than ``max_tokens``, the completion ends when the window is full, with ``finish_reason``
    "length". Nothing is truncated silently.

    The log-probability of a completion is the sum over all sampled tokens, including the
    end-of-sequence token and those of a stop text, by the model's own distribution: temperature 1,
    no top-p. Tool calls stay in the text as the model writes them; the gateway parses them.

    Parameters
    ----------
    model : str
        Folder, name of a fetched model such as ``"smollm2"``, or name on the Hugging Face hub.
    revision : str, optional
        Revision of a hub model.
    name : str, optional
        Name of the model in responses; ``model`` by default.
    dtype : Dtype, default "auto"
        Number format; ``"auto"`` is float32 on a CPU, otherwise the format of the stored weights.
    device : str, default "auto"
        ``"cuda"``, ``"mps"`` or ``"cpu"``; ``"auto"`` is the first of these that is available.
    chat_template : str, optional
        Jinja template that replaces the model's own; ``"plain"`` for a model that only continues
        texts.
    template_options : Mapping[str, JsonValue], optional
        Variables of the template, such as ``{"enable_thinking": False}``.
    adapters : sequence of str, default ()
        Folders of adapters (peft), which are merged into the weights in this order.
    batch_tokens : int, default 16384
        Maximum number of tokens in a batch, with padding.
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
        """Template that replaces the model's own; ``None`` for the model's own."""
        self.template_options = dict(template_options or {})
        """Variables of the template."""
        self._batch_tokens = batch_tokens

    @cached_property
    def identity(self) -> str:
        """Content hash of the model's files, number format and template."""
        return self.identity_with(self._engine)

    def identity_with(self, engine: Engine) -> str:
        """Return the content hash of the weights of an engine, with this model's template."""
        template = [self.chat_template, self.template_options]
        if template == [None, {}]:
            return engine.identity
        template_json = json.dumps(template, sort_keys=True)
        return f"{engine.identity} template {content_id(template_json)}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion per request, in order.

        The keys of a request's ``options`` are ``tools``, ``documents``, ``reasoning_effort``,
        ``enable_thinking`` and ``chat_template_kwargs``, which the template receives. The seconds
        of a batch are divided equally among its requests.

        Raises
        ------
        ContextTooLong, BadRequest
            For a request that cannot be answered, after all others have been.
        MissingExtra, UnknownModel, TemplateError, UnsupportedModel
            If the model cannot be loaded, has no template, or cannot answer.
        """
        return await self.generate_streamed(requests, [None] * len(requests))

    async def generate_streamed(
        self, requests: Sequence[Request], streams: Sequence[TextStream | None]
    ) -> list[Completion]:
        """Return one completion per request, and report the text of each while it is sampled.

        The text of a stream is a beginning of that of the completion: without a stop text, a part
        of one, or a part of a character.

        Parameters
        ----------
        requests : sequence of Request
            N requests; see :meth:`generate`, which has the same errors.
        streams : sequence of (TextStream or None)
            N streams. A completion whose stream is cancelled ends with the next token.
        """
        return await _in_thread(lambda cancelled: self._generate(requests, streams, cancelled))

    async def score(self, texts: Sequence[PromptResponse]) -> list[NDArray[np.float64]]:
        """Return the log-probability, in nats, of each token of each completion.

        The tokens are those that the chat template renders for the answer, up to and including the
        end-of-sequence token.

        Raises
        ------
        ContextTooLong
            If a prompt and its completion do not fit into the context window.
        TemplateError
            If the template changes the prompt or the completion.
        """
        return await _in_thread(lambda _: self._score(texts))

    async def check(self) -> None:
        """Load the model, and try how it decodes.

        Raises
        ------
        MissingExtra, UnknownModel, TemplateError, UnsupportedModel
            If it cannot be loaded, has no template, or cannot answer.
        """
        await asyncio.to_thread(lambda: (self.chat, self.decoding))

    @property
    def decoding(self) -> str:
        """Way in which the model decodes, such as ``"with a cache"`` or ``"without a cache"``.

        The fastest way whose log-probabilities equal those of the model's own forward pass, by a
        trial on first use.
        """
        return self._engine.decoding.name

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request; the number of prompt tokens is exact."""
        prompt = self.chat.prompt_tokens(request.messages, options=request.options)
        return Usage(1, len(prompt), max(self._max_new_tokens(request, len(prompt)), 0))

    def load_trainable_engine(self) -> Engine:
        """Return an engine that no other caller gets, with weights in float32."""
        return self._load(dtype="float32", shared=False)

    @cached_property
    def source(self) -> str:
        """Folder of the model, or its name on the hub.

        Raises
        ------
        NotFound, Conflict, DamagedModel
            See :func:`~backtalk.models.fetched.cache.find_model`.
        """
        return find_model(self._model)

    @property
    def stored_dtype(self) -> str:
        """Number format of the stored weights, such as ``"bfloat16"``."""
        from backtalk.models.local.loading import stored_dtype  # noqa: PLC0415 - loads torch

        return stored_dtype(self.source, self._revision)

    @property
    def engine(self) -> Engine:
        """Shared weights and tokenizer; callers must not modify them."""
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
            self.source,
            revision=self._revision,
            dtype=dtype,
            device=self._device,
            adapters=self._adapters,
            shared=shared,
        )

    @cached_property
    def chat(self) -> ChatTemplate:
        """Chat template of the model."""
        return self.chat_with(self._engine)

    def chat_with(self, engine: Engine) -> ChatTemplate:
        """Return this model's chat template, with the tokenizer of an engine."""
        from backtalk.models.local.chat_template import ChatTemplate  # noqa: PLC0415 - loads Jinja

        return ChatTemplate(
            engine.tokenizer,
            name=self.name,
            eos_token_ids=engine.eos_token_ids,
            template=self.chat_template,
            options=self.template_options,
            vocabulary_size=engine.vocabulary_size,
        )

    def load_chat(self) -> ChatTemplate:
        """Return the chat template, without loading the weights."""
        from backtalk.models.local.chat_template import ChatTemplate  # noqa: PLC0415 - loads Jinja
        from backtalk.models.local.loading import load_tokenizer  # noqa: PLC0415 - loads torch

        if "_engine" in vars(self):
            return self.chat
        tokenizer, eos_token_ids = load_tokenizer(self.source, self._revision)
        return ChatTemplate(
            tokenizer,
            name=self.name,
            eos_token_ids=eos_token_ids,
            template=self.chat_template,
            options=self.template_options,
        )

    def _generate(
        self,
        requests: Sequence[Request],
        streams: Sequence[TextStream | None],
        cancelled: Callable[[], bool],
    ) -> list[Completion]:
        started = time.monotonic()
        batch = CompletionBatch(len(requests))
        sequences: dict[int, SequenceState] = {}
        for index, (request, stream) in enumerate(zip(requests, streams, strict=True)):
            try:
                sequences[index] = self._sequence(request)
                if stream is not None:
                    sequences[index].on_token = partial(self._report, stream)
            except ModelError as failure:
                batch.fail(index, failure)
                if failure.stops_batch:
                    return batch.finish()
        self._engine.sample(
            list(sequences.values()),
            batch_tokens=self._batch_tokens,
            contains_stop=self._contains_stop,
            cancelled=cancelled,
        )
        seconds = (time.monotonic() - started) / max(len(sequences), 1)
        for index, sequence in sequences.items():
            batch.add(index, [self._completion(sequence, seconds)])
        return batch.finish()

    def _sequence(self, request: Request) -> SequenceState:
        from backtalk.models.local.sampler import SequenceState  # noqa: PLC0415 - loads torch

        # A response format that the stored request of a prompt had is shown to the model; a new
        # request for one would get an answer that does not keep to it.
        own = request_of(request.messages)
        for option, value in request.options.items():
            if option not in _OPTIONS and (option not in SETTINGS or own.get(option) != value):
                raise BadRequest(
                    f"The local model {self.name!r} has no option {option!r}",
                    f"Leave it out; known: {', '.join(_OPTIONS)}",
                )
        prompt = self.chat.prompt_tokens(request.messages, options=request.options)
        max_new_tokens = self._max_new_tokens(request, len(prompt))
        if max_new_tokens < 1:
            raise self._too_long(f"A prompt of {len(prompt)} tokens")
        return SequenceState(tuple(prompt), request.sampling, max_new_tokens, request.draw_seed)

    def _max_new_tokens(self, request: Request, prompt_length: int) -> int:
        context_length = self._engine.context_length
        max_tokens = request.sampling.local_max_tokens
        return (
            max_tokens
            if context_length is None
            else min(max_tokens, context_length - prompt_length)
        )

    def _too_long(self, what: str) -> ContextTooLong:
        return ContextTooLong(
            f"{what} does not fit into the context window of {self.name!r}, "
            f"{self._engine.context_length} tokens",
            "Shorten it, or use a model with a longer context window",
        )

    def _contains_stop(self, sequence: SequenceState) -> bool:
        stops = sequence.sampling.stop
        if not stops:
            return False
        # A token has at least one byte, so a stop text has at most as many tokens as bytes.
        reach = max(len(stop.encode()) for stop in stops) + 4
        end = self.chat.decode(sequence.tokens[-reach:])
        return any(stop in end for stop in stops)

    def _report(self, stream: TextStream, sequence: SequenceState) -> bool:
        """Report the text of a sequence, and return false if nobody reads further."""
        if stream.is_cancelled:
            return False
        if stream.is_read:
            text = self.chat.answer_text(sequence.prompt, sequence.tokens)
            stream.report(settled_text(text, sequence.sampling.stop))
        return True

    def _completion(self, sequence: SequenceState, seconds: float) -> Completion:
        text = self.chat.answer_text(sequence.prompt, sequence.tokens)
        cuts = [index for stop in sequence.sampling.stop if (index := text.find(stop)) >= 0]
        return Completion(
            text=text[: min(cuts)] if cuts else text,
            finish_reason=sequence.finish_reason or "length",
            usage=Usage(1, len(sequence.prompt), len(sequence.tokens), seconds),
            model=self.name,
            log_probability=min(sequence.log_probability, 0.0),
        )

    def _score(self, texts: Sequence[PromptResponse]) -> list[NDArray[np.float64]]:
        pairs = [self.chat.conversation_tokens(messages, text) for messages, text in texts]
        context_length = self._engine.context_length
        for prompt, completion in pairs:
            length = len(prompt) + len(completion)
            if context_length is not None and length > context_length:
                raise self._too_long(f"A conversation of {length} tokens")
        return self._engine.log_probabilities(pairs, batch_tokens=self._batch_tokens)


async def _in_thread(call: Callable[[Callable[[], bool]], T]) -> T:
    """Run a call on a thread; its argument tells it if the caller was cancelled."""
    cancelled = threading.Event()
    try:
        return await asyncio.to_thread(call, cancelled.is_set)
    finally:
        cancelled.set()
