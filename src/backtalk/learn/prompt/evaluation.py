"""Evaluation of prompt candidates: answers of the policy's model, scored by a signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backtalk.decode import DecoderOutput
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.learn.context import MethodContext
from backtalk.learn.prompt.protocol import PromptCandidate, Signal
from backtalk.learn.prompt.tools.calls import ToolDefinition, answer_with_calls
from backtalk.models import Model, Request
from backtalk.models.cut_answers import warn_of_cut_answers
from backtalk.models.errors import ContextTooLong
from backtalk.models.fitting_requests import generate_fitting
from backtalk.models.protocol import Completion, Usage
from backtalk.policy import Lineage, Policy, PromptTemplate, load_policy

Job = tuple[PromptCandidate, int]
"""Candidate and index of the example that it answers; with n examples, the indices from n on are
further answers to the same examples."""


@dataclass
class Evaluator:
    """Answers and scores of candidates on examples, each computed once.

    Parameters
    ----------
    context : MethodContext
        Policy whose prompt is searched, and run.
    signal : Signal
        Signal that scores answers.
    examples : sequence of Prompt
        Prompts to answer.
    seed : int, default 0
        Seed of the answers within the run.
    tools : Mapping[str, sequence of ToolDefinition], default {}
        Definitions of tools that an answer may call, by key of the prompt. Calls are scored as
        JSON; see :func:`~backtalk.learn.prompt.tools.calls.calls_text`.
    """

    context: MethodContext
    signal: Signal
    examples: Sequence[Prompt]
    seed: int = 0
    tools: Mapping[str, Sequence[ToolDefinition]] = field(default_factory=dict)
    used: Usage = field(default_factory=Usage, init=False)
    """Usage of all answers, also of those from the cache, so that a resumed search makes the same
    decisions."""
    _results: dict[tuple[str, int], tuple[str, float]] = field(default_factory=dict, init=False)
    _warned: bool = field(default=False, init=False)

    async def evaluate(self, jobs: Sequence[Job]) -> list[tuple[str, float]]:
        """Return the answer and the score in [0, 1] of each job.

        Under a candidate with which a request does not fit into the model's context window, the
        answer is empty and its score is 0.

        Raises
        ------
        ContextTooLong
            If a request does not fit with the policy's own prompt.
        """
        missing = {(candidate.version, index): candidate for candidate, index in jobs}
        for key in self._results:
            missing.pop(key, None)
        if missing:
            keys = list(missing)
            prompts = [self.examples[index % len(self.examples)] for _, index in keys]
            repeats = [index // len(self.examples) for _, index in keys]
            answers = await self._answer([missing[key] for key in keys], prompts, repeats)
            scores = await self.signal.score(prompts, [answer or "" for answer in answers])
            for key, answer, score in zip(keys, answers, scores, strict=True):
                self._results[key] = ("", 0.0) if answer is None else (answer, float(score))
        return [self._results[candidate.version, index] for candidate, index in jobs]

    def count_missing(self, jobs: Sequence[Job]) -> int:
        """Return the number of jobs that need a new answer."""
        return len({(candidate.version, index) for candidate, index in jobs} - set(self._results))

    async def _answer(
        self,
        candidates: Sequence[PromptCandidate],
        prompts: Sequence[Prompt],
        repeats: Sequence[int],
    ) -> list[str | None]:
        """Return the answer of each candidate to its prompt, the one of that number.

        Parameters
        ----------
        candidates : sequence of PromptCandidate
            Candidates.
        prompts : sequence of Prompt
            Prompt of each.
        repeats : sequence of int
            Number of the answer to the same prompt.

        Returns
        -------
        list of str or None
            ``None`` where the request is too long.
        """
        policy = self.context.policy
        lineage = Lineage(method="prompt")
        distinct = {candidate.version: candidate for candidate in candidates}
        by_version = {key: one.apply(policy, lineage) for key, one in distinct.items()}
        policies = [by_version[candidate.version] for candidate in candidates]
        with self.context.run.task("answering with candidate prompts", len(prompts)):
            if all(one.decoder.is_single_sample for one in by_version.values()) and (
                policy.memory is None
            ):
                answers = await self._sample(policies, prompts, repeats)
                self._count([answer for answer in answers if answer is not None])
            else:
                outputs = await self._decode(policies, prompts, repeats)
                decoded = [output for output in outputs if output is not None]
                self._count([one for output in decoded for one in output.candidates])
                self.used += sum((output.other_usage for output in decoded), Usage())
                answers = [None if output is None else output.answer for output in outputs]
        if not self._warned:
            complete = [answer for answer in answers if answer is not None]
            self._warned = bool(warn_of_cut_answers(policy.label, complete))
        return [None if answer is None else answer_with_calls(answer) for answer in answers]

    def _count(self, completions: Sequence[Completion]) -> None:
        self.used += sum((one.generation_usage for one in completions), Usage())

    async def _sample(
        self, policies: Sequence[Policy], prompts: Sequence[Prompt], repeats: Sequence[int]
    ) -> list[Completion | None]:
        """Return one sample for each policy and prompt, all in one batch."""
        model: Model = self.context.model()
        sampling = self.context.policy.decoder.base_sampling
        requests = [
            Request(
                messages=policy.messages(prompt),
                sampling=sampling,
                sample_index=repeat,
                seed=self._seed,
                options=self._options(policy, prompt),
            )
            for policy, prompt, repeat in zip(policies, prompts, repeats, strict=True)
        ]
        completions = await generate_fitting(model, requests)
        for completion, policy, request in zip(completions, policies, requests, strict=True):
            if completion is None and self._is_seed(policy):
                await model.generate([request])  # raises the error
        return completions

    def _is_seed(self, policy: Policy) -> bool:
        """Return true if a policy answers as the policy to improve does."""
        seed = PromptCandidate.of(self.context.policy)
        return policy.id == seed.apply(self.context.policy, policy.lineage).id

    def _options(self, policy: Policy, prompt: Prompt) -> dict[str, Any]:
        """Return the tools of a request, with the descriptions of the policy."""
        tools = self.tools.get(prompt_key(prompt))
        if not tools:
            return {}
        template = policy.prompt or PromptTemplate()
        return {"tools": template.with_tools(tools)}

    async def _decode(
        self, policies: Sequence[Policy], prompts: Sequence[Prompt], repeats: Sequence[int]
    ) -> list[DecoderOutput | None]:
        """Return the outputs of policies with another decoder, or a memory, in their order."""
        groups: dict[tuple[str, int], list[int]] = {}
        for position, (policy, repeat) in enumerate(zip(policies, repeats, strict=True)):
            groups.setdefault((policy.id, repeat), []).append(position)
        results: dict[int, DecoderOutput | None] = {}
        for (_, repeat), positions in groups.items():
            loaded = load_policy(
                policies[positions[0]],
                self.context.feedback.store.artifacts,
                store=self.context.feedback.store,
                prompts=prompts,
                wrap=self.context.run.wrap,
            )
            try:
                outputs = await loaded.decode(
                    [prompts[i] for i in positions], seed=self._seed + 100 * repeat
                )
            except ContextTooLong:
                if self._is_seed(policies[positions[0]]):
                    raise
                results.update(dict.fromkeys(positions))
            else:
                results.update(zip(positions, outputs, strict=True))
        return [results[position] for position in range(len(prompts))]

    @property
    def _seed(self) -> int:
        return self.context.run.seed * 1_000 + self.seed
