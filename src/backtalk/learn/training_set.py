"""Training sets: the feedback of a store on prompts of one split."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from typing import Literal, Self, TypeVar, cast

from backtalk.feedback.answers import Messages, WriteAnswer
from backtalk.feedback.aspects import on_aspect, other_aspects
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.conversions import JUDGED_KINDS, conversions_to, pairs_across, views
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.requests import as_requested, stored_prompt_key
from backtalk.feedback.snapshot import Snapshot, take_snapshot
from backtalk.feedback.split import split_for
from backtalk.feedback.views import Pair, View
from backtalk.feedback.written_answers import describe_call, write_answer, write_answers
from backtalk.learn.left_out_rows import LeftOutRows
from backtalk.store import Store
from backtalk.store.queries import Cursor

AnyView = TypeVar("AnyView", bound=View)
Split = Literal["train", "held-out", "all"]
Across = Literal["prompt", "interaction"]
"""Responses that are compared with one another: those to one prompt, or of one interaction."""

_MAX_READ = 2_000
"""Number of cases of a kind that are read to find the first prompts."""
CUT_SAMPLES = "samples that reached the token limit"
"""Reason why samples are left out: a model trained on one would learn to stop there."""
NOT_PLAIN = "of several messages"
"""Reason why weights are not trained on an answer: a model wrote it in several turns."""


def in_split(prompt: Prompt, split: Split) -> bool:
    """Return true if a prompt belongs to a split.

    One fifth of all prompts is held out from learning, selected by a hash of their text. The
    selection is the same in every store and run.
    """
    return split == "all" or split_for(stored_prompt_key(prompt)) == split


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
        self.writes: WriteAnswer | None = None
        """Function that writes answers with tool calls as texts; ``None`` if they stay messages."""
        self.requested = False
        self.left_out: Counter[str] = Counter()
        """Number of judgements and views that conversions left out, by reason."""
        self.refused = LeftOutRows()
        """Prompts of samples that a model cannot read."""
        self.split = split
        self.kinds = kinds
        self.until = until
        self.validation: TrainingSet | None = None
        """Held-out feedback, on which methods that train weights measure the loss."""
        self._drawn: frozenset[str] | None = None

    def on_aspect(self, aspect: str | None) -> Self:
        """Return the same feedback by another aspect, or by all aspects for ``None``."""
        return self._changed(aspect=aspect)

    def plain_texts(self, write: WriteAnswer = describe_call) -> Self:
        """Return the same feedback with answers as texts, as training reads them.

        An answer with tool calls is a :class:`~backtalk.feedback.answers.MessageText`. Views of
        answers of several messages are left out and counted. Prompts have the settings of their
        requests.

        Parameters
        ----------
        write : WriteAnswer, optional
            Function from a prompt and an answer to the text that the model writes for it; a
            description in words by default.
        """
        return self._changed(writes=write, requested=True)

    def as_requested(self) -> Self:
        """Return the same feedback on prompts with the settings of their requests, such as tools.

        See :func:`~backtalk.feedback.requests.requested_prompt`.
        """
        return self._changed(requested=True)

    def limited(
        self, limit: int | None, *, seed: int = 0, needs: Sequence[type[View]] = ()
    ) -> Self:
        """Return the feedback on a random sample of the prompts.

        Prompts are in the order of a hash of their text and the seed, and the first ones are the
        sample. It is therefore the same on every machine, and a smaller sample is a part of a
        larger one.

        Parameters
        ----------
        limit : int or None
            Maximum number of prompts; ``None`` for no limit.
        seed : int, default 0
            Random seed of the sample.
        needs : sequence of type[View], default ()
            Views. Only prompts with feedback that converts to one of them are drawn; all prompts by
            default.
        """
        if limit is None:
            return self
        keys = {stored_prompt_key(case.interaction.prompt) for case in self._usable(needs)}
        rank = {key: blake2b(f"{seed} {key}".encode(), digest_size=16).digest() for key in keys}
        return self._changed(_drawn=frozenset(sorted(keys, key=rank.__getitem__)[:limit]))

    def on_prompts(self, keys: Collection[str]) -> Self:
        """Return the feedback on some of the prompts, by their keys."""
        drawn = frozenset(keys)
        return self._changed(_drawn=drawn if self._drawn is None else self._drawn & drawn)

    def first(self, count: int, *, needs: Sequence[type[View]] = ()) -> Self:
        """Return the feedback on the first prompts of each kind, without reading the others.

        A kind is left out if its first 2,000 cases hold none.

        Parameters
        ----------
        count : int
            Number of prompts of each kind of feedback.
        needs : sequence of type[View], default ()
            Views that the feedback converts to; prompts of any kind by default.
        """
        kinds = {way.source for need in needs for way in conversions_to(need)}
        if self.kinds is not None:
            kinds &= {*self.kinds}
        keys: set[str] = set()
        for feedback in [self._changed(kinds=[kind]) for kind in sorted(kinds)] or [self]:
            keys |= feedback._first_usable(count, needs)  # noqa: SLF001 - the same class
        return self._changed(_drawn=frozenset(keys))

    def _first_usable(self, count: int, needs: Sequence[type[View]]) -> set[str]:
        keys: set[str] = set()
        for case in self._usable(needs, most=_MAX_READ):
            keys.add(stored_prompt_key(case.interaction.prompt))
            if len(keys) == count:
                break
        return keys

    def _usable(self, needs: Sequence[type[View]], *, most: int | None = None) -> Iterator[Case]:
        """Yield cases with feedback that yields one of some views; every case without views.

        With ``most``, no more cases with feedback are read.
        """
        if not needs:
            yield from self.every_case()
            return
        for case in islice(self.cases(), most):
            judged = case if self.aspect is None else on_aspect(case, self.aspect)
            kinds = {item.kind for item in judged.feedback}
            if any(self._written(views(judged, need), Counter()) for need in needs) or (
                Pair in needs and self._is_repeated(judged, kinds)
            ):
                yield case

    def _changed(self, **fields: object) -> Self:
        other = copy.copy(self)
        vars(other).update(fields, left_out=Counter(), refused=LeftOutRows())
        vars(other).pop("snapshot", None)
        return other

    def cases(self) -> Iterator[Case]:
        """Iterate over the cases with feedback, in the order in which they were added."""
        for case in self.store.cases(kinds=self.kinds, until=self.until):
            if case.feedback and self._includes(case.interaction.prompt):
                yield self._as_read(case)

    def every_case(self) -> Iterator[Case]:
        """Iterate over all cases of the split, also those without feedback."""
        for case in self.store.cases(until=self.until):
            if self._includes(case.interaction.prompt):
                yield self._as_read(case)

    def _as_read(self, case: Case) -> Case:
        """Return a case with its prompt as methods read it."""
        interaction = as_requested(case.interaction) if self.requested else case.interaction
        return case if interaction is case.interaction else replace(case, interaction=interaction)

    def _includes(self, prompt: Prompt) -> bool:
        return in_split(prompt, self.split) and (
            self._drawn is None or stored_prompt_key(prompt) in self._drawn
        )

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
        across: Across = "prompt",
        progress: Callable[[int], None] | None = None,
    ) -> list[AnyView]:
        """Return the feedback converted to a view.

        Parameters
        ----------
        target : type[AnyView]
            View to convert to.
        across : {"prompt", "interaction"}, default "prompt"
            If ``"prompt"``, pairs also compare responses that were judged in different
            interactions with the same prompt; see
            :func:`~backtalk.feedback.conversions.pairs_across`.
        progress : Callable[[int], None], optional
            Function called with the number of cases read so far.
        """
        by_kind = self.by_kind(target, across=across, progress=progress)
        return [view for views_of_kind in by_kind.values() for view in views_of_kind]

    def by_kind(
        self,
        target: type[AnyView],
        *,
        across: Across = "prompt",
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, list[AnyView]]:
        """Return the feedback converted to a view, by kind of feedback.

        Parameters
        ----------
        target : type[AnyView]
            View to convert to.
        across : {"prompt", "interaction"}, default "prompt"
            If ``"prompt"``, pairs also compare responses that were judged in different
            interactions with the same prompt; see
            :func:`~backtalk.feedback.conversions.pairs_across`.
        progress : Callable[[int], None], optional
            Function called with the number of cases read so far.
        """
        sources = dict.fromkeys(way.source for way in conversions_to(target))
        left_out: Counter[str] = Counter()
        cases = self._selected(self._counted(progress), sources, left_out)
        results: dict[str, list[AnyView]] = {kind: [] for kind in sources}
        repeated: list[Case] = []
        for case in cases:
            present = {item.kind for item in case.feedback}
            for kind in sources:
                if kind in present:
                    results[kind] += self._written(views(case, target, kinds=[kind]), left_out)
            if target is Pair and across == "prompt" and self._is_repeated(case, present):
                repeated.append(case)
        for kind, pairs in pairs_across(repeated).items():
            if kind in results:
                results[kind] += self._written(cast("list[AnyView]", pairs), left_out)
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

    def _is_repeated(self, case: Case, kinds: Collection[str]) -> bool:
        """Return whether a case has judgements of single responses, as others on its prompt do."""
        return any(kind in kinds for kind in JUDGED_KINDS) and (
            stored_prompt_key(case.interaction.prompt) in self._repeated_prompts
        )

    @cached_property
    def _repeated_prompts(self) -> frozenset[str]:
        """Keys of the prompts with several judgements of single responses."""
        counts: Counter[str] = Counter()
        for item in self.store.counts_by_prompt():
            if item.kind in JUDGED_KINDS:
                counts[item.prompt] += item.total
        return frozenset(key for key, count in counts.items() if count > 1)

    def _written(self, items: list[AnyView], left_out: Counter[str]) -> list[AnyView]:
        """Return views with answers as texts, if this feedback has them so."""
        if self.writes is None:
            return items
        views_of_texts = [write_answers(view, self.writes) for view in items]
        results = [view for view in views_of_texts if view is not None]
        if len(results) < len(items):
            left_out[NOT_PLAIN] += len(items) - len(results)
        return results

    def answer_text(self, prompt: Prompt, text: str, messages: Messages) -> str | None:
        """Return an answer as text, as views hold it; ``None`` if it has several messages.

        Parameters
        ----------
        prompt : Prompt
            Prompt of the answer.
        text : str
            Text of the answer.
        messages : tuple of Message
            All messages of the answer; empty if it is its text.
        """
        return write_answer(prompt, text, messages, self.writes or describe_call)

    def explain_left_out(self) -> tuple[str, str]:
        """Return what was left out, and what to do about it; two empty texts if nothing was."""
        listed = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.most_common())
        mends = []
        if any(reason.startswith("on the aspect ") for reason in self.left_out):
            mends.append("Name an aspect to learn from it: --aspect NAME, aspect= in Python")
        if self.left_out[CUT_SAMPLES]:
            mends.append("Raise `max_tokens` under `sampling` in the policy's decoder")
        return listed, ". ".join(mends)

    def _counted(self, progress: Callable[[int], None] | None) -> Iterator[Case]:
        for done, case in enumerate(self.cases(), 1):
            if progress is not None:
                progress(done)
            yield case

    @cached_property
    def snapshot(self) -> Snapshot:
        """Counts and digest of the feedback, for the lineage of policies learned from it."""
        return take_snapshot(
            self.cases(),
            project=self.store.project,
            split=self.split,
            last=self.store.last_feedback() if self.until is None else self.until.feedback,
        )
