"""Policies with prompt templates and memories: what their models read, and what they record."""

import jsonschema
import numpy as np
import pytest
import yaml

from backtalk.api import evaluate
from backtalk.cli import main
from backtalk.errors import BacktalkError, NotFound, RecordError
from backtalk.feedback import Interaction, Message, Scope, as_prompt
from backtalk.learn.context import MethodContext
from backtalk.learn.online.samplers import sample_responses
from backtalk.learn.training_set import TrainingSet
from backtalk.memory import Memory, MemoryEntry, MemorySpec
from backtalk.models import FunctionModel, Request, register_model
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import EndpointSpec, NamedSpec
from backtalk.policy import Example, Policy, PromptTemplate, load_policy
from backtalk.policy.described_tools import DescribedTools
from backtalk.policy.export.notes import policy_notes
from backtalk.policy.schema import policy_schema
from backtalk.rewards import Scores
from backtalk.run import Run
from backtalk.store import Store

TEMPLATE = PromptTemplate(
    rules=("Answer in one sentence.",),
    demonstrations=(Example(prompt=as_prompt("Open?"), answer="At nine."),),
    tools={"find": "Find a shop."},
)


def _read(request):
    return " / ".join(f"{message.role}: {message.text}" for message in request.messages)


@register_model("policy-memory-test")
def _echo():
    return FunctionModel(_read, name="echo")


PLAIN = Policy(model=NamedSpec(name="policy-memory-test"), system="Be polite.", name="plain")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store.db") as db:
        yield db


@pytest.fixture
def policy(store):
    revision = Memory(store).add(
        [
            MemoryEntry(id="metric", kind="fact", text="Metric.", scope=Scope(users=("ann",))),
            MemoryEntry(
                id="brief", kind="instruction", text="Be brief.", scope=Scope(where="about cats")
            ),
        ]
    )
    return PLAIN.model_copy(update={"memory": MemorySpec(revision=revision)})


def test_a_response_records_the_prompt_and_the_entries_that_the_model_read(store, policy):
    loaded = load_policy(policy, store.artifacts, store=store)
    response = loaded.respond("A poem about cats", user="ann")
    assert response.text.startswith("system: Be polite.\n\nMetric.\nBe brief. / user: A poem")
    assert [use.entry for use in response.memory] == ["metric", "brief"]
    assert all(use.shown and use.propensity == 1 for use in response.memory)
    assert response.prompt_version == policy.prompt_version
    assert loaded.respond("A poem about dogs").memory == ()


def test_withheld_entries_are_recorded_and_not_read(store, policy):
    spec = policy.memory.model_copy(update={"withhold": 0.5})
    loaded = load_policy(policy.model_copy(update={"memory": spec}), store.artifacts, store=store)
    prompts = [as_prompt(f"Poem {number}") for number in range(40)]
    outputs = run_sync(loaded.decode(prompts, users=["ann"] * 40, explore=True))
    shown = [output.memory[0].shown for output in outputs]
    assert 8 < sum(shown) < 32
    assert shown == ["Metric." in output.answer.text for output in outputs]
    assert {output.memory[0].propensity for output in outputs} == {0.5}


def test_rules_and_demonstrations_of_a_template_are_read():
    policy = Policy(model=PLAIN.model, prompt=TEMPLATE)
    response = load_policy(policy).respond("When do you close?")
    assert response.text == (
        "system: Answer in one sentence. / user: Open? / assistant: At nine. / "
        "user: When do you close?"
    )
    assert response.prompt_version == policy.prompt_version is not None


def test_descriptions_of_tools_replace_those_of_the_request():
    seen = []
    model = DescribedTools(
        FunctionModel(lambda request: seen.append(request.options) or "", name="tools"), TEMPLATE
    )
    tools = [
        {"type": "function", "function": {"name": name, "description": "old"}}
        for name in ("find", "other")
    ]
    run_sync(model.generate([Request(messages=as_prompt("?"), options={"tools": tools})]))
    described = [tool["function"]["description"] for tool in seen[0]["tools"]]
    assert described == ["Find a shop.", "old"]
    assert isinstance(load_policy(Policy(model=PLAIN.model, prompt=TEMPLATE)).model, DescribedTools)


def test_a_policy_with_a_memory_needs_its_store(policy):
    with pytest.raises(NotFound, match="store=store"):
        load_policy(policy)


def test_messages_without_the_recalled_entries_are_refused(policy):
    with pytest.raises(BacktalkError, match="entries of the memory 'memory'"):
        policy.messages("Hello")
    assert policy.messages("Hello", remembered=())[-1] == Message.user("Hello")


def test_methods_sample_what_is_served(store, policy):
    prompt = as_prompt("A poem about cats")
    store.add(Interaction(prompt=prompt, user="ann"))
    served = load_policy(policy, store.artifacts, store=store).respond(
        "A poem about cats", user="ann"
    )
    with Run() as run:
        context = MethodContext(policy, TrainingSet(store, split="all"), run)
        assert run_sync(context.sample([prompt], 1)) == [[served.text]]
    ((response,),) = run_sync(
        sample_responses(
            [(prompt, [policy])],
            load=lambda one: load_policy(one, store.artifacts, store=store, prompts=[prompt]),
            seed=0,
        )
    )
    assert (response.text, response.memory) == (served.text, served.memory)


def test_an_evaluation_answers_as_for_the_user_who_asked(store, policy):
    prompts = [as_prompt(f"Poem {number} about cats") for number in range(6)]
    store.add(*(Interaction(prompt=prompt, user="ann") for prompt in prompts))
    loaded = load_policy(policy, store.artifacts, store=store, prompts=prompts)
    outputs = run_sync(loaded.decode(prompts))
    assert all("Metric." in output.answer.text for output in outputs)
    result = evaluate(policy, PLAIN, store, judge=MentionsMetric(), prompts=prompts, split="all")
    assert result.win_rate.value == 1


class MentionsMetric:
    """Reward of answers that mention the metric system."""

    name = "metric"
    bounds = (0.0, 1.0)

    async def score(self, answers):
        return Scores(np.array([float("Metric." in text) for _, text in answers]))


YAML = "model: {kind: endpoint, model: m}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prompt: Be brief.", "should be a mapping such as {rules: [Be brief.]}"),
        ("prompt: Be brief.", "a text belongs in system"),
        ("prompt: {rule: [a]}", "did you mean rules?"),
        ("rules: [a]", "did you mean prompt.rules?"),
        ("prompt: {demonstrations: [{prompt: a}]}", "prompt.demonstrations.0.answer"),
        ("memory: {limit: 3}", "memory.revision (line 2): required"),
        ("memory: {revision: 1, limt: 3}", "memory.limt (line 2): unknown field (did you mean"),
        ("memory: {revision: 1, withhold: 0.9}", "less than or equal to 0.5"),
        ("memory: {revision: 1, unsure: maybe}", "'omit' or 'show'"),
    ],
)
def test_wrong_fields_of_prompts_and_memories_are_named(text, problem):
    with pytest.raises(RecordError) as raised:
        Policy.from_yaml(YAML + text)
    assert problem in str(raised.value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(YAML + text), policy_schema())


def test_the_schema_accepts_prompts_and_memories():
    policy = Policy(
        model=EndpointSpec(model="m"), prompt=TEMPLATE, memory=MemorySpec(revision=3, limit=2)
    )
    jsonschema.validate(yaml.safe_load(policy.to_yaml()), policy_schema())
    assert Policy.from_yaml(policy.to_yaml()) == policy


def test_an_export_says_what_it_leaves_out():
    policy = Policy(model=PLAIN.model, prompt=TEMPLATE, memory=MemorySpec(revision=3))
    notes = " ".join(policy_notes(policy))
    for part in ("Answer in one sentence.", "1 demonstration", "find", "memory"):
        assert part in notes


def test_a_policy_with_a_revision_that_does_not_exist_is_not_added(tmp_path, capsys):
    file = tmp_path / "policy.yaml"
    file.write_text(YAML + "memory: {revision: 12}")
    store = ["--store", str(tmp_path / "store.db")]
    assert main(["policy", "add", str(file), *store]) == 1
    assert "has no revision 12, its last one is 0" in capsys.readouterr().err
    file.write_text(YAML + "memory: {revision: 0, embedder: hashd}")
    assert main(["policy", "add", str(file), *store]) == 1
    assert "hashed" in capsys.readouterr().err
