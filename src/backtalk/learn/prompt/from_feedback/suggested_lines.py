"""Lines that feedback suggests for a prompt: standing rules, critiques, rules behind answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from backtalk.feedback.kinds import Instruction
from backtalk.learn.prompt.criteria import Criterion
from backtalk.learn.prompt.edits import lines
from backtalk.learn.prompt.examples import draw_groups
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState
from backtalk.learn.prompt.writer import Examples, PromptWriter
from backtalk.learn.training_set import TrainingSet

_GROUPS = 24
"""Number of groups of good answers whose rule a model finds."""
_MIN_VOTES = 2
"""Number of groups in which a rule has to be found."""
_VARIATIONS = 8
"""Number of variations of the prompt, whose new lines are tried as well."""
_MIN_CRITIQUES = 2
"""Number of critiques of one wording that make it a line: once said may be about one answer."""


def stated_lines(feedback: TrainingSet, criteria: Sequence[Criterion]) -> list[str]:
    """Return the standing rules for all users, then the repeated critiques, most frequent first."""
    counts = Counter(
        instruction.text
        for case in feedback.cases()
        for instruction in case.of(Instruction)
        if not instruction.scope.users
    )
    if feedback.kinds is None or "instruction" in feedback.kinds:
        for item in feedback.store.feedback(kinds=["instruction"], system_wide=True):
            if isinstance(item, Instruction) and not item.scope.users:
                counts[item.text] += 1
    critiques = Counter(
        {
            text: count
            for criterion in criteria
            for text, count in criterion.wordings.items()
            if count >= _MIN_CRITIQUES
        }
    )
    ordered = [
        *(text for text, _ in counts.most_common()),
        *(t for t, _ in critiques.most_common()),
    ]
    return list(dict.fromkeys(text.strip() for text in ordered if text.strip()))


async def found_lines(
    writer: PromptWriter, state: SearchState, examples: Examples
) -> tuple[list[str], list[PromptCandidate]]:
    """Return the rules that a model finds in good answers, those found most often first.

    A model that writes whole instructions yields prompts, a few of which are returned.

    Parameters
    ----------
    writer : PromptWriter
        Model that finds rules.
    state : SearchState
        State of the search.
    examples : sequence of tuple[Prompt, str]
        Requests with good answers.
    """
    base = state.best.candidate
    groups = draw_groups(examples, writer.group_size, _GROUPS, state.rng)
    # An instruction model writes long replies that hardly ever agree: a few of them are enough.
    first = await writer.infer(base, groups[:2], seed=0)
    if any(set(lines(base)) - set(lines(one)) for one in first):
        return [], first
    rest = await writer.infer(base, groups[2:], seed=1)
    known = set(lines(base))
    votes = Counter(
        line for candidate in (*first, *rest) for line in lines(candidate) if line not in known
    )
    rules = [line for line, count in votes.most_common() if count >= _MIN_VOTES]
    # Other variations than added lines, such as removals, are changes of their own.
    varied = await writer.vary(base, count=_VARIATIONS)
    general = [line for candidate in varied for line in lines(candidate) if line not in known]
    return list(dict.fromkeys((*rules, *general))), []
