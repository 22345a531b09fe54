"""GReaTer: tokens of a prompt by gradients over the reasoning of a local model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.feedback.interaction import Prompt
from backtalk.learn.context import MethodContext
from backtalk.learn.prompt.edits import lines, new_only
from backtalk.learn.prompt.examples import draw_groups
from backtalk.learn.prompt.proposers.inner_scores import known_candidates, next_seed
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState
from backtalk.learn.prompt.token_search.settings import (
    EXTRACTION,
    Reasoning,
    TokenSearchSettings,
)
from backtalk.learn.prompt.writer import Examples, PromptWriter
from backtalk.models import load_model

if TYPE_CHECKING:
    from backtalk.learn.prompt.token_search.line import PromptLine
    from backtalk.learn.prompt.token_search.search import TokenSearch
    from backtalk.models import LocalModel


@dataclass
class GreaterProposer:
    """Proposer that searches for the tokens of lines by gradients of the policy's own model.

    Each call searches for a new line, and revises a line of the prompt that leads, in turn. The
    model proposes tokens in contexts that ask for the instruction behind good answers.

    Das et al. (2025), "GReaTer: gradients over reasoning makes smaller language models strong
    prompt optimizers", section 3.

    Parameters
    ----------
    writer : PromptWriter
        Writer that phrases the contexts.
    demonstrations : sequence of tuple[Prompt, str]
        Requests with good answers.
    settings : TokenSearchSettings
        Settings of the token search.
    steps : int, default 12
        Number of positions that a call visits.
    batch_size : int, default 8
        Number of good answers whose loss counts.
    contexts : int, default 4
        Number of contexts whose proposals are intersected.
    reasoning : {"auto", "none", "steps", "response"}, default "auto"
        Text of the model before the answer whose loss counts.
    extraction : str, default EXTRACTION
        Text between a response and a final answer.
    """

    writer: PromptWriter
    demonstrations: Examples
    settings: TokenSearchSettings
    steps: int = 12
    batch_size: int = 8
    contexts: int = 4
    reasoning: Reasoning = "auto"
    extraction: str = EXTRACTION
    name: str = "greater"
    _calls: int = 0

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the prompts with the lowest loss, those that begin differently first."""
        from backtalk.learn.prompt.token_search.line import PromptLine  # noqa: PLC0415 - torch

        if not self.demonstrations:
            raise BacktalkError(
                "There are no good answers whose loss could fall",
                "Collect edits, demonstrations or preferences, or take a method that learns from "
                "judgements alone: opro, protegi",
            )
        base = state.best.candidate
        present = lines(base)
        places = [PromptLine(base, len(present))]
        if present:
            places.append(PromptLine(base, self._calls % len(present)))
        self._calls += 1
        search = self._search(state)
        candidates = [
            self._candidates(place, await search.run(place, -(-self.steps // len(places))))
            for place in places
        ]
        return new_only(_in_turn(candidates), known_candidates(state))[:count]

    def _candidates(
        self, place: PromptLine, results: Sequence[tuple[str, float]]
    ) -> list[PromptCandidate]:
        return [
            place.filled(text, proposer=self.name, note=f"line {place.index + 1}: {text}")
            for text, _ in _different_first(results)
        ]

    def _search(self, state: SearchState) -> TokenSearch:
        from backtalk.learn.prompt.token_search.search import TokenSearch  # noqa: PLC0415 - torch
        from backtalk.learn.prompt.token_search.targets import Targets  # noqa: PLC0415 - torch

        model = local_model(state.context)
        targets = Targets(
            state.context.model(),
            model.chat,
            self._examples(state, model),
            state.context.policy.decoder.base_sampling,
            reasoning=self.reasoning,
            extraction=self.extraction,
            seed=next_seed(state),
            context_length=model.engine.context_length,
        )
        groups = draw_groups(self.demonstrations, self.writer.group_size, self.contexts, state.rng)
        chats = [self._context(model, group) for group in groups]
        contexts = [chat for chat in chats if chat is not None]
        if not (contexts and targets.examples):
            raise BacktalkError(
                f"No good answer fits into the context window of {model.name}, "
                f"{model.engine.context_length} tokens, with its request and the prompt",
                "Use a model with a longer context window, or feedback on shorter answers",
            )
        return TokenSearch(
            model.engine, targets, contexts, self.settings, opening=self.writer.opening
        )

    def _examples(self, state: SearchState, model: LocalModel) -> Examples:
        """Return random good answers that fit into the context window after a longer prompt."""
        base = state.best.candidate
        prefix = base.template.render(base.system, ())
        examples: list[tuple[Prompt, str]] = []
        for index in state.rng.permutation(len(self.demonstrations)):
            prompt, answer = self.demonstrations[index]
            tokens = model.chat.conversation_tokens((*prefix, *prompt), answer)
            if len(examples) < self.batch_size and self._fits(model, *tokens):
                examples.append((prompt, answer))
        return examples

    def _context(self, model: LocalModel, group: Examples) -> Prompt | None:
        """Return the request about as many examples as fit into the context window."""
        for size in range(len(group), 0, -1):
            chat = self.writer.inference_chat(group[:size])
            if self._fits(model, model.chat.prompt_tokens(chat)):
                return chat
        return None

    def _fits(self, model: LocalModel, *parts: Sequence[int]) -> bool:
        limit = model.engine.context_length
        room = 2 * self.settings.max_length
        return limit is None or sum(map(len, parts)) + room <= limit


def local_model(context: MethodContext) -> LocalModel:
    """Return the local model of the policy to improve.

    Raises
    ------
    BacktalkError
        If the model is not local, and gives no gradients.
    """
    from backtalk.models import LocalModel  # noqa: PLC0415 - torch

    model = load_model(context.policy.model, context.feedback.store.artifacts)
    if not isinstance(model, LocalModel):
        raise no_gradients("greater", context.policy.label)
    return model


def no_gradients(method: str, label: str) -> BacktalkError:
    """Return the error that says that a policy's model gives no gradients."""
    return BacktalkError(
        f"{method} needs gradients, which only a local model gives; the model of {label} is none",
        "Name a policy with a local model, or take a method that needs answers alone: protegi, "
        "pe2, textgrad",
    )


def _different_first(results: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return results in their order, those with a first word of their own before the others."""
    first: dict[str, tuple[str, float]] = {}
    for result in results:
        first.setdefault(result[0].split()[0], result)
    return [*first.values(), *(one for one in results if one not in first.values())]


def _in_turn(candidates: Sequence[Sequence[PromptCandidate]]) -> list[PromptCandidate]:
    """Return the first of each list, then the second of each, and so on."""
    longest = max(map(len, candidates), default=0)
    return [one[i] for i in range(longest) for one in candidates if i < len(one)]
