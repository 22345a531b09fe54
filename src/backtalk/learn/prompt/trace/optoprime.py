"""OptoPrime: an optimiser that lets a model infer new values of parameters from a trace.

Cheng, Nie and Swaminathan (2024), "Trace is the next AutoDiff: generative optimization with rich
feedback, execution traces, and LLMs", section 4.

>>> from backtalk.learn.prompt.trace import node
>>> from backtalk.models.fakes import ScriptedModel
>>> from backtalk.models.run_sync import run_sync
>>> model = ScriptedModel(['{"reasoning": "2 * 4 is 8.", "suggestion": {"factor": 4}}'])
>>> factor = node(3, "factor", trainable=True)
>>> result = factor * 2
>>> subgraph = result.backward("It should be 8.")
>>> run_sync(OptoPrime([factor], model).step()).values
{'factor': 4}
>>> factor.value
4
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from backtalk.errors import BacktalkError, RecordError
from backtalk.feedback.record import Record
from backtalk.learn.prompt.trace.nodes import Node
from backtalk.learn.prompt.trace.pseudo_program import PseudoProgram, pseudo_program
from backtalk.learn.prompt.trace.request import (
    OBJECTIVE,
    Attempt,
    correction_request,
    suggestion_request,
)
from backtalk.learn.prompt.trace.subgraph import Subgraph
from backtalk.learn.prompt.trace.suggestion import Suggestion, parse_suggestion
from backtalk.models import Model, Request, Sampling


@dataclass(frozen=True)
class Step:
    """Result of a step of the optimiser."""

    values: Mapping[str, Any]
    """New values, by the name of the parameter in the pseudo-program; empty if all stay."""
    reasoning: str
    rejected: Sequence[str] = ()
    """Reasons why replies were rejected."""


class _State(Record):
    """State of an optimiser in a file."""

    values: list[JsonValue]
    steps: int
    memory: list[Attempt]


class OptoPrime:
    """Optimiser of the parameters of a traced program.

    A step shows the model the minimal subgraphs of all feedback since the last one, as a
    pseudo-program. The reply is checked: names, types and constraints of the parameters, and the
    form of code. A wrong reply is sent back with the reason.

    Parameters
    ----------
    parameters : sequence of Node
        Nodes with ``trainable=True``, and ``parameter`` of a
        :class:`~backtalk.learn.prompt.trace.CodeParameter`.
    model : Model
        Model that suggests values, wrapped by :meth:`backtalk.run.Run.wrap` for a cache and a
        budget.
    memory_size : int, default 3
        Number of earlier steps that the model reads.
    objective : str, default OBJECTIVE
        Task of the optimiser, in words.
    attempts : int, default 2
        Number of replies of a step, of which all but the last are sent back if they are wrong.
    show_trace : bool, default True
        If false, the model reads variables, outputs and feedback without the execution.
    sampling : Sampling, optional
        Sampling parameters.
    seed : int, default 0
        Seed of the requests.

    Raises
    ------
    BacktalkError
        If a node is no parameter, or two have one name.
    """

    def __init__(
        self,
        parameters: Sequence[Node],
        model: Model,
        *,
        memory_size: int = 3,
        objective: str = OBJECTIVE,
        attempts: int = 2,
        show_trace: bool = True,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> None:
        _check_parameters(parameters)
        self.parameters = list(parameters)
        self.steps = 0
        """Number of steps so far."""
        self._memory: deque[Attempt] = deque(maxlen=memory_size)
        self._model = model
        self._objective = objective
        self._attempts = attempts
        self._show_trace = show_trace
        self._sampling = sampling or Sampling(max_tokens=1_000)
        self._seed = seed

    async def step(self) -> Step:
        """Let the model suggest new values by the feedback, set them, and clear the feedback.

        Without a correct reply all values stay.

        Raises
        ------
        BacktalkError
            If there is no feedback.
        """
        program = pseudo_program(self._subgraphs())
        suggestion, rejected = await self._suggest(program)
        self._memory.append(self._attempt(program))
        for name, value in suggestion.values.items():
            program.parameters[name].value = value
        self.clear()
        self.steps += 1
        return Step(suggestion.values, suggestion.reasoning, rejected)

    def clear(self) -> None:
        """Discard the feedback."""
        for parameter in self.parameters:
            parameter.subgraphs = []

    def save(self, path: Path | str) -> None:
        """Write the values of the parameters and the memory to a JSON file."""
        path = Path(path)
        state = _State(
            values=[one.json_value for one in self.parameters],
            steps=self.steps,
            memory=list(self._memory),
        )
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(state.model_dump_json(), encoding="utf-8")
        partial.replace(path)

    def load(self, path: Path | str) -> None:
        """Read the state that an optimiser of the same parameters saved.

        Raises
        ------
        BacktalkError
            If the file is no such state, or a value does not fit its parameter.
        """
        try:
            state = _State.model_validate_json(Path(path).read_bytes())
        except (OSError, ValidationError, RecordError) as error:
            raise BacktalkError(
                f"{path} is no state of an optimiser: {error}", "Name a file of OptoPrime.save"
            ) from None
        if len(state.values) != len(self.parameters):
            raise BacktalkError(
                f"{path} has values of {len(state.values)} parameters; there are "
                f"{len(self.parameters)}",
                "Load it into an optimiser of the same parameters",
            )
        values = [one.check(v) for one, v in zip(self.parameters, state.values, strict=True)]
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.value = value
        self.steps = state.steps
        self._memory = deque(state.memory, maxlen=self._memory.maxlen)

    def _subgraphs(self) -> list[Subgraph]:
        distinct = {id(one): one for node in self.parameters for one in node.subgraphs}
        if not distinct:
            raise BacktalkError(
                "There is no feedback since the last step",
                "Call backward(feedback) of an output that depends on a parameter",
            )
        return sorted(distinct.values(), key=lambda one: one.output.position)

    async def _suggest(self, program: PseudoProgram) -> tuple[Suggestion, list[str]]:
        mine = {id(one) for one in self.parameters}
        allowed = {name: one for name, one in program.parameters.items() if id(one) in mine}
        messages = suggestion_request(
            program,
            list(self._memory),
            allowed=allowed,
            objective=self._objective,
            show_trace=self._show_trace,
        )
        rejected: list[str] = []
        for attempt in range(self._attempts):
            request = Request(
                messages=messages,
                sampling=self._sampling,
                sample_index=self.steps * self._attempts + attempt,
                seed=self._seed,
            )
            (completion,) = await self._model.generate([request])
            try:
                return parse_suggestion(completion.text, allowed), rejected
            except BacktalkError as error:
                rejected.append(str(error))
                messages = correction_request(messages, completion.text, error, allowed=allowed)
        return Suggestion(), rejected

    def _attempt(self, program: PseudoProgram) -> Attempt:
        values = {name: one.json_value for name, one in program.parameters.items()}
        return Attempt(values=values, feedback=program.feedback)


def _check_parameters(parameters: Sequence[Node]) -> None:
    fixed = [one.name for one in parameters if not one.trainable]
    if fixed:
        raise BacktalkError(
            f"The node {fixed[0]!r} is not a parameter", "Make it with trainable=True"
        )
    names = [one.name for one in parameters]
    double = [name for name in names if names.count(name) > 1]
    if double:
        raise BacktalkError(
            f"Two parameters have the name {double[0]!r}", "Name them: node(value, 'name')"
        )
