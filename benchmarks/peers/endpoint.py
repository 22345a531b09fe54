"""Loopback endpoint of a task: its model, a writer of rules and the metric, with counted calls.

``task`` answers chat completions with the small model of a world. ``writer`` is the same model in
its skill of finding rules: it reads a request for a better prompt, picks the training examples out
of it and replies with the rule that they follow, so that every optimiser has the same writer.
``rewriter`` puts that rule into the prompt that the request quotes. An optimiser reports each new
best prompt, so that its score is known after any number of calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt
from backtalk.models import Model, Request, Sampling
from backtalk.models.errors import ContextTooLong
from backtalk.models.wrappers.dynamic_batching import DynamicBatcher
from backtalk.worlds import World
from backtalk.worlds.skills import rule_induction_prompt, true_critique
from backtalk.worlds.small import small_model
from backtalk.worlds.world import Rule
from benchmarks.peers.loopback import LoopbackServer

GROUP_SIZE = 4
"""Maximum number of examples that the writer reads at a time."""


@dataclass(frozen=True)
class Task:
    """Task in a world whose people follow rules that the prompt does not state."""

    name: str
    world: World[Any]
    rules: tuple[Rule, ...]
    """Rules of the people."""
    seed_prompt: str
    """System prompt that the search begins with."""
    train: tuple[Prompt, ...]
    validation: tuple[Prompt, ...]

    def ideal(self, prompt: Prompt) -> str:
        """Return an answer of utility 1."""
        task = self.world.parse_prompt(prompt)
        return self.world.ideal(task, self.world.applicable_rules(task, self.rules))

    def score(self, prompt: Prompt, answer: str) -> tuple[float, str]:
        """Return the score of an answer, and a true critique of it.

        The score is the mean of its true utility and of the share of the rules that it follows.
        """
        assessment = self.world.score(prompt, answer, self.rules)
        followed = [self._follows(rule, prompt, answer) for rule in self.rules]
        return (assessment.utility + float(np.mean(followed))) / 2, true_critique(assessment)

    def _follows(self, rule: Rule, prompt: Prompt, answer: str) -> bool:
        """Return whether a rule adds no issue to those of an answer."""
        issues = [
            {
                (issue.label, issue.advice)
                for issue in self.world.score(prompt, answer, rules).issues
            }
            for rules in ((), (rule,))
        ]
        return not issues[1] - issues[0]


@dataclass(frozen=True)
class Best:
    """Best prompt of a search, from a number of calls on."""

    calls: int
    """Number of completions so far, of the task's model and of the writer."""
    system: str
    demonstrations: tuple[tuple[str, str], ...] = ()
    """Requests and answers."""


@dataclass
class Endpoint:
    """Server of a task on its own thread; a context manager.

    Parameters
    ----------
    task : Task
        Task to serve.
    seed : int
        Seed of samples without a seed of their own.
    """

    task: Task
    seed: int
    calls: Counter[str] = field(default_factory=Counter)
    """Number of completions of each model, and of scores."""
    best: list[Best] = field(default_factory=list)
    """Prompts that the optimiser took for the best so far, in order."""

    def __post_init__(self) -> None:
        self._model: Model = DynamicBatcher(small_model(self.task.world.name))
        self._examples = [
            (prompt[-1].text, self.task.ideal(prompt), prompt)
            for prompt in (*self.task.train, *self.task.validation)
        ]
        self._lines = dict.fromkeys(self.task.seed_prompt.split("\n"))

    def __enter__(self) -> Endpoint:
        app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/score", self._score, methods=["POST"]),
                Route("/best", self._best, methods=["POST"]),
                Route("/task", self._describe),
            ]
        )
        self._server = LoopbackServer(app)
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop()

    @property
    def address(self) -> str:
        """Address of the server, without ``/v1``."""
        return self._server.address

    async def _describe(self, _: HTTPRequest) -> JSONResponse:
        def examples(prompts: Sequence[Prompt]) -> list[dict[str, str]]:
            return [
                {"request": prompt[-1].text, "ideal": self.task.ideal(prompt)} for prompt in prompts
            ]

        return JSONResponse(
            {
                "seed_prompt": self.task.seed_prompt,
                "train": examples(self.task.train),
                "validation": examples(self.task.validation),
            }
        )

    @property
    def completions(self) -> int:
        """Number of completions so far, of all models."""
        return sum(count for name, count in self.calls.items() if name != "score")

    async def _best(self, request: HTTPRequest) -> JSONResponse:
        body = await request.json()
        demonstrations = tuple(
            (item["request"], item["answer"]) for item in body.get("demonstrations", ())
        )
        self.best.append(Best(self.completions, body["system"], demonstrations))
        return JSONResponse({})

    async def _score(self, request: HTTPRequest) -> JSONResponse:
        body = await request.json()
        self.calls["score"] += 1
        score, critique = self.task.score((Message.user(body["request"]),), body["answer"])
        return JSONResponse({"score": score, "critique": critique})

    async def _complete(self, request: HTTPRequest) -> JSONResponse:
        body = await request.json()
        self.calls[body["model"]] += 1
        number = self.calls[body["model"]]
        messages = tuple(
            Message(role=message["role"], content=message["content"])
            for message in body["messages"]
        )
        if body["model"] in {"writer", "rewriter"}:
            text = await self._write(messages, number)
            if body["model"] == "rewriter":
                text = self._rewrite(messages, text, number)
        else:
            text = await self._sample(messages, body.get("temperature"), number)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        return JSONResponse(
            {
                "id": f"chatcmpl-{number}",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )

    async def _sample(self, messages: Prompt, temperature: float | None, number: int) -> str:
        sampling = Sampling(
            temperature=1.0 if temperature is None else temperature,
            max_tokens=self.task.world.max_tokens,
        )
        request = Request(messages=messages, sampling=sampling, seed=self.seed, sample_index=number)
        try:
            (completion,) = await self._model.generate([request])
        except ContextTooLong:  # demonstrations that do not fit: the answer is empty
            return ""
        return completion.text

    async def _write(self, messages: Prompt, number: int) -> str:
        """Return the rule of examples in a text whose good answers the text contains."""
        text = "\n".join(message.text for message in messages)
        shown = [
            self.task.world.example(self.task.world.parse_prompt(prompt), ideal)
            for request, ideal, prompt in self._examples
            if request in text and ideal in text
        ]
        if not shown:
            return ""
        rng = np.random.default_rng([self.seed, number])
        picked = [shown[i] for i in rng.permutation(len(shown))[:GROUP_SIZE]]
        return (await self._sample(rule_induction_prompt(picked), 0.7, number)).strip()

    def _rewrite(self, messages: Prompt, rule: str, number: int) -> str:
        """Return the quoted prompt with a rule added to its lines, or in their place.

        Both are as likely, as with the clients of other optimisers.
        """
        if not rule:
            return ""
        quoted = {line for message in messages for line in message.text.split("\n")}
        keeps = np.random.default_rng([self.seed, number, 1]).random() < 0.5
        present = [line for line in self._lines if line in quoted and line != rule]
        self._lines[rule] = None
        return "\n".join([*(present if keeps else []), rule])
