"""People as judges of pairs of answers: an inbox task over these pairs, and waiting for it."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from backtalk.annotation.inbox_address import running_gateway, task_address
from backtalk.annotation.tasks import (
    MAX_INTERACTIONS,
    Task,
    TaskFilter,
    TaskStatus,
    add_task,
    close_task,
    read_task,
)
from backtalk.errors import BacktalkError, Conflict, NotFound
from backtalk.evaluate.judges.info import JudgeInfo
from backtalk.evaluate.judges.pending import JudgementsPending
from backtalk.feedback import Interaction, Response, content_id
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.requests import with_settings_in_metadata
from backtalk.rewards import PromptResponse
from backtalk.run import Progress, Run
from backtalk.stats.estimate import Estimate
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import Floats
from backtalk.store import Store
from backtalk.store.engine import database_file
from backtalk.store.judgements import Judgement, judgements_of

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""Seconds between two reads of the judgements."""

_QUESTION = "Which answer is better?"

Verdict = tuple[float, float, float]
"""P(first is preferred), P(second is preferred) and P(tie)."""
Verdicts = Mapping[str, Mapping[str, Verdict]]
"""Verdict on the responses 0 and 1 of each item, by annotator."""

_TIE: Verdict = (0.0, 0.0, 1.0)


class PeopleJudge:
    """Judge whose comparisons are made by people in the inbox.

    Each pair of different answers is stored as an interaction, and one annotation task asks for
    exactly these interactions. Annotators see the answers in a random order and without their
    policies. Equal answers are a tie and are not asked. "Both bad" counts as a tie. The same pairs
    have the same task, so that an evaluation that was stopped goes on, and a pair that enough
    people have judged before is not asked again.

    Parameters
    ----------
    store : Store
        Store of the task and the judgements. The inbox may be served by another process.
    people : int, default 1
        Number of people who judge each pair. Their verdicts are averaged.
    wait : bool, default True
        If false, raise :class:`JudgementsPending` instead of waiting for judgements.
    actor : str, default "backtalk"
        Name recorded as the author of the task.
    poll_seconds : float, default 2.0
        Seconds between two reads of the judgements.

    Raises
    ------
    BacktalkError
        If ``people`` is not between 1 and 1,000.
    """

    batch_size = None
    """All pairs are asked at once."""

    def __init__(
        self,
        store: Store,
        *,
        people: int = 1,
        wait: bool = True,
        actor: str = "backtalk",
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        if not 1 <= people <= 1_000:
            raise BacktalkError(
                f"{people} is no number of people who judge an item", "Choose 1 to 1,000"
            )
        self.people = people
        self.wait = wait
        self.actor = actor
        self._store = store
        self._poll_seconds = poll_seconds
        self._progress: Progress | None = None
        self._judged: set[str] = set()
        self._counts: dict[str, tuple[int, int]] = {}
        """Judgements done and asked for, by task."""

    @property
    def name(self) -> str:
        """Name in reports."""
        return "people" if self.people == 1 else f"people:{self.people}"

    @property
    def info(self) -> JudgeInfo:
        """Description, with the number of people who judged and their agreement."""
        verdicts = self._verdicts(self._judged)
        names = {annotator for by_annotator in verdicts.values() for annotator in by_annotator}
        return JudgeInfo(
            name=self.name,
            kind="people",
            people=len(names),
            people_agreement=_agreement(verdicts),
        )

    def in_run(self, run: Run) -> PeopleJudge:
        """Return this judge, which reports its progress to a run from now on."""
        self._progress = run.progress
        return self

    async def compare(self, a: Sequence[PromptResponse], b: Sequence[PromptResponse]) -> Floats:
        """Return P(a is preferred), P(b is preferred) and P(tie), shape ``(n, 3)``.

        Raises
        ------
        JudgementsPending
            If judgements are missing and the judge does not wait for them.
        BacktalkError
            If the task is closed before all pairs are judged, or there are too many pairs.
        """
        return await self.compare_policies(a, b)

    async def compare_policies(
        self,
        a: Sequence[PromptResponse],
        b: Sequence[PromptResponse],
        policies: tuple[str | None, str | None] = (None, None),
    ) -> Floats:
        """Compare answers of two policies, which are recorded with the answers.

        Parameters
        ----------
        a, b : sequence of PromptResponse
            Answers to the same n prompts.
        policies : tuple of two str or None, default (None, None)
            Ids of the policies that gave them. People do not see them.

        Returns
        -------
        numpy.ndarray
            P(a is preferred), P(b is preferred) and P(tie), shape ``(n, 3)``.
        """
        items = [_make_item(x, y, policies) for x, y in zip(a, b, strict=True)]
        pairs = {item.id: item for item in items if item is not None}
        verdicts = await self._ask(pairs) if pairs else {}
        self._judged.update(pairs)
        rows = [
            _TIE if item is None else _average(verdicts[item.id], swapped=_is_swapped(item, x))
            for item, x in zip(items, a, strict=True)
        ]
        return np.array(rows, dtype=float).reshape(len(rows), 3)

    async def _ask(self, items: Mapping[str, Interaction]) -> Verdicts:
        """Return enough verdicts on each item, asking people for those that are missing."""
        verdicts = self._verdicts(items)
        if self._missing(items, verdicts) == 0:
            return verdicts
        task = self._open_task(items, verdicts).task
        announced = False
        while missing := self._missing(items, verdicts):
            done = len(items) * self.people - missing
            self._report(task, done, len(items))
            if not read_task(self._store, task.id).open:
                raise self._closed(task, missing)
            if not self.wait:
                raise self._pending(task, missing)
            if not announced:
                log.warning("%s", self._announcement(task, missing))
                announced = True
            await asyncio.sleep(self._poll_seconds)
            verdicts = self._verdicts(items)
        self._report(task, len(items) * self.people, len(items))
        close_task(self._store, task.id, actor=self.actor)
        return verdicts

    def _open_task(self, items: Mapping[str, Interaction], verdicts: Verdicts) -> TaskStatus:
        """Return the task over these items, which is created the first time."""
        id_ = content_id("people", str(self.people), *sorted(items))
        try:
            return read_task(self._store, id_)
        except NotFound:
            pass
        open_items = [item for item in items if len(verdicts.get(item, ())) < self.people]
        if len(open_items) > MAX_INTERACTIONS:
            raise BacktalkError(
                f"{len(open_items):,} comparisons are too many for one task",
                f"Evaluate on at most {MAX_INTERACTIONS:,} prompts, with --limit",
            )
        self._store.add_cases(Case(interaction, ()) for interaction in items.values())
        task = Task(
            id=id_,
            name=f"{_QUESTION} ({id_[:8]})",
            kind="compare",
            people=self.people,
            filter=TaskFilter(interactions=tuple(open_items)),
        )
        try:
            add_task(self._store, task, actor=self.actor)
        except Conflict:  # another process has created it at the same time
            return read_task(self._store, id_)
        return read_task(self._store, id_)

    def _verdicts(self, items: Mapping[str, Interaction] | set[str]) -> Verdicts:
        """Return the latest overall verdict of each annotator on each item."""
        verdicts: dict[str, dict[str, Verdict]] = defaultdict(dict)
        for judgement in judgements_of(self._store, sorted(items), "preference"):
            if judgement.aspect == OVERALL and judgement.interaction is not None:
                verdicts[judgement.interaction][judgement.annotator] = _verdict(judgement)
        return verdicts

    def _missing(self, items: Mapping[str, Interaction], verdicts: Verdicts) -> int:
        """Return the number of judgements that are missing."""
        return sum(max(self.people - len(verdicts.get(item, ())), 0) for item in items)

    def _report(self, task: Task, done: int, items: int) -> None:
        """Report the progress of all tasks together."""
        self._counts[task.id] = (done, items * self.people)
        if self._progress is not None:
            done, total = map(sum, zip(*self._counts.values(), strict=True))
            self._progress(f"judging by {self.name}", done, total)

    def _announcement(self, task: Task, missing: int) -> str:
        running = running_gateway(self._store)
        if running is not None:
            where = f"Judge them at {task_address(self._store, task.id, running)}"
        else:
            where = (
                "Start the inbox in another terminal:\n"
                f"  backtalk serve --store {_location(self._store)}\n"
                f"and judge them at {task_address(self._store, task.id)}"
            )
        return (
            f"{_counted(missing)} for people to judge. {where}\n"
            "Ctrl-C stops waiting; the same command goes on later."
        )

    def _pending(self, task: Task, missing: int) -> JudgementsPending:
        running = running_gateway(self._store)
        where = (
            f"Start `backtalk serve --store {_location(self._store)}`, judge them at "
            f"{task_address(self._store, task.id)}"
            if running is None
            else f"Judge them at {task_address(self._store, task.id, running)}"
        )
        return JudgementsPending(
            f"{_counted(missing)} for people to judge", f"{where}, and run the same again"
        )

    def _closed(self, task: Task, missing: int) -> BacktalkError:
        return BacktalkError(
            f"The task {task.name!r} is closed, and {missing:,} judgements are missing",
            f"Open it again with `backtalk task open {task.id[:8]}`, or evaluate with another "
            "--seed or --limit",
        )


def _make_item(
    a: PromptResponse, b: PromptResponse, policies: tuple[str | None, str | None]
) -> Interaction | None:
    """Return the interaction of a pair, the same for both orders; ``None`` if they are equal."""
    (prompt, first), (_, second) = a, b
    if first == second:
        return None
    answers = sorted(zip((first, second), policies, strict=True), key=lambda answer: answer[0])
    interaction = Interaction(
        id=content_id("people", prompt_key(prompt), *(text for text, _ in answers)),
        prompt=prompt,
        responses=tuple(
            Response(id=str(index), text=text, policy=policy)
            for index, (text, policy) in enumerate(answers)
        ),
        metadata={"purpose": "evaluation"},
    )
    return with_settings_in_metadata(interaction)


def _is_swapped(item: Interaction, a: PromptResponse) -> bool:
    return item.responses[0].text != a[1]


def _verdict(judgement: Judgement) -> Verdict:
    """Return a verdict on the responses 0 and 1; "both bad" is a tie."""
    if judgement.value is None or judgement.value == 0.5:
        return _TIE
    if judgement.response == "0":
        return judgement.value, 1 - judgement.value, 0.0
    return 1 - judgement.value, judgement.value, 0.0


def _average(verdicts: Mapping[str, Verdict], *, swapped: bool) -> Verdict:
    first, second, tie = np.mean(list(verdicts.values()), axis=0).tolist()
    return (second, first, tie) if swapped else (first, second, tie)


def _agreement(verdicts: Verdicts) -> Estimate | None:
    """Return the mean share, over the items, of pairs of annotators who agree."""
    shares = [
        float(np.mean([x == y for x, y in combinations(by_annotator.values(), 2)]))
        for by_annotator in verdicts.values()
        if len(by_annotator) > 1
    ]
    return mean_interval(shares) if shares else None


def _counted(missing: int) -> str:
    return "1 comparison is" if missing == 1 else f"{missing:,} comparisons are"


def _location(store: Store) -> str:
    file = database_file(store.url)
    return str(file) if file is not None else store.url.render_as_string(hide_password=True)
