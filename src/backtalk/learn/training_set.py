"""The feedback that a policy is learned from: that on prompts of the training split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Literal, TypeVar

from backtalk.feedback import Message
from backtalk.feedback.conversions import conversions_to, views
from backtalk.feedback.merge import merge_by_prompt, prompt_key
from backtalk.feedback.split import split_of
from backtalk.feedback.views import Case, View
from backtalk.policy import Snapshot
from backtalk.store import Store
from backtalk.store.queries import Cursor

AnyView = TypeVar("AnyView", bound=View)
Split = Literal["train", "held-out", "all"]


def in_split(prompt: tuple[Message, ...], split: Split) -> bool:
    """Return whether a prompt belongs to a split.

    A fifth of all prompts, picked by the hash of their text, is held out from learning: the same
    ones in every store and run.
    """
    return split == "all" or split_of(prompt_key(prompt)) == split


class TrainingSet:
    """The cases of a store that may be learned from.

    Parameters
    ----------
    store : Store
        Where they are kept.
    split : Split, default "train"
        ``"train"`` leaves out the prompts that evaluation is done on.
    kinds : sequence of str, optional
        Only feedback of these kinds.
    until : Cursor, optional
        Only what was in the store at that moment.
    """

    def __init__(
        self,
        store: Store,
        *,
        split: Split = "train",
        kinds: Sequence[str] | None = None,
        until: Cursor | None = None,
    ) -> None:
        self.store = store
        self.split = split
        self.kinds = kinds
        self.until = until

    def cases(self) -> Iterator[Case]:
        """Yield the cases that have feedback, in the order in which they were added."""
        for case in self.store.cases(kinds=self.kinds, until=self.until):
            if case.feedback and in_split(case.interaction.prompt, self.split):
                yield case

    def every_case(self) -> Iterator[Case]:
        """Yield all cases of the split, those without such feedback among them."""
        for case in self.store.cases(until=self.until):
            if in_split(case.interaction.prompt, self.split):
                yield case

    def prompts(self) -> list[tuple[Message, ...]]:
        """Return the distinct prompts that may be learned from, with feedback or without."""
        results: dict[str, tuple[Message, ...]] = {}
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
        """Return all that the feedback says in the target's terms.

        Parameters
        ----------
        target : type[AnyView]
            The view wanted.
        across : {"interaction", "prompt"}, default "interaction"
            ``"prompt"`` also compares responses of different interactions with the same prompt.
        progress : Callable[[int], None], optional
            Called with the number of cases read so far.
        """
        result = self.by_kind(target, across=across, progress=progress)
        return [view for kind in result.values() for view in kind]

    def by_kind(
        self,
        target: type[AnyView],
        *,
        across: Literal["interaction", "prompt"] = "interaction",
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, list[AnyView]]:
        """Return the same as :meth:`views`, apart for each kind of feedback that it comes from."""
        cases = self._counted(progress)
        sources = dict.fromkeys(way.source for way in conversions_to(target))
        results: dict[str, list[AnyView]] = {kind: [] for kind in sources}
        for case in cases if across == "interaction" else merge_by_prompt(cases):
            present = {item.kind for item in case.feedback}
            for kind in sources:
                if kind in present:
                    results[kind] += views(case, target, kinds=[kind])
        return {kind: own for kind, own in results.items() if own}

    def _counted(self, progress: Callable[[int], None] | None) -> Iterator[Case]:
        for done, case in enumerate(self.cases(), 1):
            if progress is not None:
                progress(done)
            yield case

    @cached_property
    def snapshot(self) -> Snapshot:
        """Which feedback this is, for the lineage of what is learned from it."""
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
