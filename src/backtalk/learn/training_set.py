"""Training sets: the feedback of a store on prompts of one split."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Literal, Self, TypeVar

from backtalk.feedback.aspects import on_aspect, other_aspects
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case, merge_by_prompt, prompt_key
from backtalk.feedback.conversions import conversions_to, views
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.snapshot import Snapshot
from backtalk.feedback.split import split_for
from backtalk.feedback.views import View
from backtalk.store import Store
from backtalk.store.queries import Cursor

AnyView = TypeVar("AnyView", bound=View)
Split = Literal["train", "held-out", "all"]

NOT_PLAIN = "with tool calls or several messages"
"""Reason why weights are not trained on an answer: its text is not all of it."""


def in_split(prompt: Prompt, split: Split) -> bool:
    """Return true if a prompt belongs to a split.

    One fifth of all prompts is held out from learning, selected by a hash of their text. The
    selection is the same in every store and run.
    """
    return split == "all" or split_for(prompt_key(prompt)) == split


class TrainingSet:
    """Cases of a store in one split.

    Parameters
    ----------
    store : Store
        Store of the cases.
    split : {"train", "held-out", "all"}, default "train"
        Split of the prompts; ``"train"`` leaves out the prompts held out for evaluation.
    kinds : sequence of str, optional
        Kinds of feedback; all by default.
    until : Cursor, optional
        Position in the store after which records are ignored.
    aspect : str or None, default "overall"
        Aspect of the judgements that are converted to views, where they count as overall; those on
        other aspects are left out. ``None`` converts all, each with its own aspect.
    """

    def __init__(
        self,
        store: Store,
        *,
        split: Split = "train",
        kinds: Sequence[str] | None = None,
        until: Cursor | None = None,
        aspect: str | None = OVERALL,
    ) -> None:
        self.store = store
        self.aspect = aspect
        self.texts_only = False
        self.left_out: Counter[str] = Counter()
        """Number of judgements and views that conversions left out, by reason."""
        self.split = split
        self.kinds = kinds
        self.until = until

    def on_aspect(self, aspect: str | None) -> Self:
        """Return the same feedback by another aspect, or by all aspects for ``None``."""
        return self._changed(aspect=aspect)

    def plain_texts(self) -> Self:
        """Return the same feedback without views whose texts are not all of the answers.

        Training of weights reads texts only: it would learn a tool call as nothing, and several
        messages as one text.
        """
        return self._changed(texts_only=True)

    def _changed(self, **fields: object) -> Self:
        other = copy.copy(self)
        vars(other).update(fields, left_out=Counter())
        return other

    def cases(self) -> Iterator[Case]:
        """Iterate over the cases with feedback, in the order in which they were added."""
        for case in self.store.cases(kinds=self.kinds, until=self.until):
            if case.feedback and in_split(case.interaction.prompt, self.split):
                yield case

    def every_case(self) -> Iterator[Case]:
        """Iterate over all cases of the split, also those without feedback."""
        for case in self.store.cases(until=self.until):
            if in_split(case.interaction.prompt, self.split):
                yield case

    def prompts(self) -> list[Prompt]:
        """Return the distinct prompts of the split, with and without feedback."""
        results: dict[str, Prompt] = {}
        for case in self.every_case():
            results.setdefault(prompt_key(case.interaction.prompt), case.interaction.prompt)
        return list(results.values())

    def views(
        self,
        target: type[AnyView],
        *,
        across: Literal["interaction", "prompt"] = "interaction",
        progress: Callable[[int], None] | None = None,
    ) -> list[AnyView]:
        """Return the feedback converted to a view.

        Parameters
        ----------
        target : type[AnyView]
            View to convert to.
        across : {"interaction", "prompt"}, default "interaction"
            If ``"prompt"``, also compare responses of different interactions with the same prompt.
        progress : Callable[[int], None], optional
            Function called with the number of cases read so far.
        """
        by_kind = self.by_kind(target, across=across, progress=progress)
        return [view for views_of_kind in by_kind.values() for view in views_of_kind]

    def by_kind(
        self,
        target: type[AnyView],
        *,
        across: Literal["interaction", "prompt"] = "interaction",
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, list[AnyView]]:
        """Return the feedback converted to a view, by kind of feedback.

        Parameters
        ----------
        target : type[AnyView]
            View to convert to.
        across : {"interaction", "prompt"}, default "interaction"
            If ``"prompt"``, also compare responses of different interactions with the same prompt.
        progress : Callable[[int], None], optional
            Function called with the number of cases read so far.
        """
        sources = dict.fromkeys(way.source for way in conversions_to(target))
        left_out: Counter[str] = Counter()
        cases = self._selected(self._counted(progress), sources, left_out)
        results: dict[str, list[AnyView]] = {kind: [] for kind in sources}
        for case in cases if across == "interaction" else merge_by_prompt(cases):
            present = {item.kind for item in case.feedback}
            for kind in sources:
                if kind in present:
                    results[kind] += self._plain(views(case, target, kinds=[kind]), left_out)
        # Methods may convert the same feedback several times.
        self.left_out |= left_out
        return {kind: converted for kind, converted in results.items() if converted}

    def _selected(
        self, cases: Iterable[Case], kinds: Collection[str], left_out: Counter[str]
    ) -> Iterator[Case]:
        """Yield cases with the feedback on the aspect, and count the rest."""
        for case in cases:
            if self.aspect is None:
                yield case
                continue
            for name, count in other_aspects(case.feedback, self.aspect, kinds).items():
                left_out[f"on the aspect {name}"] += count
            yield on_aspect(case, self.aspect)

    def _plain(self, items: list[AnyView], left_out: Counter[str]) -> list[AnyView]:
        if not self.texts_only:
            return items
        plain = [view for view in items if view.is_plain]
        if len(plain) < len(items):
            left_out[NOT_PLAIN] += len(items) - len(plain)
        return plain

    def explain_left_out(self) -> tuple[str, str]:
        """Return what was left out, and what to do about it; two empty texts if nothing was."""
        listed = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.most_common())
        named = any(reason.startswith("on the aspect ") for reason in self.left_out)
        return listed, "Name an aspect to learn from it: --aspect NAME, aspect= in Python" * named

    def _counted(self, progress: Callable[[int], None] | None) -> Iterator[Case]:
        for done, case in enumerate(self.cases(), 1):
            if progress is not None:
                progress(done)
            yield case

    @cached_property
    def snapshot(self) -> Snapshot:
        """Counts and digest of the feedback, for the lineage of policies learned from it."""
        counts: Counter[str] = Counter()
        digest = blake2b(digest_size=16)
        for case in self.cases():
            counts["interaction"] += 1
            for item in case.feedback:
                counts[item.kind] += 1
                digest.update(item.id.encode())
        return Snapshot(
            project=self.store.project,
            split=self.split,
            counts=dict(sorted(counts.items())),
            digest=digest.hexdigest(),
            last=self.store.last_feedback() if self.until is None else self.until.feedback,
        )
