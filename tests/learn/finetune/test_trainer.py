"""Trainer: equal steps for every batching, and no influence of other data."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backtalk.errors import BacktalkError
from backtalk.learn.finetune import (
    PromptTree,
    ResponseTokens,
    TrainingConfig,
    TrainingTask,
    get_objective,
)
from backtalk.learn.finetune.config import default_learning_rate
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trainer import Trainer, autocast_factory
from tests.learn.finetune.small import model, trees

STEPS = 50
DEFAULTS = TrainingConfig(batch_size=8, learning_rate=1e-3, epochs=8, max_steps=STEPS)


def train(
    config=DEFAULTS, *, share=None, architecture="llama", folder=None, tasks=None, report=None
):
    """Return a trained model's weights, and its trainer."""
    tasks = tasks or [TrainingTask("preference", get_objective("dpo").bind(beta=0.5), trees(64))]
    logprob_model = LogProbModel(model(architecture), share=share)
    reference = ReferenceLogProbs(None, "first")
    for task in tasks:
        reference.compute(
            logprob_model, task.trees, batch_tokens=4096,
            context=autocast_factory(logprob_model, config), report=lambda done: None,
        )  # fmt: skip
    trainer = Trainer(logprob_model, tasks, config, reference=reference, folder=folder, weights="w")
    trainer.train(report)
    return torch.cat([p.detach().flatten() for p in logprob_model.parameters()]), trainer


@pytest.fixture(scope="module")
def default():
    return train()


@pytest.mark.parametrize(
    "variant",
    [
        {"config": DEFAULTS.model_copy(update={"batch_tokens": 40})},
        {"config": DEFAULTS.model_copy(update={"gradient_checkpointing": True})},
        {"share": False},
    ],
    ids=["accumulated", "checkpointing", "flat"],
)
def test_the_trajectory_does_not_depend_on_how_it_is_computed(default, variant):
    weights, trainer = train(**variant)
    drift = (weights - default[0]).abs()
    assert drift.max() < 2e-5
    assert drift.mean() < 1e-6
    first, last = trainer.history[0], trainer.history[-1]
    assert first["loss"] == pytest.approx(default[1].history[0]["loss"], abs=1e-6)
    assert last["loss"] == pytest.approx(default[1].history[-1]["loss"], abs=1e-4)


def test_training_on_prompt_tokens_leads_to_other_weights(default):
    """Negative control: training on prompt tokens leads to other weights."""
    moved = [
        PromptTree(
            tree.prompt[:1],
            tuple(ResponseTokens((*tree.prompt[1:], *branch.tokens)) for branch in tree.responses),
            pairs=tree.pairs,
        )
        for tree in trees(64)
    ]
    tasks = [TrainingTask("preference", get_objective("sft").bind(), trees(64))]
    wrong = [TrainingTask("preference", get_objective("sft").bind(), moved)]
    drift = (train(tasks=tasks)[0] - train(tasks=wrong)[0]).abs()
    assert drift.mean() > 1e-4


def test_a_reference_of_other_weights_shows_in_the_first_loss():
    tasks = [TrainingTask("preference", get_objective("dpo").bind(), trees(8))]
    logprob_model = LogProbModel(model())
    reference = ReferenceLogProbs(None, "other")
    other = LogProbModel(model("qwen2"))
    reference.compute(
        other, tasks[0].trees, batch_tokens=4096,
        context=autocast_factory(other, DEFAULTS), report=lambda done: None,
    )  # fmt: skip
    once = DEFAULTS.model_copy(update={"max_steps": 1})
    trainer = Trainer(logprob_model, tasks, once, reference=reference)
    trainer.train()
    assert abs(trainer.history[0]["loss"] - 0.6931) > 1e-2


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("mixed", [False, True])
def test_an_interrupted_run_resumes_to_the_same_weights(tmp_path, mixed):
    config = DEFAULTS.model_copy(update={"checkpoint_every_seconds": 1e-9, "max_steps": 20})
    tasks = [TrainingTask("preference", get_objective("dpo").bind(), trees(64))]
    if mixed:
        examples = trees(20, seed=3, responses=1, paired=False)
        tasks.append(TrainingTask("demonstration", get_objective("sft").bind(), examples, 0.5))

    def stop(step, measured):
        if step == 11:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(config, folder=tmp_path, tasks=tasks, report=stop)
    steps = []
    weights, trainer = train(
        config, folder=tmp_path, tasks=tasks, report=lambda step, measured: steps.append(step)
    )
    assert steps[0] in {11, 12}
    assert len(trainer.history) == 20
    assert torch.equal(weights, train(config, tasks=tasks)[0])


def test_a_killed_process_resumes_to_the_same_weights(tmp_path):
    """Killed with -9 in the middle of a step."""
    script = (
        "import sys, torch, pathlib\n"
        "from tests.learn.finetune.test_trainer import DEFAULTS, train\n"
        "config = DEFAULTS.model_copy(update={'checkpoint_every_seconds': 1e-9, 'max_steps': 30})\n"
        "weights, _ = train(config, folder=pathlib.Path(sys.argv[1]),\n"
        "    report=lambda step, measured: print(step, flush=True))\n"
        "torch.save(weights, sys.argv[2])\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(tmp_path / "end.pt")]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in first.stdout:
        if int(line) >= 12:
            os.kill(first.pid, signal.SIGKILL)
            break
    first.wait()
    second = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert int(second.stdout.split()[0]) > 5
    config = DEFAULTS.model_copy(update={"max_steps": 30})
    assert torch.equal(torch.load(tmp_path / "end.pt"), train(config)[0])


def test_an_interrupted_run_is_not_resumed_with_other_data(tmp_path):
    config = DEFAULTS.model_copy(update={"max_steps": 4})
    train(config, folder=tmp_path)
    tasks = [TrainingTask("preference", get_objective("dpo").bind(), trees(64, seed=9))]
    assert torch.equal(
        train(config, folder=tmp_path, tasks=tasks)[0], train(config, tasks=tasks)[0]
    )


def test_two_processes_take_the_steps_of_one(tmp_path):
    script = (
        "import json, os, sys, torch\n"
        "from tests.learn.finetune.test_trainer import DEFAULTS, train\n"
        "weights, trainer = train(DEFAULTS.model_copy(update={'batch_tokens': 64}))\n"
        "if os.environ.get('RANK', '0') == '0':\n"
        "    torch.save(weights, sys.argv[1] + '/weights.pt')\n"
        "    open(sys.argv[1] + '/history.json', 'w').write(json.dumps(trainer.history))\n"
    )
    (tmp_path / "run.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    done = subprocess.run(
        [*launch, str(tmp_path / "run.py"), str(tmp_path)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    weights, trainer = train(DEFAULTS.model_copy(update={"batch_tokens": 64}))
    history = json.loads((tmp_path / "history.json").read_text())
    losses = [step["loss"] for step in history]
    assert losses == pytest.approx([step["loss"] for step in trainer.history], abs=1e-5)
    assert (torch.load(tmp_path / "weights.pt") - weights).abs().max() < 2e-5


def test_tasks_share_a_batch_and_are_reported_separately():
    examples = trees(64, seed=3, responses=1, paired=False)
    tasks = [
        TrainingTask("preference", get_objective("dpo").bind(), trees(64)),
        TrainingTask("demonstration", get_objective("sft").bind(), examples, 0.25),
    ]
    _, trainer = train(tasks=tasks)
    first = trainer.history[0]
    assert first["preference/loss"] == pytest.approx(0.6931, abs=1e-3)
    shares = [first["preference/grad_share"], first["demonstration/grad_share"]]
    assert sum(shares) == pytest.approx(1)
    counts = [0, 0]
    for task, _ in trainer.batch(0):
        counts[task] += 1
    expected = (
        counts[0] * first["preference/loss"] + 0.25 * counts[1] * first["demonstration/loss"]
    ) / sum(counts)
    assert first["loss"] == pytest.approx(expected)
    assert trainer.history[-1]["demonstration/loss"] < first["demonstration/loss"]


def test_every_tree_is_learned_from_once_an_epoch():
    forest = trees(30)
    config = TrainingConfig(batch_size=8, epochs=2)
    logprob_model = LogProbModel(model())
    task = TrainingTask("demonstration", get_objective("sft").bind(), forest)
    trainer = Trainer(logprob_model, [task], config)
    seen = [tree for step in range(trainer.steps) for _, tree in trainer.batch(step)]
    assert len(seen) == 60
    places = {id(tree): index for index, tree in enumerate(forest)}
    order = [places[id(tree)] for tree in seen]
    assert sorted(order[:30]) == sorted(order[30:]) == list(range(30))
    assert order[:30] != order[30:]


def test_the_learning_rate_rises_and_falls():
    config = TrainingConfig(warmup_ratio=0.2)
    factors = [config.lr_factor(step, 50) for step in range(50)]
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert max(factors) == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert default_learning_rate(1_000_000, adapter=False) == pytest.approx(3e-4)


def test_nothing_to_learn_is_an_error():
    with pytest.raises(BacktalkError, match="nothing to train on"):
        Trainer(LogProbModel(model()), [], DEFAULTS)
    unpaired = [TrainingTask("preference", get_objective("dpo").bind(), trees(3, paired=False))]
    with pytest.raises(BacktalkError, match="no pair of positive weight"):
        Trainer(LogProbModel(model()), unpaired, DEFAULTS, reference=ReferenceLogProbs(None, ""))
    paired = [TrainingTask("preference", get_objective("dpo").bind(), trees(3))]
    with pytest.raises(BacktalkError, match="needs log-probabilities of a reference"):
        Trainer(LogProbModel(model()), paired, DEFAULTS)
