"""Training sets: the feedback of a store on prompts of one split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Literal, TypeVar

from backtalk.feedback.case import Case, merge_by_prompt, prompt_key
from backtalk.feedback.conversions import conversions_to, views
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.split import split_for
from backtalk.feedback.views import View
from backtalk.policy import Snapshot
from backtalk.store import Store
from backtalk.store.queries import Cursor

AnyView = TypeVar("AnyView", bound=View)
Split = Literal["train", "held-out", "all"]


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
        cases = self._counted(progress)
        sources = dict.fromkeys(way.source for way in conversions_to(target))
        results: dict[str, list[AnyView]] = {kind: [] for kind in sources}
        for case in cases if across == "interaction" else merge_by_prompt(cases):
            present = {item.kind for item in case.feedback}
            for kind in sources:
                if kind in present:
                    results[kind] += views(case, target, kinds=[kind])
        return {kind: converted for kind, converted in results.items() if converted}

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
