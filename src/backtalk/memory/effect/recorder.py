"""Recorder of scored answers: extends the sums of each entry and the outcome model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backtalk.feedback.interaction import MemoryUse, Prompt
from backtalk.memory.effect.outcome_model import OutcomeModel
from backtalk.memory.effect.scores import MEASURES, Measure
from backtalk.memory.effect.sums import EffectSums


@dataclass
class EntryRecord:
    """Uses of an entry and the sums for its effect on each measure."""

    order: int
    """Position among the entries of the project by first use, from 1."""
    shown: int = 0
    """Number of answers that it was shown in, scored or not."""
    withheld: int = 0
    feedback: Counter[str] = field(default_factory=Counter)
    """Number of counted feedback records by kind."""
    sums: dict[Measure, EffectSums] = field(
        default_factory=lambda: {measure: EffectSums() for measure in MEASURES}
    )
    is_retired: bool = False
    """True if its measured effect retired it."""

    def dump(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {
            **{name: getattr(self, name) for name in ("order", "shown", "withheld", "is_retired")},
            "feedback": dict(self.feedback),
            "sums": {measure: sums.dump() for measure, sums in self.sums.items()},
        }

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> EntryRecord:
        """Return the record that :meth:`dump` returned."""
        sums = {measure: EffectSums(**stored["sums"][measure]) for measure in MEASURES}
        return cls(**{**stored, "feedback": Counter(stored["feedback"]), "sums": sums})


class EffectRecorder:
    """Recorder of scored answers.

    Parameters
    ----------
    models : mapping, optional
        Outcome model of each measure. Default: new ones.
    entries : dict, optional
        Records by id of the entry. Default: none.
    count : int, default 0
        Number of entries with scored uses so far.

    Attributes
    ----------
    models, entries, count
        As above; they change as scores are added.
    """

    def __init__(
        self,
        models: Mapping[Measure, OutcomeModel] | None = None,
        entries: dict[str, EntryRecord] | None = None,
        count: int = 0,
    ) -> None:
        self.models = models or {measure: OutcomeModel() for measure in MEASURES}
        self.entries = {} if entries is None else entries
        self.count = count

    def entry(self, id_: str) -> EntryRecord:
        """Return the record of an entry; a new one takes the next position."""
        if id_ not in self.entries:
            self.count += 1
            self.entries[id_] = EntryRecord(order=self.count)
        return self.entries[id_]

    def count_uses(self, uses: Sequence[MemoryUse]) -> None:
        """Count the uses of an answer, scored or not."""
        for use in uses:
            record = self.entry(use.entry)
            record.shown += use.shown
            record.withheld += not use.shown

    def add(
        self,
        measure: Measure,
        uses: Sequence[MemoryUse],
        score: float,
        *,
        prompt: Prompt,
        user: str | None = None,
    ) -> None:
        """Add the score of an answer.

        Parameters
        ----------
        measure : Measure
            Measure of the score.
        uses : sequence of MemoryUse
            Entries that applied, shown or withheld.
        score : float
            Score, in [0, 1].
        prompt : Prompt
            Messages of the user.
        user : str, optional
            Id of the user, or else of the session.
        """
        model = self.models[measure]
        sums = [self.entry(use.entry).sums[measure] for use in uses]
        parts = [
            one.shrunk_effect * (use.shown - use.propensity)
            for one, use in zip(sums, uses, strict=True)
        ]
        others = sum(parts)
        features = model.features(prompt, user, others)
        for one, use, part in zip(sums, uses, parts, strict=True):
            features[2] = others - part
            predicted = model.predict(features)
            one.add(use, score, predicted=predicted, user=user)
        features[2] = others
        model.add(features, user, score)
