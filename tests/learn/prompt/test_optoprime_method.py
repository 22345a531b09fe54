"""OptoPrime on the slots of a prompt, with a scripted instruction model."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from backtalk.feedback import prompt_text
from backtalk.learn import learn
from backtalk.learn.prompt.proposers.optoprime import OptoPrimeProposer, slot_nodes, with_values
from backtalk.learn.prompt.protocol import PromptCandidate, TextFeedback
from backtalk.learn.prompt.writer import InstructionWriter
from backtalk.models import NamedSpec, register_model
from backtalk.models.fakes import FunctionModel
from backtalk.models.protocol import Request
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy, PromptTemplate
from backtalk.store import Store
from tests.learn.prompt.test_proposers import EXAMPLES, make_state
from tests.learn.prompt.test_search import fill

REVIEWED = [TextFeedback(EXAMPLES[0], "A long answer", "Nobody reads this")]


def propose(*replies: str, count: int = 1) -> tuple[list[PromptCandidate], list[str]]:
    asked: list[str] = []
    texts = iter(replies)

    def reply(request: Request) -> str:
        asked.append(prompt_text(request.messages))
        return next(texts)

    writer = InstructionWriter(FunctionModel(reply, name="scripted"))
    proposer = OptoPrimeProposer(writer, REVIEWED, batch_size=2)
    return run_sync(proposer.propose(make_state(), count)), asked


def suggest(**values: Any) -> str:
    return json.dumps({"reasoning": "", "suggestion": values})


def test_the_writer_reads_the_trace_and_its_values_become_a_prompt() -> None:
    (proposal,), asked = propose(suggest(rules=["Be brief."]))
    assert (proposal.system, proposal.template.rules) == ("Answer.", ("Be brief.",))
    for text in (
        "system_message1 = system_message(instruction=instruction, rules=rules)",
        "answer2 = answer(system=system_message1, request=request2)",
        "Question",
        "Score 0 of 100.",
        "unkind and long",
        "Nobody reads this",
    ):
        assert text in asked[0]


def test_a_wrong_reply_is_sent_back_once() -> None:
    proposals, asked = propose(
        "No.", suggest(rules=[1]), suggest(instruction="Help."), "No.", count=2
    )
    assert [one.system for one in proposals] == ["Help."]
    assert "no JSON object" in asked[2]
    assert "valid string" in asked[3]


def test_tool_descriptions_are_parameters_and_their_names_stay() -> None:
    candidate = PromptCandidate("Help.", PromptTemplate(tools={"search": "Search.", "add": "Add."}))
    assert set(slot_nodes(candidate)) == {"instruction", "rules", "tools"}
    changed = with_values(candidate, {"tools": {"search": "Search the web.", "new": "No."}})
    assert changed.template.tools == {"search": "Search the web.", "add": "Add."}


@pytest.mark.parametrize("values", [{}, {"instruction": " Answer. "}])
def test_values_that_change_nothing_are_no_proposal(values: dict[str, Any]) -> None:
    proposals, asked = propose(*3 * [suggest(**values)])
    assert proposals == []
    assert len(asked) == 3, "further batches are tried"


CALLS: Counter[str] = Counter()


def answer_or_suggest(request: Request) -> str:
    """Suggest the rule that the better answers of a trace show, or else answer."""
    CALLS[request.key] += 1
    text = prompt_text(request.messages)
    if "#Variables" in text:
        politer = "Please tell me" in text.split("#Feedback\n")[1]
        return suggest(rules=["Say please."] if politer else ["Be rude."])
    system = " ".join(one.text for one in request.messages if one.role == "system")
    polite = " Please tell me if that helps." if "Say please." in system else ""
    return f"The answer is {text.split()[-1]}.{polite}"


@register_model("answers-and-suggests")
def make_model() -> FunctionModel:
    return FunctionModel(answer_or_suggest, name="answers-and-suggests")


def test_the_method_learns_a_rule_from_edits_and_pays_once(tmp_path: Path) -> None:
    policy = Policy(model=NamedSpec(name="answers-and-suggests"), name="plain")
    options = {"candidates": 4, "examples": 16, "confirmation": 20}
    CALLS.clear()
    with Store(tmp_path / "s.db") as store:
        fill(store, "edit", count=60, rule=None)
        learned = [
            learn("optoprime", policy, store, folder=tmp_path / "run", **options) for _ in range(2)
        ]
    assert learned[0].prompt is not None
    assert learned[0].prompt.rules == ("Say please.",)
    assert learned[0].lineage is not None
    assert learned[0].lineage.method == "optoprime"
    assert learned[1].id == learned[0].id
    assert max(CALLS.values()) == 1
