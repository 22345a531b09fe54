"""Small models of each type, and the measurements of the table of architectures."""

import sys

import pytest
from benchmarks import architectures
from benchmarks.architecture_trial import measure
from benchmarks.tiny_architectures import model_types, tiny_config


@pytest.mark.parametrize(
    ("model_type", "decodes"),
    [("qwen3", "with a cache"), ("mamba", "with a recurrent state")],
)
def test_a_model_that_works_in_every_way(model_type, decodes):
    cells = measure(model_type)
    assert cells["loads"] == "yes"
    assert cells["decodes"] == decodes
    assert cells["equal"].startswith("yes")
    assert cells["trains"].startswith("yes")


def test_a_model_that_is_not_causal():
    cells = measure("xlnet")
    assert cells["decodes"] == cells["trains"] == cells["LoRA"] == "refused: not causal"


def test_configurations_are_small():
    assert len(model_types()) > 100
    config = tiny_config("qwen3_next")
    assert config.hidden_size == 32
    assert set(config.layer_types) == {"linear_attention", "full_attention"}


def test_the_table_is_put_between_its_markers(tmp_path, monkeypatch):
    page = tmp_path / "models.md"
    page.write_text(f"before\n{architectures.BEGIN}\nold\n{architectures.END}\nafter\n")
    monkeypatch.setattr(architectures, "PAGE", page)
    cells = {"model type": "llama", "class": "Llama", "loads": "yes", "equal": "yes, 1e-06"}
    architectures.write_table([cells])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| llama | Llama | yes |  | yes, 1e-06 |  |  |" in text
    assert "1 load, 1 answer" in text
    assert "old" not in text


def test_a_process_that_ends_early_is_a_row(monkeypatch):
    monkeypatch.setattr(architectures, "measure", lambda _: sys.exit(3))
    assert architectures.measure_apart("llama")["loads"] == "the process ended with 3"
