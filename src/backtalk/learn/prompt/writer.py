"""Models that write prompts for optimisers: an instruction model, or the model of a world."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from backtalk.errors import BacktalkError
from backtalk.feedback.interaction import Prompt
from backtalk.learn.context import MethodContext
from backtalk.learn.prompt import meta_prompts
from backtalk.learn.prompt.edits import with_instruction
from backtalk.learn.prompt.protocol import PromptCandidate, TextFeedback
from backtalk.models import LocalSpec, Model, NamedSpec, Request, Sampling
from backtalk.models.fitting_requests import generate_fitting
from backtalk.policy import Policy, read_policy

log = logging.getLogger(__name__)

History = Sequence[tuple[PromptCandidate, float]]
"""Candidates with their scores in [0, 1], the best last."""
Examples = Sequence[tuple[Prompt, str]]
"""Requests with good answers."""

DEFAULT_SAMPLING = Sampling(temperature=1.0, max_tokens=300)
"""Sampling parameters of requests for prompts."""


class PromptWriter(Protocol):
    """Model that infers, criticises, revises and varies prompts.

    All methods take a seed; with another seed they give other results.
    """

    group_size: int
    """Number of examples that :meth:`infer` reads at a time."""
    opening: str
    """Text with which a reply to :meth:`inference_chat` begins, before the instruction."""

    def inference_chat(self, examples: Examples) -> Prompt:
        """Return the messages that ask the model for the instruction behind examples."""
        ...

    async def infer(
        self, candidate: PromptCandidate, groups: Sequence[Examples], *, seed: int = 0
    ) -> list[PromptCandidate]:
        """Return a candidate for each group of examples, changed so that it leads to them.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        groups : sequence of Examples
            Requests with good answers, one group for each result.
        seed : int, default 0
            Seed within the run.
        """
        ...

    async def criticise(
        self,
        candidate: PromptCandidate,
        batches: Sequence[Sequence[TextFeedback]],
        *,
        seed: int = 0,
    ) -> list[str]:
        """Return a critique of the prompt for each batch of answers; some may be empty.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        batches : sequence of sequence of TextFeedback
            Answers with what was said about them, one batch for each critique.
        seed : int, default 0
            Seed within the run.
        """
        ...

    async def revise(
        self,
        candidate: PromptCandidate,
        critiques: Sequence[str],
        batch: Sequence[TextFeedback],
        *,
        count: int = 1,
        seed: int = 0,
    ) -> list[PromptCandidate]:
        """Return up to ``count`` revisions of a prompt by critiques of it.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        critiques : sequence of str
            Critiques of the prompt, the latest last.
        batch : sequence of TextFeedback
            Answers that the critiques are about.
        count : int, default 1
            Maximum number of results.
        seed : int, default 0
            Seed within the run.
        """
        ...

    async def vary(
        self, candidate: PromptCandidate, *, count: int = 1, seed: int = 0
    ) -> list[PromptCandidate]:
        """Return up to ``count`` prompts close to a candidate.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        count : int, default 1
            Maximum number of results.
        seed : int, default 0
            Seed within the run.
        """
        ...

    async def find_direction(self, history: History, *, seed: int = 0) -> str:
        """Return the direction of change in which the scores of a history rise, in words."""
        ...

    async def continue_history(
        self, history: History, direction: str = "", *, count: int = 1, seed: int = 0
    ) -> list[PromptCandidate]:
        """Return up to ``count`` prompts that continue a history, in a direction.

        Parameters
        ----------
        history : History
            Candidates with their scores, the best last.
        direction : str, default ""
            Direction of change, in words; empty for none.
        count : int, default 1
            Maximum number of results.
        seed : int, default 0
            Seed within the run.
        """
        ...


class InstructionWriter:
    """Instruction model, local or behind an endpoint, that writes prompts in plain English.

    Parameters
    ----------
    model : Model
        Model.
    sampling : Sampling, default DEFAULT_SAMPLING
        Sampling parameters.
    """

    group_size = 5
    opening = meta_prompts.OPENING_TAG

    def __init__(self, model: Model, sampling: Sampling = DEFAULT_SAMPLING) -> None:
        self._model = model
        self._sampling = sampling
        self._warned = False

    def inference_chat(self, examples: Examples) -> Prompt:
        """Return the messages that ask the model for the instruction behind examples."""
        return meta_prompts.inference_request(examples)

    async def ask(
        self, requests: Sequence[Prompt], *, seed: int = 0, max_tokens: int | None = None
    ) -> list[str]:
        """Return the model's reply to each request, empty if the request is too long for it.

        Parameters
        ----------
        requests : sequence of Prompt
            Requests.
        seed : int, default 0
            Seed within the run.
        max_tokens : int, optional
            Maximum length of a reply; default: that of the writer's sampling parameters.
        """
        sampling = self._sampling
        if max_tokens is not None:
            sampling = sampling.model_copy(update={"max_tokens": max_tokens})
        completions = await generate_fitting(
            self._model,
            [
                Request(messages=request, sampling=sampling, sample_index=index, seed=seed)
                for index, request in enumerate(requests)
            ],
        )
        if (too_long := completions.count(None)) and not self._warned:
            self._warned = True
            log.warning(
                "%s of %s requests to write a prompt do not fit into the context window of %s: "
                "name a policy with another model as the writer.",
                too_long,
                len(completions),
                self._model.name,
            )
        return ["" if one is None else one.text.strip() for one in completions]

    async def infer(
        self, candidate: PromptCandidate, groups: Sequence[Examples], *, seed: int = 0
    ) -> list[PromptCandidate]:
        """Return a candidate for each group, with the instruction that the model infers.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        groups : sequence of Examples
            Requests with good answers, one group for each result.
        seed : int, default 0
            Seed within the run.
        """
        requests = [self.inference_chat(group) for group in groups]
        return self._rewritten(candidate, await self.ask(requests, seed=seed))

    async def criticise(
        self,
        candidate: PromptCandidate,
        batches: Sequence[Sequence[TextFeedback]],
        *,
        seed: int = 0,
    ) -> list[str]:
        """Return the model's critique of the prompt for each batch.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        batches : sequence of sequence of TextFeedback
            Answers with what was said about them, one batch for each critique.
        seed : int, default 0
            Seed within the run.
        """
        return await self.ask(
            [meta_prompts.critique_request(candidate, batch) for batch in batches], seed=seed
        )

    async def revise(
        self,
        candidate: PromptCandidate,
        critiques: Sequence[str],
        batch: Sequence[TextFeedback],
        *,
        count: int = 1,
        seed: int = 0,
    ) -> list[PromptCandidate]:
        """Return samples of a revised instruction.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        critiques : sequence of str
            Critiques of the prompt, the latest last.
        batch : sequence of TextFeedback
            Answers that the critiques are about.
        count : int, default 1
            Maximum number of results.
        seed : int, default 0
            Seed within the run.
        """
        request = meta_prompts.revision_request(candidate, critiques, batch)
        return self._rewritten(candidate, await self.ask([request] * count, seed=seed))

    async def vary(
        self, candidate: PromptCandidate, *, count: int = 1, seed: int = 0
    ) -> list[PromptCandidate]:
        """Return samples of a reworded instruction.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        count : int, default 1
            Maximum number of results.
        seed : int, default 0
            Seed within the run.
        """
        request = meta_prompts.variation_request(candidate)
        return self._rewritten(candidate, await self.ask([request] * count, seed=seed))

    async def find_direction(self, history: History, *, seed: int = 0) -> str:
        """Return the direction that the model sees in a history."""
        (direction,) = await self.ask([meta_prompts.direction_request(history)], seed=seed)
        return direction

    async def continue_history(
        self, history: History, direction: str = "", *, count: int = 1, seed: int = 0
    ) -> list[PromptCandidate]:
        """Return samples of an instruction that continues a history.

        Parameters
        ----------
        history : History
            Candidates with their scores, the best last.
        direction : str, default ""
            Direction of change, in words; empty for none.
        count : int, default 1
            Maximum number of results.
        seed : int, default 0
            Seed within the run.
        """
        request = meta_prompts.history_request(history, direction)
        return self._rewritten(history[-1][0], await self.ask([request] * count, seed=seed))

    def _rewritten(
        self, candidate: PromptCandidate, replies: Sequence[str]
    ) -> list[PromptCandidate]:
        texts = [meta_prompts.parse_instruction(reply) for reply in replies]
        return [with_instruction(candidate, text) for text in texts if text]


def world_of(policy: Policy) -> str | None:
    """Return the world whose small model a policy has; ``None`` for other models."""
    from backtalk.worlds.small import small_model_folder  # noqa: PLC0415 - slow to import

    spec = policy.model
    if isinstance(spec, NamedSpec) and spec.name == "small":
        return str(spec.options.get("world", "mail"))
    if isinstance(spec, LocalSpec) and spec.model is not None:
        folder = Path(spec.model)
        if folder.exists() and folder.resolve().parent == small_model_folder("").resolve():
            return folder.name
    return None


def make_writer(context: MethodContext, writer: str | None = None) -> PromptWriter:
    """Return the writer of prompts of a method.

    Parameters
    ----------
    context : MethodContext
        Policy to improve, feedback and run.
    writer : str, optional
        Policy whose model writes prompts, by name or id, or ``"world:NAME"`` for a model of a
        world behind an endpoint. Default: the model of the policy to improve.

    Raises
    ------
    BacktalkError
        If the model of the policy only replays recorded answers.
    """
    name = (writer or "").removeprefix("world:")
    is_world = writer is not None and writer.startswith("world:")
    policy = (
        context.policy if writer is None or is_world else read_policy(context.feedback.store, name)
    )
    if policy.model.kind == "replay":
        raise BacktalkError(
            f"The policy {policy.label} replays recorded answers, and writes no prompts",
            "Name a policy with a model that can: -o writer=NAME",
        )
    model = context.model(policy)
    world = name if is_world else world_of(policy)
    if world is None:
        return InstructionWriter(model)
    from backtalk.learn.prompt.world_writer import WorldWriter  # noqa: PLC0415 - slow to import

    return WorldWriter(model, world)
