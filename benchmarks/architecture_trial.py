"""Measurements of one small random model: loading, answers, gradients, training, LoRA."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from backtalk import Policy
from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError
from backtalk.learn.finetune import (
    PairLabel,
    PromptTree,
    ResponseTokens,
    TrainingConfig,
    TrainingTask,
    get_objective,
)
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trainable_model import TrainableModel, load_trainable_model
from backtalk.learn.finetune.trainer import Trainer, autocast_factory
from backtalk.models import LocalModel, LocalSpec, Sampling, UnsupportedModel
from backtalk.models.local.engine import Engine
from backtalk.models.local.sampler import SequenceState
from benchmarks.tiny_architectures import EOS, VOCABULARY, tiny_config, tiny_model

_MAX_PARAMETERS = 30_000_000
_TOLERANCE = 1e-3
"""Largest difference of log-probabilities in nats, and of gradients relative to their norm."""
_NEW_TOKENS = 5
_STEPS = 6


def measure(model_type: str) -> dict[str, str]:
    """Return the cells of the table for a model type.

    Parameters
    ----------
    model_type : str
        Model type of transformers.
    """
    cells = {"class": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type], "model type": model_type}
    try:
        config = tiny_config(model_type)
        with torch.device("meta"):
            size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
        if size > _MAX_PARAMETERS:
            return cells | {"loads": f"not made small: {size:,} parameters"}
        network = tiny_model(config)
    except Exception as error:  # noqa: BLE001 - every failure is a cell
        return cells | {"loads": f"not made small: {_brief(error)}"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        try:
            network.save_pretrained(folder)
            _tokenizer().save_pretrained(folder)
            local = LocalModel(str(folder))
            _ = local.engine
        except Exception as error:  # noqa: BLE001
            text = str(error).replace(repr(str(folder)), "").replace(str(folder), "")
            return cells | {"loads": f"no: {' '.join(text.split())[:120]}"}
        cells["loads"] = "yes"
        cells |= _answers(local)
        cells["trains"] = _trains(folder, Artifacts(Path(name) / "artifacts"), adapter="none")
        cells["LoRA"] = _trains(folder, Artifacts(Path(name) / "artifacts"), adapter="lora")
    return cells


def _answers(local: LocalModel) -> dict[str, str]:
    """Compare greedy answers and scores with forward passes of one row without a cache."""
    engine = local.engine
    try:
        cells = {"decodes": local.decoding}
    except UnsupportedModel as refusal:
        return {"decodes": f"refused: {_reason(refusal)}", "equal": "-"}
    try:
        equal, difference = _compare(engine)
    except Exception as error:  # noqa: BLE001
        return cells | {"equal": f"no: {_brief(error)}"}
    if not equal:
        return cells | {"equal": f"no: other tokens, {difference:.0e} nats"}
    verdict = "yes" if difference <= _TOLERANCE else "no"
    return cells | {"equal": f"{verdict}, {difference:.0e}"}


def _compare(engine: Engine) -> tuple[bool, float]:
    rng = np.random.default_rng(0)
    lengths = [3, 17, 8, 1, 8, 30]
    prompts = [tuple(rng.integers(10, 250, length).tolist()) for length in lengths]
    sequences = [
        SequenceState(prompt, Sampling(temperature=0), _NEW_TOKENS, seed=i)
        for i, prompt in enumerate([*prompts, prompts[1]])
    ]
    engine.sample(
        sequences, batch_tokens=110, contains_stop=lambda _: False, cancelled=lambda: False
    )
    equal, differences = True, []
    for sequence in sequences:
        tokens, total = _greedy(engine.model, sequence.prompt)
        equal &= tokens == sequence.tokens
        differences.append(abs(total - sequence.log_probability))
    pairs = [(prompt, tuple(rng.integers(10, 250, 6).tolist())) for prompt in prompts]
    for (prompt, answer), values in zip(
        pairs, engine.log_probabilities(pairs, batch_tokens=110), strict=True
    ):
        with torch.no_grad():
            logs = _plain(engine.model, [*prompt, *answer]).log_softmax(-1)[len(prompt) - 1 : -1]
        expected = logs[range(len(answer)), list(answer)].double().numpy()
        differences.append(float(np.abs(values - expected).max()))
    return equal, max(differences)


@torch.no_grad()
def _greedy(model: Any, prompt: Sequence[int]) -> tuple[list[int], float]:
    tokens, total = list(prompt), 0.0
    for _ in range(_NEW_TOKENS):
        logs = _plain(model, tokens)[-1].log_softmax(-1)
        tokens.append(int(logs.argmax()))
        total += float(logs.max())
        if tokens[-1] == EOS:
            break
    return tokens[len(prompt) :], total


def _plain(model: Any, tokens: Sequence[int]) -> torch.Tensor:
    """Return the logits of one row by the forward pass of transformers."""
    logits: torch.Tensor = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    return logits.float()


def _trains(folder: Path, artifacts: Artifacts, *, adapter: Any) -> str:
    """Compare gradients with plain autograd, and lower the loss of DPO."""
    config = TrainingConfig(
        adapter=adapter, batch_size=4, epochs=_STEPS, learning_rate=1e-3, lora_rank=4
    )
    policy = Policy(model=LocalSpec(model=str(folder)))
    trees = _trees()
    try:
        model = load_trainable_model(policy, artifacts, config, seed=0)
        difference = _gradient_difference(model, trees)
        history = _train(model, trees, config)
    except UnsupportedModel as refusal:
        return f"refused: {_reason(refusal)}"
    except BacktalkError as error:
        return f"refused: {_brief(error)}"
    except Exception as error:  # noqa: BLE001
        return f"no: {_brief(error)}"
    if difference > _TOLERANCE:
        return f"no: gradients differ by {difference:.0e}"
    falls = history[-1]["loss"] < history[0]["loss"]
    measured = f"{difference:.0e}" if adapter == "none" else f"{_adapted_share(model):.0%}"
    return f"yes, {measured}" if falls else "no: the loss does not fall"


def _trees() -> list[PromptTree]:
    rng = np.random.default_rng(1)

    def tokens(longest: int) -> tuple[int, ...]:
        return tuple(rng.integers(10, 250, rng.integers(2, longest)).tolist())

    return [
        PromptTree(
            tokens(14),
            (ResponseTokens((*tokens(9), EOS)), ResponseTokens((*tokens(9), EOS))),
            pairs=(PairLabel(0, 1),),
        )
        for _ in range(4)
    ]


def _gradient_difference(model: TrainableModel, trees: Sequence[PromptTree]) -> float:
    """Return the largest relative difference of the gradients of the responses' log-likelihood."""
    scorer = model.logprob_model
    weights = [p for p in scorer.parameters() if p.requires_grad]
    mine = torch.autograd.grad(scorer.score(trees).values.sum(), weights, allow_unused=True)
    total = torch.zeros(())
    for tree in trees:
        for response in tree.responses:
            logits = _plain(scorer.model, [*tree.prompt, *response.tokens])
            logs = logits.log_softmax(-1)[len(tree.prompt) - 1 : -1]
            total = total + logs[range(len(response.tokens)), list(response.tokens)].sum()
    plain = torch.autograd.grad(total, weights, allow_unused=True)
    pairs = [
        (torch.zeros_like(w) if a is None else a, torch.zeros_like(w) if b is None else b)
        for w, a, b in zip(weights, mine, plain, strict=True)
    ]
    norm = max(float(b.norm()) for _, b in pairs)
    return max(float((a - b).norm()) for a, b in pairs) / norm


def _train(
    model: TrainableModel, trees: Sequence[PromptTree], config: TrainingConfig
) -> list[dict[str, float]]:
    scorer = model.logprob_model
    reference = ReferenceLogProbs(None, "first")
    context = autocast_factory(scorer, config)
    reference.compute(scorer, trees, batch_tokens=512, context=context, report=lambda _: None)
    task = TrainingTask("preference", get_objective("dpo").bind(), trees)
    trainer = Trainer(scorer, [task], config, reference=reference)
    trainer.train()
    return trainer.history


def _adapted_share(model: TrainableModel) -> float:
    """Return the share of the weights of matrices, without embeddings, that have an adapter."""
    network = model.logprob_model.model
    embeddings = {id(layer.weight) for layer in _embeddings(network)}
    adapted = total = 0
    names = {name for name, _ in network.named_parameters()}
    for name, weight in network.named_parameters():
        if ".lora_" in name or weight.ndim < 2 or id(weight) in embeddings:
            continue
        total += weight.numel()
        prefix = name.rsplit(".base_layer.", 1)[0]
        if prefix != name and any(other.startswith(f"{prefix}.lora_A") for other in names):
            adapted += weight.numel()
    return adapted / total


def _embeddings(network: Any) -> list[Any]:
    layers = [network.get_input_embeddings(), network.get_output_embeddings()]
    return [layer for layer in layers if hasattr(layer, "weight")] + [
        layer for layer in network.modules() if isinstance(layer, torch.nn.Embedding)
    ]


def _tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes with a template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", *alphabet]
    tokenizer = Tokenizer(models.BPE({entry: i for i, entry in enumerate(entries)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    assert len(entries) <= VOCABULARY
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        chat_template=template,
    )


def _reason(refusal: UnsupportedModel) -> str:
    """Return the reason of a refusal in a few words."""
    text = str(refusal)
    if "a forward pass of tokens fails" in text:
        return "does not compute tokens alone"
    return "not causal" if "later tokens" in text or "padded rows" in text else _brief(refusal)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__} {' '.join(str(error).split())[:90]}"
