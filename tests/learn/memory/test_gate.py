"""GATE: questions by edge cases, and what people answer."""

from __future__ import annotations

from backtalk.feedback import Annotator, Interaction, Preference
from backtalk.learn import learn
from backtalk.memory import Memory
from backtalk.models import NamedSpec, Request, register_model
from backtalk.models.fakes import FunctionModel
from backtalk.policy import Policy
from backtalk.store import Store

POLICY = Policy(model=NamedSpec(name="does-as-asked"), name="base")


@register_model("does-as-asked")
def make_model() -> FunctionModel:
    def reply(request: Request) -> str:
        return f"Answer under: {request.messages[0].text}"

    return FunctionModel(reply, name="does-as-asked")


def test_a_policy_asks_and_remembers_the_answer() -> None:
    with Store(":memory:") as store:
        store.add(Interaction.of("Write a mail.", "Hello."))
        first = learn("gate", POLICY, store, split="all", questions=2)
        assert first.lineage.notes["questions for the inbox"] == 2
        asked = [case.interaction for case in store.cases() if len(case.interaction.responses) == 2]
        assert len(asked) == 2
        shorter = next(one for one in asked if "shorter" in one.responses[1].text)
        verdict = Preference(
            interaction=shorter.id, annotator=Annotator.human("ada"), a="0", b="1", verdict="b"
        )
        store.add(verdict)
        second = learn("gate", first, store, split="all", questions=2)
        assert [entry.text for entry in Memory(store).entries()] == ["Write shorter answers."]
        everything = [case.interaction for case in store.cases()]
        assert len(everything) == 5, "two new questions, none of them again"
        assert second.lineage.notes["new instructions"] == 1
