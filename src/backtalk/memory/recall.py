"""Recall: the entries of a memory that apply to a request, as texts for the prompt."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.feedback import MemoryUse, content_id
from backtalk.feedback.interaction import Prompt
from backtalk.memory.corrections import is_about, split_correction
from backtalk.memory.entry import MemoryEntry
from backtalk.memory.precedence import specificity, without_contradicted
from backtalk.memory.requests import request_text
from backtalk.memory.scope import has_condition
from backtalk.memory.spec import MemorySpec
from backtalk.memory.statements import is_retraction
from backtalk.memory.visible import VisibleEntries

if TYPE_CHECKING:
    from backtalk.store import Store


@dataclass(frozen=True)
class Recall:
    """Entries that apply to a request."""

    texts: tuple[str, ...] = ()
    """Texts of the entries that are shown, the most general first."""
    uses: tuple[MemoryUse, ...] = ()
    """All entries that apply, shown or withheld, in the same order."""


class LoadedMemory:
    """Memory of a policy, which recalls the entries that apply to a request.

    It is read from the store on first use. Changes that people make to entries are read at most
    once a second, so that an edited or forgotten entry has its effect within a second.

    Parameters
    ----------
    store : Store
        Store of the project.
    spec : MemorySpec
        Memory of the policy.

    Examples
    --------
    >>> from backtalk.feedback import Scope, as_prompt
    >>> from backtalk.memory import Memory
    >>> from backtalk.models.run_sync import run_sync
    >>> from backtalk.store import Store
    >>> store = Store(":memory:")
    >>> scope = Scope(where="in mails to my boss")
    >>> entry = MemoryEntry(kind="instruction", text="No emojis.", scope=scope)
    >>> memory = LoadedMemory(store, MemorySpec(revision=Memory(store).add([entry])))
    >>> run_sync(memory.recall(as_prompt("Write to my boss."))).texts
    ('No emojis.',)
    >>> run_sync(memory.recall(as_prompt("Write to my sister."))).texts
    ()
    """

    def __init__(self, store: Store, spec: MemorySpec) -> None:
        self.store = store
        self.spec = spec
        self._visible = VisibleEntries(store, spec)

    async def recall(
        self,
        prompt: Prompt,
        *,
        user: str | None = None,
        explore: bool = False,
        seed: int = 0,
        unit: str | None = None,
    ) -> Recall:
        """Return the entries that apply to a prompt.

        Parameters
        ----------
        prompt : Prompt
            Messages of the request, without those of the policy.
        user : str, optional
            Id of the user who asks.
        explore : bool, default False
            If true, withhold each entry with the memory's probability, independently of others.
        seed : int, default 0
            Seed of the withholding. Equal seeds, users and units withhold the same entries.
        unit : str, optional
            Unit in which the same entries are withheld, such as a conversation. Default: the
            request.
        """
        request = request_text(prompt)
        applying = await self.applying(request, user=user)
        uses = [
            self._use(entry, unit or request, user, seed, explore=explore) for entry in applying
        ]
        return Recall(
            tuple(render(entry) for entry, use in zip(applying, uses, strict=True) if use.shown),
            tuple(uses),
        )

    async def applying(self, request: str, *, user: str | None = None) -> list[MemoryEntry]:
        """Return the entries that apply to a request, the most general first.

        Parameters
        ----------
        request : str
            Text of the request.
        user : str, optional
            Id of the user who asks.
        """
        visible = self._visible
        await asyncio.to_thread(visible.refresh)
        general = visible.by_id(await visible.general.find(request, user))
        conditional = visible.by_id(await visible.conditional.find(request, user))
        scopes = [entry.scope for _, entry in conditional]
        decisions = await visible.classifier.decide(scopes, request)
        accepted = {"inside"} if self.spec.unsure == "omit" else {"inside", "unsure"}
        inside = [
            visible_entry
            for visible_entry, decision in zip(conditional, decisions, strict=True)
            if decision.verdict in accepted and is_about(visible_entry.entry, request)
        ]
        applying = without_contradicted([entry for _, entry in sorted([*general, *inside])])
        # What only takes back another entry says nothing to the model.
        holding = [entry for entry in applying if not is_retraction(entry.text)]
        length = sum(len(render(entry)) for entry in holding)
        if len(holding) > self.spec.limit or length > self.spec.max_characters:
            holding = await self._most_relevant(holding, request)
        return sorted(holding, key=specificity)

    async def _most_relevant(self, entries: list[MemoryEntry], request: str) -> list[MemoryEntry]:
        """Return the entries up to the limits.

        Wishes come before what was said of single answers, then those with a condition, then the
        most similar.
        """
        vectors = self._visible.classifier.vectors
        await vectors.add([request, *(entry.text for entry in entries)])
        similarities = vectors.of([entry.text for entry in entries]) @ vectors.of([request])[0]
        ranks = {
            entry.id: (
                entry.kind not in {"correction", "case"},
                has_condition(entry.scope),
                float(similarity),
            )
            for entry, similarity in zip(entries, similarities, strict=True)
        }
        chosen: set[str] = set()
        room = self.spec.max_characters
        for entry in sorted(entries, key=lambda entry: ranks[entry.id], reverse=True):
            length = len(render(entry))
            if len(chosen) < self.spec.limit and length <= room:
                chosen.add(entry.id)
                room -= length
        return [entry for entry in entries if entry.id in chosen]

    def _use(
        self, entry: MemoryEntry, unit: str, user: str | None, seed: int, *, explore: bool
    ) -> MemoryUse:
        if not explore or not self.spec.withhold:
            return MemoryUse(entry=entry.id)
        draw = int(content_id("withhold", str(seed), user or "", unit, entry.id)[:12], 16)
        shown = draw / 16**12 >= self.spec.withhold
        return MemoryUse(entry=entry.id, shown=shown, propensity=1 - self.spec.withhold)


def render(entry: MemoryEntry) -> str:
    """Return the text of an entry for the prompt.

    A solved case becomes an example. A correction is stated without the request that it was made
    on, whose names and numbers a model would mix up with those of the new request.
    """
    if entry.kind != "case" or not entry.scope.inside:
        return split_correction(entry.text)[1]
    return f"Example of a request:\n{entry.scope.inside[0]}\nGood answer to it:\n{entry.text}"
