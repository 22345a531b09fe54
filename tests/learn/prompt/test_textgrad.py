"""Textual gradients through a graph of variables."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import as_prompt, prompt_text
from backtalk.feedback.interaction import Prompt
from backtalk.learn.prompt.textgrad import Graph, TextualGradientDescent, Variable
from backtalk.models.fakes import FunctionModel
from backtalk.models.protocol import Request
from backtalk.models.run_sync import run_sync


def make_model(asked: list[str]) -> FunctionModel:
    def reply(request: Request) -> str:
        text = prompt_text(request.messages)
        asked.append(text)
        return f"<prompt>reply {len(asked)}</prompt>" if "Revise" in text else f"reply {len(asked)}"

    return FunctionModel(reply, name="scripted")


async def two_calls(graph: Graph) -> tuple[Variable, Variable, Variable]:
    """Return an instruction that two calls in a row share, and the loss of the second."""
    shared = Variable("Think.", "instruction", trainable=True)
    first = await graph.answer(shared, Variable("Question", "question"))
    second = await graph.answer(shared, first)
    return shared, first, graph.loss(second, "Too long.")


def test_a_parameter_of_two_calls_has_a_gradient_of_each() -> None:
    asked: list[str] = []
    shared, first, loss = run_sync(two_calls(Graph(make_model(asked))))
    run_sync(loss.backward())
    assert len(shared.gradients) == 2
    assert len(first.gradients) == 1
    assert "Too long." in asked[2]
    assert first.gradients[0] in asked[4], "the first call is criticised by its own gradient"


def test_gradients_of_a_batch_add_up_and_are_cleared_by_a_step() -> None:
    asked: list[str] = []
    model = make_model(asked)
    graph = Graph(model)
    instruction = Variable("Answer.", "instruction", trainable=True)
    for question in ("One?", "Two?"):
        answer = run_sync(graph.answer(instruction, Variable(question, "question")))
        run_sync(graph.loss(answer, f"Wrong on {question}").backward())
    gradients = list(instruction.gradients)
    run_sync(TextualGradientDescent([instruction], model).step())
    assert all(text in asked[-1] for text in gradients)
    assert instruction.gradients == []
    assert instruction.value == f"reply {len(asked)}"


@pytest.mark.parametrize(("momentum", "seen"), [(0, False), (1, True)])
def test_momentum_shows_the_gradients_of_earlier_steps(momentum: int, seen: bool) -> None:
    asked: list[str] = []
    instruction = Variable("Answer.", "instruction", trainable=True)
    optimiser = TextualGradientDescent([instruction], make_model(asked), momentum=momentum)
    for text in ("Be brief.", "Be kind."):
        instruction.gradients.append(text)
        run_sync(optimiser.step())
    assert "Be kind." in asked[1]
    assert ("Be brief." in asked[1]) == seen


def test_the_words_of_a_revision_can_be_others() -> None:
    asked: list[str] = []
    draft = Variable("Draft.", "answer", trainable=True)
    draft.gradients.append("Too short.")

    def words(parameter: Variable, past: Sequence[tuple[str, list[str]]]) -> Prompt:
        return as_prompt(f"Revise {parameter.value} by {parameter.gradients}")

    run_sync(TextualGradientDescent([draft], make_model(asked), make_request=words).step())
    assert asked == ["Revise Draft. by ['Too short.']"]
    assert draft.value == "reply 1"


@pytest.mark.parametrize("width", [1, 3])
def test_a_variable_may_have_many_ancestors(width: int) -> None:
    last = parameter = Variable("p", "parameter", trainable=True)
    for _ in range(2_000):
        last = Variable("v", "value", predecessors=(last,) * width)
    assert last.needs_gradient
    assert not parameter.gradients


def test_a_loss_without_a_parameter_has_no_gradient() -> None:
    graph = Graph(make_model([]))
    with pytest.raises(BacktalkError, match="trainable=True"):
        run_sync(graph.loss(Variable("text", "answer"), "Wrong.").backward())


def test_an_optimiser_takes_parameters_only() -> None:
    with pytest.raises(BacktalkError, match="not a parameter"):
        TextualGradientDescent([Variable("text", "answer")], make_model([]))
