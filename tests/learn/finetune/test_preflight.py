"""The checks before training pass on valid data and fail on broken data."""

from dataclasses import replace

import pytest
import torch

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
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.preflight import PreflightFailed, preflight
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trainable_model import load_trainable_model
from backtalk.learn.finetune.trainer import autocast_factory
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
    encoder = Encoder(student.initial.chat)
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
