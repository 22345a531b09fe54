"""Differences between two prompts, slot by slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from backtalk.feedback.interaction import prompt_text
from backtalk.policy import Policy, PromptTemplate
from backtalk.serve.pages.text_diff import DiffPiece, diff_words


@dataclass(frozen=True)
class SlotDifference:
    """Slot of a prompt, with its changes."""

    title: str
    items: Sequence[Sequence[DiffPiece]]
    """Items of the slot, each in pieces: the instruction is one item, each rule is one."""

    @property
    def is_changed(self) -> bool:
        """True if anything in it is different."""
        return any(piece.change != "same" for item in self.items for piece in item)


def prompt_difference(before: Policy | None, after: Policy) -> list[SlotDifference]:
    """Return the slots of a prompt that are not empty, with their changes from another prompt.

    >>> from backtalk.models.spec import EndpointSpec
    >>> policy = Policy(model=EndpointSpec(model="small"), system="Be brief.")
    >>> [(slot.title, slot.is_changed) for slot in prompt_difference(None, policy)]
    [('Instruction', True)]
    """
    old = PromptTemplate() if before is None else before.prompt or PromptTemplate()
    new = after.prompt or PromptTemplate()
    instruction = diff_words((before and before.system) or "", after.system or "")
    slots = [
        SlotDifference("Instruction", [instruction] if instruction else []),
        SlotDifference("Rules", _items(old.rules, new.rules)),
        SlotDifference("Demonstrations", _items(_examples(old), _examples(new))),
        SlotDifference("Descriptions of tools", _tools(old, new)),
    ]
    return [slot for slot in slots if slot.items]


def _items(before: Sequence[str], after: Sequence[str]) -> list[list[DiffPiece]]:
    """Return whole items that are equal, removed or added; replaced ones are compared by words."""
    rows: list[list[DiffPiece]] = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for _, i1, i2, j1, j2 in matcher.get_opcodes():
        old, new = before[i1:i2], after[j1:j2]
        if len(old) == len(new):
            rows += [diff_words(a, b) for a, b in zip(old, new, strict=True)]
        else:
            rows += [[DiffPiece("out", text)] for text in old]
            rows += [[DiffPiece("in", text)] for text in new]
    return rows


def _examples(template: PromptTemplate) -> list[str]:
    return [f"{prompt_text(item.prompt)}\n→ {item.answer}" for item in template.demonstrations]


def _tools(before: PromptTemplate, after: PromptTemplate) -> list[list[DiffPiece]]:
    return [
        [
            DiffPiece("same", f"{name}: "),
            *diff_words(before.tools.get(name, ""), after.tools.get(name, "")),
        ]
        for name in dict.fromkeys([*before.tools, *after.tools])
    ]
