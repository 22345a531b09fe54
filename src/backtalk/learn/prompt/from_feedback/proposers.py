"""Proposers of the method ``prompt``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from backtalk.feedback import prompt_text
from backtalk.learn.prompt.coverage import covering
from backtalk.learn.prompt.criteria import find_criteria
from backtalk.learn.prompt.edits import lines
from backtalk.learn.prompt.examples import draw_groups
from backtalk.learn.prompt.from_feedback.screening import (
    Change,
    Effects,
    apply_changes,
    can_screen,
    possible_changes,
    screen,
)
from backtalk.learn.prompt.from_feedback.suggested_lines import found_lines, stated_lines
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.writer import Examples, PromptWriter
from backtalk.policy.prompt_template import Example

if TYPE_CHECKING:
    from backtalk.embedders.registry import EmbedderName

MAX_CHANGES = 20
"""Maximum number of changes that are screened together."""
_MAX_UNSCREENED = 3
"""Number of changes that are candidates of their own: to screen them would take more answers."""
_THRESHOLDS = (0.0, 1.0, 2.0)
"""Standard errors above 0 from which an effect counts, one candidate for each."""
_MAX_SHOWN = 6
_FIRST_EXAMPLES = 8
"""Number of examples that the prompt of a reflection answers if it has no answers yet."""
_PROMPTS = 2
"""Number of prompts that a model writes in a round."""


class LineProposer:
    """Proposer that adds lines that feedback suggests and removes lines of the prompt.

    All changes are screened together, and the combinations that seem to help are candidates. A few
    changes are candidates of their own. Removals find wrong and contradictory lines of the seed.

    Parameters
    ----------
    known : sequence of TextFeedback
        Critiques.
    examples : sequence of tuple[Prompt, str]
        Requests with good answers, in which the writer finds rules.
    writer : PromptWriter, optional
        Model that finds rules; without one, lines come from the words of people alone.
    """

    name = "lines"

    def __init__(
        self,
        known: Sequence[TextFeedback],
        examples: Examples,
        writer: PromptWriter | None = None,
    ) -> None:
        self._known = known
        self._examples = examples
        self._writer = writer
        self._suggested: list[str] | None = None
        self._writes_prompts = False

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return prompts that a model wrote, and changes and combinations that seem to help."""
        prompts = await self._written(state)
        base = state.best.candidate
        changes = possible_changes(base, self._suggested or ())[:MAX_CHANGES]
        if len(changes) <= _MAX_UNSCREENED or not can_screen(state, changes):
            return [*prompts, *self._single_changes(base, changes)]
        effects = await screen(state, changes)
        self._forget(effects)
        return [*self._combinations(base, effects, count), *prompts]

    async def _written(self, state: SearchState) -> list[PromptCandidate]:
        """Return whole prompts of the model, if it writes such, and find lines at first."""
        if self._suggested is None:
            self._suggested, prompts = await self._suggest(state)
            self._writes_prompts = bool(prompts)
            return prompts
        if self._writer is None or not self._writes_prompts:
            return []
        groups = draw_groups(self._examples, self._writer.group_size, _PROMPTS, state.rng)
        return await self._writer.infer(state.best.candidate, groups, seed=len(state.trials))

    def _single_changes(
        self, base: PromptCandidate, changes: Sequence[Change]
    ) -> list[PromptCandidate]:
        """Return the prompt with each change, and with all if there are several."""
        groups = [[change] for change in changes]
        if len(changes) > 1:
            groups.append(list(changes))
        return [apply_changes(base, group, proposer=self.name) for group in groups]

    async def _suggest(self, state: SearchState) -> tuple[list[str], list[PromptCandidate]]:
        feedback = state.context.feedback
        suggested = stated_lines(feedback, await find_criteria(self._known))
        prompts: list[PromptCandidate] = []
        if self._writer is not None and self._examples:
            rules, prompts = await found_lines(self._writer, state, self._examples)
            # Both sources take turns, so that neither fills the screening alone.
            suggested = [
                line
                for position in range(max(len(rules), len(suggested)))
                for source in (rules, suggested)
                for line in source[position : position + 1]
            ]
        return list(dict.fromkeys(suggested)), prompts

    def _forget(self, effects: Effects) -> None:
        """Drop lines that seem to harm, so that the next screening has room for others."""
        promising = {change.line for change in effects.above(-1.0)}
        screened = {change.line for change in effects.changes}
        self._suggested = [
            line for line in self._suggested or () if line in promising or line not in screened
        ]

    def _combinations(
        self, base: PromptCandidate, effects: Effects, count: int
    ) -> list[PromptCandidate]:
        groups = [effects.above(threshold) for threshold in _THRESHOLDS]
        groups += [[change] for change in groups[0][:2]]
        candidates = [apply_changes(base, g, proposer=self.name) for g in groups if g]
        return list({one.version: one for one in candidates}.values())[:count]


class DemonstrationProposer:
    """Proposer of prompts with demonstrations: answers that people corrected, wrote or preferred.

    They are chosen for coverage, so that few show most kinds of requests; see
    :func:`~backtalk.learn.prompt.coverage.covering`.

    Parameters
    ----------
    examples : sequence of tuple[Prompt, str]
        Requests with good answers.
    sizes : sequence of int, default (1, 3)
        Numbers of demonstrations.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests.
    """

    name = "demonstrations"

    def __init__(
        self,
        examples: Examples,
        *,
        sizes: Sequence[int] = (1, 3),
        embedder: EmbedderName = "hashed",
    ) -> None:
        self._examples = examples
        self._sizes = sizes
        self._embedder: EmbedderName = embedder

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the prompt that leads with demonstrations, one candidate for each size."""
        base = state.best.candidate
        if base.template.demonstrations or not self._examples:
            return []
        texts = [prompt_text(prompt[-1:]) for prompt, _ in self._examples]
        order = await covering(texts, max(self._sizes), self._embedder)
        candidates = []
        for size in self._sizes:
            shown = tuple(
                Example(prompt=prompt, answer=answer)
                for prompt, answer in (self._examples[i] for i in order[:size])
            )
            template = base.template.model_copy(update={"demonstrations": shown})
            note = f"{len(shown)} demonstrations"
            candidates.append(replace(base, template=template, proposer=self.name, note=note))
        return candidates[:count]


class ReflectionProposer:
    """Proposer that lets a model rewrite the prompt by what is wrong with its worst answers.

    Parameters
    ----------
    writer : PromptWriter
        Model that criticises and revises.
    count : int, default 2
        Number of revisions in a round.
    """

    name = "reflection"

    def __init__(self, writer: PromptWriter, *, count: int = 2) -> None:
        self._writer = writer
        self._count = count
        self._round = 0

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return revisions of a prompt by its worst answers so far."""
        parent = state.parent()
        if not parent.scores:
            count_first = min(len(state.examples), int(min(state.room() / 4, _FIRST_EXAMPLES)))
            indices = list(range(count_first))
            results = await state.evaluate([(parent.candidate, index) for index in indices])
            for index, (answer, score) in zip(indices, results, strict=True):
                parent.answers[index], parent.scores[index] = answer, score
        worst = sorted(parent.scores, key=lambda index: parent.scores[index])[:_MAX_SHOWN]
        reviews = await state.signal.explain(
            [state.examples[i] for i in worst], [parent.answers[i] for i in worst]
        )
        self._round += 1
        critiques = await self._writer.criticise(parent.candidate, [reviews], seed=self._round)
        revised = await self._writer.revise(
            parent.candidate, critiques, reviews, count=min(self._count, count), seed=self._round
        )
        return [
            replace(one, proposer=self.name, note=one.note or "rewritten")
            for one in revised
            if lines(one)
        ]
