"""Small models: samples depend on the text of the prompt."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from backtalk.feedback import Message
from backtalk.models import Request, Sampling
from backtalk.models.local.chat_template import ChatTemplate
from backtalk.models.run_sync import run_sync
from backtalk.worlds import get_world, world_names
from backtalk.worlds.skill_eval import SkillEvaluator
from backtalk.worlds.small import small_model, small_model_folder
from backtalk.worlds.train.curriculum import CurriculumGenerator
from backtalk.worlds.train.training import RECIPES, train

MEGABYTES = 6


@pytest.fixture(scope="module", params=world_names())
def prober(request):
    world = get_world(request.param)
    return SkillEvaluator(world, small_model(request.param), count=32, seed=3)


def exceeds_ablation(probe, margin, *, ablation="blanked"):
    """Return true if the mean score exceeds that of an ablated prompt by more than a margin."""
    return probe.score.mean() - probe.ablations[ablation].mean() > margin


@pytest.mark.parametrize("name", world_names())
def test_the_weights_are_small_and_say_how_they_were_made(name):
    folder = small_model_folder(name)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    assert size < MEGABYTES
    with safe_open(folder / "model.safetensors", "pt") as file:
        parameters = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118
    metadata = json.loads((folder / "training.json").read_text())
    assert metadata["parameters"] == parameters
    assert 1e6 < parameters < 3e6
    assert metadata["recipe"]["tokens"] == RECIPES[name].tokens
    first, last = metadata["curve"][0][1], metadata["curve"][-2][1]
    assert last < first / 3


@pytest.mark.parametrize("name", world_names())
def test_lessons_are_as_the_chat_template_writes_them(name):
    model = small_model(name)
    chat = model.chat
    assert isinstance(chat, ChatTemplate)
    for lesson in CurriculumGenerator(get_world(name), seed=5).conversations(40):
        prompt, answer = chat.conversation_tokens(lesson[:-1], lesson[-1].text)
        assert answer[-1] in chat.eos_token_ids
        assert len(prompt) + len(answer) < 512
        assert chat.decode(answer) == lesson[-1].text


@pytest.mark.parametrize("name", world_names())
def test_answers_are_good_and_leave_room(name):
    """Of each prompt there are many answers, so that few prompts are enough."""
    prober = SkillEvaluator(get_world(name), small_model(name), count=20, seed=3)
    utility, once, often, best = run_sync(prober._evaluate_answers())
    assert utility.baseline + 0.15 < utility.score.mean() < 0.95
    assert exceeds_ablation(utility, 0.15)
    assert exceeds_ablation(utility, 0.15, ablation="swapped")
    assert often.score.mean() > 2 * once.score.mean()
    assert best.score.mean() > utility.score.mean() + 0.05


def test_a_critique_is_read(prober):
    mended, _, _ = run_sync(prober._evaluate_refinement())
    assert exceeds_ablation(mended, 0.4)
    assert exceeds_ablation(mended, 0.4, ablation="swapped")


def test_a_draft_is_read_by_who_criticises_it(prober):
    (named,) = run_sync(prober._evaluate_critiques())
    assert exceeds_ablation(named, 0.15)
    assert exceeds_ablation(named, 0.15, ablation="swapped")


def test_examples_are_read_by_who_finds_their_rule(prober):
    taught, _ = run_sync(prober._evaluate_rule_induction())
    assert exceeds_ablation(taught, 0.5)
    assert exceeds_ablation(taught, 0.5, ablation="swapped")


def test_a_rule_is_obeyed_in_scope_and_spills_outside():
    """In the mail world, where scope is studied."""
    prober = SkillEvaluator(get_world("mail"), small_model("mail"), count=48, seed=4)
    obeyed, _, spilled = run_sync(prober._evaluate_rules())
    assert exceeds_ablation(obeyed, 0.3)
    assert exceeds_ablation(obeyed, 0.3, ablation="swapped")
    assert spilled.score.mean() > spilled.ablations["blanked"].mean() + 0.15
    assert spilled.score.mean() < obeyed.score.mean()


def test_it_judges_better_than_chance():
    prober = SkillEvaluator(get_world("mail"), small_model("mail"), count=48, seed=4)
    (judged,) = run_sync(prober._evaluate_comparisons())
    assert judged.score.mean() > 0.65
    assert abs(judged.ablations["blanked"].mean() - 0.5) < 0.15


def test_many_requests_are_answered_as_each_alone():
    """Rows of unlike lengths take one another's places in the batch; none of them notices."""
    mail = get_world("mail")
    requests = [
        Request(
            messages=prompt if i % 3 else (Message.system(mail.rules[i].text), *prompt),
            sampling=Sampling(max_tokens=20 + 7 * (i % 5), temperature=i % 2),
            sample_index=i,
        )
        for i, prompt in enumerate(mail.prompts("held-out", 16))
        for _ in range(1 + i % 3)
    ]
    model = small_model("mail")
    crowded = run_sync(small_model("mail").generate(requests))
    tight = small_model("mail")
    tight._batch_tokens = 700
    narrow = run_sync(tight.generate(requests))
    for request, one, other in zip(requests, crowded, narrow, strict=True):
        (alone,) = run_sync(model.generate([request]))
        assert alone.text == one.text == other.text
        assert alone.log_probability == pytest.approx(one.log_probability, abs=1e-3)
        assert alone.finish_reason == one.finish_reason == other.finish_reason


def test_training_learns_and_repeats_itself():
    recipe = replace(
        RECIPES["lists"], tokens=24_000, batch_tokens=2_048, warmup_steps=3,
        layers=2, hidden_size=64, intermediate_size=128, heads=4,
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runs = [train(get_world("lists"), recipe, report=lambda *_: None) for _ in range(2)]
    finally:
        torch.set_num_threads(threads)
    first, second = (dict(run.model.state_dict()) for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    losses = [loss for _, loss in runs[0].curve]
    assert runs[0].curve[-1][0] >= recipe.tokens
    assert np.isfinite(losses).all()
    assert losses[-1] < np.log(len(runs[0].tokenizer))
