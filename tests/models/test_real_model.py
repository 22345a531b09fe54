"""Training and log-probabilities of the real model; skipped where it has not been fetched."""

import math

import numpy as np
import pytest
import torch

from backtalk import Policy, learn
from backtalk.feedback import (
    Annotator,
    Demonstration,
    Interaction,
    Preference,
    Response,
    as_prompt,
)
from backtalk.feedback.case import Case
from backtalk.models import LocalModel, LocalSpec
from backtalk.models.run_sync import run_sync
from backtalk.reports.policy_report import read_training
from backtalk.store import Store

ADA = Annotator.human("ada")
ANSWERS = {
    "Write the body of a function that returns x.": "    return x",
    "Begin with an empty line.": "\n\nHello.",
    "Greet me.": "  Hello there!",
    "What is a kite?": "A kite is a toy that flies on a string.",
}
"""Answers to questions; most of them begin with white space."""
OTHER = "I do not know."
OPTIONS = {"adapter": "lora", "batch_size": 4, "epochs": 4, "learning_rate": 5e-4}


@pytest.fixture(scope="module")
def model(smollm2):
    return LocalModel(smollm2)


@pytest.fixture(scope="module")
def log_probabilities(model):
    """Log-probabilities of each answer's tokens, by transformers' forward pass of one row."""
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model.source, dtype=torch.float32).eval()
    values = []
    for question, answer in ANSWERS.items():
        prompt, completion = model.chat.conversation_tokens(as_prompt(question), answer)
        with torch.inference_mode():
            logits = network(torch.tensor([[*prompt, *completion]])).logits[0]
        rows = logits.log_softmax(dim=-1)[len(prompt) - 1 : -1]
        values.append(rows.gather(1, torch.tensor(completion)[:, None])[:, 0].numpy())
    return values


def trained(store, policy, method):
    tuned = learn(method, policy, store, split="all", name="tuned", **OPTIONS)
    return tuned, [step["loss"] for step in read_training(store, tuned)]


def interaction(i, question, *texts):
    responses = tuple(Response(id=str(k), text=text) for k, text in enumerate(texts))
    return Interaction(id=f"i{i}", prompt=as_prompt(question), responses=responses)


def test_the_model_scores_as_transformers_does(model, log_probabilities):
    scores = run_sync(model.score([(as_prompt(q), a) for q, a in ANSWERS.items()]))
    for score, expected in zip(scores, log_probabilities, strict=True):
        np.testing.assert_allclose(score, expected, atol=2e-4)


def test_sft_begins_at_the_loss_of_transformers_and_reduces_it(
    smollm2, log_probabilities, tmp_path
):
    policy = Policy(model=LocalSpec(model=smollm2), name="plain")
    with Store(tmp_path / "s.db") as store:
        store.add_cases(
            Case(
                interaction(i, question),
                (Demonstration(interaction=f"i{i}", annotator=ADA, text=answer),),
            )
            for i, (question, answer) in enumerate(ANSWERS.items())
        )
        _, losses = trained(store, policy, "sft")
    assert losses[0] == pytest.approx(-np.concatenate(log_probabilities).mean(), abs=1e-4)
    assert losses[-1] < losses[0] - 0.1


def test_dpo_begins_at_log_2_and_prefers_the_chosen_answers(smollm2, model, tmp_path):
    policy = Policy(model=LocalSpec(model=smollm2), name="plain")
    with Store(tmp_path / "s.db") as store:
        store.add_cases(
            Case(
                interaction(i, question, answer, OTHER),
                (Preference(interaction=f"i{i}", annotator=ADA, a="0", b="1", verdict="a"),),
            )
            for i, (question, answer) in enumerate(ANSWERS.items())
        )
        tuned, losses = trained(store, policy, "dpo")
        learned = tuned.model.load(store.artifacts)
        pairs = [(as_prompt(q), text) for q, a in ANSWERS.items() for text in (a, OTHER)]
        before, after = (
            np.array([row.sum() for row in run_sync(one.score(pairs))]).reshape(-1, 2)
            for one in (model, learned)
        )
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert losses[-1] < losses[0] - 0.02
    margins = (after - before) @ [1, -1]
    assert (margins > 0).all()
