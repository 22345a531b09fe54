"""Update of the sums in the store: new records are read once, in order of arrival."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from operator import itemgetter

from backtalk.errors import Conflict
from backtalk.feedback import Interaction
from backtalk.feedback.record import now
from backtalk.memory.effect.outcome_model import OutcomeModel
from backtalk.memory.effect.recorder import EffectRecorder, EntryRecord
from backtalk.memory.effect.scores import (
    CORRECTIONS,
    JUDGEMENTS,
    Measure,
    Uses,
    correction_scores,
    judged_units,
)
from backtalk.store import Store
from backtalk.store.memory_uses import MemoryUseReader

WAIT = timedelta(hours=1)
"""Time after which an answer that nobody corrected counts as right."""

_TOPIC = "memory effects"
_SETTLE = timedelta(seconds=5)
"""Age from which records are read if several processes write at once."""
_CHECK_SHARE = 50
"""Minimum ratio of the interval between checks for deleted records to the duration of a check."""
_ATTEMPTS = 5

_Unit = tuple[str, Uses, float, Interaction]
"""Kind of the feedback ("" for none), uses, score and interaction of a scored answer."""


@dataclass
class _Head:
    """Position that the sums of a project have reached."""

    used: int = 0
    """Sequence number of the last interaction whose uses are counted."""
    settled: int = 0
    """Sequence number of the last interaction whose corrections are counted."""
    judged: int = 0
    """Sequence number of the last judgement."""
    entries: int = 0
    retirements: int = 0
    checksum: list[int] | None = None
    checked_at: float = 0.0
    check_seconds: float = 0.0


class EffectStore:
    """Sums of a project in the store, with the position in the log that they have reached.

    Parameters
    ----------
    store : Store
        Store of the project.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open()

    def _open(self) -> None:
        self._version, body = self._store.aggregates.head(_TOPIC)
        stored = {} if body is None else json.loads(body)
        models = {
            measure: OutcomeModel.load(one) for measure, one in stored.pop("models", {}).items()
        }
        self.head = _Head(**stored)
        self.recorder = EffectRecorder(models, count=self.head.entries)

    def load(self, ids: list[str] | None = None) -> None:
        """Load the records of entries that are not loaded yet; default: of all."""
        known = self.recorder.entries
        wanted_ids = None if ids is None else [id_ for id_ in ids if id_ not in known]
        for id_, body in self._store.aggregates.rows(_TOPIC, wanted_ids).items():
            known.setdefault(id_, EntryRecord.load(json.loads(body)))

    def save(self, ids: set[str]) -> None:
        """Save the position and the records of some entries in one transaction."""
        self.head.entries = self.recorder.count
        models = {measure: model.dump() for measure, model in self.recorder.models.items()}
        head = json.dumps({**asdict(self.head), "models": models})
        rows = {id_: json.dumps(self.recorder.entries[id_].dump()) for id_ in ids}
        self._version = self._store.aggregates.save(_TOPIC, head, rows, after=self._version)

    def restart(self) -> None:
        """Discard all sums, except which entries were retired."""
        self.load()
        retired = {id_ for id_, record in self.recorder.entries.items() if record.is_retired}
        retirements = self.head.retirements
        self._store.aggregates.clear(_TOPIC)
        self._open()
        self.head.retirements = retirements
        for id_ in sorted(retired):
            self.recorder.entry(id_).is_retired = True
        self.save(retired)


def update_sums(store: Store, *, wait: timedelta = WAIT) -> EffectStore:
    """Return the sums of a project after reading the records since the last update.

    Parameters
    ----------
    store : Store
        Store of the project.
    wait : timedelta, default one hour
        Time after which an answer that nobody corrected counts as right.

    Raises
    ------
    Conflict
        If other processes update at the same time again and again.
    """
    for attempt in range(_ATTEMPTS):
        sums = EffectStore(store)
        try:
            _read(store, sums, wait)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            break
    sums.load()
    return sums


def _read(store: Store, sums: EffectStore, wait: timedelta) -> None:
    is_sqlite = store.url.get_backend_name() == "sqlite"
    reader = MemoryUseReader(store, before=now() if is_sqlite else now() - _SETTLE)
    _check(reader, sums)
    changed = False
    for steps in (
        _count_uses(reader, sums),
        _add_judgements(reader, sums),
        _add_corrections(reader, sums, wait),
    ):
        for ids in steps:
            sums.save(ids)
            changed = True
    if changed:
        head = sums.head
        head.checksum = reader.checksum(interactions=head.used, feedback=head.judged)
        sums.save(set())


def _check(reader: MemoryUseReader, sums: EffectStore) -> None:
    """Begin anew if records that were read are deleted, or others appeared among them."""
    head = sums.head
    is_due = time.time() - head.checked_at >= _CHECK_SHARE * head.check_seconds
    if head.checksum is None or not is_due:
        return
    started = time.time()
    checksum = reader.checksum(interactions=head.used, feedback=head.judged)
    head.checked_at, head.check_seconds = time.time(), time.time() - started
    if checksum != head.checksum:
        sums.restart()


def _count_uses(reader: MemoryUseReader, sums: EffectStore) -> Iterator[set[str]]:
    for batch in reader.interactions(after=sums.head.used):
        drawn = [
            uses
            for interaction, _ in batch.cases
            for uses in {response.memory for response in interaction.responses}
        ]
        ids = {use.entry for uses in drawn for use in uses}
        sums.load(sorted(ids))
        for uses in drawn:
            sums.recorder.count_uses(uses)
        sums.head.used = batch.last
        yield ids


def _add_judgements(reader: MemoryUseReader, sums: EffectStore) -> Iterator[set[str]]:
    after = sums.head.judged
    for batch in reader.judged(JUDGEMENTS, after=after):
        units = [
            (seq, (kind, uses, score, interaction))
            for interaction, feedback in batch.cases
            for seq, kind, uses, score in judged_units(interaction, feedback)
            if seq > after
        ]
        after = sums.head.judged = batch.last
        yield _add(sums, "judgements", [unit for _, unit in sorted(units, key=itemgetter(0))])


def _add_corrections(
    reader: MemoryUseReader, sums: EffectStore, wait: timedelta
) -> Iterator[set[str]]:
    for batch in reader.settled(CORRECTIONS, after=sums.head.settled, wait=wait):
        units: list[_Unit] = []
        for interaction, feedback in batch.cases:
            items = [item for _, item in feedback]
            kind = items[0].kind if items else ""
            scores = correction_scores(interaction, items)
            units += [(kind, uses, score, interaction) for uses, score in scores.items() if uses]
        sums.head.settled = batch.last
        yield _add(sums, "corrections", units)


def _add(sums: EffectStore, measure: Measure, units: Sequence[_Unit]) -> set[str]:
    ids = {use.entry for _, uses, _, _ in units for use in uses}
    sums.load(sorted(ids))
    recorder = sums.recorder
    for kind, uses, score, interaction in units:
        user = interaction.user or interaction.session
        recorder.add(measure, uses, score, prompt=interaction.prompt, user=user)
        if kind:
            for use in uses:
                recorder.entries[use.entry].feedback[kind] += 1
    return ids
