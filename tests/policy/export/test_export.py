"""Export of policies: what transformers, peft and llama.cpp load answers as the policy does."""

import asyncio
import json
import sys

import numpy as np
import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from backtalk import Policy
from backtalk.cli import main
from backtalk.decode import BestOfN, Sample
from backtalk.errors import BacktalkError, Conflict, MissingExtra, UnknownName
from backtalk.models import EndpointSpec, LocalSpec, NamedSpec, Sampling
from backtalk.models.spec import MixtureSpec, ReplaySpec
from backtalk.policy import export_policy, load_policy, save_policy
from backtalk.store import Store
from tests.models import tiny
from tests.policy.export.llama_server import LlamaServer

PROMPT = "Is the shop open today?"
GREEDY = Sample(sampling=Sampling(temperature=0, max_tokens=16))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "feedback.db") as made:
        yield made


def adapter(store, base, *, seed, rank=4, dora=False):
    """Store an adapter with random weights, as a method leaves it, and return its id."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", use_dora=dora,
        task_type="CAUSAL_LM", init_lora_weights=False,
    )  # fmt: skip
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for one in model.peft_config.values():
        one.base_model_name_or_path = None
    return store.artifacts.make(model.save_pretrained)


def policy(base, *adapters, **changes):
    fields = {"decoder": GREEDY, "name": "tuned", "system": "Be brief.", **changes}
    return Policy(model=LocalSpec(model=base, adapters=adapters), **fields)


def scores(policy, store):
    """Return the log-probabilities of an answer under the policy."""
    model = load_policy(policy, store.artifacts).model
    (values,) = asyncio.run(model.score([(policy.messages(PROMPT), "Yes, at nine.")]))
    return values


@torch.no_grad()
def transformers_scores(model, tokenizer, policy):
    messages = [message.to_dict() for message in policy.messages(PROMPT)]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    answer = [*tokenizer("Yes, at nine.")["input_ids"], tokenizer.eos_token_id]
    logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.double(), -1)[range(len(answer)), answer].numpy()


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_merged_folder_computes_what_the_policy_computes(base, store, tmp_path, count):
    tuned = policy(base, *(adapter(store, base, seed=seed) for seed in range(count)))
    exported = export_policy(tuned, tmp_path / "out", artifacts=store.artifacts)
    model, tokenizer = load(exported.path)
    np.testing.assert_allclose(
        transformers_scores(model, tokenizer, tuned), scores(tuned, store), atol=1e-4
    )
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
            "chat_template.jinja", "policy.yaml", "README.md"} <= set(exported.files)  # fmt: skip
    assert exported.size == sum(path.stat().st_size for path in exported.path.iterdir())


@pytest.mark.parametrize("ranks", [[4], [2, 5], [12, 12]])
def test_an_adapter_on_its_base_computes_what_the_policy_computes(base, store, tmp_path, ranks):
    ids = [adapter(store, base, seed=seed, rank=rank) for seed, rank in enumerate(ranks)]
    tuned = policy(base, *ids)
    exported = export_policy(tuned, tmp_path / "out", "adapter", artifacts=store.artifacts)
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), exported.path
    ).eval()
    np.testing.assert_allclose(
        transformers_scores(model, AutoTokenizer.from_pretrained(base), tuned),
        scores(tuned, store),
        atol=1e-4,
    )
    config = json.loads((exported.path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == base
    assert config["r"] == sum(ranks)
    assert any("--max-lora-rank 32" in note for note in exported.notes) == (sum(ranks) > 16)
    assert not list(exported.path.glob("model*.safetensors"))


def test_an_adapter_names_the_revision_of_a_base_on_the_hub(base, store, tmp_path):
    spec = LocalSpec(
        model="someone/model", revision="abc", adapters=(adapter(store, base, seed=0),)
    )
    exported = export_policy(
        Policy(model=spec), tmp_path / "out", "adapter", artifacts=store.artifacts
    )
    config = json.loads((exported.path / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("someone/model", "abc")
    assert "vllm serve someone/model --enable-lora" in (exported.path / "README.md").read_text()


@pytest.mark.parametrize("count", [0, 2])
def test_llama_cpp_answers_as_the_policy_does(base, store, tmp_path, count):
    tuned = policy(base, *(adapter(store, base, seed=seed) for seed in range(count)))
    exported = export_policy(tuned, tmp_path / "out", "gguf", artifacts=store.artifacts)
    assert set(exported.files) == {"tuned.gguf", "policy.yaml", "README.md"}
    server, loaded = LlamaServer(exported.path / "tuned.gguf"), load_policy(tuned, store.artifacts)
    answers = []
    for prompt in (PROMPT, "How do I return it?", "Thank you.", "Is it late? Where is it?", "No."):
        messages = [message.to_dict() for message in tuned.messages(prompt)]
        choice = server.chat(messages, max_tokens=16)
        # The two write a part of a character at the end of an answer in different ways.
        answers.append(choice["message"]["content"].rstrip("\ufffd"))
        assert answers[-1] == loaded.respond(prompt).text.rstrip("\ufffd")
    assert any(answers)


@pytest.mark.parametrize("world", ["mail"])
def test_a_registered_model_with_tied_float16_weights_is_exported(world, store, tmp_path):
    plain = Policy(
        model=NamedSpec(name="small", options={"world": world}), decoder=GREEDY, name="plain"
    )
    merged = export_policy(plain, tmp_path / "merged")
    assert json.loads((merged.path / "config.json").read_text())["dtype"] == "float16"
    file = export_policy(plain, tmp_path / "plain.gguf", "gguf")
    assert (file.files, file.size) == (("plain.gguf",), (tmp_path / "plain.gguf").stat().st_size)
    prompt = "Please write to Ana Silva: the order is late."
    choice = LlamaServer(file.path).chat([{"role": "user", "content": prompt}], max_tokens=16)
    assert choice["message"]["content"] == load_policy(plain).respond(prompt).text
    tied = {"model.embed_tokens.weight", "lm_head.weight"}
    from safetensors import safe_open

    with safe_open(merged.path / "model.safetensors", "pt") as weights:
        assert len(tied & set(weights.keys())) == 1


def test_templates_and_sampling_of_the_policy_are_exported(base, tmp_path):
    template = (
        "{% for message in messages %}{{ message.content }}{{ style }}"
        "{% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    )
    spec = LocalSpec(model=base, chat_template=template, template_options={"style": "!", "n": None})
    tuned = Policy(model=spec, decoder=Sample(sampling=Sampling(temperature=0.5, top_p=0.9)))
    _, tokenizer = load(export_policy(tuned, tmp_path / "out").path)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert text == "Hi!"
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (generation["temperature"], generation["top_p"]) == (0.5, 0.9)
    assert generation["eos_token_id"] == 1
    plain = Policy(model=LocalSpec(model=base, chat_template="plain"))
    _, tokenizer = load(export_policy(plain, tmp_path / "plain").path)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert text == "Hi"


def test_what_no_model_holds_is_written_beside_it(base, tmp_path):
    decoder = BestOfN(n=8, reward="abc", sampling=Sampling(temperature=0.7, stop=("END",)))
    tuned = policy(base, decoder=decoder)
    exported = export_policy(tuned, tmp_path / "out")
    text = (exported.path / "README.md").read_text()
    for part in ('"Be brief."', "best_of_n", "temperature 0.7", '"END"', "vllm serve"):
        assert part in text
    assert Policy.from_yaml((exported.path / "policy.yaml").read_text()) == tuned
    assert yaml.safe_load((exported.path / "policy.yaml").read_text())["decoder"]["n"] == 8


def test_the_number_format_is_that_of_the_stored_weights_or_as_set(base, tmp_path):
    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(half)
    AutoTokenizer.from_pretrained(base).save_pretrained(half)
    for source, dtype, expected in [
        (str(half), "auto", "bfloat16"), (base, "auto", "float32"), (base, "float16", "float16")
    ]:  # fmt: skip
        folder = tmp_path / f"{expected} {dtype}"
        export_policy(Policy(model=LocalSpec(model=source)), folder, dtype=dtype)
        assert json.loads((folder / "config.json").read_text())["dtype"] == expected


def test_a_missing_package_is_named_with_its_extra(base, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtra, match=r"pip install 'backtalk\[gguf\]'"):
        export_policy(policy(base), tmp_path / "out", "gguf")


def test_policies_without_weights_are_errors(tmp_path, base):
    local = LocalSpec(model=base)
    for spec, what in [
        (EndpointSpec(model="big", base_url="http://localhost:1/v1"), "answers by an endpoint"),
        (ReplaySpec(artifact="abc"), "replays recorded answers"),
        (MixtureSpec(models=(local, local), weights=(0.5, 0.5)), "mixes the probabilities"),
        (NamedSpec(name="writer"), "no weights here"),
    ]:
        for form in ("merged", "adapter", "gguf"):
            with pytest.raises(BacktalkError, match=f"{what}.*Export a policy with a local model"):
                export_policy(Policy(model=spec), tmp_path / "out", form)
    assert list(tmp_path.iterdir()) == []


def test_adapters_that_cannot_stand_alone_are_errors(base, store, tmp_path):
    with pytest.raises(BacktalkError, match=r"has no adapter.*--merged, or learn with"):
        export_policy(policy(base), tmp_path / "out", "adapter", artifacts=store.artifacts)
    two = policy(base, adapter(store, base, seed=0, dora=True), adapter(store, base, seed=1))
    with pytest.raises(BacktalkError, match=r"do not add up.*--merged"):
        export_policy(two, tmp_path / "out", "adapter", artifacts=store.artifacts)
    assert not (tmp_path / "out").exists()


def test_targets_with_files_and_unknown_names_are_refused(base, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    for target in (full, full / "notes.txt"):
        with pytest.raises(Conflict, match="Name a new folder"):
            export_policy(policy(base), target)
    assert (full / "notes.txt").read_text() == "mine"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert export_policy(policy(base), empty).path == empty
    with pytest.raises(UnknownName, match="form of export 'onnx'"):
        export_policy(policy(base), tmp_path / "out", "onnx")
    with pytest.raises(UnknownName, match="number format 'int4'"):
        export_policy(policy(base), tmp_path / "out", dtype="int4")
    with pytest.raises(BacktalkError, match="for GGUF files only"):
        export_policy(policy(base), tmp_path / "out", dtype="q8_0")


def test_an_export_that_fails_leaves_nothing(base, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr("backtalk.policy.export.gguf_file.write.write_hyperparameters", fail)
    with pytest.raises(OSError, match="No space"):
        export_policy(policy(base), tmp_path / "out", "gguf")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_wrote_and_what_to_set(base, tmp_path, capsys, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr("backtalk.cli.output.results", Console(soft_wrap=True))
    monkeypatch.setattr("backtalk.cli.output.notes", Console(stderr=True, soft_wrap=True))
    location = str(tmp_path / "feedback.db")
    with Store(location) as store:
        save_policy(store, policy(base))

    def run(*arguments):
        code = main(["policy", "export", "tuned", *map(str, arguments), "-s", location])
        return code, *capsys.readouterr()

    code, out, notes = run("--gguf", tmp_path / "out")
    assert code == 0, notes
    assert "3 files" in out
    assert "Be brief." in notes
    assert "not 2" in run("--gguf", "--merged", tmp_path / "x")[2]
    assert "none is named" in run(tmp_path / "x")[2]
    code, out, _ = run("--merged", tmp_path / "m", "--json")
    assert (code, json.loads(out)["form"]) == (0, "merged")
