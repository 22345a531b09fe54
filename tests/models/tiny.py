"""Tiny language models with random weights, a real tokenizer and a real chat template."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

torch.set_num_threads(1)  # further threads slow such small models down

TEXT = [
    "Is the shop open today? Yes, we open at nine and close at five.",
    "Dear customer, thank you for your letter. We are sorry that the parcel is late.",
    "How do I return it? Put it back into its box and bring it to any shop of ours.",
]
CHATML = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
WINDOW = 96
SIZES = {"vocab_size": 384, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": WINDOW}


def tokenizer(*, template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer trained on a few sentences."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    roles = ["<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=SIZES["vocab_size"],
        special_tokens=["<|pad|>", "<|end|>", *roles],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(TEXT * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=roles,
        chat_template=template,
    )


def network(architecture: str) -> torch.nn.Module:
    """Return a network with random weights, scaled up so that its distributions are not flat."""
    torch.manual_seed(0)
    ends = {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None}
    if architecture == "gpt2":
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=384, n_embd=64, n_layer=2, n_head=4, n_positions=WINDOW, **ends)
        )
    elif architecture == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SIZES, **HEADS, **ends))
    elif architecture == "mistral":
        model = MistralForCausalLM(MistralConfig(**SIZES, **HEADS, **ends, sliding_window=12))
    else:
        model = LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS, **ends))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
        model.get_output_embeddings().weight[1].mul_(2.5)  # so that completions end
    return model.eval()


def save(folder: Path, architecture: str = "llama", *, template: str | None = CHATML) -> str:
    """Save a model and its tokenizer, and return the folder."""
    model = network(architecture)
    model.save_pretrained(folder)
    tokenizer(template=template).save_pretrained(folder)
    return str(folder)
