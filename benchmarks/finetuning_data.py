"""Data of the fine-tuning benchmarks: tokenised HH-RLHF, and two models.

Tokenisation is not measured and is done once, for both sides. The first model is trained. The
second one, with the same architecture and other weights, is the reference: the first loss then
shows whether both sides compute the same log-probabilities, which ``ln 2`` would not.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from backtalk.feedback import Preference
from backtalk.feedback.interaction import Prompt
from backtalk.formats import RejectedRow, read
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens

FOLDER = Path(
    os.environ.get("BACKTALK_DATA", Path(__file__).parent.parent.parent / "shared" / "data")
)
VOCABULARY = 32_000
LAYERS = 6
WIDTH = 256
END = "<|end|>"
PADDING = "<|padding|>"
MAX_LENGTH = 1024
SPEAKERS = {"user": "Human", "assistant": "Assistant"}


@dataclass(frozen=True)
class Pair:
    """Tokens of a prompt and two responses, end-of-sequence tokens included."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Number of tokens of training data, with the prompt counted for each response."""
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected)

    @property
    def tree(self) -> PromptTree:
        """Pair as input of the trainer."""
        responses = (ResponseTokens(self.chosen), ResponseTokens(self.rejected))
        return PromptTree(self.prompt, responses, pairs=(PairLabel(0, 1),))


@dataclass(frozen=True)
class Ranking:
    """Tokens of a prompt and its responses, best first."""

    prompt: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]

    @property
    def pairs(self) -> list[Pair]:
        """Every response with each worse one."""
        return [
            Pair(self.prompt, better, worse)
            for index, better in enumerate(self.responses)
            for worse in self.responses[index + 1 :]
        ]

    @property
    def tree(self) -> PromptTree:
        """List as input of the trainer, with all pairs."""
        count = len(self.responses)
        pairs = [PairLabel(i, j) for i in range(count) for j in range(i + 1, count)]
        return PromptTree(
            self.prompt, tuple(map(ResponseTokens, self.responses)), pairs=tuple(pairs)
        )


def write(folder: Path) -> None:
    """Write the pairs, the tokenizer and both models into a folder."""
    dialogues = list(_dialogues())
    tokenizer = train_tokenizer(text for dialogue in dialogues for text in dialogue)
    end = tokenizer.token_to_id(END)

    def tokens(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text).ids)

    pairs = [
        Pair(tokens(prompt), (*tokens(chosen), end), (*tokens(rejected), end))
        for prompt, chosen, rejected in dialogues
    ]
    rows = [asdict(pair) for pair in pairs if _length(pair) <= MAX_LENGTH]
    (folder / "pairs.json").write_text(json.dumps(rows), encoding="utf-8")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PADDING
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=WIDTH,
        intermediate_size=688,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        max_position_embeddings=2 * MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=tokenizer.token_to_id(PADDING),
        # The default of 0.02 makes all continuations about equally probable, and all losses alike.
        initializer_range=0.05,
    )
    for seed, name in enumerate(("policy", "reference")):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder / name)


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Return a byte-level tokenizer trained on texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END, PADDING],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def pairs_in(folder: Path) -> list[Pair]:
    """Return the pairs in a folder, in a fixed random order."""
    rows = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
    random.Random(0).shuffle(rows)
    return [Pair(*(tuple(row[name]) for name in ("prompt", "chosen", "rejected"))) for row in rows]


def rankings_in(
    folder: Path, *, count: int, responses: int, prompt_tokens: int, response_tokens: int
) -> list[Ranking]:
    """Return lists of prompts and responses of fixed lengths, cut from the text of the pairs.

    Parameters
    ----------
    folder : Path
        Folder of the pairs.
    count : int
        Number of lists.
    responses : int
        Number of responses of a list.
    prompt_tokens, response_tokens : int
        Number of tokens of a prompt and of a response.
    """
    pairs = pairs_in(folder)
    text = [token for pair in pairs for token in (*pair.prompt, *pair.chosen)]
    answers = [token for pair in pairs for token in (*pair.rejected, *pair.chosen)]
    rows = zip(
        _cut(text, prompt_tokens),
        _cut(list(_cut(answers, response_tokens)), responses),
        strict=False,
    )
    return [Ranking(prompt, answers) for prompt, answers in islice(rows, count)]


def _cut(items: Sequence[Any], size: int) -> Iterable[tuple[Any, ...]]:
    return (tuple(items[i : i + size]) for i in range(0, len(items) - size + 1, size))


def _length(pair: Pair) -> int:
    return len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))


def _dialogues() -> Iterable[tuple[str, str, str]]:
    for row in read(FOLDER / "hh_rlhf_harmless.jsonl.gz"):
        if isinstance(row, RejectedRow):
            continue
        for case in row.cases:
            (preference,) = case.of(Preference)
            texts = (case.text(preference.chosen), case.text(preference.rejected))
            yield _dialogue_text(case.interaction.prompt), *(f" {text}" for text in texts)


def _dialogue_text(prompt: Prompt) -> str:
    turns = [f"\n\n{SPEAKERS[message.role]}: {message.text}" for message in prompt]
    return "".join(turns) + "\n\nAssistant:"
