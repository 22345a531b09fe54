"""Weights and tokenizer of a local model, loaded once per process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

from backtalk.models.endpoint.offline import is_offline
from backtalk.models.errors import UnknownModel
from backtalk.models.local.decode_attention import NAME as DECODE_ATTENTION
from backtalk.models.local.decoding import Decoding, choose_decoding
from backtalk.models.local.forward import (
    DecodeState,
    log_probabilities,
    next_token_log_probabilities,
)
from backtalk.models.local.loading import (
    find_eos_token_ids,
    folder_id,
    hide_peft_warnings,
    hide_progress_bars,
)
from backtalk.models.local.sampler import SequenceState, sample
from backtalk.models.local.threads import suitable_threads
from backtalk.models.local.token_gradients import AnswerTokens, token_gradients
from backtalk.models.options import Dtype

_MAX_LOGITS = 1 << 28
"""Maximum number of logits in memory while completions are scored."""

_lock = threading.Lock()
_engines: WeakValueDictionary[tuple[str | None, ...], Engine] = WeakValueDictionary()


class Engine:
    """Causal model of transformers with its tokenizer. Made by :func:`load_engine`."""

    def __init__(self, model: Any, tokenizer: Any, *, identity: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.identity = identity
        """Content hash of its files, or its revision on the hub, with the number format."""
        config = model.config.get_text_config()
        self.context_length: int | None = getattr(config, "max_position_embeddings", None)
        """Maximum number of tokens of prompt and completion; ``None`` if unknown."""
        self.eos_token_ids = find_eos_token_ids(model.generation_config, tokenizer)
        """Tokens that end a completion."""
        self.vocabulary_size = int(model.get_input_embeddings().weight.shape[0])
        """Number of tokens that the model has embeddings for."""
        self._busy = threading.RLock()

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return int(self.model.num_parameters())

    @cached_property
    def decoding(self) -> Decoding:
        """Way of decoding, which a trial chooses on first use.

        Raises
        ------
        UnsupportedModel
            If no way gives the log-probabilities of the model's own forward pass.
        """
        with self._busy, suitable_threads(self.model):
            return choose_decoding(self.model)

    def start_decoding(self, mask: torch.Tensor) -> DecodeState:
        """Return the decoding state of a batch of prompts.

        Parameters
        ----------
        mask : torch.Tensor
            Shape ``(n, length)``: 1 for a token, 0 for padding.

        Raises
        ------
        UnsupportedModel
            If the model cannot answer.
        """
        return self.decoding.start(mask)

    def sample(
        self,
        sequences: Sequence[SequenceState],
        *,
        batch_tokens: int,
        contains_stop: Callable[[SequenceState], bool],
        cancelled: Callable[[], bool],
    ) -> None:
        """Sample tokens for all sequences, which are modified in place.

        Parameters
        ----------
        sequences : sequence of SequenceState
            Sequences to sample.
        batch_tokens : int
            Maximum number of tokens in a batch, with padding.
        contains_stop : Callable[[SequenceState], bool]
            Returns true if a sequence contains a stop text; called after each of its tokens.
        cancelled : Callable[[], bool]
            Returns true to stop early; called before each step.
        """
        with self._busy, suitable_threads(self.model):
            sample(
                self.start_decoding,
                sequences,
                device=self.model.device,
                batch_tokens=batch_tokens,
                eos_token_ids=self.eos_token_ids,
                contains_stop=contains_stop,
                cancelled=cancelled,
            )

    def log_probabilities(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, batch_tokens: int
    ) -> list[NDArray[np.float64]]:
        """Return the log-probability, in nats, of each token of each completion.

        Parameters
        ----------
        pairs : Sequence[tuple[Sequence[int], Sequence[int]]]
            Tokens of prompts and of their completions.
        batch_tokens : int
            Maximum number of tokens in a batch, with padding.
        """
        lengths = [len(prompt) + len(completion) for prompt, completion in pairs]
        limit = min(batch_tokens, max(_MAX_LOGITS // self.vocabulary_size, 1))
        results: dict[int, NDArray[np.float64]] = {}
        for batch in _batches(lengths, limit):
            with self._busy, suitable_threads(self.model):
                values = log_probabilities(
                    self.start_decoding, [pairs[i] for i in batch], device=self.model.device
                )
            results |= {i: value.numpy() for i, value in zip(batch, values, strict=True)}
        return [results[i] for i in range(len(pairs))]

    def next_token_log_probabilities(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the log-probability of each token after each prompt, shape ``(n, vocabulary)``."""
        with self._busy, suitable_threads(self.model):
            values = next_token_log_probabilities(
                self.start_decoding, prompts, device=self.model.device
            )
        return np.asarray(values.numpy())

    def token_gradients(
        self, rows: Sequence[AnswerTokens], candidates: Sequence[int]
    ) -> NDArray[np.float64]:
        """Return the derivative of the loss of answers with respect to tokens of their prompts.

        Parameters
        ----------
        rows : sequence of AnswerTokens
            Conversations; the same token of the prompt is at the position of each.
        candidates : sequence of int
            Tokens in its place.

        Returns
        -------
        numpy.ndarray
            Shape ``(candidates,)``; see
            :func:`~backtalk.models.local.token_gradients.token_gradients`.
        """
        with self._busy, suitable_threads(self.model):
            padded = self.decoding.padded
            return np.asarray(token_gradients(self.model, rows, candidates, padded=padded).numpy())


def load_engine(
    model: str,
    *,
    revision: str | None,
    dtype: Dtype,
    device: str,
    adapters: Sequence[str] = (),
    shared: bool = True,
) -> Engine:
    """Return the engine of a model; the same one as long as it is in use.

    Parameters
    ----------
    model : str
        Folder, or name on the Hugging Face hub.
    revision : str or None
        Revision of a hub model.
    dtype : Dtype
        Number format; ``"auto"`` is float32 on a CPU, otherwise the format of the stored weights.
    device : str
        ``"cuda"``, ``"mps"``, ``"cpu"`` or ``"auto"``, the first of these that is available.
    adapters : sequence of str, default ()
        Folders of adapters (peft), which are merged into the weights in this order.
    shared : bool, default True
        If true, other callers may get the same engine. Must be false if the weights will change.

    Raises
    ------
    UnknownModel
        If there is no such model, or no weights in safetensors.
    """
    folder = Path(model) if Path(model).is_dir() else None
    device_type = _default_device() if device == "auto" else device
    content = "" if folder is None else folder_id(folder)
    adapter_ids = [folder_id(Path(adapter)) for adapter in adapters]

    def load() -> Engine:
        engine = _load(model, folder, revision=revision, dtype=dtype, device=device_type)
        if shared:
            _use_decode_attention(engine.model)
        for adapter, adapter_id in zip(adapters, adapter_ids, strict=True):
            _merge_adapter(engine, adapter, adapter_id)
        return engine

    if not shared:
        return load()
    key = (model, revision, content, dtype, device_type, *adapter_ids)
    with _lock:
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = load()
    return engine


def _load(
    model: str, folder: Path | None, *, revision: str | None, dtype: Dtype, device: str
) -> Engine:
    options: Any = {
        "revision": revision,
        "local_files_only": folder is not None or is_offline(),
    }
    number_format = "float32" if dtype == "auto" and device == "cpu" else dtype
    try:
        with hide_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(model, **options)
            weights: Any = AutoModelForCausalLM.from_pretrained(
                model, dtype=number_format, use_safetensors=True, **options
            )
    except (OSError, ValueError) as error:
        raise UnknownModel(
            f"The local model {model!r} could not be loaded: {str(error)[:200]}",
            "Give a folder with a model and tokenizer of transformers, its weights in safetensors, "
            "or its name on the Hugging Face hub",
        ) from None
    if getattr(weights.config, "rescale_every", 0) and weights.dtype != torch.float16:
        # RWKV divides its weights in place for evaluation, and would be saved with them so. That
        # protects float16 from overflow, and changes nothing else.
        weights.config.rescale_every = 0
    weights = weights.to(device).eval()
    commit = getattr(weights.config, "_commit_hash", None) or revision
    source = f"{model}@{commit}" if folder is None else folder_id(folder)
    stored_format = str(weights.dtype).removeprefix("torch.")
    return Engine(weights, tokenizer, identity=f"local {source} {stored_format}")


def _use_decode_attention(model: Any) -> None:
    attention = model.config._attn_implementation  # noqa: SLF001 - it has no other name
    settable = model._can_set_attn_implementation()  # noqa: SLF001 - it has no other name
    if settable and model.device.type == "cpu" and attention == "sdpa":
        model.set_attn_implementation(DECODE_ATTENTION)


def _merge_adapter(engine: Engine, folder: str, adapter_id: str) -> None:
    from peft import PeftModel  # noqa: PLC0415 - slow to import, rarely needed

    with hide_peft_warnings():
        adapted: Any = PeftModel.from_pretrained(engine.model, folder)
    # Adapters freeze the weights that they are put on.
    engine.model = adapted.merge_and_unload().eval().requires_grad_(True)
    engine.identity = f"{engine.identity} + {adapter_id}"


def _default_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _batches(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Return indices in batches of similar length, each with at most ``limit`` padded tokens."""
    batches: list[list[int]] = []
    longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * longest > limit:
            batches.append([])
            longest = lengths[i]
        batches[-1].append(i)
    return batches
