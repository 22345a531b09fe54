"""Tokenizer of the small models, and tokenized conversations with loss masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from backtalk.feedback.interaction import Prompt

VOCABULARY = 1024
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
END = "<|end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(conversations: Iterable[Prompt]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of conversations; each digit is a token.

    Sennrich et al. (2016), "Neural machine translation of rare words with subword units", over
    bytes, so that it covers any text.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((message.text for chat in conversations for message in chat), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True)
class TokenizedConversation:
    """Conversation as tokens with a loss mask."""

    tokens: list[int]
    loss_mask: list[bool]
    """Mask of the tokens that count in the loss: those of the assistant."""


def tokenize_conversations(
    tokenizer: Any, conversations: Sequence[Prompt]
) -> list[TokenizedConversation]:
    """Return conversations as tokens of the chat template, with loss on the assistant's tokens."""
    texts = [message.text for chat in conversations for message in chat]
    encoded = iter(tokenizer.backend_tokenizer.encode_batch_fast(texts))
    role_ids = {role[2:-2]: tokenizer.convert_tokens_to_ids(role) for role in ROLES}
    end = tokenizer.eos_token_id
    results = []
    for chat in conversations:
        tokens: list[int] = []
        loss_mask: list[bool] = []
        for message in chat:
            ids = next(encoded).ids
            tokens += [role_ids[message.role], *ids, end]
            loss_mask += [False] + [message.role == "assistant"] * (len(ids) + 1)
        results.append(TokenizedConversation(tokens, loss_mask))
    return results
