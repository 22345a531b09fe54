"""Techniques of prompting: parts that a prompt may have, from feedback and from a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backtalk.feedback.interaction import Prompt
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.compositions.kinds import RequestKinds
from backtalk.learn.prompt.edits import with_rules
from backtalk.learn.prompt.protocol import PromptCandidate
from backtalk.learn.prompt.writer import Examples
from backtalk.policy.prompt_template import Example

_SHOWN = 2
"""Number of demonstrations of a kind."""


@dataclass(frozen=True)
class Technique:
    """Part of a prompt: lines, or demonstrations, the same for all requests or one for each kind.

    >>> rule = Technique("rule", variants=(Technique("a", ("Sort.",)), Technique("b", ("Add.",))))
    >>> rule.of(1).rules
    ('Add.',)
    """

    name: str
    """Name for reports, such as ``rule``, ``advice`` or ``demonstrations``."""
    rules: tuple[str, ...] = ()
    demonstrations: tuple[Example, ...] = ()
    variants: tuple[Technique, ...] = ()
    """Technique of each kind of request, if they differ."""

    def of(self, kind: int) -> Technique:
        """Return the technique for a kind of request."""
        return self.variants[kind] if self.variants else self

    @property
    def label(self) -> str:
        """Name with its words in short."""
        return f"{self.name}: {' '.join(self.rules)}" if self.rules else self.name


def compose(
    base: PromptCandidate, techniques: Sequence[Technique], kind: int = 0, *, proposer: str = ""
) -> PromptCandidate:
    """Return a prompt with techniques for a kind of request.

    Parameters
    ----------
    base : PromptCandidate
        Prompt without them.
    techniques : sequence of Technique
        Techniques to add.
    kind : int, default 0
        Kind of request.
    proposer : str, default ""
        Name of the proposer.
    """
    parts = [one.of(kind) for one in techniques]
    added = [line for one in parts for line in one.rules]
    shown = tuple(example for one in parts for example in one.demonstrations)
    template = base.template.model_copy(
        update={"demonstrations": (*base.template.demonstrations, *shown)}
    )
    rules = (*base.template.rules, *added)
    note = " + ".join(one.label for one in parts) or "as before"
    changed = PromptCandidate(base.system, template)
    return with_rules(changed, rules, proposer=proposer, note=note)


async def group_by_kind(kinds: RequestKinds, examples: Examples) -> list[list[tuple[Prompt, str]]]:
    """Return the examples of each kind."""
    labels = await kinds.of([prompt for prompt, _ in examples])
    return [
        [example for example, label in zip(examples, labels, strict=True) if label == number]
        for number in range(len(kinds.centers))
    ]


async def demonstrations_of_kinds(kinds: RequestKinds, examples: Examples) -> list[Technique]:
    """Return the demonstrations of each kind: good answers to the requests nearest to its mean.

    A kind without good answers has a technique that adds nothing.
    """
    results = []
    for number, group in enumerate(await group_by_kind(kinds, examples)):
        if not group:
            results.append(Technique("no demonstrations"))
            continue
        scores = (await kinds.nearest().predict([prompt for prompt, _ in group]))[:, number]
        order = np.argsort(-scores, kind="stable")[:_SHOWN]
        shown = tuple(Example(prompt=group[i][0], answer=group[i][1]) for i in order)
        results.append(Technique(f"demonstrations of kind {number + 1}", demonstrations=shown))
    return results
