"""Control loop: the error of each criterion decides which criticism changes the prompt, and when.

The loop measures how far answers fall short of each criterion, and a P, PI or PID controller turns
the errors into the strength with which the prompt has to change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from backtalk.learn.prompt.criteria import Criterion
from backtalk.learn.prompt.edits import new_only
from backtalk.learn.prompt.proposers.inner_scores import known_candidates, next_seed
from backtalk.learn.prompt.proposers.protegi import review
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, TextFeedback
from backtalk.learn.prompt.writer import PromptWriter

ControllerName = Literal["p", "pi", "pid"]
"""Terms of a controller."""


@dataclass
class Controller:
    """Discrete controller of several errors at once.

    ``u_t = kp e_t + ki sum(e_0..e_t) + kd (e_t - e_{t-1})``, for each error by name. The sum is
    limited to ``windup`` in size, so that an error that cannot be mended does not grow for ever.

    Karn (2025), "Linear feedback control systems for iterative prompt optimization in large
    language models".

    >>> pi = Controller(kp=1.0, ki=0.5)
    >>> pi.update({"too long": 0.5}), pi.update({"too long": 0.5})
    ({'too long': 0.75}, {'too long': 1.0})
    """

    kp: float = 1.0
    ki: float = 0.0
    kd: float = 0.0
    windup: float = 3.0
    _sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _last: dict[str, float] = field(default_factory=dict)

    def update(self, errors: Mapping[str, float]) -> dict[str, float]:
        """Return the control signal of each error; an error that is absent now is 0."""
        results = {}
        for name in dict.fromkeys((*errors, *self._last)):
            error = errors.get(name, 0.0)
            total = self._sums[name] + error
            self._sums[name] = max(-self.windup, min(self.windup, total))
            change = error - self._last.get(name, error)
            results[name] = self.kp * error + self.ki * self._sums[name] + self.kd * change
            self._last[name] = error
        return results


def make_controller(name: ControllerName) -> Controller:
    """Return a controller with the default gains."""
    return Controller(
        ki=0.5 if "i" in name else 0.0,
        kd=0.25 if "d" in name else 0.0,
    )


class ControlProposer:
    """Proposer that changes the prompt by the criticisms with the strongest control signals.

    The error of a criterion is the share of answers that are criticised for it.

    Parameters
    ----------
    writer : PromptWriter
        Model that criticises and revises.
    criteria : sequence of Criterion, default ()
        Groups of people's critiques.
    controller : Controller
        Controller of the errors.
    batch_size : int, default 8
        Number of answers by which errors are measured.
    threshold : float, default 0.1
        Control signal from which a criticism changes the prompt.
    """

    name = "control"

    def __init__(
        self,
        writer: PromptWriter,
        criteria: Sequence[Criterion] = (),
        *,
        controller: Controller,
        batch_size: int = 8,
        threshold: float = 0.1,
    ) -> None:
        self._writer = writer
        self._names = {text: one.text for one in criteria for text in one.wordings}
        self._reviewed = [item for one in criteria for item in one.examples]
        self._controller = controller
        self._batch_size = batch_size
        self._threshold = threshold
        self._answers: dict[str, list[TextFeedback]] = defaultdict(list)

    async def propose(self, state: SearchState, count: int) -> list[PromptCandidate]:
        """Return revisions of the prompt that leads by the criticisms that the controller picks."""
        parent = state.best
        batch = await review(state, parent, self._reviewed, self._batch_size)
        critiques = await self._writer.criticise(
            parent.candidate, [[item] for item in batch], seed=next_seed(state)
        )
        signals = self._controller.update(self._errors(batch, critiques))
        strong = [name for name, value in signals.items() if value > self._threshold]
        strong.sort(key=lambda name: -signals[name])
        answers = [item for name in strong for item in self._answers[name]]
        revised = await self._writer.revise(
            parent.candidate, strong, answers or batch, count=2 * count, seed=next_seed(state)
        )
        named = [replace(candidate, proposer=self.name) for candidate in revised]
        return new_only(named, known_candidates(state))[:count]

    def _errors(self, batch: Sequence[TextFeedback], critiques: Sequence[str]) -> dict[str, float]:
        """Return the share of answers that are criticised for each criterion."""
        errors: dict[str, float] = defaultdict(float)
        for item, critique in zip(batch, critiques, strict=True):
            text = critique or ("" if item.better is None else "differs from the better answer")
            if text:
                name = self._names.get(text, text)
                errors[name] += 1 / len(batch)
                self._answers[name].append(item)
        return dict(errors)
