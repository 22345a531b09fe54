"""Rows that are left out of a training because no tokens can be made of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError
from backtalk.feedback.answers import MessageText, is_plain
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.interaction import Message, Prompt, prompt_text
from backtalk.feedback.kinds import Demonstration, Edit
from backtalk.feedback.requests import requested_prompt
from backtalk.policy.policy import Policy

PROMPT_REASON = "prompts that the model cannot read"
"""Reason in the counts of what was left out of the samples."""

REASON = "that cannot be written as tokens of the model"
"""Reason in the counts of what was left out."""

MAX_LEFT_OUT = 0.05
"""Largest share of the rows or prompts that is left out without stopping a run, by default."""

NOTE = "left out rows"
"""Note of a policy's lineage with the artifact that lists the rows."""

_FILE = "left_out.jsonl"
_SHOWN = 3
_EXCERPT = 80


class TooManyLeftOut(BacktalkError):
    """Share of left-out rows that is larger than a run allows."""


@dataclass(frozen=True)
class LeftOutRow:
    """Row that was left out."""

    record: str
    """Id of the interaction that it came from; empty if a method made it up."""
    reason: str
    """Error of the chat template or of the tokenizer."""
    prompt: str
    """Beginning of the prompt."""
    answer: str
    """Beginning of the answer."""

    def __str__(self) -> str:
        return f"{self.record or repr(self.prompt)}: {self.reason}"


class LeftOutRows:
    """Rows that an encoder leaves out, out of all rows that it reads.

    A row is a compared pair, or an answer.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], tuple[Prompt, str, str]] = {}
        self._records: list[LeftOutRow] = []
        self.count = 0
        """Number of rows that were left out."""
        self.total = 0
        """Number of rows that were read."""

    def add(self, prompt: Prompt, answer: str, reason: str) -> None:
        """Add an answer for which there are no tokens.

        Parameters
        ----------
        prompt : Prompt
            Prompt, without the policy's own messages.
        answer : str
            Text of the answer.
        reason : str
            Error of the chat template or of the tokenizer.
        """
        self._rows.setdefault((prompt_key(prompt), answer), (prompt, answer, reason))

    def add_all(self, others: LeftOutRows) -> None:
        """Add the rows of others, which were left out before, such as prompts of samples."""
        self._rows = {**others._rows, **self._rows}
        self._records += others._records
        self.count += others.count
        self.total += others.total

    def add_records(self, records: Sequence[LeftOutRow], *, total: int) -> None:
        """Add rows whose interactions are known.

        Parameters
        ----------
        records : sequence of LeftOutRow
            Rows that were left out.
        total : int
            Number of rows that were read.
        """
        self._records += records
        self.count += len(records)
        self.total += total

    @property
    def share(self) -> float:
        """Fraction of the rows that were left out."""
        return self.count / max(self.total, 1)

    def find_records(self, cases: Iterable[Case]) -> list[LeftOutRow]:
        """Return the answers for which there are no tokens, with the ids of their interactions.

        Parameters
        ----------
        cases : iterable of Case
            Cases that the rows came from. They are read only if there are such answers.
        """
        if not self._rows:
            return [*self._records]
        records: dict[str, list[Case]] = defaultdict(list)
        keys = {key for key, _ in self._rows}
        for case in cases:
            for prompt in (requested_prompt(case.interaction), case.interaction.prompt):
                key = prompt_key(prompt)
                if key in keys:
                    records[key].append(case)
                    break
        results = [*self._records]
        for (key, answer), (prompt, _, reason) in self._rows.items():
            whole = answer.message if isinstance(answer, MessageText) else answer
            own = [case for case in records[key] if whole in _answers(case)] or records[key]
            excerpts = prompt_text(prompt)[:_EXCERPT], answer[:_EXCERPT]
            ids = dict.fromkeys(case.interaction.id for case in own) or [""]
            results += [LeftOutRow(id_, reason, *excerpts) for id_ in ids]
        return results

    def check(self, limit: float, cases: Iterable[Case]) -> None:
        """Raise ``TooManyLeftOut`` if a larger share than a limit was left out.

        Parameters
        ----------
        limit : float
            Largest share, in [0, 1].
        cases : iterable of Case
            Cases that the rows came from.
        """
        if self.share <= limit:
            return
        rows = self.find_records(cases)
        first = "; ".join(map(str, rows[:_SHOWN]))
        more = f"; and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
        raise TooManyLeftOut(
            f"{self.count:,} of {self.total:,} rows ({self.share:.0%}) cannot be written as tokens "
            f"of the model, and max_left_out is {limit:.0%}: {first}{more}",
            "Mend or delete these records, choose another chat_template or template_options of "
            "the policy, or raise max_left_out",
        )


def read_max_left_out(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> float:
    """Return the option ``max_left_out`` of a method, also for methods that have none.

    Parameters
    ----------
    options : Mapping[str, Any]
        Options as they are given, which may be strings.
    defaults : Mapping[str, Any]
        Defaults of the method's options.
    """
    value = options.get("max_left_out", defaults.get("max_left_out"))
    return MAX_LEFT_OUT if value is None else float(value)


def save_left_out(rows: Iterable[LeftOutRow], artifacts: Artifacts) -> str:
    """Store rows as lines of JSON, and return the id of the artifact."""
    lines = (json.dumps(asdict(row)) + "\n" for row in rows)
    return artifacts.put({_FILE: "".join(lines).encode()})


def read_left_out(id_: str, artifacts: Artifacts) -> list[LeftOutRow]:
    """Return the rows of an artifact.

    Parameters
    ----------
    id_ : str
        Id of the artifact, the note ``left out rows`` of a policy's lineage.
    artifacts : Artifacts
        Artifacts of its store.

    Raises
    ------
    NotFound
        If the artifact is not in the store.
    """
    text = artifacts.read(id_)[_FILE].decode()
    return [LeftOutRow(**json.loads(line)) for line in text.splitlines()]


def describe_left_out(policy: Policy, artifacts: Artifacts, *, most: int = 5) -> list[str]:
    """Return lines on the rows that the training of a policy left out; none if there were none.

    Parameters
    ----------
    policy : Policy
        Trained policy.
    artifacts : Artifacts
        Artifacts of its store.
    most : int, default 5
        Maximum number of rows that are listed.
    """
    id_ = policy.lineage.notes.get(NOTE)
    if not isinstance(id_, str):
        return []
    rows = read_left_out(id_, artifacts)
    return [
        f"{len(rows):,} records were left out, as they {REASON.removeprefix('that ')}:",
        *(f"  {row}" for row in rows[:most]),
        f"All are listed in {artifacts.path(id_) / _FILE}",
    ]


def _answers(case: Case) -> Iterator[str | Message]:
    """Yield the answers of a case: their texts, or the messages of those with tool calls."""
    for response in case.interaction.responses:
        yield response.text if is_plain(response.messages) else response.messages[0]
    for item in case.feedback:
        if isinstance(item, (Demonstration, Edit)):
            yield item.text
