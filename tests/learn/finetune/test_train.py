"""Fine-tuning, from a store to a policy with trained weights."""

import asyncio
import contextlib
import json

import numpy as np
import pytest

from backtalk import Policy
from backtalk.decode import Sample
from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Demonstration, Interaction, Preference, Ranking
from backtalk.learn import TrainingSet, get_method, in_split
from backtalk.learn.finetune import dry_run
from backtalk.models import EndpointSpec, LocalSpec, Sampling
from backtalk.models.local import engine as engine_module
from backtalk.policy import load_policy
from backtalk.reports import read_training
from backtalk.reports.policy_report import training_blocks
from backtalk.run import Run
from backtalk.store import Store
from tests.models import tiny

ADA = Annotator.human("ada")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def plain(folder):
    return Policy(
        model=LocalSpec(model=folder), system="Be brief.",
        decoder=Sample(sampling=Sampling(max_tokens=12)), name="plain",
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "feedback.db") as made:
        for i in range(24):
            interaction = Interaction.of(f"Is shop {i} open today?", "Yes, we open at nine.", "No.")
            made.add(
                interaction,
                Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict="a"),
                Demonstration(interaction=interaction.id, annotator=ADA, text="Yes, at nine."),
            )
        yield made


def learn(name, policy, store, folder=None, **options):
    with Run(folder, seed=0) as run:
        defaults = {"learning_rate": 3e-3, "epochs": 4, "batch_size": 4, **options}
        return asyncio.run(get_method(name).learn(policy, TrainingSet(store), run, **defaults))


def probability(policy, store, prompt, answer):
    model = load_policy(policy, store.artifacts).model
    (values,) = asyncio.run(model.score([(policy.messages(prompt), answer)]))
    return float(values.sum())


HELD_OUT = next(
    interaction.prompt
    for i in range(1000)
    if in_split(
        (interaction := Interaction.of(f"Is store {i} open today?", "Yes.")).prompt, "held-out"
    )
)


@pytest.mark.parametrize("adapter", ["none", "lora", "dora"])
def test_preferences_move_the_weights_the_right_way(plain, store, adapter):
    rank = {} if adapter == "none" else {"lora_rank": 4}
    learned = learn("dpo", plain, store, adapter=adapter, **rank)
    before, after = (
        probability(policy, store, HELD_OUT, "Yes, we open at nine.")
        - probability(policy, store, HELD_OUT, "No.")
        for policy in (plain, learned)
    )
    assert after > before + 1
    assert learned.model.adapters if adapter != "none" else learned.model.artifact
    assert learned.system == plain.system
    answer = load_policy(learned, store.artifacts).respond("Is shop 3 open today?")
    assert answer.policy == learned.id


def test_the_files_of_an_adapter_do_not_depend_on_the_process(plain, store):
    learned = learn("sft", plain, store, adapter="lora", lora_rank=2, max_steps=1)
    folder = store.artifacts.path(learned.model.adapters[0])
    modules = json.loads((folder / "adapter_config.json").read_text())["target_modules"]
    assert modules == sorted(modules)
    assert len(modules) > 2


def test_an_adapter_can_be_put_on_another(plain, store):
    once = learn("sft", plain, store, adapter="lora", lora_rank=2)
    twice = learn("dpo", once, store, adapter="lora", lora_rank=2)
    assert len(twice.model.adapters) == 2
    assert twice.model.adapters[0] == once.model.adapters[0]
    assert twice.model.model == plain.model.model
    assert twice.lineage.parent == once.id
    assert load_policy(twice, store.artifacts).respond("Is shop 3 open today?").text is not None


@pytest.mark.parametrize(
    "adapters",
    [
        ("lora", "none"),
        ("dora", "none"),
        ("none", "lora"),
        ("none", "dora", "none"),
        ("lora", "none", "lora"),
        ("lora", "dora", "none", "lora"),
    ],
    ids=" ".join,
)
def test_adapters_and_full_weights_follow_each_other(plain, store, adapters):
    question, answer = "Is shop 3 open today?", "Yes, at nine."
    policy, values = plain, [probability(plain, store, question, answer)]
    last_adapters = 0
    for adapter in adapters:
        extra = {} if adapter == "none" else {"adapter": adapter, "lora_rank": 2}
        policy = learn("sft", policy, store, max_steps=3, **extra)
        values.append(probability(policy, store, question, answer))
        assert len(policy.model.adapters) == (0 if adapter == "none" else last_adapters + 1)
        last_adapters = len(policy.model.adapters)
        notes = policy.lineage.notes
        assert ("adapted weights" in notes) == (adapter != "none")
        first = read_training(store, policy)[0]["loss"]
        assert np.isfinite(first)
    assert values == sorted(values)
    assert values[-1] > values[0] + 0.5


def test_demonstrations_become_more_probable(plain, store):
    learned = learn("sft", plain, store)
    rise = [
        probability(learned, store, f"Is shop {i} open today?", "Yes, at nine.")
        - probability(plain, store, f"Is shop {i} open today?", "Yes, at nine.")
        for i in range(3)
    ]
    assert np.mean(rise) > 5


def test_the_same_seed_gives_the_same_policy(plain, store):
    assert learn("dpo", plain, store).id == learn("dpo", plain, store).id


def test_the_lineage_says_what_was_done(plain, store):
    learned = learn("dpo", plain, store, beta=0.5)
    lineage = learned.lineage
    assert (lineage.method, lineage.parent) == ("dpo", plain.id)
    assert lineage.options == {"beta": 0.5, "learning_rate": 3e-3, "epochs": 4.0, "batch_size": 4}
    assert lineage.snapshot.counts["preference"] == lineage.notes["preference prompts"]
    history = read_training(store, learned)
    assert len(history) == lineage.notes["steps"]
    assert history[0]["loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert history[-1]["rewards/accuracies"] == 1
    assert {
        "kl",
        "completions/mean_length",
        "tokens_per_second",
        "rewards/margins",
    } <= history[-1].keys()
    assert read_training(store, plain) == []


def test_a_report_draws_the_training(plain, store):
    history = read_training(store, learn("dpo", plain, store))
    captions = [block.caption for block in training_blocks(history)]
    assert captions[0].startswith("Mean loss")
    assert len(captions) == 4


def test_reference_log_probabilities_are_computed_once_whatever_else_changes(
    plain, store, tmp_path, monkeypatch
):
    computed = []
    from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs

    write = ReferenceLogProbs._write
    monkeypatch.setattr(
        ReferenceLogProbs,
        "_write",
        lambda self, entries: (computed.append(len(entries)), write(self, entries)),
    )
    learn("dpo", plain, store, tmp_path / "one", max_steps=1)
    first, computed[:] = sum(computed), []
    learn("ipo", plain, store, tmp_path / "two", max_steps=1, learning_rate=1e-3)
    assert first > 0 == sum(computed)
    learn("dpo", plain.model_copy(update={"system": "Be long."}), store, max_steps=1)
    assert sum(computed) == first


def test_an_interrupted_run_resumes(plain, store, tmp_path, monkeypatch):
    from backtalk.learn.finetune.trainer import Trainer

    step = Trainer._step
    taken = []

    def stop(self, number):
        taken.append(number)
        if len(taken) == 4:
            raise KeyboardInterrupt
        return step(self, number)

    monkeypatch.setattr(Trainer, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        learn("dpo", plain, store, tmp_path / "run", checkpoint_every_seconds=1e-9)
    assert taken == [0, 1, 2, 3]
    again = learn("dpo", plain, store, tmp_path / "run", checkpoint_every_seconds=1e-9)
    assert taken[4] == 3
    monkeypatch.setattr(Trainer, "_step", step)
    assert again.id == learn("dpo", plain, store).id


@pytest.mark.parametrize("at", ["_loss", "_add_metrics"])
def test_ctrl_c_saves_the_finished_steps(plain, store, tmp_path, monkeypatch, at):
    from backtalk.learn.finetune.trainer import Trainer

    original = getattr(Trainer, at)

    def stop(self, *arguments):
        if len(self.history) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Trainer, at, stop)
    with pytest.raises(KeyboardInterrupt):
        learn("dpo", plain, store, tmp_path / "run")
    monkeypatch.setattr(Trainer, at, original)
    reports = []
    with Run(tmp_path / "run", seed=0, progress=lambda *report: reports.append(report)) as run:
        again = asyncio.run(
            get_method("dpo").learn(
                plain, TrainingSet(store), run, learning_rate=3e-3, epochs=4, batch_size=4
            )
        )
    steps = [report for report in reports if report[0] == "training"]
    total = steps[0][2]
    assert steps[0] == ("training", 2, total, f"resumed at step 2 of {total}")
    assert [done for _, done, *_ in steps[1:]] == [*range(3, total + 1), total]
    assert again.id == learn("dpo", plain, store).id


def test_ctrl_c_amid_an_update_of_the_weights_saves_nothing_wrong(
    plain, store, tmp_path, monkeypatch
):
    from backtalk.learn.finetune.trainer import Trainer

    reduce = Trainer._reduce

    def stop(self, sums):
        if len(self.history) == 2:
            raise KeyboardInterrupt
        return reduce(self, sums)

    monkeypatch.setattr(Trainer, "_reduce", stop)
    with pytest.raises(KeyboardInterrupt):
        learn("dpo", plain, store, tmp_path / "run")
    monkeypatch.setattr(Trainer, "_reduce", reduce)
    assert learn("dpo", plain, store, tmp_path / "run").id == learn("dpo", plain, store).id


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_a_finished_run_keeps_no_checkpoint_and_gives_the_same_policy(
    plain, store, tmp_path, monkeypatch, adapter
):
    from backtalk.learn.finetune.trainer import Trainer

    folder = tmp_path / "run"
    options = {"adapter": adapter, "checkpoint_every_seconds": 1e-9}
    first = learn("dpo", plain, store, folder, **options)
    assert not list(folder.rglob("*.pt"))
    assert not list(folder.rglob("*.new"))
    step, taken = Trainer._step, []
    monkeypatch.setattr(
        Trainer, "_step", lambda self, number: (taken.append(number), step(self, number))[1]
    )
    again = learn("dpo", plain, store, folder, **options)
    assert taken == []
    assert again.id == first.id
    assert again.lineage.notes == first.lineage.notes
    assert learn("dpo", plain, store, folder, **options, beta=0.5).id != first.id
    assert taken


def test_progress_says_what_was_measured(plain, store):
    notes = []

    def progress(task, done, total, note=""):
        if task == "training" and note:
            notes.append(note)

    with Run(seed=0, progress=progress) as run:
        asyncio.run(
            get_method("dpo").learn(plain, TrainingSet(store), run, max_steps=2, batch_size=4)
        )
    assert notes[0] == "loss 0.693, accuracy 0.00, margin 0.00"
    assert len(notes) == 2
    assert max(map(len, notes)) <= 40


def test_a_dry_run_trains_nothing(plain, store):
    with Run(seed=0) as run:
        result = asyncio.run(dry_run("dpo", plain, TrainingSet(store), run))
    assert result.passed
    assert {response.task for response in result.responses} == {"preference"}
    assert json.dumps([vars(check) for check in result.checks])


def test_a_dry_run_computes_the_reference_of_a_few_rows_and_counts_all(
    plain, store, tmp_path, monkeypatch
):
    from backtalk.learn.finetune.logprobs import LogProbModel

    scored = []
    score = LogProbModel.score

    def count(self, trees, top_k=0):
        scored.append(len(trees))
        return score(self, trees, top_k)

    monkeypatch.setattr(LogProbModel, "score", count)
    reported = []
    with Run(seed=0) as run:
        result = asyncio.run(dry_run("dpo", plain, TrainingSet(store), run, report=reported.append))
    rows = len(TrainingSet(store).prompts())
    assert rows > 12 >= sum(scored)
    assert reported == [*result.responses, *result.checks]
    names = [check.name for check in result.checks]
    assert names[0] == "responses with tokens to learn"
    assert names[-2] == "responses with tokens to learn, all rows"
    assert result.checks[-2].measured == f"{2 * rows} of {2 * rows}"


def test_a_dry_run_checks_rows_of_each_kind_before_it_reads_the_rest(plain, store, monkeypatch):
    from backtalk.learn.finetune.encoding import Encoder

    interaction = Interaction.of("Is the last shop open?", "Yes.", "No.")
    monkeypatch.setattr("backtalk.learn.training_set.split_for", lambda key: "train")
    store.add(
        interaction,
        Ranking(interaction=interaction.id, annotator=ADA, tiers=(("1",), ("0",))),
    )
    trees, at_first_check = [], []
    tree = Encoder.tree
    monkeypatch.setattr(
        Encoder, "tree", lambda self, *a, **k: (trees.append(a), tree(self, *a, **k))[1]
    )
    with Run(seed=0) as run:
        result = asyncio.run(
            dry_run(
                "dpo", plain, TrainingSet(store), run,
                report=lambda result: at_first_check.append(len(trees)),
            )
        )  # fmt: skip
    assert {response.task for response in result.responses} == {"preference", "ranking"}
    assert at_first_check[0] < len(trees) / 3


def test_a_dry_run_stops_at_a_few_rows_that_fail(plain, store, monkeypatch):
    from backtalk.learn.finetune import preflight

    failing = preflight.Check("first loss", False, "9.9")
    monkeypatch.setattr(preflight, "_check_first_loss", lambda *_, **__: failing)
    with Run(seed=0) as run:
        result = asyncio.run(dry_run("dpo", plain, TrainingSet(store), run))
    assert not result.passed
    assert not [check for check in result.checks if "all rows" in check.name]


def test_a_dry_run_samples_answers_to_a_few_prompts_only(plain, store):
    plain = plain.model_copy(update={"decoder": Sample(sampling=Sampling(max_tokens=60))})
    reports = []
    with Run(seed=0, progress=lambda *report: reports.append(report)) as run:
        result = asyncio.run(dry_run("raft", plain, TrainingSet(store), run, samples=2))
    sampled = [total for task, _, total, *_ in reports if task == "sampling answers"]
    assert set(sampled) == {8}
    assert result.checks[-1].name == "all rows"
    assert result.checks[-1].measured.startswith("not counted")


def test_nothing_is_sampled_for_a_policy_that_cannot_be_trained(plain, store):
    remote = plain.model_copy(update={"model": EndpointSpec(model="big", base_url="http://x/v1")})
    reports = []
    with Run(seed=0, progress=lambda *report: reports.append(report)) as run:
        for attempt in (
            dry_run("raft", remote, TrainingSet(store), run),
            get_method("raft").learn(remote, TrainingSet(store), run),
        ):
            with pytest.raises(BacktalkError, match="whose weights are not local"):
                asyncio.run(attempt)
    assert reports == []


def test_a_failed_check_comes_before_the_reference_of_all_rows(plain, store, monkeypatch):
    from backtalk.learn.finetune import preflight

    failing = preflight.Check("first loss", False, "9.9")
    monkeypatch.setattr(preflight, "_check_first_loss", lambda *_, **__: failing)
    tokens = []

    def progress(task, done, total, note=""):
        if task.startswith("reference"):
            tokens.append(total)

    with Run(seed=0, progress=progress) as run, pytest.raises(BacktalkError, match="check failed"):
        asyncio.run(get_method("dpo").learn(plain, TrainingSet(store), run))
    assert len(set(tokens)) == 1


def test_what_cannot_be_trained_is_an_error(plain, store, tmp_path):
    remote = plain.model_copy(update={"model": EndpointSpec(model="big", base_url="http://x/v1")})
    with pytest.raises(BacktalkError, match="whose weights are not local"):
        learn("dpo", remote, store)
    with pytest.raises(BacktalkError, match=r"left out: \d+ longer than 9 tokens"):
        learn("dpo", plain, store, max_length=9)
    with Store(tmp_path / "empty.db") as empty, pytest.raises(BacktalkError, match="no feedback"):
        learn("dpo", plain, empty)
    with pytest.raises(BacktalkError, match="option of dpo"):
        learn("dpo", plain, store, betta=1)
    with Run() as run, pytest.raises(BacktalkError, match="trains no weights"):
        asyncio.run(dry_run("best-of-n", plain, TrainingSet(store), run))


def test_samples_that_all_reach_the_limit_are_named(plain, store):
    decoder = Sample(sampling=Sampling(max_tokens=1))
    with pytest.raises(BacktalkError, match=r"\d+ samples that reached the token limit") as raised:
        learn("raft", plain.derive(decoder=decoder, lineage=plain.lineage), store)
    assert "Raise `max_tokens`" in str(raised.value)


def test_equal_samples_of_a_greedy_policy_are_warned_of(plain, store, caplog):
    decoder = Sample(sampling=Sampling(max_tokens=12, temperature=0))
    greedy = plain.derive(decoder=decoder, lineage=plain.lineage)
    with contextlib.suppress(BacktalkError):  # the tiny model may end no answer
        learn("raft", greedy, store, samples=3, max_steps=1)
    assert "answers greedily, so that its 3 samples of a prompt are equal" in caplog.text


def test_one_copy_of_the_weights_is_loaded(plain, store, monkeypatch):
    loaded = []
    original = engine_module._load

    def load(*args, **options):
        loaded.append(args)
        return original(*args, **options)

    monkeypatch.setattr(engine_module, "_load", load)
    learn("dpo", plain, store, max_steps=1)
    learn("dpo", plain, store, max_steps=1, adapter="lora")
    assert len(loaded) == 2
