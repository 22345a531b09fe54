"""Models, rewards, decoders and embedders of an installed package: the examples in the docs."""

import asyncio
import json
import re
import tomllib

import numpy as np
import pytest

from backtalk.decode import BestOfN, Sample, get_decoder
from backtalk.decode.base import DECODERS
from backtalk.embedders.registry import EMBEDDERS, get_embedder
from backtalk.errors import RecordError, UnknownName
from backtalk.experiments.off_policy import estimate_policy
from backtalk.feedback import Annotator, Interaction, Label, Response, as_prompt
from backtalk.models import EndpointSpec, FunctionModel, NamedSpec, Sampling, register_model
from backtalk.models.registry import MODELS
from backtalk.policy import LoadedPolicy, Policy, load_policy, save_policy
from backtalk.promotion import promote
from backtalk.rewards import get_reward
from backtalk.rewards.registry import REWARDS
from backtalk.store import Store
from backtalk.testing import check_decoder, check_embedder, check_reward
from tests.conftest import REPOSITORY
from tests.installed_package import installed_package
from tests.serve.conftest import *  # noqa: F403 - the fixtures of the gateway

BLOCK = re.compile(r"^```(python|toml)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def package(tmp_path):
    page = (REPOSITORY / "docs" / "models.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(page.partition("## Plug-ins")[2])
    source = "\n".join(text for language, text in blocks if language == "python")
    (toml,) = (text for language, text in blocks if language == "toml")
    entry_points = tomllib.loads(toml)["project"]["entry-points"]
    with installed_package(tmp_path / "site", "my_package", source, entry_points):
        yield
    for registry, name in (
        (MODELS, "parrot"),
        (REWARDS, "brevity"),
        (DECODERS, "shortest"),
        (EMBEDDERS, "letters"),
    ):
        registry.unregister(name)


def make_policy(**changes):
    fields = {
        "model": {"kind": "named", "name": "parrot"},
        "decoder": {"kind": "shortest", "n": 3},
        "system": "Be brief.",
    }
    return Policy.model_validate({**fields, **changes})


@register_model("word-by-sample")
def word_by_sample():
    return FunctionModel(
        lambda request: "abc"[: 3 - request.sample_index % 3], name="word-by-sample"
    )


def test_a_model_of_a_package_answers_a_policy(package):
    model = NamedSpec(name="parrot", options={"suffix": "!"})
    assert load_policy(Policy(model=model)).respond("Hello").text == "Hello!"
    with pytest.raises(UnknownName, match="suffix"):
        load_policy(Policy(model=NamedSpec(name="parrot", options={"prefix": "!"})))


def test_a_reward_of_a_package_is_a_judge(package):
    scores = asyncio.run(get_reward("brevity").score([(as_prompt("?"), "abc")]))
    assert scores.mean.tolist() == [-3.0]
    check_reward(get_reward("brevity"), [(as_prompt("?"), text) for text in ("abc", "", "z")])


def test_an_embedder_of_a_package_obeys_the_laws(package):
    embedder = get_embedder("letters", ["abba"])
    assert asyncio.run(embedder.embed(["abba"]))[0, :3].tolist() == [2, 2, 0]
    check_embedder(embedder, ["abba", "", "Zebra"])


def test_a_decoder_of_a_package_survives_json_and_yaml(package):
    policy = make_policy()
    assert type(policy.decoder) is get_decoder("shortest")
    assert policy.decoder.to_dict()["n"] == 3
    for copy in (
        Policy.from_yaml(policy.to_yaml()),
        Policy.model_validate_json(policy.to_json()),
        Policy.model_validate(policy.to_dict()),
    ):
        assert copy == policy
        assert copy.id == policy.id
    assert make_policy(decoder={"kind": "shortest", "n": 4}).id != policy.id


def test_a_decoder_of_a_package_answers(package):
    policy = make_policy(model={"kind": "named", "name": "word-by-sample"}, system=None)
    (output,) = asyncio.run(load_policy(policy).decode([as_prompt("?")]))
    assert [c.text for c in output.candidates] == ["abc", "ab", "a"]
    assert output.answer.text == "a"
    check_decoder(policy.decoder, word_by_sample, [as_prompt("a"), as_prompt("b")])


def test_a_decoder_of_a_package_answers_in_the_gateway(package, gateway):
    policy = make_policy(model={"kind": "named", "name": "word-by-sample"}, system=None)
    with Store(gateway.settings.store, project="mail") as store:
        save_policy(store, policy)
        promote(store, policy, actor="ada")
        answer = gateway.chat("Hello", model="backtalk:mail")
        assert answer.json()["choices"][0]["message"]["content"] == "a"
        assert answer.headers["x-backtalk-policy"] == policy.id


def test_a_decoder_of_a_package_is_never_bypassed_by_forwarding(package):
    endpoint = EndpointSpec(model="small", base_url="http://localhost:1/v1")
    assert Policy(model=endpoint).decoder.is_single_sample
    assert not make_policy(model=endpoint).decoder.is_single_sample


def test_the_value_of_a_policy_is_estimated_by_what_its_decoder_selects(package, tmp_path):
    texts = ("Yes.", "No, not today, I am afraid.", "We open at nine!")
    rng = np.random.default_rng(1)
    ada = Annotator.human("ada")
    logging, target = make_policy(system="logging"), make_policy(system="target")
    with Store(tmp_path / "log.db") as store:
        for number in range(300):
            index = int(rng.choice(3, p=(0.4, 0.3, 0.3)))
            interaction = Interaction(
                id=f"interaction {number}",
                prompt=as_prompt("Is it open?"),
                responses=tuple(
                    Response(id=str(i), text=text, propensity=p if i == index else None)
                    for i, (text, p) in enumerate(zip(texts, (0.4, 0.3, 0.3), strict=True))
                ),
                shown=(str(index),),
                policy=logging.id,
            )
            good = bool(rng.random() < (0.8, 0.5, 0.2)[index])
            label = Label(interaction=interaction.id, annotator=ada, response=str(index), good=good)
            store.add(interaction, label)
        loaded = LoadedPolicy(target, word_by_sample(), {})
        result = estimate_policy(store, target, load=lambda: loaded)
    for value in result.estimates:
        assert not value.estimate.excludes(0.8)
        assert value.estimate.width < 0.35


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(
        ValueError, match=r"no decoder 'shortst'.*Known: best_of_n, rewrite, sample"
    ):
        Policy.model_validate({"model": NamedSpec(name="x"), "decoder": {"kind": "shortst"}})
    with pytest.raises(RecordError, match="best_of_n, rewrite, sample"):
        Policy.from_yaml("{model: {kind: named, name: x}, decoder: {n: 3}}")
    with pytest.raises(RecordError, match=r"decoder\.n \(line 1\): .*greater"):
        Policy.from_yaml(
            "{model: {kind: named, name: x}, decoder: {kind: best_of_n, n: 0, reward: r}}"
        )


def test_built_in_decoders_keep_their_json_and_the_ids_of_their_policies():
    model = NamedSpec(name="small", options={"world": "mail"})
    explicit = Sampling(temperature=1, top_p=1, max_tokens=512)
    sampling = '{"temperature":1.0,"top_p":1.0,"max_tokens":512}'
    for decoder, text, policy_id in (
        (
            Sample(sampling=explicit),
            f'{{"kind":"sample","sampling":{sampling}}}',
            "9e00e430fcb41bf35fe8e5dee0f33e64",
        ),
        (
            BestOfN(n=4, reward="r", sampling=explicit),
            f'{{"kind":"best_of_n","n":4,"reward":"r","pessimism":0.0,"sampling":{sampling}}}',
            "9b8c78478c2e2fbb2b3d9215880bc29c",
        ),
    ):
        policy = Policy(model=model, decoder=decoder)
        assert decoder.to_json() == text
        assert json.dumps(policy.to_dict()["decoder"], separators=(",", ":")) == text
        assert policy.id == policy_id
