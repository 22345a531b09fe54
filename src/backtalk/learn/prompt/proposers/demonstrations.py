"""Demonstrations for a prompt: bootstrapped, diverse by clusters, or contemplated by the model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from backtalk.feedback import Message
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt, prompt_text
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.coverage import clustered, covering
from backtalk.learn.prompt.edits import with_rules
from backtalk.learn.prompt.meta_prompts import shorten, user_request
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState
from backtalk.learn.prompt.writer import Examples, InstructionWriter, PromptWriter
from backtalk.policy.prompt_template import Example

if TYPE_CHECKING:
    from backtalk.embedders.registry import EmbedderName

Demonstrations = tuple[Example, ...]

TRIGGER = "Let's think step by step."
"""Line by which a model reasons before it answers: Kojima et al. (2022), "Large language models are
zero-shot reasoners"."""
_MAX_WORDS = 60
_MAX_STEPS = 5
_PRIOR = 4.0
"""Weight of the prior that instructions and demonstrations have no effect, in answers."""


def with_demonstrations(
    candidate: PromptCandidate, shown: Demonstrations, *, proposer: str, note: str = ""
) -> PromptCandidate:
    """Return a candidate with other demonstrations.

    Parameters
    ----------
    candidate : PromptCandidate
        Prompt to change.
    shown : tuple of Example
        Demonstrations.
    proposer : str
        Name of the proposer.
    note : str, default ""
        Change, in a few words.
    """
    template = candidate.template.model_copy(update={"demonstrations": shown})
    note = note or f"{len(shown)} demonstrations"
    return replace(candidate, template=template, proposer=proposer, note=note)


class BootstrapProposer:
    """Proposer of instructions and demonstrations together.

    Answers of the policy that score well become demonstrations, beside those that people wrote.
    Sets of them and instructions are tried in random combinations, a different request for each.
    An additive model of both, fitted to all scores, ranks the combinations.

    Opsahl-Ong et al. (2024), "Optimizing instructions and demonstrations for multi-stage language
    model programs", section 4, with a linear surrogate in place of the tree-structured Parzen
    estimator.

    Parameters
    ----------
    writer : PromptWriter
        Model that writes instructions.
    answers : sequence of tuple[Prompt, str]
        Requests with good answers of people.
    sets : int, default 6
        Number of sets of demonstrations.
    instructions : int, default 4
        Number of instructions.
    size : int, default 3
        Maximum number of demonstrations of a set.
    tried : int, default 48
        Number of answers by which combinations are ranked.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests.
    """

    name = "bootstrap"

    def __init__(
        self,
        writer: PromptWriter,
        answers: Examples,
        *,
        sets: int = 6,
        instructions: int = 4,
        size: int = 3,
        tried: int = 48,
        embedder: EmbedderName = "hashed",
    ) -> None:
        self._writer = writer
        self._answers = list(answers)
        self._sets = sets
        self._instructions = instructions
        self._size = size
        self._tried = tried
        self._embedder: EmbedderName = embedder
        self._ranked: list[PromptCandidate] | None = None

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return the combinations that promise most, the best first."""
        if self._ranked is None:
            self._ranked = await self._rank(state)
        chosen, self._ranked = self._ranked[:count], self._ranked[count:]
        return chosen

    async def _rank(self, state: SearchState) -> list[PromptCandidate]:
        base = state.best.candidate
        sets = await self._demonstration_sets(state)
        prompts = await self._prompts(state)
        pairs = [(i, j) for i in range(len(prompts)) for j in range(len(sets))]
        candidates = {
            (i, j): with_demonstrations(
                prompts[i],
                sets[j],
                proposer=self.name,
                note=f"instruction {i}, {len(sets[j])} demonstrations",
            )
            for i, j in pairs
        }
        jobs = self._design(state, sets, pairs)
        results = await state.evaluate([(candidates[pair], index) for pair, index in jobs])
        originals = await state.evaluate([(base, index) for _, index in jobs])
        gains = [own - other for (_, own), (_, other) in zip(results, originals, strict=True)]
        values = _additive_values([pair for pair, _ in jobs], gains, pairs)
        order = sorted((pair for pair in pairs if pair != (0, 0)), key=lambda pair: -values[pair])
        return [candidates[pair] for pair in order if candidates[pair].version != base.version]

    def _design(
        self,
        state: SearchState,
        sets: Sequence[Demonstrations],
        pairs: Sequence[tuple[int, int]],
    ) -> list[tuple[tuple[int, int], int]]:
        """Return combinations with the index of a request that none of their examples shows."""
        keys = [{prompt_key(one.prompt) for one in shown} for shown in sets]
        jobs: list[tuple[tuple[int, int], int]] = []
        while len(jobs) < self._tried:
            for position in state.rng.permutation(len(pairs))[: self._tried - len(jobs)]:
                pair = pairs[position]
                free = [
                    index
                    for index, prompt in enumerate(state.examples)
                    if prompt_key(prompt) not in keys[pair[1]]
                ]
                if free:
                    jobs.append((pair, free[state.rng.integers(len(free))]))
            if not jobs:
                break
        return jobs

    async def _demonstration_sets(self, state: SearchState) -> list[Demonstrations]:
        """Return no demonstrations, those of people, the policy's best, and random mixtures."""
        own = await self._bootstrapped(state)
        sets: list[Demonstrations] = [state.best.candidate.template.demonstrations]
        if self._answers:
            texts = [prompt_text(prompt[-1:]) for prompt, _ in self._answers]
            order = await covering(texts, self._size, self._embedder)
            sets.append(_examples([self._answers[index] for index in order]))
        if own:
            sets.append(_examples(own[: self._size]))
        pool = [*self._answers, *own]
        while pool and len(sets) < self._sets:
            size = int(state.rng.integers(1, self._size + 1))
            drawn = state.rng.permutation(len(pool))[:size]
            sets.append(_examples([pool[index] for index in drawn]))
        return list(dict.fromkeys(sets))

    async def _bootstrapped(self, state: SearchState) -> list[tuple[Prompt, str]]:
        """Return requests with answers of the policy that score in the upper third, best first."""
        base = state.best.candidate
        indices = state.rng.permutation(len(state.examples))[: self._tried // 2].tolist()
        results = await state.evaluate([(base, index) for index in indices])
        scores = np.array([score for _, score in results])
        bar = max(float(np.quantile(scores, 2 / 3)), float(scores.mean()))
        order = np.argsort(-scores, kind="stable")
        return [
            (state.examples[indices[i]], results[i][0])
            for i in order
            if scores[i] >= bar and results[i][0].strip()
        ]

    async def _prompts(self, state: SearchState) -> list[PromptCandidate]:
        """Return the prompt that leads, and others that the model infers and varies."""
        base = state.best.candidate
        seed = int(state.rng.integers(2**31))
        size = self._writer.group_size
        groups = [self._answers[i : i + size] for i in range(0, len(self._answers), size)]
        full = [group for group in groups if len(group) == size][: self._instructions]
        inferred = await self._writer.infer(base, full, seed=seed) if full else []
        varied = await self._writer.vary(base, count=self._instructions, seed=seed)
        distinct = {one.version: one for one in (*reversed(varied), *reversed(inferred), base)}
        return list(reversed(distinct.values()))[: self._instructions]


class AutoCotProposer:
    """Proposer of demonstrations that the policy answers itself, one from each cluster of requests.

    In each cluster, the request nearest to the centre is taken whose answer is simple: the request
    has at most 60 words, and the answer at most 5 steps. Zhang et al. (2023), "Automatic chain of
    thought prompting in large language models", section 4.

    Parameters
    ----------
    sizes : sequence of int, default (2, 4)
        Numbers of clusters, one candidate for each.
    trigger : str, default TRIGGER
        Line that is added to the request, and to the prompt of one candidate; the others go
        without. Empty for none.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests.
    """

    name = "auto-cot"

    def __init__(
        self,
        *,
        sizes: Sequence[int] = (2, 4),
        trigger: str = TRIGGER,
        embedder: EmbedderName = "hashed",
    ) -> None:
        self._sizes = sizes
        self._triggers = list(dict.fromkeys(("", trigger)))
        self._embedder: EmbedderName = embedder
        self._first = True

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return prompts with demonstrations, with and without the trigger."""
        if not self._first:
            return []
        self._first = False
        candidates = []
        for trigger in self._triggers:
            base = state.best.candidate
            if trigger:
                base = with_rules(base, (*base.template.rules, trigger))
            answers = await self._answers(state, base)
            for size in self._sizes:
                shown = await self._simple(state, answers, size)
                note = f"{len(shown)} demonstrations" + (", step by step" if trigger else "")
                candidates.append(with_demonstrations(base, shown, proposer=self.name, note=note))
        return [one for one in candidates if one.template.demonstrations][:count]

    async def _answers(self, state: SearchState, base: PromptCandidate) -> list[str]:
        jobs = [(base, index) for index in range(len(state.examples))]
        return [answer for answer, _ in await state.evaluate(jobs)]

    async def _simple(
        self, state: SearchState, answers: Sequence[str], size: int
    ) -> Demonstrations:
        """Return the first simple request of each cluster with its answer."""
        texts = [prompt_text(prompt[-1:]) for prompt in state.examples]
        seed = int(state.rng.integers(2**31))
        clusters = await clustered(texts, size, self._embedder, seed=seed)
        chosen = [
            next((i for i in members if is_simple(texts[i], answers[i])), None)
            for members in clusters
        ]
        return _examples([(state.examples[i], answers[i]) for i in chosen if i is not None])


def is_simple(request: str, answer: str) -> bool:
    """Return whether a request has at most 60 words and its answer at most 5 steps.

    A step is a line, or a sentence if the answer is one line.
    """
    lines = [line for line in answer.splitlines() if line.strip()]
    steps = lines if len(lines) > 1 else re.split(r"(?<=[.!?])\s+", answer.strip())
    short = len(request.split()) <= _MAX_WORDS and len(steps) <= _MAX_STEPS
    return bool(answer.strip()) and short


class ContemplationProposer:
    """Proposer of demonstrations that a model makes up, requests included.

    Li et al. (2024), "Are human-generated demonstrations necessary for in-context learning?". The
    small models of the sandbox write no requests; they answer stored ones instead.

    Parameters
    ----------
    writer : PromptWriter
        Model that makes up requests and answers.
    size : int, default 3
        Number of demonstrations.
    """

    name = "sec"

    def __init__(self, writer: PromptWriter, *, size: int = 3) -> None:
        self._writer = writer
        self._size = size
        self._round = 0

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return prompts with demonstrations of the model's own, for two rounds."""
        self._round += 1
        if self._round > 2:
            return []
        base = state.best.candidate
        drawn = [
            [int(i) for i in state.rng.permutation(len(state.examples))[: self._size]]
            for _ in range(min(2, count))
        ]
        if isinstance(self._writer, InstructionWriter):
            made = await self._contemplate(self._writer, state, drawn)
        else:
            made = [await self._answer(state, base, indices) for indices in drawn]
        return [with_demonstrations(base, shown, proposer=self.name) for shown in made if shown]

    async def _contemplate(
        self, writer: InstructionWriter, state: SearchState, drawn: Sequence[Sequence[int]]
    ) -> list[Demonstrations]:
        requests = [
            contemplation_request(
                state.best.candidate, [state.examples[i] for i in indices], self._size
            )
            for indices in drawn
        ]
        replies = await writer.ask(requests, seed=self._round)
        return [_examples(parse_contemplation(reply)[: self._size]) for reply in replies]

    async def _answer(
        self, state: SearchState, base: PromptCandidate, indices: Sequence[int]
    ) -> Demonstrations:
        results = await state.evaluate([(base, index) for index in indices])
        return _examples(
            [(state.examples[i], answer) for i, (answer, _) in zip(indices, results, strict=True)]
        )


def contemplation_request(
    candidate: PromptCandidate, requests: Sequence[Prompt], count: int
) -> Prompt:
    """Return the request to make up demonstrations.

    Parameters
    ----------
    candidate : PromptCandidate
        Prompt that the demonstrations are for.
    requests : sequence of Prompt
        Requests of the kind that users write.
    count : int
        Number of demonstrations.
    """
    shown = "\n".join(f"- {shorten(prompt_text(prompt[-1:]), 400)}" for prompt in requests)
    return user_request(
        f"Instruction of an assistant:\n{candidate.system}" if candidate.system else "",
        f"Requests of users:\n{shown}",
        f"Make up {count} other requests of this kind, each with the ideal answer. Reply with a "
        'JSON list: [{"request": "...", "answer": "..."}]',
    )


def parse_contemplation(reply: str) -> list[tuple[Prompt, str]]:
    """Return the requests and answers in a reply; none without a JSON list.

    >>> [(p[0].text, a) for p, a in parse_contemplation('[{"request": "1+1?", "answer": "2"}]')]
    [('1+1?', '2')]
    """
    match = re.search(r"\[.*\]", reply, re.DOTALL)
    try:
        items = json.loads(match[0]) if match else []
    except ValueError:
        return []
    return [
        ((Message.user(item["request"]),), item["answer"])
        for item in items
        if isinstance(item, dict)
        and all(
            isinstance(item.get(name), str) and item[name].strip() for name in ("request", "answer")
        )
    ]


def _examples(pairs: Sequence[tuple[Prompt, str]]) -> Demonstrations:
    return tuple(Example(prompt=prompt, answer=answer) for prompt, answer in pairs)


def _additive_values(
    tried: Sequence[tuple[int, int]], gains: Sequence[float], pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """Return the predicted gain of each pair of levels, by ridge regression on both."""
    from sklearn.linear_model import Ridge  # noqa: PLC0415 - slow to import
    from sklearn.preprocessing import OneHotEncoder  # noqa: PLC0415 - slow to import

    if not tried:
        return dict.fromkeys(pairs, 0.0)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(list(pairs))
    fitted = Ridge(alpha=_PRIOR).fit(encoder.transform(list(tried)), list(gains))
    values = fitted.predict(encoder.transform(list(pairs)))
    return {pair: float(value) for pair, value in zip(pairs, values, strict=True)}
