"""YAML of policies: the schema, errors in fields, and the tables of the documentation."""

import json

import jsonschema
import pytest
import yaml

from backtalk.cli import main
from backtalk.decode import BestOfN, Sample
from backtalk.errors import RecordError
from backtalk.models import EndpointSpec, LocalSpec, NamedSpec, Sampling
from backtalk.policy import Lineage, Policy, diff
from backtalk.policy.schema import field_tables, policy_schema
from tests.conftest import REPOSITORY

ENDPOINT = "model: {kind: endpoint, model: small}\n"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            "model:\n  kind: endpoint\n  models: x",
            ["model.models (line 3): unknown field (did you mean model?)"],
        ),
        (ENDPOINT + "sytem: a", ["sytem (line 2): unknown field (did you mean system?)"]),
        (ENDPOINT + "instructions: a", ["did you mean system?"]),
        (ENDPOINT + "temperature: 1", ["did you mean decoder.sampling.temperature?"]),
        (
            ENDPOINT + "colour: red",
            ["unknown field; the fields here are model, system, prompt, memory"],
        ),
        ("model: {kind: endpoint, model: m, api_key: sk-1}", ["did you mean api_key_env?"]),
        (
            "model: {kind: endpoint, model: m, timeout: soon}",
            ["model.timeout (line 1): should be a valid number, not 'soon'"],
        ),
        ("model: {kind: endpiont, model: m}", ["model.kind", "Did you mean 'endpoint'?"]),
        ("model: {model: m}", ["model.kind (line 1): required: endpoint, local"]),
        ("model: gpt", ["model (line 1): should be a mapping such as {kind: endpoint"]),
        ("system: a", ["model: required"]),
        (
            "model: {kind: mixture, weights: [1], models: [{kind: local, modle: x}]}",
            ["model.models.0.modle (line 1): unknown field (did you mean model?)"],
        ),
        (ENDPOINT + "decoder: {kind: sampel}", ["decoder.kind (line 2)", "Did you mean 'sample'?"]),
        (ENDPOINT + "decoder: sample", ["such as {kind: sample}"]),
        (
            ENDPOINT + "decoder:\n  kind: best_of_n\n  n: many\n  rewards: x\n"
            "  sampling:\n    temprature: 1\n    top_p: 3",
            [
                "decoder.n (line 4): should be a valid integer, not 'many'",
                "decoder.rewards (line 5): unknown field (did you mean reward?)",
                "decoder.sampling.temprature (line 7): unknown field (did you mean temperature?)",
                "decoder.sampling.top_p (line 8): should be less than or equal to 1, not 3",
            ],
        ),
        (ENDPOINT + "system: a\nsystem: b", ["system: the field stands twice, in lines 2 and 3"]),
        (
            '{"model": {"kind": "endpoint", "model": "m"},\n "sistem": "a"}',
            ["sistem (line 2)", "system?"],
        ),
        (ENDPOINT + "sytem: a\nnane: b", ["sytem (line 2)", "nane (line 3)"]),
    ],
)
def test_all_wrong_fields_are_named_with_their_lines_and_the_right_ones(text, problems):
    with pytest.raises(RecordError) as raised:
        Policy.from_yaml(text)
    for problem in problems:
        assert problem in str(raised.value)
    assert "sk-1" not in str(raised.value)


VALID = [
    Policy(model=EndpointSpec(model="m", base_url="http://localhost:1/v1", timeout=3.0)),
    Policy(model=LocalSpec(model="m", adapters=("a",)), system="Be brief.", name="brief"),
    Policy(
        model=NamedSpec(name="m", options={"world": "mail"}),
        decoder=BestOfN(n=2, reward="r", sampling=Sampling(temperature=0.5, stop=("END",))),
        lineage=Lineage(method="best-of-n", parent="p", options={"n": 2}, seed=1),
    ),
]


@pytest.mark.parametrize("policy", VALID, ids=["endpoint", "local", "best-of-n"])
def test_the_schema_accepts_what_policies_write(policy):
    jsonschema.validate(yaml.safe_load(policy.to_yaml()), policy_schema())


@pytest.mark.parametrize(
    "text",
    [
        "model: {kind: endpoint, models: x}",
        "model: {model: x}",
        "system: a",
        ENDPOINT + "decoder: {kind: sample, sampling: {temperature: hot}}",
        ENDPOINT + "decoder: {kind: best_of_n, n: 0, reward: r}",
        ENDPOINT + "decoder: {kind: none}",
        ENDPOINT + "sytem: a",
    ],
)
def test_the_schema_rejects_what_cannot_be_read(text):
    with pytest.raises(RecordError):
        Policy.from_yaml(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), policy_schema())


def test_the_command_prints_the_schema(capsys):
    assert main(["schema", "policy"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json.loads(json.dumps(policy_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)


def test_every_field_of_every_part_is_described_in_the_documentation():
    page = (REPOSITORY / "docs" / "policies.md").read_text(encoding="utf-8")
    for part, rows in field_tables():
        table = "\n".join(f"| `{name}` | {kind} | {text} |" for name, kind, text in rows)
        assert table in page, f"run scripts/write_policy_fields.py: {part} is not up to date"


@pytest.mark.parametrize(
    ("before", "after", "sentences"),
    [
        (
            {},
            {"decoder": BestOfN(n=16, reward="0123456789abcdef")},
            [
                (
                    "Answers come from the best of 16 samples by the reward 01234567 instead of "
                    "one sample"
                )
            ],
        ),
        (
            {},
            {"decoder": Sample(sampling=Sampling(temperature=0.7, max_tokens=50, stop=("END",)))},
            [
                "Temperature 0.7 instead of the server's default",
                "Token limit 50 instead of the server's default",
                'Stop texts "END" instead of none',
            ],
        ),
        (
            {"model": LocalSpec(model="m")},
            {
                "model": LocalSpec(model="m", adapters=("0123456789abcdef",)),
                "decoder": Sample(sampling=Sampling(temperature=0)),
            },
            [
                (
                    "Answers come from the local model m with the adapter 01234567 instead of the "
                    "local model m"
                ),
                "Temperature 0 instead of the default 1",
            ],
        ),
        (
            {},
            {"model": EndpointSpec(model="m", base_url="http://localhost:8000/v1", timeout=5.0)},
            [
                (
                    "Answers come from the model m at localhost:8000 instead of the model m at the "
                    "default address"
                ),
                "The model's timeout is 5.0 instead of the default",
            ],
        ),
        (
            {"system": "Be kind.\nSay hello.\nBe long."},
            {"system": "Be kind.\nBe brief.\nSay hello."},
            [
                'The system prompt gains "Be brief."',
                'The system prompt loses "Be long."',
            ],
        ),
        (
            {"model": NamedSpec(name="a")},
            {"model": NamedSpec(name="a", options={"world": "mail"})},
            ['The model\'s options world is "mail" instead of the default'],
        ),
    ],
)
def test_differences_are_what_a_person_would_say(before, after, sentences):
    plain = Policy(**{"model": EndpointSpec(model="m"), **before})
    changed = plain.derive(lineage=Lineage(method="written"), **after)
    assert diff(plain, changed) == sentences
