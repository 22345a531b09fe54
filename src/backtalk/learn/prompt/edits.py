"""Changes of single lines of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backtalk.learn.prompt.protocol import PromptCandidate


def with_instruction(
    candidate: PromptCandidate, text: str | None, *, proposer: str = "", note: str = ""
) -> PromptCandidate:
    """Return a candidate with another instruction.

    Parameters
    ----------
    candidate : PromptCandidate
        Prompt to change.
    text : str or None
        New instruction.
    proposer, note : str, default ""
        Fields of the new candidate.
    """
    return replace(candidate, system=text or None, proposer=proposer, note=note)


def with_rules(
    candidate: PromptCandidate, rules: Sequence[str], *, proposer: str = "", note: str = ""
) -> PromptCandidate:
    """Return a candidate with other rules.

    Parameters
    ----------
    candidate : PromptCandidate
        Prompt to change.
    rules : sequence of str
        New rules; equal ones count once.
    proposer, note : str, default ""
        Fields of the new candidate.
    """
    template = candidate.template.model_copy(update={"rules": tuple(dict.fromkeys(rules))})
    return replace(candidate, template=template, proposer=proposer, note=note)


def lines(candidate: PromptCandidate) -> tuple[str, ...]:
    """Return the lines of a prompt: those of the instruction, then the rules."""
    instruction = (candidate.system or "").split("\n")
    return (*(line for line in instruction if line.strip()), *candidate.template.rules)


def with_lines(
    candidate: PromptCandidate, new: Sequence[str], *, proposer: str = "", note: str = ""
) -> PromptCandidate:
    """Return a candidate with these lines; those of its instruction stay there, others are rules.

    Parameters
    ----------
    candidate : PromptCandidate
        Prompt to change.
    new : sequence of str
        Lines.
    proposer, note : str, default ""
        Fields of the new candidate.
    """
    before = set((candidate.system or "").split("\n"))
    instruction = "\n".join(line for line in new if line in before)
    changed = with_instruction(candidate, instruction, proposer=proposer, note=note)
    rules = [line for line in new if line not in before]
    return with_rules(changed, rules, proposer=proposer, note=note)


def new_only(
    candidates: Sequence[PromptCandidate], known: Sequence[PromptCandidate]
) -> list[PromptCandidate]:
    """Return the distinct candidates that differ from all known ones."""
    seen = {candidate.version for candidate in known}
    new: dict[str, PromptCandidate] = {}
    for candidate in candidates:
        new.setdefault(candidate.version, candidate)
    return [candidate for version, candidate in new.items() if version not in seen]
