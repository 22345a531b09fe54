"""Loading of local models: content-based ids of folders, and quiet progress."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any

from backtalk.models.endpoint.offline import is_offline
from backtalk.models.errors import UnknownModel

_HASHED_SUFFIXES = {".safetensors", ".json", ".jinja", ".txt", ".model"}


def folder_id(folder: Path) -> str:
    """Return the content hash of a model's folder: weights, tokenizer and configuration.

    All files are read, once per process as long as they do not change.
    """
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix in _HASHED_SUFFIXES
    )
    stamps = tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _digest(folder, stamps)


@lru_cache(maxsize=64)
def _digest(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    digest = blake2b(digest_size=16)
    for path, size, _ in stamps:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def stored_dtype(model: str, revision: str | None = None) -> str:
    """Return the number format of a model's stored weights; float32 if its files do not say.

    Parameters
    ----------
    model : str
        Folder, or name on the Hugging Face hub.
    revision : str, optional
        Revision of a hub model.
    """
    transformers = import_module("transformers")  # loads torch
    offline = Path(model).is_dir() or is_offline()
    config = transformers.AutoConfig.from_pretrained(
        model, revision=revision, local_files_only=offline
    )
    return str(config.get_text_config().dtype or "float32").removeprefix("torch.")


def load_tokenizer(model: str, revision: str | None = None) -> tuple[Any, frozenset[int]]:
    """Return the tokenizer of a model and the tokens that end its answers.

    Parameters
    ----------
    model : str
        Folder, or name on the Hugging Face hub.
    revision : str, optional
        Revision of a hub model.

    Raises
    ------
    UnknownModel
        If there is no such model.
    """
    transformers = import_module("transformers")  # loads torch
    options = {
        "revision": revision,
        "local_files_only": Path(model).is_dir() or is_offline(),
    }
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, **options)
        try:
            generation = transformers.GenerationConfig.from_pretrained(model, **options)
        except OSError:
            config = transformers.AutoConfig.from_pretrained(model, **options)
            generation = transformers.GenerationConfig.from_model_config(config)
    except (OSError, ValueError) as error:
        raise UnknownModel(
            f"The tokenizer of {model!r} could not be loaded: {str(error)[:200]}",
            "Give a folder with a model and tokenizer of transformers, or its name on the Hugging "
            "Face hub",
        ) from None
    return tokenizer, find_eos_token_ids(generation, tokenizer)


def find_eos_token_ids(generation: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end an answer.

    Parameters
    ----------
    generation : GenerationConfig or None
        Configuration of the generation.
    tokenizer : Any
        Tokenizer.
    """
    configured = getattr(generation, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*ids, tokenizer.eos_token_id] if token is not None)


@contextmanager
def hide_progress_bars() -> Iterator[None]:
    """Disable the progress bars of transformers while the block runs."""
    logging = import_module("transformers.utils.logging")  # loads torch
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


@contextmanager
def hide_peft_warnings() -> Iterator[None]:
    """Hide the warning of peft that it reads an attribute that transformers has renamed."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*is_gradient_checkpointing", category=FutureWarning
        )
        yield
