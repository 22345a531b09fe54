"""Architectures of GGUF files: hyperparameters and tensors, as llama.cpp computes with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from gguf import MODEL_ARCH, GGUFWriter, RopeScalingType, get_tensor_name_map
from torch import Tensor

from backtalk.errors import BacktalkError
from backtalk.policy.export.gguf_file.vocabulary import CONVERTER

_CONV1D = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
"""Weights that GPT-2 stores transposed."""


@dataclass(frozen=True)
class Architecture:
    """Architecture of llama.cpp, with the tensors that it stores differently."""

    arch: MODEL_ARCH
    convert: Callable[[str, Tensor, Any], Tensor] = lambda _, tensor, __: tensor
    """Function of a tensor's name, the tensor and the configuration, to the tensor in the file."""
    write: Callable[[GGUFWriter, Any], None] = lambda _, __: None
    """Function that adds the hyperparameters that only this architecture has."""
    windows: bool = False
    """True if llama.cpp computes this architecture's sliding windows."""

    def names(self, layers: int) -> Callable[[str], str]:
        """Return the function from names of transformers to names in the file."""
        known = get_tensor_name_map(self.arch, layers)

        def name(key: str) -> str:
            new = known.get_name(key, (".weight", ".bias"))
            if new is None:
                raise BacktalkError(f"llama.cpp has no tensor {key!r} of this model", CONVERTER)
            return new

        return name


def _interleave(name: str, tensor: Tensor, config: Any) -> Tensor:
    """Reorder the rows of queries and keys from halves to the pairs that llama.cpp rotates."""
    if ".q_proj." in name:
        heads = config.num_attention_heads
    elif ".k_proj." in name:
        heads = config.num_key_value_heads
    else:
        return tensor
    pairs = tensor.reshape(heads, 2, -1, *tensor.shape[1:]).transpose(1, 2)
    return pairs.reshape(tensor.shape)


def _transpose(name: str, tensor: Tensor, config: Any) -> Tensor:  # noqa: ARG001 - as every convert
    return tensor.T if name.endswith(_CONV1D) else tensor


def _add_one(name: str, tensor: Tensor, config: Any) -> Tensor:  # noqa: ARG001 - as every convert
    """Add the one that Gemma adds to the weights of its norms."""
    return tensor + 1 if name.endswith("norm.weight") else tensor


def _gemma2(writer: GGUFWriter, config: Any) -> None:
    writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    writer.add_final_logit_softcapping(config.final_logit_softcapping)
    writer.add_sliding_window(config.sliding_window)


def _gemma3(writer: GGUFWriter, config: Any) -> None:
    writer.add_sliding_window(config.sliding_window)


ARCHITECTURES = {
    "gemma": Architecture(MODEL_ARCH.GEMMA, _add_one),
    "gemma2": Architecture(MODEL_ARCH.GEMMA2, _add_one, _gemma2, windows=True),
    "gemma3_text": Architecture(MODEL_ARCH.GEMMA3, _add_one, _gemma3, windows=True),
    "gpt2": Architecture(MODEL_ARCH.GPT2, _transpose),
    "llama": Architecture(MODEL_ARCH.LLAMA, _interleave),
    "mistral": Architecture(MODEL_ARCH.LLAMA, _interleave),
    "qwen2": Architecture(MODEL_ARCH.QWEN2),
    "qwen3": Architecture(MODEL_ARCH.QWEN3),
    "smollm3": Architecture(MODEL_ARCH.SMOLLM3, _interleave),
}
"""Architectures by the ``model_type`` of transformers."""


def get_architecture(config: Any) -> Architecture:
    """Return the architecture of a model.

    Raises
    ------
    BacktalkError
        If there is no writer for it.
    """
    known = ARCHITECTURES.get(config.model_type)
    if known is None:
        raise BacktalkError(
            f"The architecture {config.model_type} has no writer for GGUF; there are writers for "
            f"{', '.join(sorted(ARCHITECTURES))}",
            CONVERTER,
        )
    return known


def context_length(config: Any) -> int:
    """Return the number of tokens up to which llama.cpp computes what transformers computes.

    llama.cpp attends to all tokens where it knows no sliding window, so that the window is the
    limit.
    """
    length = int(config.max_position_embeddings)
    window = getattr(config, "sliding_window", None)
    if window and not ARCHITECTURES[config.model_type].windows and _slides(config):
        return min(length, int(window))
    return length


def _slides(config: Any) -> bool:
    layers = getattr(config, "layer_types", None)
    return layers is None or "sliding_attention" in layers


def write_hyperparameters(writer: GGUFWriter, config: Any) -> None:
    """Add the hyperparameters of a model to a file.

    Parameters
    ----------
    writer : GGUFWriter
        Writer of the file.
    config : Any
        Text configuration of transformers.

    Raises
    ------
    BacktalkError
        If llama.cpp has no such rotary embedding.
    """
    head_dim = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    inner = getattr(config, "intermediate_size", None) or (
        getattr(config, "n_inner", None) or 4 * config.hidden_size
    )
    writer.add_context_length(context_length(config))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(
        getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    )
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_vocab_size(config.vocab_size)
    if hasattr(config, "layer_norm_epsilon"):
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if rope := _rope(config):
        _write_rope(writer, rope, head_dim)
    ARCHITECTURES[config.model_type].write(writer, config)


def _rope(config: Any) -> dict[str, Any]:
    """Return the parameters of the rotary embedding; those of full attention if they differ."""
    parameters: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    full: dict[str, Any] = parameters.get("full_attention", parameters)
    return full


def _write_rope(writer: GGUFWriter, rope: dict[str, Any], head_dim: int) -> None:
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(rope["rope_theta"])
    match rope.get("rope_type", "default"):
        case "default" | "llama3":
            pass
        case "linear":
            writer.add_rope_scaling_type(RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(rope["factor"])
        case "yarn":
            writer.add_rope_scaling_type(RopeScalingType.YARN)
            writer.add_rope_scaling_factor(rope["factor"])
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        case other:
            raise BacktalkError(
                f"The rotary embedding {other!r} of the model has no writer for GGUF", CONVERTER
            )


def file_tensors(model: Any, config: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a model as llama.cpp stores them, each with its name in the file.

    Parameters
    ----------
    model : Any
        Causal model of transformers.
    config : Any
        Its text configuration.

    Raises
    ------
    BacktalkError
        If llama.cpp has no place for a tensor.
    """
    architecture = get_architecture(config)
    name = architecture.names(config.num_hidden_layers)
    output = model.get_output_embeddings()
    tied = output.weight is model.get_input_embeddings().weight
    for key, tensor in model.state_dict().items():
        if not (tied and key == "lm_head.weight"):
            yield name(key), architecture.convert(key, tensor.detach(), config)
    factors = _frequency_factors(config)
    if factors is not None:
        yield "rope_freqs.weight", factors


def _frequency_factors(config: Any) -> Tensor | None:
    """Return the divisors of the rotary frequencies of Llama 3; ``None`` for other models."""
    rope = _rope(config)
    if rope.get("rope_type") != "llama3":
        return None
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS  # noqa: PLC0415

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    steps = torch.arange(len(scaled), dtype=torch.float64) / len(scaled)
    factors: Tensor = rope["rope_theta"] ** -steps / scaled.double()
    return factors.float()
