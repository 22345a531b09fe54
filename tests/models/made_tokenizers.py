"""Small tokenizers of the kinds that language models have, trained on a few sentences."""

import json
from functools import cache

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

TEXT = [
    "Is the shop open today? Yes, we open at nine and close at five.",
    "def area(x):\n    if x:\n        return x * x\n\n    return 0\n",
    "  Hello\n\nHello  there,\n- one\n- two\n\n\n    and more\t.\n",
    "<think>\n\n</think>\n\nHello.\n",
] * 8
ROLES = ("<|user|>", "<|assistant|>", "<|system|>", "<|tool|>")
CHATML = (
    "{% for message in messages %}{{ '<|' + message.role + '|>\n' }}"
    "{{ message.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""Template whose prompts end in a line break, as ChatML's do."""
TRIMMED = CHATML.replace("message.content", "message.content | trim")
PADDED = (
    "{% for message in messages %}{% if message.role == 'user' %}"
    "{{ '<|user|> ' + message.content | trim + ' <|assistant|>' }}{% else %}"
    "{{ ' ' + message.content | trim + ' <|end|>' }}{% endif %}{% endfor %}"
)
"""Template that writes a space before and after an answer, as Llama 2's does."""
THINKING = (
    "{% for message in messages %}{{ '<|' + message.role + '|>\n' }}"
    "{% if message.role == 'assistant' and loop.last %}"
    "{% if '</think>' in message.content %}{{ message.content }}{% else %}"
    "{{ '<think>\n\n</think>\n\n' + message.content.lstrip('\n') }}{% endif %}"
    "{% else %}{{ message.content }}{% endif %}{{ '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}"
    "{% endif %}{% endif %}"
)
"""Template that writes an empty block of thinking before an answer, as Qwen3's does."""

_QWEN = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SENTENCEPIECE = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]


def _byte_level(*, regex: bool = True, prefix: bool = False) -> pre_tokenizers.ByteLevel:
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def _bytes_bpe(pre_tokenizer, normalizer=None) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizer, decoders.ByteLevel()
    if normalizer is not None:
        made.normalizer = normalizer
    return made


def _fallback_bpe(normalizer=None, pre_tokenizer=None, *, strip: bool = False) -> Tokenizer:
    made = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    if normalizer is not None:
        made.normalizer = normalizer
    if pre_tokenizer is not None:
        made.pre_tokenizer = pre_tokenizer
    made.decoder = decoders.Sequence(
        [*_SENTENCEPIECE, *([decoders.Strip(" ", 1, 0)] if strip else [])]
    )
    return made


def _word_piece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##")
    return made


def _unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    return made


_PREPEND = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
_KINDS = {
    # SmolLM's: a line break is merged with the white space after it.
    "smollm": lambda: _bytes_bpe(
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _byte_level()])
    ),
    "gpt2": lambda: _bytes_bpe(_byte_level()),
    "roberta": lambda: _bytes_bpe(_byte_level(prefix=True)),
    "qwen": lambda: _bytes_bpe(
        pre_tokenizers.Sequence(
            [pre_tokenizers.Split(_QWEN, "isolated"), _byte_level(regex=False)]
        ),
        normalizers.NFC(),
    ),
    "llama2": lambda: _fallback_bpe(_PREPEND, strip=True),
    "mistral": lambda: _fallback_bpe(
        pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first", split=False), strip=True
    ),
    "metaspace": lambda: _fallback_bpe(
        pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="always"), strip=True
    ),
    "gemma": lambda: _fallback_bpe(normalizers.Replace(" ", "▁")),
    "t5": _unigram,
    "bert": _word_piece,
}
KINDS = tuple(_KINDS)
LOSSLESS = ("smollm", "gpt2", "roberta", "llama2", "mistral", "metaspace", "gemma")
"""Kinds that have tokens for every text."""


@cache
def made_tokenizer(
    kind: str, template: str = CHATML, *, strips: bool = False
) -> PreTrainedTokenizerFast:
    """Return a tokenizer of a kind; with ``strips``, roles and end take away the space around."""
    made = _KINDS[kind]()
    special = ["<|pad|>", "<|end|>", "<unk>", *ROLES]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"vocab_size": 700, "special_tokens": special, "show_progress": False}
    if kind == "bert":
        trainer = trainers.WordPieceTrainer(**options)
    elif kind == "t5":
        trainer = trainers.UnigramTrainer(unk_token="<unk>", **options)
    elif kind in {"llama2", "mistral", "metaspace", "gemma"}:
        options["special_tokens"] = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
        trainer = trainers.BpeTrainer(**options)
    else:
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, **options)
    made.train_from_iterator(TEXT, trainer)
    if kind in {"llama2", "mistral", "metaspace", "gemma"}:
        made = _with_plain_bytes(made, special)
    made.add_special_tokens(
        [AddedToken(token, lstrip=strips, rstrip=strips, normalized=False) for token in special]
    )
    made.add_tokens(
        [AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        unk_token="<unk>" if kind not in {"smollm", "gpt2", "roberta", "qwen"} else None,
        chat_template=template,
    )


def _with_plain_bytes(made: Tokenizer, special: list[str]) -> Tokenizer:
    """Return the tokenizer with its byte tokens as ordinary ones, which decoders put together."""
    data = json.loads(made.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] in special]
    return Tokenizer.from_str(json.dumps(data))
