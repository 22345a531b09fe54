"""Validation during training: its loss is the objective's, and measuring changes no weights."""

import asyncio
import math

import pytest
import torch

from backtalk import Policy
from backtalk.feedback import Annotator, Demonstration, Interaction
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.finetune import PromptTree, TrainingConfig, TrainingTask, get_objective
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trainer import Trainer, autocast_factory
from backtalk.learn.finetune.validation import Validation
from backtalk.models import LocalSpec, NamedSpec
from backtalk.policy import load_policy
from backtalk.run import Run
from backtalk.store import Store
from tests.learn.finetune.small import model, trees
from tests.models import tiny

STILL = TrainingConfig(batch_size=8, learning_rate=1e-12, lr_scheduler="constant", warmup_ratio=0)


def labelled(count):
    """Return trees of one labelled response each, with the response of another one as anchor."""
    made = trees(count, responses=1, paired=False)
    return [
        PromptTree(
            tree.prompt,
            tuple(type(one)(one.tokens, label=index % 2 == 0) for one in tree.responses),
            kl_anchors=made[index - 1].responses,
        )
        for index, tree in enumerate(made)
    ]


CASES = {
    "sft": lambda: trees(8, responses=1, paired=False),
    "dpo": lambda: trees(8),
    "kto": lambda: labelled(8),
}


def sharper():
    """Return the network with all parameters times 1.5, as a reference that differs from it."""
    network = model()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    return LogProbModel(network)


def train(name, data, config=STILL, *, held_out=None, token_accuracy=False, seed=0):
    task = TrainingTask("task", get_objective(name).bind(), data)
    validation_tasks = [TrainingTask("task", task.objective, held_out or data)]
    network = LogProbModel(model())
    reference = ReferenceLogProbs(None, "first")
    context = autocast_factory(network, config)
    for trees_ in (data, held_out or data):
        reference.compute(
            sharper(), trees_, batch_tokens=4096, context=context, report=lambda done: None
        )
    validation = Validation(
        network, validation_tasks, config, config.num_steps(len(data)), context, reference, seed
    )
    trainer = Trainer(
        network,
        [task],
        config,
        reference=reference,
        validation=validation,
        token_accuracy=token_accuracy,
        seed=seed,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("batch_tokens", [None, 40])
@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_that_of_a_step_on_the_same_data(name, batch_tokens):
    config = STILL.model_copy(update={"batch_tokens": batch_tokens})
    (step,) = train(name, CASES[name](), config, token_accuracy=True).history
    assert step["eval_loss"] == pytest.approx(step["loss"], rel=1e-4)
    for metric in ("mean_token_accuracy", "rewards/margins", "rewards/accuracies"):
        assert (metric in step) == (f"eval_{metric}" in step)
        if metric in step:
            assert step[f"eval_{metric}"] == pytest.approx(step[metric], abs=1e-4)


def test_token_accuracy_is_the_share_of_the_most_probable_tokens():
    data = trees(8, responses=1, paired=False)
    trainer = train("sft", data, token_accuracy=True)
    correct = total = 0
    for tree in data:
        (response,) = tree.responses
        tokens = torch.tensor([[*tree.prompt, *response.tokens]])
        with torch.no_grad():
            best = trainer.model.model(tokens).logits[0].argmax(dim=1)
        expected = best[len(tree.prompt) - 1 : -1].tolist()
        correct += sum(a == b for a, b in zip(expected, response.tokens, strict=True))
        total += len(response.tokens)
    assert trainer.history[0]["mean_token_accuracy"] == pytest.approx(correct / total)


def test_measuring_changes_no_weights():
    config = TrainingConfig(batch_size=2, learning_rate=1e-3, epochs=2)
    data = trees(8, responses=1, paired=False)
    measured = train("sft", data, config, token_accuracy=True, held_out=data[:3])
    plain = Trainer(
        LogProbModel(model()), [TrainingTask("task", get_objective("sft").bind(), data)], config
    )
    plain.train()
    for a, b in zip(measured.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_all_data_is_measured_after_an_epoch_and_a_sample_in_between():
    config = TrainingConfig(batch_size=2, learning_rate=1e-3, epochs=5)
    history = train("sft", trees(8, responses=1, paired=False), config).history
    full = [step for step, metrics in enumerate(history, 1) if "eval_loss" in metrics]
    sampled = [step for step, metrics in enumerate(history, 1) if "eval_sample_loss" in metrics]
    assert (full, sampled) == ([4, 8, 12, 16, 20], [2, 6, 10, 14, 18])


@pytest.mark.parametrize("epochs", [0.5, 1, 2.5, 4])
@pytest.mark.parametrize(("count", "size"), [(8, 2), (7, 3), (5, 8), (9, 4)])
def test_an_epoch_ends_with_the_step_that_has_its_last_tree(epochs, count, size):
    config = TrainingConfig(batch_size=size, epochs=epochs)
    trees_of_run = math.ceil(epochs * count)
    expected = set()
    for step in range(config.num_steps(count)):
        positions = range(step * size, min((step + 1) * size, trees_of_run))
        if any((position + 1) % count == 0 for position in positions):
            expected.add(step + 1)
    assert config.epoch_ends(count) == sorted(expected | {config.num_steps(count)})


def test_the_multiplier_scales_the_learning_rate():
    data = trees(8, responses=1, paired=False)
    for config in (TrainingConfig(batch_size=4), TrainingConfig(batch_size=4, learning_rate=1e-3)):
        rates = [
            [step["learning_rate"] for step in train("sft", data, changed).history]
            for changed in (config, config.model_copy(update={"learning_rate_multiplier": 2.5}))
        ]
        assert rates[1] == pytest.approx([2.5 * rate for rate in rates[0]])


class Monitor:
    """Monitor that records what it receives, and saves the weights of each step."""

    def __init__(self):
        self.sizes = []
        self.steps = []
        self.models = []

    def begin(self, **sizes):
        self.sizes.append(sizes)

    def step(self, done, metrics, save):
        self.steps.append((done, dict(metrics)))
        self.models.append(save())


@pytest.mark.parametrize("base", ["local", "named"])
@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_a_monitor_receives_each_step_with_its_weights(tmp_path, base, adapter):
    ada = Annotator.human("ada")
    spec = (
        LocalSpec(model=tiny.save(tmp_path / "llama"))
        if base == "local"
        else NamedSpec(name="small")
    )
    plain = Policy(model=spec)
    with Store(tmp_path / "feedback.db") as store:
        for i in range(10):
            interaction = Interaction.of(f"Is shop {i} open?", "No.")
            store.add(
                interaction,
                Demonstration(interaction=interaction.id, annotator=ada, text="Yes, at nine."),
            )
        training = TrainingSet(store, split="all")
        training.validation = TrainingSet(store, split="all")
        monitor = Monitor()
        with Run(monitor=monitor) as run:
            rate = 1e-2 if base == "local" else 1e-4
            options = {"batch_size": 5, "epochs": 2, "learning_rate": rate, "adapter": adapter}
            learned = asyncio.run(get_method("sft").learn(plain, training, run, **options))
        (sizes,) = monitor.sizes
        assert (sizes["steps"], sizes["epoch_ends"]) == (4, [2, 4])
        assert sizes["tokens"] == sum(metrics["num_tokens"] for _, metrics in monitor.steps)
        assert [step for step, _ in monitor.steps] == [1, 2, 3, 4]
        assert monitor.models[-1] == learned.model
        assert len({(spec.artifact, spec.adapters) for spec in monitor.models}) == 4
        losses = [metrics["eval_loss"] for _, metrics in monitor.steps if "eval_loss" in metrics]
        assert len(losses) == 2
        question = (plain.messages("Is shop 1 open?"), "Yes, at nine.")
        before, after = (
            asyncio.run(load_policy(policy, store.artifacts).model.score([question]))[0].sum()
            for policy in (plain, learned)
        )
        assert after > before
