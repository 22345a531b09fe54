"""System-level feedback: criteria of many critiques as lines of the prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from backtalk.feedback.interaction import Prompt
from backtalk.learn.prompt.criteria import Criterion
from backtalk.learn.prompt.edits import lines
from backtalk.learn.prompt.examples import draw
from backtalk.learn.prompt.from_feedback.screening import (
    Effects,
    apply_changes,
    possible_changes,
    screen,
)
from backtalk.learn.prompt.meta_prompts import (
    REPLY_FORMAT,
    describe_prompt,
    parse_instruction,
    quote_feedback,
    user_request,
)
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState
from backtalk.learn.prompt.task_prompts import general_lines
from backtalk.learn.prompt.writer import InstructionWriter, PromptWriter

_MAX_CHANGES = 16
"""Maximum number of lines that are screened together."""
_SHOWN = 4
"""Number of criticised answers of a criterion that a model reads."""
_BATCH = 12
"""Number of criticised answers of a criterion that a model refines to find its rule."""
_REPEATED = 2
"""Number of critiques of one wording that make it a line."""


class CriteriaProposer:
    """Proposer of prompts that state the criteria behind people's critiques.

    Each criterion becomes a line: people's own words if they repeat them, or one that the writer
    makes of its critiques. All lines are screened together, and combinations that seem to help are
    candidates.

    Yuan et al. (2024), "System-level natural language feedback", section 2: critiques of instances
    are grouped into criteria, from which the prompt that refines responses is derived.

    Parameters
    ----------
    writer : PromptWriter
        Model that puts criteria into lines.
    criteria : sequence of Criterion
        Criteria, the most frequent first.
    """

    name = "criteria"

    def __init__(self, writer: PromptWriter, criteria: Sequence[Criterion]) -> None:
        self._writer = writer
        self._criteria = list(criteria)

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return prompts with the lines of criteria; none after the first call."""
        criteria, self._criteria = self._criteria, []
        if not criteria:
            return []
        base = state.best.candidate
        suggested = await self._lines(state, base, criteria)
        changes = possible_changes(base, suggested)[:_MAX_CHANGES]
        if not changes:
            return []
        effects: Effects = await screen(state, changes)
        groups = [changes, *(effects.above(threshold) for threshold in (0.0, 1.0))]
        groups += [[change] for change in effects.above(0.0)[:2]]
        candidates = [apply_changes(base, group, proposer=self.name) for group in groups if group]
        return list({one.version: one for one in candidates}.values())[:count]

    async def _lines(
        self, state: SearchState, base: PromptCandidate, criteria: Sequence[Criterion]
    ) -> list[str]:
        stated = [
            text
            for criterion in criteria
            for text, times in criterion.wordings.most_common(1)
            if times >= _REPEATED
        ]
        written = await self._written(state, base, criteria)
        general = await general_lines(self._writer, base)
        return list(dict.fromkeys((*written, *stated, *general)))

    async def _written(
        self, state: SearchState, base: PromptCandidate, criteria: Sequence[Criterion]
    ) -> list[str]:
        """Return the lines that the writer makes of criteria."""
        if isinstance(self._writer, InstructionWriter):
            requests = [criterion_request(base, criterion) for criterion in criteria]
            replies = await self._writer.ask(requests, seed=1)
            return [text for reply in replies if (text := parse_instruction(reply))]
        votes: Counter[str] = Counter()
        known = set(lines(base))
        for number, criterion in enumerate(criteria):
            batch = draw(criterion.examples, _BATCH, state.rng)
            revised = await self._writer.revise(
                base, [criterion.text], batch, count=_SHOWN, seed=number
            )
            votes.update(line for one in revised for line in lines(one) if line not in known)
        return [line for line, times in votes.most_common() if times >= _REPEATED]


def criterion_request(candidate: PromptCandidate, criterion: Criterion) -> Prompt:
    """Return the request to put the criterion of several critiques into one line of a prompt."""
    return user_request(
        f"Instruction of an assistant:\n{describe_prompt(candidate)}",
        f"{len(criterion.examples)} answers were criticised for the same. Some of them:",
        *(quote_feedback(item) for item in criterion.examples[:_SHOWN]),
        "State the criterion that good answers to any request meet, as one sentence to add to the "
        "instruction.",
        REPLY_FORMAT,
    )
