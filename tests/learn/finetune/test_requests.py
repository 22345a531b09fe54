"""Settings of a request, such as tools, are part of the prompts that weights are trained on."""

import pytest

from backtalk.feedback import Annotator, Interaction, Message, Preference
from backtalk.feedback.case import prompt_key
from backtalk.feedback.requests import request_of, requested_prompt, with_request, without_request
from backtalk.feedback.views import Pair
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.tree_builders import pair_trees
from backtalk.models import LocalModel, LocalSpec, Request, Sampling
from backtalk.models.errors import BadRequest
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy
from backtalk.policy.prompt_template import PromptTemplate
from backtalk.run import Run
from backtalk.store import Store
from tests.models import tiny

ADA = Annotator.human("ada")
TEMPLATE = (
    "{% if tools %}tools: {% for tool in tools %}{{ tool.function.name }}"
    "({{ tool.function.description }}){% endfor %}\n{% endif %}"
    "{% if reasoning_effort %}effort {{ reasoning_effort }}\n{% endif %}"
    "{% if response_format %}as {{ response_format.type }}\n{% endif %}"
    "{% if loud %}LOUD\n{% endif %}" + tiny.CHATML
)


def tool(name):
    function = {"name": name, "description": f"does {name}", "parameters": {"type": "object"}}
    return {"type": "function", "function": function}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("models") / "llama", template=TEMPLATE)


def asked_with(**request):
    metadata = {"gateway": {"request": {"temperature": 0.5, **request}}}
    return Interaction.of("Is it open?", "Yes, we open.", "No.").model_copy(
        update={"metadata": metadata}
    )


def shown(folder, interaction):
    chat = LocalModel(folder).chat
    return chat.decode(chat.prompt_tokens(requested_prompt(interaction)))


def test_what_the_gateway_gives_to_the_template_is_in_the_prompt(folder):
    assert "tools: time(does time)" in shown(folder, asked_with(tools=[tool("time")]))
    assert "effort low" in shown(folder, asked_with(reasoning_effort="low"))
    assert "effort high" in shown(folder, asked_with(reasoning={"effort": "high"}))
    assert "LOUD" in shown(folder, asked_with(chat_template_kwargs={"loud": True}))
    assert "as json_object" in shown(folder, asked_with(response_format={"type": "json_object"}))
    functions = [tool("date")["function"]]
    assert "date(does date)" in shown(folder, asked_with(functions=functions))
    imported = Interaction.of("Is it open?").model_copy(update={"metadata": {"tools": [tool("t")]}})
    assert "t(does t)" in shown(folder, imported)
    assert shown(folder, asked_with()) == shown(folder, Interaction.of("Is it open?"))
    refused = asked_with(chat_template_kwargs={"tokenize": False})
    with pytest.raises(BadRequest, match="'tokenize' in chat_template_kwargs"):
        shown(folder, refused)


def test_training_reads_the_tools_that_the_sampler_read(folder, tmp_path):
    with Store(tmp_path / "feedback.db") as store:
        for name in ("time", "date"):
            interaction = asked_with(tools=[tool(name)])
            store.add(
                interaction,
                Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict="a"),
            )
        feedback = TrainingSet(store, split="all").plain_texts()
        model, policy = LocalModel(folder), Policy(model=LocalSpec(model=folder))
        trees = pair_trees(Encoder(model.chat), feedback.views(Pair))
        assert len(trees) == 2
        for tree, name in zip(trees, ("time", "date"), strict=True):
            message = Message.user("Is it open?")
            assert list(tree.prompt) == model.chat.prompt_tokens([message], tools=[tool(name)])
            assert f"does {name}" in model.chat.decode(tree.prompt)
        prompts = feedback.prompts()
        requests = [Request(messages=prompt, sampling=Sampling(max_tokens=2)) for prompt in prompts]
        used = [one.usage.prompt_tokens for one in run_sync(model.generate(requests))]
        assert sorted(used) == sorted(len(tree.prompt) for tree in trees)
        context = MethodContext(policy, feedback, Run(seed=0))
        assert len(run_sync(context.sample(prompts, 2, sampling=Sampling(max_tokens=40)))) == 2
        scores = run_sync(model.score([(prompt, "Yes.") for prompt in prompts]))
        assert scores[0].tolist() != scores[1].tolist()
        options = {"max_steps": 1, "batch_size": 2}
        assert run_sync(get_method("dpo").learn(policy, feedback, Run(seed=0), **options)).id
        assert len(set(map(prompt_key, prompts))) == 2
        assert len(feedback.limited(1).prompts()) == 2  # one stored prompt
        assert len(feedback.first(1, needs=[Pair]).views(Pair)) == 2


def test_a_policy_describes_the_tools_of_the_prompts_that_it_is_trained_on(folder):
    template = PromptTemplate(tools={"time": "tells the time"})
    policy = Policy(model=LocalSpec(model=folder), prompt=template)
    prompt = policy.messages(requested_prompt(asked_with(tools=[tool("time"), tool("date")])))
    chat = LocalModel(folder).chat
    text = chat.decode(chat.prompt_tokens(prompt))
    assert "time(tells the time)date(does date)" in text


def test_settings_stay_with_the_prompt_and_out_of_what_is_stored_and_sent():
    prompt = with_request((Message.user("Hi"),), {"tools": [tool("time")]})
    assert request_of(Policy(model=LocalSpec(model="m"), system="Be brief.").messages(prompt))
    assert "request" not in prompt[-1].to_dict()
    assert without_request(prompt) == (Message.user("Hi"),)
    assert prompt_key(without_request(prompt)) == prompt_key((Message.user("Hi"),))
    assert prompt_key(prompt) != prompt_key(without_request(prompt))
    assert request_of(Pair(prompt=prompt, chosen="a", rejected="b").prompt)


@pytest.mark.parametrize(
    "message",
    [
        Message(role="user", content=({"type": "text", "text": "How?"},)),
        Message(role="assistant", content=None, tool_calls=({"id": "c", "function": {"x": [1]}},)),
        Message(role="tool", content=({"type": "text", "text": "1"},), tool_call_id="c"),
    ],
)
def test_every_prompt_can_be_a_key(message):
    again = Message.model_validate(message.to_dict())
    assert {(message,): 1}[(again,)] == 1


@pytest.mark.parametrize("name", ["dpo", "sft", "kto", "inpo", "orpo"])
def test_prompts_of_parts_and_tool_calls_are_trained_on(name, folder, tmp_path):
    from backtalk.feedback import Label

    call = {"id": "c", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    with Store(tmp_path / "feedback.db") as store:
        for i in range(3):
            interaction = Interaction.of(
                [
                    Message(role="user", content=({"type": "text", "text": f"Open, {i}?"},)),
                    Message(role="assistant", content="", tool_calls=(call,)),
                    Message(role="tool", content="nine", tool_call_id="c"),
                ],
                "Yes, we open.", "No.",
            )  # fmt: skip
            by = {"interaction": interaction.id, "annotator": ADA}
            store.add(
                interaction,
                Preference(**by, a="0", b="1", verdict="a"),
                Label(**by, response="0", good=True),
                Label(**by, response="1", good=False),
            )
        policy = Policy(model=LocalSpec(model=folder))
        feedback = TrainingSet(store, split="all")
        learned = get_method(name).learn(policy, feedback, Run(seed=0), max_steps=1, batch_size=2)
        assert run_sync(learned).id
