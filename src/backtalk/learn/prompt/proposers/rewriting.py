"""Candidates that rewrite requests: an instruction of the rewriter, with demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backtalk.decode import Rewrite, RewrittenRequest
from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.interaction import prompt_text
from backtalk.feedback.kinds import FollowUp
from backtalk.learn.prompt.coverage import covering
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, Trial
from backtalk.learn.prompt.writer import PromptWriter
from backtalk.learn.training_set import TrainingSet
from backtalk.models.spec import ModelSpec
from backtalk.policy import load_policy

_REPLY = "Keep every fact. Reply with the rewritten request and nothing else."
INSTRUCTIONS = (
    f"Rewrite the user's request so that it is complete and clear. {_REPLY}",
    (
        "The user's request leaves things out. Rewrite it so that it states the task, the details "
        f"and the form of the answer that the user most likely means. {_REPLY}"
    ),
    f"Rewrite the user's request in the words and the form of the examples. {_REPLY}",
)
"""Instructions of a rewriter to begin with."""
_MAX_BOOTSTRAPPED = 4
_MIN_MARGIN = 0.05
"""Score by which a rewritten request has to be answered better to serve as a demonstration."""


class RewritingProposer:
    """Proposer of decoders that rewrite requests.

    The first candidates have stock instructions, without demonstrations and with reformulations of
    users. Later ones add rewritten requests that the signal ranks above the original by a margin,
    the largest margins first, and rewordings of the instruction that a model writes.

    Chang et al. (2024), "On the open prompt challenge in conditional audio generation", section 3,
    train a rewriter with a margin ranking loss on the reward; here the ranking selects what the
    rewriter reads.

    Parameters
    ----------
    reformulations : sequence of tuple[str, str]
        Requests, each with the one that the user wrote after a bad answer.
    writer : PromptWriter, optional
        Model that rewords the instruction.
    rewriter : ModelSpec, optional
        Model that rewrites; that of the policy by default.
    sizes : sequence of int, default (4, 8)
        Numbers of reformulations that the rewriter reads.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests.
    """

    name = "rewrite"

    def __init__(
        self,
        reformulations: Sequence[tuple[str, str]],
        *,
        writer: PromptWriter | None = None,
        rewriter: ModelSpec | None = None,
        sizes: Sequence[int] = (4, 8),
        embedder: EmbedderName = "hashed",
    ) -> None:
        self._reformulations = list(dict.fromkeys(reformulations))
        self._writer = writer
        self._rewriter = rewriter
        self._sizes = sizes
        self._embedder: EmbedderName = embedder
        self._first = True
        self._bootstrapped: set[str] = set()

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return candidates with stock instructions, later with ranked rewritten requests."""
        if self._first:
            self._first = False
            return (await self._stock(state))[:count]
        best = max(state.trials[1:], key=lambda trial: trial.mean, default=state.best)
        decoder = best.candidate.decoder
        if not isinstance(decoder, Rewrite):
            return []
        candidates = await self._with_ranked(state, best, decoder)
        candidates += await self._reworded(state, best.candidate, decoder)
        return candidates[:count]

    async def _stock(self, state: SearchState) -> list[PromptCandidate]:
        base = state.best.candidate
        sampling = state.context.policy.decoder.base_sampling
        shown = await self._shown()
        # Demonstrations first: where there are some, they say more than an instruction.
        pairs = [(text, one) for one in shown for text in INSTRUCTIONS[2:]]
        pairs += [(text, ()) for text in INSTRUCTIONS[:2]]
        pairs += [(text, one) for one in shown[:1] for text in INSTRUCTIONS[:1]]
        return [
            self._candidate(
                base,
                Rewrite(
                    instruction=text,
                    demonstrations=demonstrations,
                    rewriter=self._rewriter,
                    sampling=sampling,
                ),
            )
            for text, demonstrations in pairs
        ]

    async def _shown(self) -> list[tuple[RewrittenRequest, ...]]:
        """Return demonstrations from reformulations, one group for each size."""
        if not self._reformulations:
            return []
        texts = [request for request, _ in self._reformulations]
        order = await covering(texts, max(self._sizes), self._embedder)
        pairs = [self._reformulations[index] for index in order]
        sizes = sorted({min(size, len(pairs)) for size in self._sizes})
        return [
            tuple(RewrittenRequest(request=a, rewritten=b) for a, b in pairs[:size])
            for size in sizes
        ]

    async def _with_ranked(
        self, state: SearchState, trial: Trial, decoder: Rewrite
    ) -> list[PromptCandidate]:
        """Return the candidate with the rewritten requests that gained most as demonstrations."""
        seed = state.trials[0].scores
        gains = {
            index: score - seed[index] for index, score in trial.scores.items() if index in seed
        }
        order = sorted(gains, key=lambda index: -gains[index])
        chosen = [index for index in order if gains[index] > _MIN_MARGIN][:_MAX_BOOTSTRAPPED]
        if not chosen or trial.candidate.version in self._bootstrapped:
            return []
        self._bootstrapped.add(trial.candidate.version)
        prompts = [state.examples[index] for index in chosen]
        loaded = load_policy(
            trial.candidate.apply(state.context.policy, state.context.policy.lineage),
            state.context.feedback.store.artifacts,
            store=state.context.feedback.store,
            wrap=state.context.run.wrap,
        )
        texts = await decoder.rewrite(loaded.model, prompts, seed=state.context.run.seed)
        ranked = [
            RewrittenRequest(request=prompt_text(prompt[-1:]), rewritten=text)
            for prompt, text in zip(prompts, texts, strict=True)
            if text is not None
        ]
        if not ranked:
            return []
        demonstrations = tuple(dict.fromkeys((*decoder.demonstrations, *ranked)))
        changed = decoder.model_copy(update={"demonstrations": demonstrations})
        note = f"{len(ranked)} requests ranked by their answers"
        return [self._candidate(trial.candidate, changed, note)]

    async def _reworded(
        self, state: SearchState, candidate: PromptCandidate, decoder: Rewrite
    ) -> list[PromptCandidate]:
        if self._writer is None:
            return []
        seed = int(state.rng.integers(2**31))
        own = PromptCandidate(decoder.instruction)
        texts = [one.system for one in await self._writer.vary(own, count=2, seed=seed)]
        return [
            self._candidate(candidate, decoder.model_copy(update={"instruction": text}), "reworded")
            for text in texts
            if text
        ]

    def _candidate(
        self, base: PromptCandidate, decoder: Rewrite, note: str = ""
    ) -> PromptCandidate:
        note = note or f"rewrite with {len(decoder.demonstrations)} demonstrations"
        return replace(base, decoder=decoder, proposer=self.name, note=note)


def reformulations(feedback: TrainingSet) -> list[tuple[str, str]]:
    """Return requests, each with what the user wrote in its place after the answer.

    These are follow-ups that are known to rephrase or clarify the request.
    """
    return [
        (request, item.text.strip())
        for case in feedback.cases()
        for item in case.of(FollowUp)
        if item.act in {"rephrasing", "clarification"}
        and (request := prompt_text(case.interaction.prompt[-1:]).strip())
        and item.text.strip() != request
    ]
