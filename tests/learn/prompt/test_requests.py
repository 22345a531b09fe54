"""Method ``rewrite-request``: rewriters are chosen by the answers that follow."""

import pytest

from backtalk.decode import BestOfN, Rewrite
from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Edit, FollowUp, Interaction
from backtalk.learn import TrainingSet, learn
from backtalk.learn.availability import AvailabilityCheck
from backtalk.learn.method import get_method
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.prompt.proposers.rewriting import reformulations
from backtalk.models import FunctionModel, register_model
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, load_policy, save_policy
from backtalk.store import Store

SKILLED = [True]
"""If false, the rewriter copies requests."""


def _answer(request):
    """Rewrite as the demonstrations do; answer complete requests only."""
    text = request.messages[-1].text
    if "ewrite" in request.messages[0].text:
        shown = any(m.role == "assistant" and m.text.startswith("Sort:") for m in request.messages)
        return f"Sort: {text}" if shown and SKILLED[0] else text
    return f"Sorted {text[6:]}." if text.startswith("Sort: ") else "What do you mean?"


@register_model("literal-sorter")
def _model():
    return FunctionModel(_answer, name="literal-sorter")


POLICY = Policy(model=NamedSpec(name="literal-sorter"), name="literal")
OPTIONS = {"candidates": 4, "examples": 12, "confirmation": 20}


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        for number in range(60):
            item = Interaction.of(f"nut{number}", "What do you mean?")
            about = {"interaction": item.id, "annotator": Annotator.human("ada")}
            said = FollowUp(**about, text=f"Sort: nut{number}", act="rephrasing")
            thanks = FollowUp(**about, text="Thank you", act="thanks")
            corrected = Edit(**about, response="0", text=f"Sorted nut{number}.")
            store_items = [said, thanks] if number % 4 == 0 else []
            opened.add(item, corrected, *store_items)
        save_policy(opened, POLICY)
        yield opened
    SKILLED[0] = True


def test_what_users_wrote_instead_teaches_the_rewriter(store):
    learned = learn("rewrite-request", POLICY, store, **OPTIONS)
    decoder = learned.decoder
    assert isinstance(decoder, Rewrite)
    assert all(one.rewritten == f"Sort: {one.request}" for one in decoder.demonstrations)
    answer = load_policy(learned).respond("fig")
    assert answer.text == "Sorted fig."
    assert answer.metadata["rewritten_request"] == "Sort: fig"
    assert learned.prompt is None
    assert learned.lineage.notes["confirmed gain"] > 0.5


def test_a_rewriter_that_copies_is_no_improvement(store):
    SKILLED[0] = False
    with pytest.raises(NoImprovement):
        learn("rewrite-request", POLICY, store, **OPTIONS)


def test_another_policy_rewrites(store):
    learned = learn("rewrite-request", POLICY, store, rewriter="literal", **OPTIONS)
    assert learned.decoder.rewriter == POLICY.model


def test_reformulations_are_follow_ups_that_say_the_request_again(store):
    pairs = reformulations(TrainingSet(store, split="all"))
    assert len(pairs) == 15
    assert all(rewritten == f"Sort: {request}" for request, rewritten in pairs)


def test_a_policy_that_selects_among_samples_is_refused(store):
    policy = Policy(model=POLICY.model, decoder=BestOfN(n=2, reward="r"))
    check = AvailabilityCheck(TrainingSet(store, split="all"), policy)
    reasons = check.availability(get_method("rewrite-request")).reasons
    assert any("draws one sample" in reason for reason in reasons)
    with pytest.raises(BacktalkError):
        learn("rewrite-request", policy, store, **OPTIONS)
