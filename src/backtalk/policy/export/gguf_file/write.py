"""Writer of GGUF files: metadata, then the tensors one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, quant_shape_to_byte_shape, quants
from gguf.constants import GGML_QUANT_SIZES, GGML_QUANT_VERSION, MODEL_ARCH_NAMES
from torch import Tensor

from backtalk.policy.export.gguf_file.architectures import (
    file_tensors,
    get_architecture,
    write_hyperparameters,
)
from backtalk.policy.export.gguf_file.vocabulary import write_vocabulary

GGUFDtype = Literal["float32", "float16", "bfloat16", "q8_0"]
"""Number format of the matrices in a file."""

_FORMATS = {
    "float32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "float16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bfloat16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}


def write_gguf(
    path: Path,
    model: Any,
    tokenizer: Any,
    *,
    dtype: GGUFDtype,
    eos_token_ids: frozenset[int],
    name: str,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> None:
    """Write a causal model and its tokenizer into one file that llama.cpp loads.

    Vectors stay in float32, and so do matrices whose rows do not divide into blocks of the number
    format.

    Parameters
    ----------
    path : Path
        File to write.
    model : Any
        Causal model of transformers.
    tokenizer : Any
        Its tokenizer, with the chat template to export.
    dtype : {"float32", "float16", "bfloat16", "q8_0"}
        Number format of the matrices.
    eos_token_ids : frozenset[int]
        Tokens that end an answer.
    name : str
        Name of the model in the file.
    temperature, top_p : float, default 1.0
        Sampling of llama.cpp unless a request sets its own, without its other restrictions.

    Raises
    ------
    BacktalkError
        If llama.cpp cannot compute the model, or cannot split texts as its tokenizer does.
    """
    config = model.config.get_text_config()
    architecture = get_architecture(config)
    target, file_type = _FORMATS[dtype]
    writer = GGUFWriter(path, MODEL_ARCH_NAMES[architecture.arch])
    try:
        writer.add_type("model")
        writer.add_name(name)
        writer.add_file_type(file_type)
        writer.add_quantization_version(GGML_QUANT_VERSION)
        writer.add_sampling_temp(temperature)
        writer.add_sampling_top_p(top_p)
        writer.add_sampling_top_k(0)
        writer.add_sampling_min_p(0.0)
        write_hyperparameters(writer, config)
        rows = model.get_input_embeddings().weight.shape[0]
        write_vocabulary(writer, tokenizer, size=rows, eos_token_ids=eos_token_ids)
        for key, tensor in file_tensors(model, config):
            _add_info(writer, key, tensor, _format(tensor, target))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, tensor in file_tensors(model, config):
            values = tensor.float().contiguous().cpu().numpy()
            writer.write_tensor_data(quants.quantize(values, _format(tensor, target)))
    finally:
        writer.close()


def _format(tensor: Tensor, target: GGMLQuantizationType) -> GGMLQuantizationType:
    block, _ = GGML_QUANT_SIZES[target]
    if tensor.ndim < 2 or tensor.shape[-1] % block:
        return GGMLQuantizationType.F32
    return target


def _add_info(
    writer: GGUFWriter, name: str, tensor: Tensor, number_format: GGMLQuantizationType
) -> None:
    """Add the shape and the number format of a tensor that is written later."""
    if number_format in {GGMLQuantizationType.F32, GGMLQuantizationType.F16}:
        size = 4 if number_format == GGMLQuantizationType.F32 else 2
        kind = np.dtype(f"float{8 * size}")
        writer.add_tensor_info(name, tuple(tensor.shape), kind, size * tensor.numel())
        return
    shape = quant_shape_to_byte_shape(tuple(tensor.shape), number_format)
    writer.add_tensor_info(
        name, shape, np.dtype("uint8"), int(np.prod(shape)), raw_dtype=number_format
    )
