"""Changes of mind and adversarial feedback: ``python -m benchmarks memory-changes``.

A script is answered if each of its requests, from each user, has in its prompt what was said last
for that user, and nothing that was said against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

from backtalk.feedback import (
    Annotator,
    AnyFeedback,
    FollowUp,
    Instruction,
    Interaction,
    Scope,
    as_prompt,
)
from backtalk.learn import get_method
from backtalk.learn.training_set import TrainingSet
from backtalk.memory import Memory, MemoryEntry, MemorySpec
from backtalk.memory.recall import LoadedMemory
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Policy
from backtalk.run import Run
from backtalk.stats import wilson_interval
from backtalk.store import Store
from benchmarks.poison import poison
from benchmarks.reversals import Script, Statement, make_scripts
from benchmarks.table import Table

SCRIPTS = 1_000
PROCESSES = 2
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy(model=EndpointSpec(model="small"))


def tables() -> list[Table]:
    """Measure changes of mind and adversarial feedback."""
    return [reversals(), poison()]


def reversals(count: int = SCRIPTS) -> Table:
    """Return the share of scripts that are answered by what was said last, by kind of script."""
    scripts = make_scripts(count)
    totals = Counter(script.kind for script in scripts)
    rows = []
    for name, answer in SYSTEMS.items():
        answered = zip(scripts, _answered(scripts, answer), strict=True)
        right = Counter(script.kind for script, is_right in answered if is_right)
        interval = wilson_interval(right.total(), len(scripts))
        parts = [f"{right[kind]}/{total}" for kind, total in totals.items()]
        share = f"{right.total()}/{len(scripts)} [{interval.low:.3f}, {interval.high:.3f}]"
        rows.append((name, share, *parts))
    return Table(
        "memory-reversals",
        "Changes of mind: scripts answered by what was said last, for whom it was said",
        ("system", "all", *totals),
        tuple(rows),
        f"{count:,} scripts of {len(totals)} kinds on 28 subjects, said by instructions, "
        "follow-ups and entries in eleven wordings, and taken back in four, learned after each "
        "statement or all at once. Newest only: the last statement on the subject, for everybody. "
        "Paste all: all of them.",
    )


def _answered(scripts: Sequence[Script], answer: Callable[[Script], list[list[str]]]) -> list[bool]:
    with ProcessPoolExecutor(PROCESSES) as pool:
        return list(pool.map(partial(is_answered, answer=answer), scripts, chunksize=20))


def is_answered(script: Script, answer: Callable[[Script], list[list[str]]]) -> bool:
    """Return true if the prompts of all requests have what holds and nothing against it."""
    prompts = answer(script)
    return all(
        _sides(script, texts) == ([] if question.side is None else [question.side])
        for question, texts in zip(script.questions, prompts, strict=True)
    )


def _sides(script: Script, texts: Sequence[str]) -> list[int]:
    """Return the sides that texts of a prompt are on."""
    return sorted(
        {
            statement.side
            for statement in script.statements
            for text in texts
            if statement.text in text
        }
    )


def answer_by_memory(script: Script) -> list[list[str]]:
    """Return the texts in the prompt of each request, after learning what was said."""
    with Store(":memory:") as store:
        revision = 0
        in_steps = len(script.statements[0].text) % 2 == 0
        for number, statement in enumerate(script.statements):
            say(store, statement, number, script)
            if in_steps or statement is script.statements[-1]:
                revision = learn(store)
        recalled = LoadedMemory(store, MemorySpec(revision=revision))
        return [
            list(run_sync(recalled.recall(as_prompt(question.request), user=question.user)).texts)
            for question in script.questions
        ]


def learn(store: Store) -> int:
    """Learn a memory from all feedback of a store, and return its revision."""
    if not store.last_feedback():
        return Memory(store).revision
    with Run() as run:
        learned = run_sync(get_method("memory").learn(POLICY, TrainingSet(store, split="all"), run))
    assert learned.memory is not None
    return learned.memory.revision


def say(store: Store, statement: Statement, number: int, script: Script) -> None:
    """Store a statement as feedback, or as an entry that a person writes.

    Parameters
    ----------
    store : Store
        Store.
    statement : Statement
        Statement.
    number : int
        Position of the statement in its script; statements are an hour apart.
    script : Script
        Script of the statement.
    """
    time = BEGIN + timedelta(hours=number)
    person = Annotator.human(statement.person)
    scope = Scope(users=statement.users, where=statement.where)
    if statement.channel == "entry":
        entry = MemoryEntry(
            kind="instruction",
            text=statement.text,
            scope=scope,
            people=(statement.person,),
            time=time,
        )
        Memory(store).add([entry], actor=statement.person, at_once=True)
        return
    records: list[Interaction | AnyFeedback]
    if statement.channel == "instruction":
        records = [Instruction(annotator=person, text=statement.text, scope=scope, time=time)]
    else:
        interaction = Interaction.of(script.topic.request, "As you wish.", user=statement.person)
        follow_up = FollowUp(
            interaction=interaction.id, annotator=person, text=statement.text, time=time
        )
        records = [interaction.model_copy(update={"time": time}), follow_up]
    store.add(*records)


def answer_by_newest(script: Script) -> list[list[str]]:
    """Return the last statement for each request: one slot for each subject."""
    return [[script.statements[-1].text] for _ in script.questions]


def answer_by_all(script: Script) -> list[list[str]]:
    """Return all statements for each request."""
    return [[statement.text for statement in script.statements] for _ in script.questions]


SYSTEMS: dict[str, Callable[[Script], list[list[str]]]] = {
    "memory": answer_by_memory,
    "newest only": answer_by_newest,
    "paste all": answer_by_all,
}
