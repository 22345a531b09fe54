"""Effects of memory entries on feedback, estimated as feedback arrives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from backtalk.memory.effect.recorder import EntryRecord
from backtalk.memory.effect.scores import CORRECTIONS, JUDGEMENTS, Measure
from backtalk.memory.effect.shrinkage import shrunk_effects
from backtalk.memory.effect.updating import WAIT, update_sums
from backtalk.memory.entry import MemoryEntry
from backtalk.memory.memory import Memory
from backtalk.store import Store

_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class EntryEffect:
    """Measured effect of a memory entry on feedback.

    Attributes
    ----------
    entry
        Id of the entry.
    estimate
        Difference of the mean score with and without the entry, on [-1, 1]; ``None`` if no use of
        it was random and scored.
    low, high
        Interval, valid at all times: looking at it after each answer does not spoil it. -1 and 1
        if nothing is known.
    level
        Probability of coverage at all times.
    shrunk
        Estimate drawn to the mean of all entries while there are few scores (empirical Bayes), for
        display and for sorting; ``None`` if there is no estimate.
    measure
        Outcome of the estimate: ``"judgements"`` or ``"corrections"``.
    shown, withheld
        Number of answers that it was shown in or withheld from, scored or not.
    scored_shown, scored_withheld
        Number of them with a score on this measure.
    mean_shown, mean_withheld
        Mean score of each; ``None`` if there is none. Their difference is not the effect if the
        probability of withholding changed.
    wins, losses
        Number of answers that it was shown in, with a score above and below 0.5.
    feedback
        Number of counted feedback records by kind.
    users
        Number of users, up to 1,024.
    tokens
        Estimated number of tokens that it adds to a prompt: a quarter of its characters.
    e_value
        Evidence that it is harmful: with probability at most 1 / e, a harmless entry ever reaches
        e. See :func:`~backtalk.memory.effect.retire_harmful`.
    """

    entry: str
    estimate: float | None
    low: float
    high: float
    level: float
    shrunk: float | None
    measure: Measure
    shown: int
    withheld: int
    scored_shown: int
    scored_withheld: int
    mean_shown: float | None
    mean_withheld: float | None
    wins: int
    losses: int
    feedback: Mapping[str, int]
    users: int
    tokens: int
    e_value: float

    @property
    def is_harmful(self) -> bool:
        """True if the whole interval is below 0."""
        return self.high < 0

    @property
    def is_helpful(self) -> bool:
        """True if the whole interval is above 0."""
        return self.low > 0


def entry_effects(
    store: Store, memory: Memory, *, level: float = 0.95, wait: timedelta = WAIT
) -> dict[str, EntryEffect]:
    """Return the effects of the entries of a memory that were used, by their ids.

    New records since the last call are read, and no others: sums are kept in the store. If records
    were deleted or purged in the meantime, all are read again.

    The estimate is doubly robust: inverse probabilities of showing an entry, with a model of the
    outcome from the user, the prompt and the other entries. See
    :class:`~backtalk.memory.effect.sums.EffectSums` and
    :class:`~backtalk.memory.effect.outcome_model.OutcomeModel`. It is the average over the uses
    that were scored, weighted by the smaller of the two probabilities. The interval holds at all
    times; effects that differ between users widen it.

    Parameters
    ----------
    store : Store
        Store of the project.
    memory : Memory
        Memory whose entries are measured.
    level : float, default 0.95
        Probability of coverage of each interval, at all times.
    wait : timedelta, default one hour
        Time after which an answer that nobody corrected counts as right.
    """
    records = update_sums(store, wait=wait).recorder.entries
    entries = memory.holding(list(records), states=("active", "superseded", "retired"))
    effects = [make_effect(entry, records[id_], level=level) for id_, entry in entries.items()]
    return _shrink(effects, records)


def _shrink(
    effects: list[EntryEffect], records: Mapping[str, EntryRecord]
) -> dict[str, EntryEffect]:
    by_id = {effect.entry: effect for effect in effects}
    estimated = [effect for effect in effects if effect.estimate is not None]
    shrunk = shrunk_effects(
        [effect.estimate or 0.0 for effect in estimated],
        [records[effect.entry].sums[effect.measure].variance for effect in estimated],
    )
    for effect, value in zip(estimated, shrunk, strict=True):
        by_id[effect.entry] = replace(effect, shrunk=value)
    return by_id


def make_effect(entry: MemoryEntry, record: EntryRecord, *, level: float = 0.95) -> EntryEffect:
    """Return the effect of an entry from its sums, not shrunk yet.

    Parameters
    ----------
    entry : MemoryEntry
        Entry.
    record : EntryRecord
        Its uses and sums.
    level : float, default 0.95
        Probability of coverage at all times.
    """
    grouped = not entry.scope.users
    measure = _main_measure(record)
    sums = record.sums[measure]
    interval = sums.interval(level=level, grouped=grouped)
    return EntryEffect(
        entry=entry.id,
        estimate=None if interval is None else interval.value,
        low=-1.0 if interval is None else interval.low,
        high=1.0 if interval is None else interval.high,
        level=level,
        shrunk=None if interval is None else sums.shrunk_effect,
        measure=measure,
        shown=record.shown,
        withheld=record.withheld,
        scored_shown=sums.shown,
        scored_withheld=sums.withheld,
        mean_shown=sums.shown_total / sums.shown if sums.shown else None,
        mean_withheld=sums.withheld_total / sums.withheld if sums.withheld else None,
        wins=sums.wins,
        losses=sums.losses,
        feedback=dict(record.feedback),
        users=len(sums.users),
        tokens=math.ceil(len(entry.text) / _CHARACTERS_PER_TOKEN),
        e_value=e_value(record, grouped=grouped),
    )


def e_value(record: EntryRecord, *, grouped: bool) -> float:
    """Return the evidence that an entry is harmful: the mean of the e-values of both measures."""
    logs = [sums.log_evidence_of_harm(grouped=grouped) for sums in record.sums.values()]
    return sum(math.exp(min(log, 700.0)) for log in logs) / len(logs)


def _main_measure(record: EntryRecord) -> Measure:
    """Return the measure with more feedback; judgements if there is none."""
    corrections = sum(record.feedback[kind] for kind in CORRECTIONS)
    judgements = sum(record.feedback[kind] for kind in JUDGEMENTS)
    return "corrections" if corrections > judgements else "judgements"
