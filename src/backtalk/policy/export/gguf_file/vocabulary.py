"""Vocabulary of a GGUF file: tokens, merges, special tokens and the chat template.

llama.cpp has two tokenizers for the models that are exported here. Byte-level BPE splits a text by
a regular expression, which the file names as its pre-tokenizer, and then merges bytes. The
SentencePiece tokenizer merges characters in the order of the tokens' scores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gguf import GGUFWriter, TokenType

from backtalk.errors import BacktalkError

CONVERTER = (
    "Export it with --merged, and convert the folder with convert_hf_to_gguf.py of llama.cpp"
)
"""Mend for a model that this package cannot write."""

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CASED_WORDS = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s"
    r"|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_PRE_TOKENIZERS: dict[tuple[str, ...], tuple[str, str]] = {
    ("bytes",): ("gpt-2", ""),
    ("digits", "bytes"): ("smollm", ""),
    (_WORDS % "",): ("qwen2", ""),
    (_WORDS % "{1,3}",): ("smaug-bpe", "llama-bpe"),
    (_CASED_WORDS % ("", "", ""),): ("", "tekken"),
    (_CASED_WORDS % (_ENDINGS, _ENDINGS, "{1,3}"),): ("gpt-4o", ""),
}
"""llama.cpp's names of splits: for tokenizers that merge every word, and for those that look a
word up first (``ignore_merges``); empty if llama.cpp has none."""
_SPACE = "\u2581"
_NAMED_ENDS = ("eos", "eot", "eom")


@dataclass(frozen=True)
class SpecialTokens:
    """Tokens with a function, which a GGUF file names by their ids."""

    bos: int | None
    ends: Sequence[int]
    """Tokens that end an answer, the tokenizer's own first."""
    pad: int | None
    unknown: int | None
    add_bos: bool
    """If true, a prompt begins with the token ``bos``."""

    @classmethod
    def of(cls, tokenizer: Any, eos_token_ids: frozenset[int]) -> SpecialTokens:
        """Return the special tokens of a tokenizer of transformers."""
        first = prompt_tokens(tokenizer)[:1]
        preferred = [tokenizer.eos_token_id] if tokenizer.eos_token_id in eos_token_ids else []
        return cls(
            bos=tokenizer.bos_token_id,
            ends=list(dict.fromkeys([*preferred, *sorted(eos_token_ids)])),
            pad=tokenizer.pad_token_id,
            unknown=tokenizer.unk_token_id,
            add_bos=tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id],
        )

    def write(self, writer: GGUFWriter) -> None:
        """Add the ids to a file.

        llama.cpp gives a model without a token ``bos`` one of its own, so the end takes its place.
        """
        for name, id_ in zip(_NAMED_ENDS, self.ends, strict=False):
            getattr(writer, f"add_{name}_token_id")(id_)
        writer.add_bos_token_id(self.ends[0] if self.bos is None else self.bos)
        if self.pad is not None:
            writer.add_pad_token_id(self.pad)
        if self.unknown is not None:
            writer.add_unk_token_id(self.unknown)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(False)


def prompt_tokens(tokenizer: Any) -> list[int]:
    """Return the tokens of a short prompt, by the chat template if there is one."""
    if not tokenizer.chat_template:
        return list(tokenizer("a")["input_ids"])
    ids: list[int] = tokenizer.apply_chat_template(
        [{"role": "user", "content": "a"}], add_generation_prompt=True, return_dict=False
    )
    return ids


def write_vocabulary(
    writer: GGUFWriter, tokenizer: Any, *, size: int, eos_token_ids: frozenset[int]
) -> None:
    """Add the vocabulary of a tokenizer to a file.

    Parameters
    ----------
    writer : GGUFWriter
        Writer of the file.
    tokenizer : Any
        Tokenizer of transformers, with the chat template to export.
    size : int
        Number of rows of the model's embedding.
    eos_token_ids : frozenset[int]
        Tokens that end an answer.

    Raises
    ------
    BacktalkError
        If llama.cpp has no tokenizer that splits texts in the same way.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    data = {} if backend is None else json.loads(backend.to_str())
    model = data.get("model", {})
    if model.get("type") != "BPE":
        raise BacktalkError(
            f"The tokenizer's model {model.get('type', type(tokenizer).__name__)} has no writer "
            "for GGUF",
            CONVERTER,
        )
    ranks = {
        "".join(merge if isinstance(merge, list) else merge.split(" ")): -rank
        for rank, merge in reversed(list(enumerate(model["merges"])))
    }
    tokens = _tokens(data, size)
    if model.get("byte_fallback"):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_add_space_prefix(_adds_space(data, tokenizer))
        writer.add_token_scores([float(ranks.get(token, 0)) for token, _ in tokens])
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_pre_tokenizer(data))
        writer.add_token_merges([_merge(merge) for merge in model["merges"]])
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    SpecialTokens.of(tokenizer, eos_token_ids).write(writer)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _tokens(data: dict[str, Any], size: int) -> list[tuple[str, int]]:
    """Return each token with its type, by id; ids without a token are marked as unused."""
    tokens = [(f"[PAD{i}]", int(TokenType.UNUSED)) for i in range(size)]
    model = data["model"]
    names = {id_: token for token, id_ in model["vocab"].items() if id_ < size}
    for id_, token in names.items():
        is_byte = model.get("byte_fallback") and len(token) == 6 and token.startswith("<0x")
        tokens[id_] = token, int(TokenType.BYTE if is_byte else TokenType.NORMAL)
    for added in data.get("added_tokens", ()):
        if added["id"] < size:
            kind = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
            kind = TokenType.UNKNOWN if added["content"] == model.get("unk_token") else kind
            tokens[added["id"]] = added["content"], int(kind)
    return tokens


def _merge(merge: str | list[str]) -> str:
    """Return a merge as llama.cpp reads it: two parts, separated by a space."""
    return merge if isinstance(merge, str) else " ".join(part.replace(" ", "Ġ") for part in merge)


def _pre_tokenizer(data: dict[str, Any]) -> str:
    """Return llama.cpp's name of the way in which a byte-level tokenizer splits texts."""
    step = data.get("pre_tokenizer") or {}
    steps = step.get("pretokenizers", [step])
    splits = tuple(split for item in steps if (split := _split(item)))
    merging, looking_up = _PRE_TOKENIZERS.get(splits, ("", ""))
    name = looking_up if data["model"].get("ignore_merges") else merging
    if not name or (data.get("normalizer") or {"type": "NFC"})["type"] != "NFC":
        raise BacktalkError(
            "llama.cpp has no name for the way in which the tokenizer splits texts: "
            f"{json.dumps(step)[:200]}",
            CONVERTER,
        )
    return name


def _split(step: dict[str, Any]) -> str:
    """Return the split that one step of a pre-tokenizer makes; empty if it makes none."""
    match step.get("type"):
        case "ByteLevel":
            return "bytes" if step.get("use_regex", True) else ""
        case "Digits" if step.get("individual_digits"):
            return "digits"
        case "Split" if step.get("behavior") in {"Isolated", "Removed"}:
            return str(step["pattern"].get("Regex", step["pattern"]))
    return json.dumps(step)


def _adds_space(data: dict[str, Any], tokenizer: Any) -> bool:
    """Return true if a text begins with a space that was not in it.

    A tokenizer that adds it at the beginning of a prompt only adds none to a prompt of the chat
    template that begins with a special token.
    """
    text = json.dumps([data.get("normalizer"), data.get("pre_tokenizer")], ensure_ascii=False)
    if '"Prepend"' in text or '"prepend_scheme": "always"' in text:
        return True
    first = prompt_tokens(tokenizer)[0]
    return '"prepend_scheme": "first"' in text and first not in tokenizer.all_special_ids
