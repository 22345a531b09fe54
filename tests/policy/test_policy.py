"""Policies are plain text, their id is the hash of their recipe, and they answer prompts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.decode import BestOfN, Sample
from backtalk.errors import NotFound, RecordError, UnknownName
from backtalk.feedback import Message, Snapshot
from backtalk.feedback.record import now
from backtalk.memory import MemorySpec
from backtalk.models import FunctionModel, Sampling, register_model
from backtalk.models.spec import EndpointSpec, LocalSpec, NamedSpec, ReplaySpec
from backtalk.policy import Lineage, Policy, PromptTemplate, diff, load_policy

words = st.text("abc é\n:#'\"", min_size=1, max_size=12).filter(str.strip)
models = st.one_of(
    st.builds(EndpointSpec, model=words, base_url=st.sampled_from([None, "http://host/v1"])),
    st.builds(LocalSpec, model=words),
    st.builds(NamedSpec, name=words, options=st.dictionaries(words, st.integers(), max_size=2)),
    st.builds(ReplaySpec, artifact=words, order=st.sampled_from(["recorded", "shuffled"])),
)
samplings = st.builds(
    Sampling, temperature=st.floats(0, 2), max_tokens=st.integers(1, 100), stop=st.just(("x",))
)
decoders = st.one_of(
    st.builds(Sample, sampling=samplings),
    st.builds(BestOfN, n=st.integers(1, 9), reward=words, sampling=samplings),
)
templates = st.builds(
    PromptTemplate,
    rules=st.lists(words, max_size=2).map(tuple),
    tools=st.dictionaries(words, words, max_size=1),
)
memories = st.builds(MemorySpec, revision=st.integers(0, 9), limit=st.integers(1, 9))
policies = st.builds(
    Policy,
    model=models,
    system=st.none() | words,
    prompt=st.none() | templates,
    memory=st.none() | memories,
    decoder=decoders,
)
PLAIN = Policy(model=NamedSpec(name="writer"), name="plain")


@given(policies)
def test_a_policy_is_the_same_after_yaml_and_json(policy):
    assert Policy.from_yaml(policy.to_yaml()) == policy
    assert Policy.from_yaml(policy.to_json()) == policy
    assert Policy.from_yaml(policy.to_yaml()).id == policy.id


@given(policies, policies)
def test_the_id_is_the_recipe(policy_a, policy_b):
    renamed = policy_a.named("another").derive(lineage=Lineage(method="x", seed=3))
    assert renamed.id == policy_a.id
    recipe = ("model", "system", "prompt", "memory", "decoder")
    same = all(getattr(policy_a, name) == getattr(policy_b, name) for name in recipe)
    assert (policy_a.id == policy_b.id) == same
    assert bool(diff(policy_a, policy_b)) != same


def test_a_recipe_that_was_changed_under_its_id_is_refused():
    text = PLAIN.to_yaml().replace("sampling: {}", "sampling: {temperature: 0.5}")
    assert text != PLAIN.to_yaml()
    with pytest.raises(RecordError, match="id: the recipe was changed"):
        Policy.from_yaml(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model: {kind: named, name: x}\ncolour: red", "colour"),
        ("model: {kind: magic}", "magic"),
        ("system: x", "model"),
        ("name: two words\nmodel: {kind: named, name: x}", "name"),
        ("[1]", "not a mapping"),
        ("{", "not YAML"),
    ],
)
def test_invalid_policies_are_rejected_by_field(text, reason):
    with pytest.raises(RecordError, match=reason):
        Policy.from_yaml(text)


def test_a_policy_knows_where_it_comes_from():
    snapshot = Snapshot(project="p", split="train", counts={"label": 3}, digest="d", last=3)
    lineage = Lineage(method="m", parent=PLAIN.id, seed=1, snapshot=snapshot, time=now())
    child = PLAIN.derive(system="Be brief.", lineage=lineage)
    back = Policy.from_yaml(child.to_yaml())
    assert back.lineage == lineage
    assert (child.name, child.model, child.system) == (None, PLAIN.model, "Be brief.")


def test_differences_are_sentences():
    instructed = PLAIN.derive(system="Be brief.\nBe kind.", lineage=Lineage(method="x"))
    changed = instructed.derive(
        system="Be kind.",
        decoder=BestOfN(n=4, reward="r"),
        model=NamedSpec(name="writer", options={"slips": 1.0}),
        lineage=Lineage(method="x"),
    )
    sentences = " ".join(diff(instructed, changed))
    for part in ("Be brief.", "the best of 4 samples by the reward r instead of one", "slips"):
        assert part in sentences
    assert diff(instructed, instructed) == []


def test_a_policy_answers():
    @register_model("of-the-policy-test")
    def echo(*, loud: bool = False):
        def say(request):
            text = " / ".join(f"{m.role}: {m.text}" for m in request.messages)
            return text.upper() if loud else text

        return FunctionModel(say, name="echo")

    spec = NamedSpec(name="of-the-policy-test", options={"loud": True})
    policy = Policy(model=spec, system="Be brief.")
    response = load_policy(policy).respond("Open?")
    assert response.text == "SYSTEM: BE BRIEF. / USER: OPEN?"
    assert (response.policy, response.model, response.sample) == (policy.id, "echo", 0)
    assert load_policy(policy).respond([Message.user("Open?")]).text == response.text


def test_missing_artifacts_and_models_are_named():
    best = PLAIN.derive(decoder=BestOfN(n=2, reward="abc"), lineage=Lineage(method="x"))
    with pytest.raises(NotFound, match=r"abc.*store\.artifacts"):
        load_policy(best)
    with pytest.raises(UnknownName, match="writer"):
        load_policy(Policy(model=NamedSpec(name="nobody")))


def test_a_policy_is_json_without_secrets(monkeypatch):
    monkeypatch.setenv("MY_KEY", "very-secret")
    spec = EndpointSpec(model="m", api_key_env="MY_KEY")
    assert "very-secret" not in Policy(model=spec).to_json()
    assert json.loads(Policy(model=spec).to_json())["model"]["api_key_env"] == "MY_KEY"
