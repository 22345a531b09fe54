"""A model's weights and tokenizer, loaded once a process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

from backtalk.models.endpoint.offline import endpoints_forbidden
from backtalk.models.errors import UnknownModel
from backtalk.models.local.forward import DecodeState, Forward, log_probabilities
from backtalk.models.local.loading import Dtype, folder_id, quietly
from backtalk.models.local.sampler import Row, sample

_LOGITS_AT_ONCE = 1 << 28

_lock = threading.Lock()
_loaded: WeakValueDictionary[tuple[str | None, ...], Engine] = WeakValueDictionary()


class Engine:
    """A causal model of transformers, its tokenizer, and what they say about themselves.

    Made by :func:`load_engine`.
    """

    def __init__(self, model: Any, tokenizer: Any, *, identity: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.identity = identity
        """What its files hold, or its revision on the hub, and the number format."""
        config = model.config.get_text_config()
        self.context_length: int | None = getattr(config, "max_position_embeddings", None)
        """How many tokens it reads and writes at most, where it says so."""
        self.eos_token_ids = _end_tokens(model, tokenizer)
        """The tokens that end a completion."""
        self._vocabulary = int(config.vocab_size)
        self._busy = threading.Lock()

    def begin(self, mask: torch.Tensor) -> DecodeState:
        """Return what predicts the tokens of a batch of sequences, which are where the mask is 1.

        Parameters
        ----------
        mask : torch.Tensor
            Shape ``(n, longest)``.
        """
        return Forward(self.model, mask)

    def draw(
        self,
        rows: Sequence[Row],
        *,
        batch_tokens: int,
        complete: Callable[[Row], bool],
        cancelled: Callable[[], bool],
    ) -> None:
        """Draw tokens for all rows, working on at most so many at once, padding included."""
        with self._busy:
            sample(
                self.begin,
                rows,
                device=self.model.device,
                batch_tokens=batch_tokens,
                end=self.eos_token_ids,
                complete=complete,
                cancelled=cancelled,
            )

    def log_probabilities(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, batch_tokens: int
    ) -> list[NDArray[np.float64]]:
        """Return the log-probability, in nats, of each token of each completion."""
        lengths = [len(prompt) + len(rest) for prompt, rest in pairs]
        limit = min(batch_tokens, max(_LOGITS_AT_ONCE // self._vocabulary, 1))
        results: dict[int, NDArray[np.float64]] = {}
        for batch in _batches(lengths, limit):
            with self._busy:
                values = log_probabilities(
                    self.begin, [pairs[i] for i in batch], device=self.model.device
                )
            results |= {i: value.numpy() for i, value in zip(batch, values, strict=True)}
        return [results[i] for i in range(len(pairs))]


def load_engine(
    model: str,
    *,
    revision: str | None,
    dtype: Dtype,
    device: str,
    adapters: Sequence[str] = (),
    shared: bool = True,
) -> Engine:
    """Return a model's engine; the same one as long as somebody uses it.

    Parameters
    ----------
    model, revision, dtype, device
        As for :class:`~backtalk.models.local.model.LocalModel`.
    adapters : sequence of str, default ()
        Folders of adapters, which are added to the weights one after the other.
    shared : bool, default True
        Whether others may get the same engine; one whose weights will change must not be.

    Raises
    ------
    UnknownModel
        If there is no such model, or no weights in safetensors.
    """
    folder = Path(model) if Path(model).is_dir() else None
    where = _device() if device == "auto" else device
    content = "" if folder is None else folder_id(folder)
    added = [folder_id(Path(adapter)) for adapter in adapters]

    def load() -> Engine:
        engine = _load(model, folder, revision=revision, dtype=dtype, device=where)
        for adapter, adapter_id in zip(adapters, added, strict=True):
            _add_adapter(engine, adapter, adapter_id)
        return engine

    if not shared:
        return load()
    key = (model, revision, content, dtype, where, *added)
    with _lock:
        engine = _loaded.get(key)
        if engine is None:
            engine = _loaded[key] = load()
    return engine


def _load(
    model: str, folder: Path | None, *, revision: str | None, dtype: Dtype, device: str
) -> Engine:
    shared: Any = {
        "revision": revision,
        "local_files_only": folder is not None or endpoints_forbidden(),
    }
    number_format = "float32" if dtype == "auto" and device == "cpu" else dtype
    try:
        with quietly():
            tokenizer = AutoTokenizer.from_pretrained(model, **shared)
            weights: Any = AutoModelForCausalLM.from_pretrained(
                model, dtype=number_format, use_safetensors=True, **shared
            )
    except (OSError, ValueError) as error:
        raise UnknownModel(
            f"The local model {model!r} could not be loaded: {str(error)[:200]}",
            "Give a folder with a model and tokenizer of transformers, its weights in safetensors, "
            "or its name on the Hugging Face hub",
        ) from None
    weights = weights.to(device).eval()
    commit = getattr(weights.config, "_commit_hash", None) or revision
    source = f"{model}@{commit}" if folder is None else folder_id(folder)
    kept = str(weights.dtype).removeprefix("torch.")
    return Engine(weights, tokenizer, identity=f"local {source} {kept}")


def _add_adapter(engine: Engine, folder: str, adapter_id: str) -> None:
    from peft import PeftModel  # noqa: PLC0415 - slow, and seldom needed

    adapted: Any = PeftModel.from_pretrained(engine.model, folder)
    engine.model = adapted.merge_and_unload().eval()
    engine.identity = f"{engine.identity} + {adapter_id}"


def _device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    named = getattr(model.generation_config, "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    return frozenset(token for token in [*several, tokenizer.eos_token_id] if token is not None)


def _batches(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Return places in batches: alike in length, and padded at most so many tokens together."""
    batches: list[list[int]] = []
    longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * longest > limit:
            batches.append([])
            longest = lengths[i]
        batches[-1].append(i)
    return batches
