"""Loopback endpoint of a task: its model, a writer of rules and the metric, with counted calls.

``task`` answers chat completions with the small model of a world. ``writer`` is the same model in
its skill of finding rules: it reads a request for a better prompt, picks the training examples out
of it and replies with the rule that they follow, so that every optimiser has the same writer.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
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
        """Return the true utility of an answer, and a true critique of it."""
        assessment = self.world.score(prompt, answer, self.rules)
        return assessment.utility, true_critique(assessment)


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

    def __post_init__(self) -> None:
        self._model: Model = DynamicBatcher(small_model(self.task.world.name))
        self._examples = [
            (prompt[-1].text, self.task.ideal(prompt), prompt)
            for prompt in (*self.task.train, *self.task.validation)
        ]

    def __enter__(self) -> Endpoint:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/score", self._score, methods=["POST"]),
                Route("/task", self._describe),
            ]
        )
        config = uvicorn.Config(app, log_level="error", loop="asyncio", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve([self._socket])), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def address(self) -> str:
        """Address of the server, without ``/v1``."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

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
        if body["model"] == "writer":
            text = await self._write(messages, number)
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
