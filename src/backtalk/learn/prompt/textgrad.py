"""Textual gradients through a graph of variables: forward calls, criticism backwards, revisions.

A variable is a text with a role. Calls of a model make new variables that know what they were made
of. :meth:`Variable.backward` goes through the graph in reverse order and asks a model how each
predecessor should change; :class:`TextualGradientDescent` revises the parameters by it.

Yuksekgonul et al. (2024), "TextGrad: Automatic 'differentiation' via text".

>>> from backtalk.models.fakes import ScriptedModel
>>> from backtalk.models.run_sync import run_sync
>>> replies = ["It is 5.", "Too short.", "Ask for steps.", "<prompt>Show steps.</prompt>"]
>>> model = ScriptedModel(replies)
>>> async def learn():
...     graph = Graph(model)
...     instruction = Variable("Answer.", "instruction of an assistant", trainable=True)
...     question = Variable("What is 2 + 3?", "question")
...     answer = await graph.answer(instruction, question)
...     loss = await graph.criticise(answer, "Judge whether the answer shows its steps.")
...     await loss.backward()
...     await TextualGradientDescent([instruction], model).step()
...     return instruction.value
>>> run_sync(learn())
'Show steps.'
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from backtalk.errors import BacktalkError
from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt
from backtalk.learn.prompt.computation_graph import ancestors, next_position, trainable_paths
from backtalk.learn.prompt.meta_prompts import parse_instruction, shorten, user_request
from backtalk.models import Model, Request, Sampling


@dataclass(eq=False)
class Variable:
    """Text in a graph of computations."""

    value: str
    role: str
    """Role of the text, in a few words, for the model that criticises."""
    trainable: bool = False
    """True for a parameter, which an optimiser may revise."""
    predecessors: tuple[Variable, ...] = ()
    """Variables that the text was made of."""
    gradients: list[str] = field(default_factory=list)
    """Criticisms since the last step: how the text should change."""
    graph: Graph | None = None
    """Graph of the call that made the text; ``None`` for an input."""
    position: int = field(default_factory=next_position)
    """Position in the order in which variables were made."""

    @property
    def needs_gradient(self) -> bool:
        """True if it is a parameter, or is made of one."""
        return any(one.trainable for one in ancestors(self))

    async def backward(self) -> None:
        """Give a gradient to each variable that this one was made of, down to the parameters.

        The text of this variable is the first gradient: call it on a criticism. A variable that
        several others were made of gets a gradient from each.

        Raises
        ------
        BacktalkError
            If no parameter is part of this variable.
        """
        needed = {one.position for one in trainable_paths(ancestors(self))}
        if self.graph is None or self.position not in needed:
            raise BacktalkError(
                f"The variable {self.role!r} depends on no parameter",
                "Make it of a Variable with trainable=True",
            )
        for variable in reversed(ancestors(self)):
            targets = [one for one in variable.predecessors if one.position in needed]
            if variable is self:
                for target in targets:
                    target.gradients.append(variable.value)
            elif variable.gradients and targets and variable.graph is not None:
                await variable.graph.propagate(variable, targets)


class Graph:
    """Calls of a model that record what their results were made of.

    Parameters
    ----------
    model : Model
        Model that answers.
    critic : Model, optional
        Model that criticises; the same by default.
    sampling : Sampling, optional
        Sampling parameters.
    """

    def __init__(
        self, model: Model, critic: Model | None = None, sampling: Sampling | None = None
    ) -> None:
        self._model = model
        self._critic = critic or model
        self._sampling = sampling or Sampling(max_tokens=500)

    async def answer(self, instruction: Variable, question: Variable) -> Variable:
        """Return the model's answer to a question under an instruction."""
        messages = (Message.system(instruction.value), Message.user(question.value))
        text = await _ask(self._model, messages, self._sampling)
        return Variable(text, "answer", predecessors=(instruction, question), graph=self)

    async def criticise(self, variable: Variable, criterion: str) -> Variable:
        """Return a criticism of a variable by a criterion, in words: the loss."""
        request = user_request(
            criterion, f"The {variable.role}:\n{shorten(variable.value)}", "Criticise it briefly."
        )
        text = await _ask(self._critic, request, self._sampling)
        return Variable(text, "criticism", predecessors=(variable,), graph=self)

    def loss(self, variable: Variable, criticism: str) -> Variable:
        """Return the criticism of a person or a check as a loss, without a call of a model."""
        return Variable(criticism, "criticism", predecessors=(variable,), graph=self)

    async def propagate(self, variable: Variable, targets: Sequence[Variable]) -> None:
        """Add to each target a criticism by which the variable would get better."""
        for target in targets:
            others = [one for one in variable.predecessors if one is not target]
            request = user_request(
                f"A text has the role: {target.role}. The text:\n{shorten(target.value)}",
                *(f"The {one.role}:\n{shorten(one.value)}" for one in others),
                f"They led to this {variable.role}:\n{shorten(variable.value)}",
                "Criticism of it:\n" + "\n".join(variable.gradients),
                f"State briefly how the {target.role} should change so that the criticism no "
                "longer applies.",
            )
            target.gradients.append(await _ask(self._critic, request, self._sampling))


Past = Sequence[tuple[str, list[str]]]
"""Earlier texts of a parameter, each with its gradients, the latest last."""
MakeRequest = Callable[[Variable, Past], Prompt]
"""Function from a parameter with its gradients, and its past, to the request for a revision."""


class TextualGradientDescent:
    """Optimiser that lets a model revise parameters by their gradients.

    Gradients of several losses add up until the next step: a batch. With momentum, a revision also
    reads the gradients of the last steps with the texts that they were about, so that a change that
    was asked for again and again is made for good.

    Parameters
    ----------
    parameters : sequence of Variable
        Variables to revise.
    model : Model
        Model that revises.
    momentum : int, default 0
        Number of earlier steps whose gradients are read.
    constraints : sequence of str, default ()
        Conditions that each new text has to meet, in words.
    make_request : MakeRequest, optional
        Function that words the request for a revision, for a model that follows other words than
        those of this module.
    sampling : Sampling, optional
        Sampling parameters.

    Raises
    ------
    BacktalkError
        If a variable is not trainable.
    """

    def __init__(
        self,
        parameters: Sequence[Variable],
        model: Model,
        *,
        momentum: int = 0,
        constraints: Sequence[str] = (),
        make_request: MakeRequest | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        fixed = [one.role for one in parameters if not one.trainable]
        if fixed:
            raise BacktalkError(
                f"The variable {fixed[0]!r} is not a parameter", "Make it with trainable=True"
            )
        self.parameters = list(parameters)
        self._model = model
        self._constraints = list(constraints)
        self._make_request = make_request or self._request
        self._sampling = sampling or Sampling(max_tokens=500)
        self._past: dict[int, deque[tuple[str, list[str]]]] = {
            id(one): deque(maxlen=momentum) for one in parameters
        }

    async def step(self) -> None:
        """Revise each parameter that has a gradient, and clear the gradients."""
        for parameter in self.parameters:
            if not parameter.gradients:
                continue
            past = self._past[id(parameter)]
            reply = await _ask(self._model, self._make_request(parameter, past), self._sampling)
            past.append((parameter.value, parameter.gradients))
            parameter.value = parse_instruction(reply) or parameter.value
            parameter.gradients = []

    def clear(self) -> None:
        """Discard the gradients."""
        for parameter in self.parameters:
            parameter.gradients = []

    def _request(self, parameter: Variable, past: Past) -> Prompt:
        return user_request(
            f"A text has the role: {parameter.role}. The text:\n{parameter.value}",
            *(
                f"An earlier version:\n{shorten(value)}\nCriticism of it:\n" + "\n".join(gradients)
                for value, gradients in past
            ),
            "Criticism of the text:\n" + "\n".join(parameter.gradients),
            *self._constraints,
            "Revise the text. Write nothing but the new text, between <prompt> and </prompt>.",
        )


async def _ask(model: Model, messages: Prompt, sampling: Sampling) -> str:
    (completion,) = await model.generate([Request(messages=messages, sampling=sampling)])
    return completion.text.strip()
