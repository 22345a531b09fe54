"""Training a small model from scratch on the lessons of its world."""

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

from backtalk.worlds.train.curriculum import MIXTURE, CurriculumGenerator, Mixture
from backtalk.worlds.train.tokens import Lesson, as_tokens, learn_tokenizer
from backtalk.worlds.world import World

WINDOW = 512
_TOKENIZER_LESSONS = 4_000
_POOL = 2_048
"""How many lessons are sorted by length together."""


@dataclass(frozen=True)
class Recipe:
    """How a small model is made. The defaults fit 30 minutes on two cores."""

    tokens: int = 14_000_000
    """How many tokens of lessons it reads, questions and padding included."""
    batch_tokens: int = 4_096
    learning_rate: float = 3e-3
    warm_up: int = 100
    """Steps in which the learning rate rises; it then falls to 0 in a cosine."""
    hidden_size: int = 160
    intermediate_size: int = 448
    layers: int = 4
    heads: int = 5
    seed: int = 0
    mixture: Mixture = MIXTURE
    """What the lessons are."""


EXAMINING = Mixture(answer=0.25, refine=0.25, criticise=0.2, judge=0.2)
"""Lessons with more of what is learned last: to see what is wrong, and which is better."""

RECIPES: Mapping[str, Recipe] = {
    "mail": Recipe(),
    "sums": Recipe(tokens=15_000_000, mixture=EXAMINING),
    "programs": Recipe(tokens=12_000_000, mixture=replace(EXAMINING, again=0.8)),
    "lists": Recipe(tokens=15_000_000, mixture=EXAMINING),
}
"""How the models in the package were made."""


@dataclass(frozen=True)
class Trained:
    """A small model, and how its training went."""

    model: Any
    tokenizer: Any
    curve: list[tuple[int, float]]
    """The mean loss, in nats a token learned, over stretches of the training; by tokens read."""
    seconds: float
    recipe: Recipe

    def facts(self) -> dict[str, Any]:
        """Return all of it but the model, for the record."""
        parameters = sum(weights.numel() for weights in self.model.parameters())
        return {
            "recipe": asdict(self.recipe),
            "parameters": parameters,
            "seconds": round(self.seconds),
            "curve": [(tokens, round(loss, 4)) for tokens, loss in self.curve],
        }


def train(world: World[Any], recipe: Recipe, *, report: Callable[[int, float], None]) -> Trained:
    """Return a model trained from scratch.

    Parameters
    ----------
    world : World[Any]
        Where the lessons come from.
    recipe : Recipe
        The sizes and the seed; they decide the weights, up to the arithmetic of the machine.
    report : Callable[[int, float], None]
        Told how many tokens were read, and the loss on the last of them.
    """
    started = time.monotonic()
    torch.manual_seed(recipe.seed)
    tokenizer = learn_tokenizer(
        CurriculumGenerator(world, seed=recipe.seed + 1, mixture=recipe.mixture).lessons(
            _TOKENIZER_LESSONS
        )
    )
    model = _fresh(tokenizer, recipe)
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
        scale = min((step + 1) / recipe.warm_up, 0.5 * (1 + math.cos(math.pi * share)))
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
    return Trained(model.eval(), tokenizer, curve, time.monotonic() - started, recipe)


def _fresh(tokenizer: Any, recipe: Recipe) -> Any:
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


def _optimisers(model: Any, recipe: Recipe) -> list[torch.optim.Optimizer]:
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
    """Return the mean loss over the tokens learned, the vocabulary computed for these alone."""
    hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    places = wanted >= 0
    logits = model.lm_head(hidden[places])
    return torch.nn.functional.cross_entropy(logits, wanted[places])


def _batches(
    teacher: CurriculumGenerator, tokenizer: Any, recipe: Recipe
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield tokens and labels without end; lessons alike in length share a batch."""
    rng = np.random.default_rng([recipe.seed, 11])
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def prepare() -> list[list[Lesson]]:
        return _sorted(as_tokens(tokenizer, list(teacher.lessons(_POOL))), recipe.batch_tokens)

    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(prepare)
        while True:
            batches = coming.result()
            coming = beside.submit(prepare)
            for place in rng.permutation(len(batches)):
                yield _padded(batches[place], device)


def _sorted(lessons: Sequence[Lesson], batch_tokens: int) -> list[list[Lesson]]:
    """Return lessons in batches, alike in length, each of at most so many tokens with padding."""
    fitting = [lesson for lesson in lessons if len(lesson.tokens) <= WINDOW]
    batches: list[list[Lesson]] = [[]]
    for lesson in sorted(fitting, key=lambda lesson: len(lesson.tokens)):
        if (len(batches[-1]) + 1) * len(lesson.tokens) > batch_tokens:
            batches.append([])
        batches[-1].append(lesson)
    return batches


def _padded(lessons: Sequence[Lesson], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens, padded on the right, and labels, -100 where nothing is learned."""
    longest = max(len(lesson.tokens) for lesson in lessons)
    tokens = torch.zeros((len(lessons), longest), dtype=torch.long)
    labels = torch.full_like(tokens, -100)
    for row, lesson in enumerate(lessons):
        length = len(lesson.tokens)
        tokens[row, :length] = torch.tensor(lesson.tokens)
        learned = torch.tensor(lesson.learned)
        labels[row, :length] = torch.where(learned, tokens[row, :length], -100)
    return tokens.to(device), labels.to(device)
