"""Small random models of every causal language model class of the installed transformers."""

from __future__ import annotations

import inspect
import re
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 384
EOS = 1
_WIDTH = 32
_SIZES: tuple[tuple[str, int], ...] = (
    (r".*vocab_size(_per_layer_input)?", VOCABULARY),
    (r"ngram_vocab_size_base|encoder_hash_byte_group_vocab|split_ngram_parts", 8),
    (r"hidden_size(_per_layer_input)?|backbone_hidden_size|router_hidden_size", _WIDTH),
    (r"d_model|n_embd|emb_dim|dim_model|(in|out)put_embedding_size|embedding_size", _WIDTH),
    (r"lru_width|mamba_d_ssm|dim_model_base", _WIDTH),
    (r"num_hidden_layers|n_layers?|num_layers|(num_)?(encoder|decoder)_layers|depth", 4),
    (r"(num_)?((encoder|decoder|swa|linear)_)?(num_)?(attention_)?heads|n_heads?|index_n_heads", 4),
    (r"((swa|global)_)?num_key_value_heads|num_global_key_value_heads", 2),
    (r"((swa|index|attention)_)?head_(dim|size)|kv_channels|dim_head|rotary_dim", 8),
    (r"qk_nope_head_dim|qk_rope_head_dim|v_head_dim|linear(_key|_value)?_head_dim", 8),
    (r"(q|kv|o)_lora_rank|adapter_rank|laurel_rank|hc_lowrank|gated_norm_rank|d_rel", 8),
    (r".*intermediate_size(_mlp)?|.*ffn_dim|.*ffn_hidden_size|d_inner|dff|dim_ff", 48),
    (r"feed_forward_size|prompt_mid_dim", 48),
    (r"num_(local_)?experts|n_routed_experts|moe_num_experts|zero_expert_num", 4),
    (r"num_experts_per_tok|moe_topk|moe_k|n_group|topk_group|o_groups", 2),
    (r"max_position_embeddings|n_positions|n_ctx|max_seq_len|max_(source|target)_positions", 128),
    (r"context_length", 128),
    (r"sliding_window(_size)?|attention_window_size|window_size|local_attention", 6),
    (r"keep_window_size|attention_chunk_size|local_attention_window_len", 8),
    (r"(mamba_|ssm_)?(d_state|state_size)", 8),
    (r"mamba_n_heads|mamba_num_heads|linear_num_value_heads", 4),
    (r"linear_num_key_heads|mamba_n_groups|mamba_ngroups|n_groups|n_mamba_heads", 2),
    (r"mamba_head_dim", 16),
    (r"(mamba_)?chunk_size|block_multiple_of|index_block_size", 8),
    (r"index_topk|index_topk_blocks|num_centroids|centroid_intermediate_top_k", 4),
    (r"attn_layer_period|first_k_dense_replace|global_attn_every_n_layers|layer_group_size", 2),
    (r"attn_layer_offset|num_mem_blocks|num_kv_shared_layers", 1),
    (r"max_window_layers", 2),
    (r"image_size", 16),
    (r"patch_size", 8),
)
"""Values by name of the parameter; the first pattern that matches counts."""

_LATENT_ATTENTION = {"num_key_value_heads": 4}
_ATTENTION_FIRST = {"num_kv_shared_layers": 0}
_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
_INDEXER = {
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 16,
    "indexer_compress_ratio": 2,
}
_SPECIAL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            "axk1",
            "bailing_hybrid",
            "deepseek_v3",
            "dots3_note_text",
            "glm4_moe_lite",
            "minicpm3",
            "youtu",
        ),
        _LATENT_ATTENTION,
    ),
    "bamba": {"attn_layer_indices": [1, 3]},
    "cohere": {"logit_scale": 0.5},
    "cohere2": {"logit_scale": 0.5},
    "cohere2_moe": {"logit_scale": 0.5},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE}},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 10_000.0, "clip_qkv": 8}},
    "deepseek_v2": {"num_key_value_heads": 4, "num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note": {"text_config": _LATENT_ATTENTION},
    "gemma4_text": _ATTENTION_FIRST,
    "gemma4_unified_text": _ATTENTION_FIRST,
    "gemma4": {"text_config": _ATTENTION_FIRST},
    "gemma4_unified": {"text_config": _ATTENTION_FIRST},
    "falcon_h1": {"lm_head_multiplier": 0.3, "embedding_multiplier": 2.0},
    "granite": {"logits_scaling": 3.0},
    "granitemoe": {"logits_scaling": 3.0},
    "granitemoeshared": {"logits_scaling": 3.0},
    "hyperclovax": {"logits_scaling": 0.4},
    # Ties between scores of 0 make the selection of fewer tokens depend on the length.
    **dict.fromkeys(
        ("axk2", "deepseek_v32", "glm_moe_dsa", "hy_v4"), _LATENT_ATTENTION | {"index_topk": 64}
    ),
    "doge": {"keep_window_size": 64},
    "xlm": {"causal": True},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2, "logits_scaling": 3.0},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "kimi_linear": {
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "num_key_value_heads": 4,
    },
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"head_dim": 16, "num_heads": 4},
    "ministral": {"head_dim": 8},
    "nemotron": {"head_dim": 8, "num_key_value_heads": 2},
    "qwen4_exp": {"text_config": _INDEXER},
    "qwen4_exp_text": _INDEXER,
    "reformer": {"axial_pos_shape": (8, 16), "axial_pos_embds_dim": (16, 16)},
    "xlstm": {"qk_dim_factor": 1.0, "hidden_size": 64},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 6, "attn_layer_period": 2, "attn_layer_offset": 1},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"] * 2},
    "zaya": {"num_experts_per_tok": 1},
}
"""Parameters of model types whose small sizes must fit each other."""


def model_types() -> list[str]:
    """Return the model types of transformers that have a causal language model class."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(model_type: str, **overrides: Any) -> Any:
    """Return a small configuration of a model type.

    Parameters
    ----------
    model_type : str
        Model type of transformers.
    **overrides
        Parameters of the configuration.
    """
    config_class = CONFIG_MAPPING[model_type]
    options = _small_options(config_class)
    for special in (_SPECIAL.get(model_type, {}), overrides):
        for name, value in special.items():
            is_part = name in config_class.sub_configs
            options[name] = options[name] | value if is_part else value
    return config_class(**options)


def _small_options(config_class: Any) -> dict[str, Any]:
    options: dict[str, Any] = {}
    parameters = inspect.signature(config_class).parameters
    for name, parameter in parameters.items():
        if name in config_class.sub_configs:
            part = config_class.sub_configs[name]
            if part.__name__ != "AutoConfig":
                options[name] = _small_options(part)
            elif (default := getattr(config_class(), name)) is not None:
                options[name] = {
                    "model_type": default.model_type,
                    **_small_options(type(default)),
                    **_SPECIAL.get(default.model_type, {}),
                }
        elif re.fullmatch(r".*token_(id|index)", name):
            if isinstance(parameter.default, int) or name in {"eos_token_id", "pad_token_id"}:
                options[name] = _token(name, parameter.default)
        elif isinstance(parameter.default, int) and not isinstance(parameter.default, bool):
            size = _size(name)
            if size is not None:
                options[name] = size
    if "is_decoder" in parameters:
        options["is_decoder"] = True
    return options


def _token(name: str, default: Any) -> Any:
    # Some models place padding elsewhere, so that a text with the padding token inside has no
    # positions that agree; as the end of sequence, it is never inside.
    if name in {"eos_token_id", "pad_token_id"}:
        return EOS
    return int(default) % VOCABULARY


def _size(name: str) -> int | None:
    return next((size for pattern, size in _SIZES if re.fullmatch(pattern, name)), None)


def tiny_model(config: Any, *, seed: int = 0) -> Any:
    """Return a model with random weights, large enough that its distributions are not flat.

    Parameters
    ----------
    config : Any
        Configuration of transformers.
    seed : int, default 0
        Seed of the weights.
    """
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.weight.normal_(std=1.0)
            elif isinstance(module, nn.Linear):
                module.weight.normal_(std=module.in_features**-0.5)
                if module.bias is not None:
                    module.bias.normal_(std=0.1)
    return model.eval()
