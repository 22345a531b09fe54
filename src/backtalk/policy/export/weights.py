"""Export of all weights: a folder of transformers, or a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import GenerationConfig

from backtalk.artifacts import Artifacts
from backtalk.models import LocalModel
from backtalk.models.local.engine import Engine
from backtalk.models.local.loading import hide_progress_bars
from backtalk.policy.policy import Policy

if TYPE_CHECKING:
    from backtalk.policy.export.gguf_file.write import GGUFDtype


def write_merged(
    folder: Path,
    policy: Policy,
    model: LocalModel,
    artifacts: Artifacts | None,  # noqa: ARG001 - as every writer
    dtype: str,
) -> tuple[str, ...]:
    """Write the weights, the tokenizer and the configuration, and return notes for the user.

    Adapters are merged in float32, before the weights are rounded to the number format.

    Parameters
    ----------
    folder : Path
        Empty folder.
    policy : Policy
        Policy to export.
    model : LocalModel
        Its model.
    artifacts : Artifacts or None
        Not used: the model has its weights.
    dtype : str
        Number format, or ``"auto"``.
    """
    engine = _load(policy, model)
    number_format = model.stored_dtype if dtype == "auto" else dtype
    engine.model.to(getattr(torch, number_format))
    with hide_progress_bars():
        engine.model.save_pretrained(folder)
        engine.tokenizer.save_pretrained(folder)
    return ()


def write_gguf_folder(
    folder: Path,
    policy: Policy,
    model: LocalModel,
    artifacts: Artifacts | None,  # noqa: ARG001 - as every writer
    dtype: str,
) -> tuple[str, ...]:
    """Write the weights and the tokenizer into one GGUF file, and return notes for the user.

    Parameters
    ----------
    folder : Path
        Empty folder.
    policy : Policy
        Policy to export.
    model : LocalModel
        Its model.
    artifacts : Artifacts or None
        Not used: the model has its weights.
    dtype : str
        Number format of the matrices, or ``"auto"``.
    """
    from backtalk.policy.export.gguf_file import write_gguf  # noqa: PLC0415 - an extra of its own
    from backtalk.policy.export.gguf_file.architectures import context_length  # noqa: PLC0415

    engine = _load(policy, model)
    number_format = model.stored_dtype if dtype == "auto" else dtype
    sampling = policy.decoder.base_sampling
    write_gguf(
        folder / f"{policy.label}.gguf",
        engine.model,
        engine.tokenizer,
        dtype=cast("GGUFDtype", number_format),
        eos_token_ids=engine.eos_token_ids,
        name=policy.label,
        temperature=sampling.local_temperature,
        top_p=sampling.local_top_p,
    )
    config = engine.model.config.get_text_config()
    window = context_length(config)
    if window < config.max_position_embeddings:
        note = (
            f"llama.cpp has no sliding window for {config.model_type}. It computes what the policy "
            f"computes for up to {window:,} tokens, the context length in the file"
        )
        return (note,)
    return ()


def _load(policy: Policy, model: LocalModel) -> Engine:
    """Return the weights and the tokenizer as the policy uses them, in float32 on the processor."""
    engine = model.load_trainable_engine()
    engine.model.to("cpu")
    if model.chat_template or engine.tokenizer.chat_template:
        engine.tokenizer.chat_template = model.chat.source
    engine.model.generation_config = _generation_config(policy, engine)
    return engine


def _generation_config(policy: Policy, engine: Engine) -> GenerationConfig:
    """Return the sampling of the policy as the defaults of transformers and vLLM."""
    sampling = policy.decoder.base_sampling
    tokenizer = engine.tokenizer
    options: dict[str, Any] = {"do_sample": False}
    if sampling.local_temperature > 0:
        options = {
            "do_sample": True,
            "temperature": sampling.local_temperature,
            "top_p": sampling.local_top_p,
            "top_k": 0,
        }
    ends = sorted(engine.eos_token_ids)
    return GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends[0] if len(ends) == 1 else ends,
        pad_token_id=tokenizer.pad_token_id,
        **options,
    )
