"""What both sides of the benchmarks of fine-tuning are given: HH-RLHF as tokens, and two models.

Tokenising is no part of what is measured, so it is done once, for both sides. The first model is
trained; the other, of the same shape and of other weights, is the reference, so that the loss of
the first step says whether both sides score alike, which ``ln 2`` would not.
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
LONGEST = 1024
SPEAKERS = {"user": "Human", "assistant": "Assistant"}


@dataclass(frozen=True)
class Pair:
    """A prompt and two responses as tokens, the end of each among them."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """How many tokens of training data it has, the prompt counted with each response."""
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected)

    @property
    def tree(self) -> PromptTree:
        """The pair as the trainer wants it."""
        branches = (ResponseTokens(self.chosen), ResponseTokens(self.rejected))
        return PromptTree(self.prompt, branches, pairs=(PairLabel(0, 1),))


@dataclass(frozen=True)
class Ranking:
    """A prompt and responses to it as tokens, the best first."""

    prompt: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]

    @property
    def pairs(self) -> list[Pair]:
        """Every response with each that is worse."""
        return [
            Pair(self.prompt, better, worse)
            for index, better in enumerate(self.responses)
            for worse in self.responses[index + 1 :]
        ]

    @property
    def tree(self) -> PromptTree:
        """The list as the trainer wants it, every two responses compared."""
        count = len(self.responses)
        compared = [PairLabel(i, j) for i in range(count) for j in range(i + 1, count)]
        return PromptTree(
            self.prompt, tuple(map(ResponseTokens, self.responses)), pairs=tuple(compared)
        )


def write(folder: Path) -> None:
    """Write the pairs, the tokenizer and both models into a folder."""
    dialogues = list(_dialogues())
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        (text for dialogue in dialogues for text in dialogue),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END, PADDING],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    end = tokenizer.token_to_id(END)

    def tokens(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text).ids)

    pairs = [
        Pair(tokens(prompt), (*tokens(chosen), end), (*tokens(rejected), end))
        for prompt, chosen, rejected in dialogues
    ]
    rows = [asdict(pair) for pair in pairs if _length(pair) <= LONGEST]
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
        max_position_embeddings=2 * LONGEST,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=tokenizer.token_to_id(PADDING),
        # The usual 0.02 makes all continuations about as probable, and all losses alike.
        initializer_range=0.05,
    )
    for seed, name in enumerate(("policy", "reference")):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder / name)


def pairs_in(folder: Path) -> list[Pair]:
    """Return the pairs that were written into a folder, in an order that a seed decides."""
    rows = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
    random.Random(0).shuffle(rows)
    return [Pair(*(tuple(row[name]) for name in ("prompt", "chosen", "rejected"))) for row in rows]


def rankings_in(
    folder: Path, *, count: int, responses: int, prompt_tokens: int, response_tokens: int
) -> list[Ranking]:
    """Return lists cut from the text of the pairs, all prompts and all responses of a length."""
    results = pairs_in(folder)
    text = [token for pair in results for token in (*pair.prompt, *pair.chosen)]
    answers = [token for pair in results for token in (*pair.rejected, *pair.chosen)]
    rows = zip(
        _cut(text, prompt_tokens),
        _cut(list(_cut(answers, response_tokens)), responses),
        strict=False,
    )
    return [Ranking(prompt, listed) for prompt, listed in islice(rows, count)]


def _cut(items: Sequence[Any], size: int) -> Iterable[tuple[Any, ...]]:
    return (tuple(items[i : i + size]) for i in range(0, len(items) - size + 1, size))


def _length(pair: Pair) -> int:
    return len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))


def _dialogues() -> Iterable[tuple[str, str, str]]:
    for row in read(FOLDER / "hh_rlhf_harmless.jsonl.gz"):
        if isinstance(row, RejectedRow):
            continue
        for case in row.cases:
            (said,) = case.of(Preference)
            texts = (case.text(said.chosen), case.text(said.rejected))
            yield _written(case.interaction.prompt), *(f" {text}" for text in texts)


def _written(prompt: Prompt) -> str:
    turns = [f"\n\n{SPEAKERS[message.role]}: {message.text}" for message in prompt]
    return "".join(turns) + "\n\nAssistant:"
