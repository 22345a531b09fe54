"""Retirement of harmful entries, with one error rate over all entries of a project."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from backtalk.errors import BacktalkError
from backtalk.memory.effect.effects import EntryEffect, make_effect
from backtalk.memory.effect.updating import WAIT, EffectStore, update_sums
from backtalk.memory.entry import MemoryEntry
from backtalk.memory.memory import Memory
from backtalk.store import Store

_SPENDING_TOTAL = 2.1098
"""Sum of ``1 / (n ln(n)^2)`` over n from 2."""


@dataclass(frozen=True)
class Retirement:
    """Retirement of an entry because of its measured effect."""

    entry: MemoryEntry
    effect: EntryEffect
    level: float
    """Share of the error rate that the entry had; its e-value is at least the inverse."""

    @property
    def reason(self) -> str:
        """Reason with its numbers, in one line."""
        effect = self.effect
        return (
            f"measured effect on {effect.measure} {effect.estimate or 0.0:+.2f}, interval "
            f"[{effect.low:+.2f}, {effect.high:+.2f}], from {effect.scored_shown} answers with it "
            f"and {effect.scored_withheld} without; e-value {effect.e_value:,.0f} of "
            f"{1 / self.level:,.0f} needed"
        )


def spending(order: int) -> float:
    """Return the share of the error rate of the entry at a position; all shares sum to 1.

    It falls slowly, as ``1 / (n ln(n)^2)`` with n = order + 1, so that evidence for the entry
    number 1,000 has to be about 50,000 times as strong as for the first. That takes two to three
    times as many answers.
    """
    n = order + 1
    return 1 / (_SPENDING_TOTAL * n * math.log(n) ** 2)


def harmful_entries(
    store: Store, memory: Memory, *, error_rate: float = 0.05, wait: timedelta = WAIT
) -> list[Retirement]:
    """Return the retirements that are due; see :func:`retire_harmful`.

    Parameters
    ----------
    store, memory, error_rate, wait
        See :func:`retire_harmful`.
    """
    return _due(update_sums(store, wait=wait), memory, error_rate)


def retire_harmful(
    store: Store, memory: Memory, *, error_rate: float = 0.05, wait: timedelta = WAIT
) -> list[Retirement]:
    """Retire the entries whose measured effect is harmful, and return their retirements.

    An entry is retired if its e-value reaches ``1 / (error_rate * spending(order) * (r + 1))``,
    where r is the number of entries retired before. Then the expected share of harmless entries
    among all that are ever retired is at most the error rate, however many entries there are, on
    whatever they depend, and however often this function is called (e-LOND of Xu and Ramdas 2024,
    "Online multiple testing with e-values", section 3, with one e-process for each entry). If no
    entry is harmful, any is retired with at most that probability. Such spending is chosen over the
    e-BH procedure because a decision stands: later entries do not raise the evidence that an
    earlier one needed.

    An entry for all users is retired only if the evidence holds without the user who gives the
    most of it. An entry that a person took back into use is judged by answers after that alone.

    Parameters
    ----------
    store : Store
        Store of the project.
    memory : Memory
        Memory.
    error_rate : float, default 0.05
        Error rate over all entries, in (0, 1).
    wait : timedelta, default one hour
        Time after which an answer that nobody corrected counts as right.
    """
    sums = update_sums(store, wait=wait)
    retirements = _due(sums, memory, error_rate)
    for retirement in retirements:
        memory.retire(retirement.entry.id, reason=retirement.reason)
        sums.recorder.entries[retirement.entry.id].is_retired = True
        sums.head.retirements += 1
        sums.save({retirement.entry.id})
    return retirements


def retire_in_project(store: Store) -> list[Retirement]:
    """Retire the harmful entries of all memories of a project; see :func:`retire_harmful`."""
    return [
        retirement
        for name in store.memories.names()
        for retirement in retire_harmful(store, Memory(store, name))
    ]


def _due(sums: EffectStore, memory: Memory, error_rate: float) -> list[Retirement]:
    if not 0 < error_rate < 1:
        raise BacktalkError(
            f"The error rate {error_rate:g} is not between 0 and 1", "Give one such as 0.05"
        )
    _begin_anew(sums, memory)
    count = sums.head.retirements
    results = []
    records = sums.recorder.entries
    active = memory.holding(list(records)).values()
    effects = [(entry, make_effect(entry, records[entry.id])) for entry in active]
    for entry, effect in sorted(effects, key=lambda pair: -pair[1].e_value):
        level = error_rate * spending(records[entry.id].order) * (count + 1)
        if effect.e_value * level >= 1:
            results.append(Retirement(entry, effect, level))
            count += 1
    return results


def _begin_anew(sums: EffectStore, memory: Memory) -> None:
    """Discard the evidence on entries that are in use again after their retirement."""
    records = sums.recorder.entries
    back = set(memory.holding([id_ for id_, record in records.items() if record.is_retired]))
    for id_ in back:
        sums.recorder.count += 1
        records[id_].order = sums.recorder.count
        records[id_].is_retired = False
        for one in records[id_].sums.values():
            one.forget_evidence()
    if back:
        sums.save(back)
