"""GGUF files: llama.cpp computes what transformers computes, from the same texts."""

import json

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from backtalk.errors import BacktalkError
from backtalk.policy.export.gguf_file import write_gguf
from backtalk.policy.export.gguf_file.vocabulary import _CASED_WORDS, _ENDINGS, _WORDS
from tests.models import tiny
from tests.policy.export.llama_server import LlamaServer

_SHAPE = {**tiny.SIZES, **tiny.HEADS, "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None}
_LONG = {"max_position_embeddings": 256}
_GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 12}
CONFIGS = {
    "llama": transformers.LlamaConfig(**_SHAPE),
    "llama, tied": transformers.LlamaConfig(**_SHAPE, tie_word_embeddings=True),
    "llama, biases": transformers.LlamaConfig(**_SHAPE, attention_bias=True),
    "llama 3": transformers.LlamaConfig(
        **{**_SHAPE, **_LONG},
        rope_parameters={
            "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
        },
    ),
    "mistral": transformers.MistralConfig(**_SHAPE, sliding_window=None),
    "qwen2": transformers.Qwen2Config(**_SHAPE),
    "qwen2, yarn": transformers.Qwen2Config(
        **{**_SHAPE, **_LONG},
        rope_parameters={
            "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ),
    "qwen2, linear": transformers.Qwen2Config(
        **{**_SHAPE, **_LONG},
        rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0},
    ),
    "qwen3": transformers.Qwen3Config(**_SHAPE, head_dim=32),
    "smollm3": transformers.SmolLM3Config(**{**_SHAPE, "num_hidden_layers": 4}),
    "gemma": transformers.GemmaConfig(**_SHAPE, head_dim=16),
    "gemma 2": transformers.Gemma2Config(**{**_SHAPE, "num_hidden_layers": 4}, **_GEMMA),
    "gemma 3": transformers.Gemma3TextConfig(**{**_SHAPE, "num_hidden_layers": 6}, **_GEMMA),
    "gpt2": transformers.GPT2Config(
        vocab_size=384, n_embd=64, n_layer=2, n_head=4, n_positions=96, eos_token_id=1,
    ),
}  # fmt: skip


def random_model(config):
    """Return a model with random weights whose distributions are not flat."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
            if "wpe" in name:
                parameter.mul_(2)
    return model.eval()


def written(folder, model, tokenizer, dtype="float32"):
    path = folder / "model.gguf"
    write_gguf(path, model, tokenizer, dtype=dtype, eos_token_ids=frozenset({1}), name="tiny")
    return LlamaServer(path)


@torch.no_grad()
def next_log_probabilities(model, ids):
    return torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].double(), -1).numpy()


def assert_same_predictions(server, model, prompts, atol):
    """Compare the likeliest next tokens after prompts, pairs of the server's input and ids."""
    compared = 0
    for prompt, ids in prompts:
        expected = next_log_probabilities(model, ids)
        values = server.next_log_probabilities(prompt)
        compared += bool(values)
        for token, value in values.items():
            assert value == pytest.approx(expected[token], abs=atol)
        if values:
            assert next(iter(values)) == int(np.argmax(expected))
    assert compared >= len(prompts) / 4


@pytest.mark.parametrize("name", CONFIGS)
def test_llama_cpp_predicts_the_tokens_that_transformers_predicts(name, tmp_path):
    model = random_model(CONFIGS[name])
    rng = np.random.default_rng(0)
    prompts = [rng.integers(2, 384, length).tolist() for length in (3, 9, 17, 30, 40, 60, 80, 90)]
    assert_same_predictions(
        written(tmp_path, model, tiny.tokenizer()),
        model,
        [(ids, ids) for ids in prompts],
        atol=2e-3 if name.startswith("g") else 1e-4,  # llama.cpp tabulates GELU in float16
    )


@pytest.mark.parametrize(("dtype", "atol"), [("float16", 0.03), ("bfloat16", 0.3), ("q8_0", 0.3)])
def test_rounded_weights_predict_nearly_the_same(dtype, atol, tmp_path):
    model = random_model(CONFIGS["llama"])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.div_(3)  # a moderate model: rounding is not amplified
    rng = np.random.default_rng(1)
    prompts = [rng.integers(2, 384, 12).tolist() for _ in range(8)]
    server = written(tmp_path, model, tiny.tokenizer(), dtype)
    errors = [
        abs(value - next_log_probabilities(model, ids)[token])
        for ids in prompts
        for token, value in server.next_log_probabilities(ids).items()
    ]
    assert errors
    assert max(errors) < atol


def split(pattern):
    """Return a pre-tokenizer that splits by a pattern, as those of Llama 3 and Qwen do."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


PRE_TOKENIZERS = {
    "gpt-2": (pre_tokenizers.ByteLevel(add_prefix_space=False), False),
    "smollm": (
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        ),
        False,
    ),
    "qwen2": (split(_WORDS % ""), False),
    "smaug-bpe": (split(_WORDS % "{1,3}"), False),
    "llama-bpe": (split(_WORDS % "{1,3}"), True),
    "tekken": (split(_CASED_WORDS % ("", "", "")), True),
    "gpt-4o": (split(_CASED_WORDS % (_ENDINGS, _ENDINGS, "{1,3}")), False),
}
TEXTS = [
    "Is the shop open today?",
    "I'd like 12345 boxes, at  9.30\n\n  on SUNDAYs: isn't it?",
    "Größe: 7½ €, naïve café — “quoted”\tand\ttabs",
    "def open(x):\n    return x[0] + 100000 # yes!!\n",
    "<|user|>Hello<|end|>\n<|assistant|>",
    " a  leading space and a trailing one ",
]


def byte_level(pre_tokenizer, *, ignore_merges):
    trained = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    trained.pre_tokenizer = pre_tokenizer
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator([*tiny.TEXT, *TEXTS] * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained, eos_token="<|end|>", pad_token="<|pad|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"], chat_template=tiny.CHATML,
    )  # fmt: skip


def sentence_piece(*, prefix):
    """Return a tokenizer like those of Llama 2 and Gemma, which falls back to bytes."""
    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    steps = [normalizers.Prepend("▁")] if prefix else []
    trained.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    trained.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    specials = ["<|pad|>", "<|end|>", "<unk>", "<s>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=[*specials, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    trained.train_from_iterator(tiny.TEXT * 4, trainer)
    data = json.loads(trained.to_str())
    data["added_tokens"] = data["added_tokens"][: len(specials)]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(data)), bos_token="<s>", unk_token="<unk>",
        eos_token="<|end|>", pad_token="<|pad|>", chat_template=tiny.CHATML,
    )  # fmt: skip


def assert_same_tokens(server, model, tokenizer, texts):
    """Compare predictions after texts, which differ if the tokens do."""
    prompts = [(text, tokenizer(text)["input_ids"]) for text in texts]
    assert_same_predictions(server, model, prompts, atol=1e-4)
    for text, ids in prompts:
        usage = server.complete(text, max_tokens=1)["usage"]
        assert usage["prompt_tokens"] == len(ids), text


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_byte_level_tokenizers_split_texts_in_the_same_way(name, tmp_path):
    pre_tokenizer, ignore_merges = PRE_TOKENIZERS[name]
    tokenizer = byte_level(pre_tokenizer, ignore_merges=ignore_merges)
    model = random_model(transformers.LlamaConfig(**{**_SHAPE, **_LONG}))
    assert_same_tokens(written(tmp_path, model, tokenizer), model, tokenizer, TEXTS)


@pytest.mark.parametrize("prefix", [True, False])
def test_sentence_piece_tokenizers_merge_in_the_same_order(prefix, tmp_path):
    tokenizer = sentence_piece(prefix=prefix)
    model = random_model(transformers.LlamaConfig(**{**_SHAPE, **_LONG}))
    texts = [text for text in TEXTS if not text.startswith("<|")]
    assert_same_tokens(written(tmp_path, model, tokenizer), model, tokenizer, texts)


def test_an_unknown_split_is_an_error(tmp_path):
    tokenizer = byte_level(split(r"\w\w"), ignore_merges=False)
    with pytest.raises(BacktalkError, match=r"no name for the way .* splits texts.*convert_hf"):
        written(tmp_path, random_model(CONFIGS["llama"]), tokenizer)


def test_unknown_architectures_and_tokenizers_are_errors(tmp_path):
    bloom = random_model(transformers.BloomConfig(vocab_size=384, hidden_size=32, n_layer=1))
    with pytest.raises(BacktalkError, match=r"architecture bloom .*gpt2, llama, .*convert_hf"):
        written(tmp_path, bloom, tiny.tokenizer())
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "<|end|>": 1}, unk_token="a")),
        eos_token="<|end|>",
    )
    with pytest.raises(BacktalkError, match="WordLevel has no writer"):
        written(tmp_path, random_model(CONFIGS["llama"]), words)
