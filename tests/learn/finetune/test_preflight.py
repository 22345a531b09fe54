"""The checks before training pass on valid data and fail on broken data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.tiny_architectures import tiny_config, tiny_model
from transformers import AutoModelForCausalLM

from backtalk import Policy
from backtalk.artifacts import Artifacts
from backtalk.feedback import Message
from backtalk.learn.finetune import (
    PairLabel,
    PromptTree,
    ResponseTokens,
    TrainingConfig,
    TrainingTask,
    get_objective,
)
from backtalk.learn.finetune import preflight as preflight_module
from backtalk.learn.finetune.dropout import without_dropout
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.packing import pack
from backtalk.learn.finetune.preflight import PreflightFailed, preflight
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trainable_model import load_trainable_model
from backtalk.learn.finetune.trainer import Trainer, autocast_factory
from backtalk.models import LocalSpec
from tests.models import tiny

SETTINGS = TrainingConfig()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def student(folder, tmp_path):
    policy = Policy(model=LocalSpec(model=folder))
    return load_trainable_model(policy, Artifacts(tmp_path), SETTINGS, seed=0)


def pairs(student, count=5):
    encoder = Encoder(student.chat)
    return [
        encoder.tree(
            (Message.user(f"Is shop {i} open?"),),
            [ResponseText("Yes."), ResponseText("No, it is late.")],
            pairs=[PairLabel(0, 1)],
        )
        for i in range(count)
    ]  # fmt: skip


def checked(student, trees, *, objective="dpo", teacher=None, settings=SETTINGS):
    parts = [TrainingTask("preference", get_objective(objective).bind(), trees)]
    reference = ReferenceLogProbs(None, "")
    logprob_model = teacher or student.logprob_model
    reference.compute(
        logprob_model, trees, batch_tokens=4096,
        context=autocast_factory(logprob_model, settings), report=lambda done: None,
    )  # fmt: skip
    return preflight(student, parts, settings, reference=reference)


def failed(result):
    return [check.name for check in result.checks if not check.passed]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_valid_data_passes(student, dtype):
    settings = SETTINGS.model_copy(update={"dtype": dtype})
    result = checked(student, pairs(student), settings=settings)
    assert failed(result) == []
    result.raise_if_failed()


def test_responses_are_rendered_with_masked_tokens_marked(student):
    (tree,) = pairs(student, 1)
    masked = replace(
        tree.responses[0], weights=(0.0, *(1.0,) * (len(tree.responses[0].tokens) - 1))
    )
    shown = checked(student, [replace(tree, responses=(masked, tree.responses[1]))]).responses
    assert str(shown[0]).startswith("⟦<|user|>Is shop 0 open?<|end|>")
    first = student.engine.tokenizer.decode([masked.tokens[0]])
    assert f"<|assistant|>⟧⟦{first}⟧" in str(shown[0])
    assert str(shown[0]).endswith("<|end|>")


def test_a_reference_of_other_weights_is_refused(student):
    other = LogProbModel(tiny.network("qwen2"))
    result = checked(student, pairs(student), teacher=other)
    assert failed(result) == ["first loss of dpo on preference"]
    with pytest.raises(PreflightFailed, match=r"expected 0\.6931"):
        result.raise_if_failed()


def test_a_response_that_is_not_ended_is_refused(student):
    trees = [
        replace(
            tree, responses=tuple(ResponseTokens(branch.tokens[:-1]) for branch in tree.responses)
        )
        for tree in pairs(student)
    ]
    assert failed(checked(student, trees)) == ["one end-of-sequence token is learned per response"]


def test_an_end_that_is_learned_twice_is_refused(student):
    trees = [
        replace(
            tree,
            responses=tuple(
                ResponseTokens((*branch.tokens, branch.tokens[-1])) for branch in tree.responses
            ),
        )
        for tree in pairs(student)
    ]
    assert failed(checked(student, trees)) == ["one end-of-sequence token is learned per response"]


def test_responses_without_anything_to_learn_are_refused(student):
    trees = [
        replace(
            tree,
            responses=tuple(
                replace(branch, weights=(0.0,) * len(branch.tokens)) for branch in tree.responses
            ),
        )
        for tree in pairs(student)
    ]
    assert "responses with tokens to learn" in failed(checked(student, trees))


def test_prompts_that_are_shared_wrongly_are_refused(folder, tmp_path):
    """A sliding window that is treated as if there were none."""
    tiny.save(tmp_path / "mistral", "mistral")
    policy = Policy(model=LocalSpec(model=str(tmp_path / "mistral")))
    forced = load_trainable_model(policy, Artifacts(tmp_path), SETTINGS, seed=0, share=True)
    trees = [
        PromptTree(
            tuple(range(2, 40)),
            (ResponseTokens((5, 6, 1)), ResponseTokens((7, 8, 1))),
            pairs=(PairLabel(0, 1),),
        )
    ] * 2
    assert "shared prompts match separate rows" in failed(checked(forced, trees))
    rightly = load_trainable_model(policy, Artifacts(tmp_path), SETTINGS, seed=0)
    assert failed(checked(rightly, trees)) == []


def test_a_sampler_of_other_weights_is_refused(student):
    trees = pairs(student)
    assert failed(checked(student, trees)) == []
    student.engine.sample = changed(student.engine.sample)
    result = checked(student, trees)
    assert failed(result) == ["trainer and sampler agree on log-probabilities"]


def changed(draw):
    """A sampler whose temperature is not the one that it reports by."""

    def drawn(rows, **options):
        draw(rows, **options)
        for row in rows:
            row.log_probability *= 0.8

    return drawn


def test_a_first_loss_that_is_not_a_number_is_refused(student):
    with torch.no_grad():
        student.logprob_model.model.get_output_embeddings().weight[5] = torch.nan
    parts = [TrainingTask("demonstration", get_objective("sft").bind(), pairs(student))]
    with pytest.raises(Exception, match="not numbers"):
        preflight(student, parts, SETTINGS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("fault", ["positions", "mask"])
def test_a_fault_of_shared_prompts_is_not_taken_for_rounding(student, monkeypatch, dtype, fault):
    def packed(trees):
        batch = pack(trees)
        if fault == "positions":
            return replace(batch, positions=batch.positions + batch.positions // 9)
        joined = [replace(span, responses=(sum(span.responses),)) for span in batch.tree_spans]
        return replace(batch, tree_spans=tuple(joined))  # responses see those before them

    monkeypatch.setattr(preflight_module, "pack", packed)
    settings = SETTINGS.model_copy(update={"dtype": dtype})
    assert failed(checked(student, pairs(student), settings=settings)) == [
        "shared prompts match separate rows"
    ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_the_rounding_of_a_model_with_large_logits_passes(tmp_path, dtype, architecture):
    folder = tiny.save(tmp_path / "model", architecture)
    policy = Policy(model=LocalSpec(model=folder))
    settings = SETTINGS.model_copy(update={"dtype": dtype})
    student = load_trainable_model(policy, Artifacts(tmp_path), settings, seed=0)
    with torch.no_grad():
        student.engine.model.get_output_embeddings().weight.mul_(6)
    result = checked(student, pairs(student), settings=settings)
    assert failed(result) == []


def test_dropout_is_off_where_there_is_a_reference(tmp_path):
    folder = tiny.save(tmp_path / "model", "gpt2")
    student = load_trainable_model(
        Policy(model=LocalSpec(model=folder)), Artifacts(tmp_path), SETTINGS, seed=0
    )
    assert student.engine.model.config.resid_pdrop == 0.1
    trees = pairs(student)
    assert failed(checked(student, trees)) == []
    reference = ReferenceLogProbs(None, "")
    reference.compute(
        student.logprob_model, trees, batch_tokens=4096,
        context=autocast_factory(student.logprob_model, SETTINGS), report=lambda done: None,
    )  # fmt: skip
    losses = {}
    for name in ("dpo", "sft"):
        task = TrainingTask("task", get_objective(name).bind(), trees)
        trainer = Trainer(
            student.logprob_model, [task], TrainingConfig(max_steps=1), reference=reference
        )
        trainer.train()
        losses[name] = trainer.history[0]["loss"]
        weights = AutoModelForCausalLM.from_pretrained(folder).state_dict()
        student.engine.model.load_state_dict(weights)
    assert losses["dpo"] == pytest.approx(np.log(2), abs=1e-5)
    with torch.no_grad():
        plain = -student.logprob_model.score(trees).values.mean()
    assert abs(losses["sft"] - float(plain)) > 1e-3  # dropout stays on
    rates = {m.p for m in student.engine.model.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.1}


def test_noise_that_is_left_in_training_is_found(student):
    block = student.engine.model.model.layers[0].mlp

    def noisy(module, _, output):
        return output + 0.3 * torch.randn_like(output) if module.training else output

    hook = block.register_forward_hook(noisy)
    result = checked(student, pairs(student))
    hook.remove()
    assert failed(result) == ["first loss of dpo on preference"]
    (check,) = [check for check in result.checks if not check.passed]
    assert "differs from the reference by at most" in check.measured


@pytest.mark.parametrize("architecture", ["gpt2", "falcon", "gpt_neo", "gptj", "opt", "mixtral"])
def test_dropout_is_off_wherever_its_rate_is_read(architecture):
    config = tiny_config(architecture)
    for name, value in list(vars(config).items()):
        if isinstance(value, float) and ("drop" in name or "jitter" in name):
            setattr(config, name, 0.3)
    model = tiny_model(config)
    ids = torch.arange(3, 11)[None]
    before = config.to_dict()
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        model.train()
        with without_dropout(model):
            assert torch.equal(model(input_ids=ids).logits, expected)
            assert model.config.to_dict() == before
        assert not torch.allclose(model(input_ids=ids).logits, expected, atol=0.01)
