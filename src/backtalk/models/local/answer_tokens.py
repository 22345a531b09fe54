"""Tokens of answers that continue the tokens of a prompt.

A sampler reads the tokens of the prompt and draws those that follow. A tokenizer that reads prompt
and answer as one text may merge the last characters of the one with the first of the other, such as
a line break with indentation, into tokens that no sampler draws. An answer is therefore encoded as
a continuation of the prompt's own tokens, and its tokens decode to exactly its text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

_CONTEXT = 16
"""Number of the last tokens of a prompt that are decoded with an answer."""

_ANCHORS = ("", "\n", "a", ".", ":")
"""Texts that a piece is encoded after; tokenizers may add a space at the beginning of a text, and
may take one away after white space."""


@dataclass(frozen=True)
class Piece:
    """Part of an answer's text."""

    text: str
    is_template: bool = False
    """If true, the template writes it, so that its special tokens are special tokens."""


class AnswerTokenizer:
    """Encodes and decodes answers in the context of a prompt's tokens.

    Parameters
    ----------
    tokenizer : Any
        Tokenizer of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        special = special_tokens(tokenizer)
        own = {token.content for token in added.values() if not token.content.isspace()} - special
        self._special_ids = frozenset(
            [*tokenizer.all_special_ids, *(id_ for id_, token in added.items() if token.special)]
        )
        self._special, self._own = _pattern(special), _pattern(own)
        self._markup = _pattern(special | own)
        self._after_special = re.compile(f"({self._special.pattern}) +")

    def writes_own_tokens(self, text: str) -> bool:
        """Return whether a text has added tokens that models write, such as ``<think>``."""
        return self._own.search(text) is not None

    def writes_special_tokens(self, text: str) -> bool:
        """Return whether a text has special tokens, such as the end of a sequence."""
        return self._special.search(text) is not None

    def text(self, prompt: Sequence[int], tokens: Sequence[int]) -> str:
        """Return the text of an answer's tokens as it follows the prompt, without special tokens.

        Parameters
        ----------
        prompt : sequence of int
            Tokens of the prompt.
        tokens : sequence of int
            Tokens of the answer.
        """
        plain = [token for token in tokens if token not in self._special_ids]
        text = self.following_text(prompt, plain)
        return self._decode(plain) if text is None else text

    def marked_text(self, prompt: Sequence[int], tokens: Sequence[int]) -> str:
        """Return the text of an answer's tokens with special tokens; empty if there are none.

        Parameters
        ----------
        prompt : sequence of int
            Tokens of the prompt.
        tokens : sequence of int
            Tokens of the answer.
        """
        if self._special_ids.isdisjoint(tokens):
            return ""
        text = self.following_text(prompt, tokens)
        return self._decode(tokens) if text is None else text

    def is_exact(self, prompt: Sequence[int], tokens: Sequence[int], text: str) -> bool:
        """Return whether tokens decode to a text where they follow a prompt.

        A space that the tokenizer itself writes before every text does not count, unless the text
        begins with white space.

        Parameters
        ----------
        prompt : sequence of int
            Tokens of the prompt.
        tokens : sequence of int
            Tokens of the answer.
        text : str
            Text of the answer.
        """
        if self.following_text(prompt, tokens) == text:
            return True
        return not text[:1].isspace() and self._decode(tokens) == text

    def is_rendered(self, prompt: Sequence[int], tokens: Sequence[int], text: str) -> bool:
        """Return whether tokens of a rendered conversation decode to a text, as :meth:`is_exact`.

        Spaces that the tokenizer itself writes after special tokens do not count.

        Parameters
        ----------
        prompt : sequence of int
            Tokens of the prompt.
        tokens : sequence of int
            Tokens of the answer.
        text : str
            Text that the template writes.
        """
        if self.is_exact(prompt, tokens, text):
            return True
        written = self.following_text(prompt, tokens)
        if written is None:
            return False
        return self._after_special.sub(r"\1", written) == self._after_special.sub(r"\1", text)

    def encode(self, prompt: Sequence[int], pieces: Sequence[Piece]) -> list[int] | None:
        """Return the tokens of an answer that continues a prompt, ``None`` if there are none.

        Special tokens in the text of the answer are encoded as text.

        Parameters
        ----------
        prompt : sequence of int
            Tokens of the prompt.
        pieces : sequence of Piece
            Text of the answer, and what the template writes around it.
        """
        tokens: list[int] = []
        text = ""
        for piece, kind in self._runs(pieces):
            if kind == "template":
                tokens += self._encode_piece(piece, "\n") or self._encode_piece(piece, "") or []
                text = self.following_text(prompt, tokens) or ""
                continue
            for anchor in _ANCHORS:
                ids = self._encode_piece(piece, anchor, as_text=kind == "special")
                if ids is None:
                    continue
                if self.following_text(prompt, [*tokens, *ids]) == text + piece:
                    tokens += ids
                    break
            else:
                return self._encode_alone(pieces)
            text += piece
        return tokens

    def following_text(self, prompt: Sequence[int], tokens: Sequence[int]) -> str | None:
        """Return the text that tokens add to the end of a prompt; ``None`` if they change it.

        Parameters
        ----------
        prompt : sequence of int
            Tokens of the prompt.
        tokens : sequence of int
            Tokens after it, special tokens included in their text.
        """
        context = list(prompt[-_CONTEXT:])
        before, whole = self._decode(context), self._decode([*context, *tokens])
        return whole[len(before) :] if whole.startswith(before) else None

    def explain(self, text: str) -> str:
        """Return why no tokens decode to a text, in words."""
        unknown = self._tokenizer.unk_token_id
        for character in dict.fromkeys(text):
            ids = self._encode_piece(character, "") or []
            if not character.isspace() and (not ids or unknown in ids):
                return f"it has no token for {_name(character)}"
        written = self._decode(self._encode_piece(text, "") or [])
        start = written.find(text[:1])
        written = written[max(start, 0) :]
        at = common_prefix_length(text, written)
        changed, result = text[at : at + 1], written[at : at + 1]
        return f"it writes {_name(changed)} as {_name(result)}"

    def _encode_alone(self, pieces: Sequence[Piece]) -> list[int] | None:
        """Return the tokens of the pieces as a text of their own, if they decode to it."""
        text = "".join(piece.text for piece in pieces)
        if self._special.search(text) is not None or text[:1].isspace():
            return None
        ids = self._encode_piece(text, "")
        return ids if ids is not None and self._decode(ids) == text else None

    def _runs(self, pieces: Sequence[Piece]) -> list[tuple[str, str]]:
        """Return texts to encode with their kinds: "text", "special", "own" or "template"."""
        runs: list[tuple[str, str]] = []

        def add(text: str, kind: str) -> None:
            if not text:
                return
            if runs and kind == "text" and runs[-1][1] == "text":
                runs[-1] = runs[-1][0] + text, kind
            else:
                runs.append((text, kind))

        for piece in pieces:
            if piece.is_template:
                add(piece.text, "template" if self._markup.search(piece.text) else "text")
                continue
            end = 0
            for match in self._markup.finditer(piece.text):
                add(piece.text[end : match.start()], "text")
                add(match.group(), "special" if self._special.fullmatch(match.group()) else "own")
                end = match.end()
            add(piece.text[end:], "text")
        return runs

    def _encode_piece(self, text: str, anchor: str, *, as_text: bool = False) -> list[int] | None:
        """Return the tokens of a text after an anchor, ``None`` if they cannot be told apart."""
        options = {"split_special_tokens": True} if as_text else {}

        def encode(whole: str) -> list[int]:
            return list(self._tokenizer.encode(whole, add_special_tokens=False, **options))

        before, whole = encode(anchor) if anchor else [], encode(anchor + text)
        if whole[: len(before)] != before:
            return None
        ids = whole[len(before) :]
        return None if as_text and not self._special_ids.isdisjoint(ids) else ids

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text


@dataclass(frozen=True)
class Frame:
    """Text that a template writes around an answer, after the text of the prompt."""

    before: str
    """Text between the prompt and the answer, such as an empty block of thinking."""
    after: str
    """Text between the answer and the token that ends it, such as a space."""
    end: int
    """Token that ends the answer."""
    rest: str
    """Text after the answer: ``after``, the end, and what follows it."""

    def pieces(self, answer: str, body: str) -> list[Piece] | None:
        """Return the pieces of an answer, ``None`` if the template changes more than white space.

        White space that the template writes around an answer is not written twice, so that an
        answer that was sampled is the same text again. White space that the template strips is
        part of the answer.

        Parameters
        ----------
        answer : str
            Text of the answer.
        body : str
            Text that the template writes for it, up to ``rest``.
        """
        written = "".join(body.split())
        before = [Piece(self.before, is_template=True)]
        if written != "".join((self.before + answer).split()):
            # Some templates write a block of thinking only where the answer has none.
            if written != "".join(answer.split()):
                return None
            before = []
        elif self.before and answer.startswith(self.before):
            before = []
        ends = bool(self.after) and answer.endswith(self.after)
        after = [] if ends else [Piece(self.after, is_template=True)]
        return [piece for piece in [*before, Piece(answer), *after] if piece.text]


def special_tokens(tokenizer: Any) -> set[str]:
    """Return the texts of a tokenizer's special tokens."""
    added = tokenizer.added_tokens_decoder.values()
    return {token.content for token in added if token.special} | {*tokenizer.all_special_tokens}


def common_prefix_length(a: Sequence[object], b: Sequence[object]) -> int:
    """Return the number of items that two sequences have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _name(text: str) -> str:
    """Return a text with the code points of its characters."""
    points = " ".join(f"U+{ord(character):04X}" for character in text)
    return f"{text!r} ({points})" if text else "nothing"


def _pattern(texts: Collection[str]) -> re.Pattern[str]:
    """Return a pattern of any of the texts, longer ones first; it matches nothing without any."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)")
