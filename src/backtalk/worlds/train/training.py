"""Training of a small model from scratch on conversations in its world."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from backtalk.worlds.train.curriculum import DEFAULT_MIXTURE, CurriculumGenerator, SkillMixture
from backtalk.worlds.train.tokens import (
    TokenizedConversation,
    tokenize_conversations,
    train_tokenizer,
)
from backtalk.worlds.world import World

WINDOW = 512
_TOKENIZER_CONVERSATIONS = 4_000
_POOL_SIZE = 2_048
"""Number of conversations sorted by length together."""


@dataclass(frozen=True)
class TrainingRecipe:
    """Hyperparameters of a small model. The defaults take 30 minutes on two CPU cores."""

    tokens: int = 14_000_000
    """Number of training tokens, prompts and padding included."""
    batch_tokens: int = 4_096
    """Maximum number of tokens in a batch, padding included."""
    learning_rate: float = 3e-3
    """Peak learning rate."""
    warmup_steps: int = 100
    """Number of steps of linear warm-up; cosine decay to 0 follows."""
    hidden_size: int = 160
    intermediate_size: int = 448
    layers: int = 4
    heads: int = 5
    seed: int = 0
    mixture: SkillMixture = DEFAULT_MIXTURE
    """Mixture of the training conversations."""


EXAMINATION_MIXTURE = SkillMixture(answer=0.25, refine=0.25, criticise=0.2, judge=0.2)
"""Mixture with a larger share of critiques and comparisons, the skills learned last."""

RECIPES: Mapping[str, TrainingRecipe] = {
    "mail": TrainingRecipe(),
    "sums": TrainingRecipe(tokens=15_000_000, mixture=EXAMINATION_MIXTURE),
    "programs": TrainingRecipe(
        tokens=12_000_000, mixture=replace(EXAMINATION_MIXTURE, reuse_share=0.8)
    ),
    "lists": TrainingRecipe(tokens=15_000_000, mixture=EXAMINATION_MIXTURE),
}
"""Recipes of the models in the package."""


@dataclass(frozen=True)
class TrainedModel:
    """Small model with its training curve."""

    model: Any
    tokenizer: Any
    curve: list[tuple[int, float]]
    """Number of training tokens and mean recent loss, in nats per target token."""
    seconds: float
    """Duration of the training in seconds."""
    recipe: TrainingRecipe

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the weights, as JSON values."""
        parameters = sum(weights.numel() for weights in self.model.parameters())
        return {
            "recipe": asdict(self.recipe),
            "parameters": parameters,
            "seconds": round(self.seconds),
            "curve": [(tokens, round(loss, 4)) for tokens, loss in self.curve],
        }


def train(
    world: World[Any], recipe: TrainingRecipe, *, report: Callable[[int, float], None]
) -> TrainedModel:
    """Train a model from scratch.

    Parameters
    ----------
    world : World[Any]
        World of the training conversations.
    recipe : Recipe
        Sizes and seed, which determine the weights up to the arithmetic of the machine.
    report : Callable[[int, float], None]
        Called with the number of tokens so far and the mean recent loss.
    """
    started = time.monotonic()
    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(
        CurriculumGenerator(world, seed=recipe.seed + 1, mixture=recipe.mixture).conversations(
            _TOKENIZER_CONVERSATIONS
        )
    )
    model = _make_model(tokenizer, recipe)
    optimisers = _optimisers(model, recipe)
    rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    curve: list[tuple[int, float]] = []
    recent: list[float] = []
    read = 0
    batches = _batches(
        CurriculumGenerator(world, seed=recipe.seed, mixture=recipe.mixture), tokenizer, recipe
    )
    for step, (tokens, labels) in enumerate(batches):
        share = min(read / recipe.tokens, 1.0)
        scale = min((step + 1) / recipe.warmup_steps, 0.5 * (1 + math.cos(math.pi * share)))
        for optimiser, default in zip(optimisers, rates, strict=True):
            for group, rate in zip(optimiser.param_groups, default, strict=True):
                group["lr"] = rate * scale
        loss = _loss(model, tokens, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        read += tokens.numel()
        recent.append(loss.item())
        if len(recent) == 50 or read >= recipe.tokens:
            curve.append((read, float(np.mean(recent))))
            report(*curve[-1])
            recent = []
        if read >= recipe.tokens:
            break
    return TrainedModel(model.eval(), tokenizer, curve, time.monotonic() - started, recipe)


def _make_model(tokenizer: Any, recipe: TrainingRecipe) -> Any:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model: Any = LlamaForCausalLM(config)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def _optimisers(model: Any, recipe: TrainingRecipe) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside, AdamW for the rest.

    Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks", with the
    update scaled to AdamW's size as Liu et al. (2025), "Muon is scalable for LLM training", do.
    """
    inside: list[torch.Tensor] = []
    rest: list[torch.Tensor] = []
    for name, weights in model.named_parameters():
        is_matrix = weights.ndim == 2 and "embed" not in name
        (inside if is_matrix else rest).append(weights)
    return [
        torch.optim.Muon(
            inside,
            lr=recipe.learning_rate,
            weight_decay=0.05,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(rest, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _loss(model: Any, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean loss over the target tokens; logits are computed for these only."""
    hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    positions = targets >= 0
    logits = model.lm_head(hidden[positions])
    return torch.nn.functional.cross_entropy(logits, targets[positions])


def _batches(
    generator: CurriculumGenerator, tokenizer: Any, recipe: TrainingRecipe
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield tokens and labels endlessly; conversations of similar length share a batch."""
    rng = np.random.default_rng([recipe.seed, 11])
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def prepare() -> list[list[TokenizedConversation]]:
        return _make_batches(
            tokenize_conversations(tokenizer, list(generator.conversations(_POOL_SIZE))),
            recipe.batch_tokens,
        )

    with ThreadPoolExecutor(1) as executor:
        next_pool = executor.submit(prepare)
        while True:
            batches = next_pool.result()
            next_pool = executor.submit(prepare)
            for position in rng.permutation(len(batches)):
                yield _pad(batches[position], device)


def _make_batches(
    conversations: Sequence[TokenizedConversation], batch_tokens: int
) -> list[list[TokenizedConversation]]:
    """Return batches of similar length, each of at most ``batch_tokens`` tokens with padding."""
    fitting = [item for item in conversations if len(item.tokens) <= WINDOW]
    batches: list[list[TokenizedConversation]] = [[]]
    for item in sorted(fitting, key=lambda item: len(item.tokens)):
        if (len(batches[-1]) + 1) * len(item.tokens) > batch_tokens:
            batches.append([])
        batches[-1].append(item)
    return batches


def _pad(
    conversations: Sequence[TokenizedConversation], device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens, padded on the right, and labels, -100 outside the loss mask."""
    longest = max(len(item.tokens) for item in conversations)
    tokens = torch.zeros((len(conversations), longest), dtype=torch.long)
    labels = torch.full_like(tokens, -100)
    for row, item in enumerate(conversations):
        length = len(item.tokens)
        tokens[row, :length] = torch.tensor(item.tokens)
        mask = torch.tensor(item.loss_mask)
        labels[row, :length] = torch.where(mask, tokens[row, :length], -100)
    return tokens.to(device), labels.to(device)
