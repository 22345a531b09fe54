"""Signal of tool calls: whether they succeed, and whether they are those that a request needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt, prompt_text
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.protocol import TextFeedback
from backtalk.learn.prompt.tools.calls import ToolCall, ToolTrial, calls_text, parse_calls
from backtalk.learn.prompt.tools.executors import Executor

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class CallSignal:
    """Score of answers that call tools.

    A call scores the share of arguments that it has in common with the best of the calls that are
    known to be right for its request. With an executor, a call that fails scores 0. One that
    succeeds, where no right call is known, scores the share of its arguments that fit the request:
    a value that stands in other requests, and not in this one, is copied from somewhere. An answer
    without a call scores 0.

    Parameters
    ----------
    right : Mapping[str, sequence of ToolCall]
        Calls that succeeded, by key of the request.
    execute : Executor, optional
        Function that runs a call.
    trials : sequence of ToolTrial, default ()
        Trials that are known already; equal calls are not run again.
    requests : sequence of Prompt, default ()
        Requests in which values of arguments are looked up.
    """

    right: Mapping[str, Sequence[ToolCall]]
    execute: Executor | None = None
    trials: Sequence[ToolTrial] = ()
    requests: Sequence[Prompt] = ()
    name: str = "tool calls"
    _known: dict[str, ToolTrial] = field(default_factory=dict, init=False)
    _texts: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._known = {trial.call.key: trial for trial in self.trials}
        self._texts = [prompt_text(prompt[-1:]) for prompt in self.requests]

    @property
    def weights(self) -> dict[str, float]:
        """Weight of the only part."""
        return {self.name: 1.0}

    def scores(self, prompt: Prompt) -> bool:
        """Return whether answers to a prompt can be scored."""
        return self.execute is not None or prompt_key(prompt) in self.right

    async def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> NDArray[np.float64]:
        """Return the score of each answer, in [0, 1]."""
        return np.array(
            [await self._score(p, parse_calls(a)) for p, a in zip(prompts, answers, strict=True)]
        )

    async def _score(self, prompt: Prompt, calls: Sequence[ToolCall]) -> float:
        if not calls:
            return 0.0
        if self.execute is not None and (await self._run(calls[0], prompt)).failed:
            return 0.0
        right = self.right.get(prompt_key(prompt), ())
        if right:
            return max(overlap(calls[0], call) for call in right)
        return 1.0 if self.execute is None else self._fit(prompt, calls[0])

    def _fit(self, prompt: Prompt, call: ToolCall) -> float:
        """Return the share of arguments from requests whose value stands in this request."""
        text = prompt_text(prompt[-1:])
        values = [str(v) for v in (call.arguments or {}).values() if isinstance(v, str | int)]
        stated = [v for v in values if any(mentions(other, v) for other in (text, *self._texts))]
        return float(np.mean([mentions(text, value) for value in stated])) if stated else 1.0

    async def _run(self, call: ToolCall, prompt: Prompt) -> ToolTrial:
        """Return the trial of a call; that of an equal call if there was one."""
        if call.key not in self._known:
            assert self.execute is not None
            self._known[call.key] = replace(await self.execute(call), request=prompt)
        return self._known[call.key]

    @property
    def known(self) -> list[ToolTrial]:
        """All trials, those that were known first."""
        return list(self._known.values())

    async def explain(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[TextFeedback]:
        """Return the result of each answer's call, and the right call, as far as they are known."""
        results = []
        for prompt, answer in zip(prompts, answers, strict=True):
            calls = parse_calls(answer)
            trial = self._known.get(calls[0].key) if calls else None
            right = self.right.get(prompt_key(prompt), ())
            text = "no tool was called" if not calls else "" if trial is None else trial.result
            results.append(
                TextFeedback(prompt, answer, text, calls_text(right[:1]) if right else None)
            )
        return results


def mentions(text: str, value: str) -> bool:
    """Return whether a text has a value as a word of its own, in any case."""
    pattern = rf"(?<!\w){re.escape(value)}(?!\w)"
    return bool(value) and re.search(pattern, text, re.IGNORECASE) is not None


def overlap(call: ToolCall, right: ToolCall) -> float:
    """Return the F1 score of the arguments of a call; 0 for another tool, 1 for equal calls."""
    if call.name != right.name:
        return 0.0
    own, other = call.arguments or {}, right.arguments or {}
    if not own and not other:
        return 1.0
    common = sum(name in other and other[name] == value for name, value in own.items())
    return 2 * common / (len(own) + len(other))
