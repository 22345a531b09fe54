"""Proposer of prompts with other descriptions of tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from backtalk.embedders.registry import EmbedderName
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState
from backtalk.learn.prompt.tools.amendment import join, notes, without_refuted
from backtalk.learn.prompt.tools.calls import ToolDefinition, ToolTrial, definition_text
from backtalk.learn.prompt.tools.exploration import (
    MAX_SIMILARITY,
    STOP_SIMILARITY,
    Ask,
    write_documentation,
)
from backtalk.learn.prompt.tools.signal import CallSignal

_FIRST_TRIALS = 16
"""Number of requests that the policy answers before the first candidates."""


class DocumentationProposer:
    """Proposer that documents tools by their trials.

    Descriptions are amended without a model: the notes of each tool below its description, and in
    its place. With an executor, the answers to requests are trials as well. If a model writes,
    another candidate comes from DRAFT's trial and error.

    Parameters
    ----------
    tools : Mapping[str, ToolDefinition]
        Definitions by name.
    signal : CallSignal
        Signal of calls, with all trials so far.
    ask : Ask, optional
        Model that explores, analyses and rewrites.
    rounds : int, default 5
        Maximum number of trials that the model reads for one tool.
    max_similarity, stop_similarity : float
        See :func:`~backtalk.learn.prompt.tools.exploration.write_documentation`.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and versions.
    """

    name = "draft"

    def __init__(
        self,
        tools: Mapping[str, ToolDefinition],
        signal: CallSignal,
        *,
        ask: Ask | None = None,
        rounds: int = 5,
        max_similarity: float = MAX_SIMILARITY,
        stop_similarity: float = STOP_SIMILARITY,
        embedder: EmbedderName = "hashed",
    ) -> None:
        self._tools = tools
        self._signal = signal
        self._ask = ask
        self._rounds = rounds
        self._max_similarity = max_similarity
        self._stop_similarity = stop_similarity
        self._embedder: EmbedderName = embedder
        self._written_once = False

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return prompts with amended descriptions, and once with those that a model wrote."""
        base = state.best.candidate
        if self._signal.execute is not None and not state.best.scores:
            indices = range(min(_FIRST_TRIALS, len(state.examples)))
            await state.evaluate([(base, index) for index in indices])
        candidates = self._amended(base)
        if self._ask is not None and not self._written_once:
            self._written_once = True
            candidates += await self._written(base, self._ask)
        return candidates[:count]

    def _trials(self, name: str) -> list[ToolTrial]:
        return [trial for trial in self._signal.known if trial.call.name == name]

    def _current(self, base: PromptCandidate, name: str) -> str:
        return base.template.tools.get(name, self._original(name))

    def _original(self, name: str) -> str:
        return definition_text(self._tools[name])

    def _amended(self, base: PromptCandidate) -> list[PromptCandidate]:
        """Return the prompt with notes below the original descriptions, and in their place."""
        lines = {name: notes(self._trials(name)) for name in self._tools}
        noted = {name: texts for name, texts in lines.items() if texts}
        if not noted:
            return []
        amended = {
            name: join(without_refuted(self._original(name), self._trials(name)), texts)
            for name, texts in noted.items()
        }
        alone = {name: join("", texts) for name, texts in noted.items()}
        return [
            self._candidate(base, amended, "amended by trials"),
            self._candidate(base, alone, "notes of trials alone"),
        ]

    async def _written(self, base: PromptCandidate, ask: Ask) -> list[PromptCandidate]:
        texts, versions = {}, 0
        for name, definition in self._tools.items():
            function = {**definition["function"], "description": self._current(base, name)}
            result = await write_documentation(
                {**definition, "function": function},
                ask,
                execute=self._signal.execute,
                recorded=self._trials(name),
                rounds=self._rounds,
                max_similarity=self._max_similarity,
                stop_similarity=self._stop_similarity,
                embedder=self._embedder,
            )
            if len(result.versions) > 1:
                texts[name] = result.text
                versions += len(result.versions) - 1
        return [self._candidate(base, texts, f"{versions} revisions")] if texts else []

    def _candidate(
        self, base: PromptCandidate, texts: Mapping[str, str], note: str
    ) -> PromptCandidate:
        tools = {**base.template.tools, **texts}
        template = base.template.model_copy(update={"tools": tools})
        return replace(base, template=template, proposer=self.name, note=note)
