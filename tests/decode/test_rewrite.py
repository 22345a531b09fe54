"""Rewriting of requests before they are answered."""

import pytest

from backtalk.decode import Rewrite, RewrittenRequest
from backtalk.feedback import Message, as_prompt
from backtalk.models import Completion, FunctionModel, Sampling, Usage, register_model
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, load_policy
from backtalk.policy.field_errors import read_policy_yaml
from backtalk.run import Run
from backtalk.testing import DecoderLaws

REQUESTS = []


def _rewrite_or_answer(request):
    """Complete a request if told to rewrite, and answer it otherwise."""
    REQUESTS.append(request)
    text = request.messages[-1].text
    if request.messages[0].text.startswith("Rewrite"):
        finish = "length" if text == "endless" else "stop"
        reply = {"nothing": "", "same": "same"}.get(text, f"Sort by the alphabet: {text}.")
        return Completion(text=reply, finish_reason=finish, usage=Usage(1, 5, 5), model="both")
    return Completion(text=f"<{text}>", usage=Usage(1, 2, 2), model="both")


@register_model("rewrite-or-answer")
def _model(name: str = "both"):
    return FunctionModel(_rewrite_or_answer, name=name)


POLICY = Policy(
    model=NamedSpec(name="rewrite-or-answer"),
    system="You sort.",
    decoder=Rewrite(
        instruction="Rewrite it.",
        demonstrations=(RewrittenRequest(request="fig", rewritten="Sort: fig."),),
        sampling=Sampling(max_tokens=9),
    ),
)


@pytest.fixture(autouse=True)
def _no_requests():
    REQUESTS.clear()


class TestRewrite(DecoderLaws):
    def decoder(self):
        return POLICY.decoder


def test_the_rewritten_request_is_answered_and_recorded():
    response = load_policy(POLICY).respond("nut, ant")
    assert response.text == "<Sort by the alphabet: nut, ant.>"
    assert response.metadata == {"rewritten_request": "Sort by the alphabet: nut, ant."}
    rewriting, answering = REQUESTS
    assert [message.text for message in rewriting.messages] == [
        "Rewrite it.",
        "fig",
        "Sort: fig.",
        "nut, ant",
    ]
    assert [message.text for message in answering.messages] == [
        "You sort.",
        "Sort by the alphabet: nut, ant.",
    ]
    assert (rewriting.options, answering.options, answering.sampling.max_tokens) == ({}, {}, 9)


@pytest.mark.parametrize("text", ["nothing", "same", "endless"])
def test_a_request_that_is_not_rewritten_is_answered_as_it_is(text):
    response = load_policy(POLICY).respond(text)
    assert (response.text, response.metadata) == (f"<{text}>", {})


def test_only_the_last_text_of_the_user_is_rewritten():
    tool = (Message.user("nut"), Message(role="tool", content="1", tool_call_id="c"))
    image = (Message(role="user", content=({"type": "image_url", "image_url": {"url": "x"}},)),)
    talk = (Message.user("nut"), Message.assistant("ant?"), Message.user("both"))
    outputs = run_sync(load_policy(POLICY).decode([tool, image, talk]))
    assert [output.rewritten_request for output in outputs[:2]] == [None, None]
    shown = next(r for r in REQUESTS if r.messages[0].text == "Rewrite it.")
    assert "user: nut\nassistant: ant?" in shown.messages[-1].text
    assert outputs[2].rewritten_request.startswith("Sort by the alphabet")


def test_another_model_rewrites_and_both_are_cached_and_paid(tmp_path):
    other = NamedSpec(name="rewrite-or-answer", options={"name": "other"})
    decoder = POLICY.decoder.model_copy(update={"rewriter": other})
    policy = POLICY.model_copy(update={"decoder": decoder})
    with Run(seed=0, folder=tmp_path / "run") as run:
        loaded = load_policy(policy, wrap=run.wrap)
        assert "other" in loaded.model.identity
        (first,) = run_sync(loaded.decode([as_prompt("nut")]))
        assert first.usage == Usage(2, 7, 7, first.usage.seconds)
        run_sync(loaded.decode([as_prompt("nut")]))
        assert len(REQUESTS) == 2, "neither call is repeated"


def test_a_policy_with_a_rewriter_is_read_from_yaml_again():
    again = Policy.from_yaml(POLICY.to_yaml())
    assert (again.id, again.decoder) == (POLICY.id, POLICY.decoder)
    text = POLICY.to_yaml().replace("rewriting:", "rewritings:")
    with pytest.raises(Exception, match="rewritings"):
        read_policy_yaml(text.replace(f"id: {POLICY.id}\n", ""))
