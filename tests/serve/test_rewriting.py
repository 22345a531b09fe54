"""Completions of policies that rewrite requests."""

from backtalk.decode import Rewrite
from backtalk.models import FunctionModel, register_model
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.store import Store


@register_model("served-rewriter")
def _model():
    def answer(request):
        assert "tools" not in request.options or request.messages[0].role == "user"
        text = request.messages[-1].text
        return f"Sort: {text}" if request.messages[0].role == "system" else f"<{text}>"

    return FunctionModel(answer, name="served-rewriter")


def test_the_record_of_an_answer_holds_the_request_that_the_model_read(gateway):
    decoder = Rewrite(instruction="Rewrite it.")
    policy = Policy(model=NamedSpec(name="served-rewriter"), decoder=decoder)
    with Store(gateway.settings.store, project="lists") as store:
        save_policy(store, policy)
        promote(store, policy, actor="ada")
        body = {
            "model": "backtalk:lists",
            "messages": [{"role": "user", "content": "nut, ant"}],
            "tools": [{"type": "function", "function": {"name": "sort"}}],
        }
        answer = gateway.http.post("/v1/chat/completions", json=body).json()
        assert answer["choices"][0]["message"]["content"] == "<Sort: nut, ant>"
        assert "rewritten_request" not in answer["choices"][0]
        gateway.store.close()
        (case,) = store.cases()
        assert case.interaction.prompt[0].text == "nut, ant"
        (response,) = case.interaction.responses
        assert response.metadata["rewritten_request"] == "Sort: nut, ant"
