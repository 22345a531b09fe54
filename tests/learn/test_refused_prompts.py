"""A prompt that a chat template refuses is left out where others are sampled, and listed."""

import asyncio

import numpy as np
import pytest

from backtalk import Policy
from backtalk.api import evaluate
from backtalk.cli import main
from backtalk.decode import Sample
from backtalk.errors import BacktalkError
from backtalk.evaluate.answering import answer_and_judge
from backtalk.evaluate.plan import Plan
from backtalk.feedback import Annotator, Interaction, Label, Message, Preference
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.context import MethodContext
from backtalk.learn.left_out_rows import (
    NOTE,
    PROMPT_REASON,
    TooManyLeftOut,
    describe_left_out,
    read_left_out,
)
from backtalk.learn.online.feedback_sources import RewardJudge
from backtalk.learn.online.loop import OnlineConfig, OnlineLearner
from backtalk.learn.training_set import in_split
from backtalk.models import (
    Budget,
    BudgetExceeded,
    Completion,
    FunctionModel,
    LocalSpec,
    Request,
    Sampling,
)
from backtalk.models.errors import AuthenticationError, BadRequest, ContextTooLong
from backtalk.models.refused_requests import generate_or_refuse
from backtalk.models.run_sync import run_sync
from backtalk.policy import save_policy
from backtalk.rewards.protocol import Scores
from backtalk.rewards.registry import REWARDS
from backtalk.run import Run
from backtalk.store import Store
from tests.models import tiny

ADA = Annotator.human("ada")
STRICT = (
    "{% for message in messages %}{% if not loop.first and "
    "message.role == messages[loop.index0 - 1].role %}"
    "{{ raise_exception('two ' + message.role + ' turns in a row') }}{% endif %}{% endfor %}"
) + tiny.CHATML
REFUSED = (Message.user("Is it"), Message.user("open?"))
STEP = {"max_steps": 1, "batch_size": 2}


class Longer:
    """Finds the longer answer better."""

    name, bounds = "longer", None

    async def score(self, answers):
        return Scores(np.array([float(len(text)) for _, text in answers]))


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tiny.save(tmp_path_factory.mktemp("models") / "llama", template=STRICT)
    sampling = Sampling(max_tokens=30)
    return Policy(model=LocalSpec(model=folder), decoder=Sample(sampling=sampling))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "feedback.db") as opened:
        for i in range(6):
            add(opened, f"Shop {i}?")
        add(opened, REFUSED, id="refused")
        yield opened


def add(store, prompt, **fields):
    interaction = Interaction.of(prompt, "Yes, we open.", "No.").model_copy(update=fields)
    by = {"interaction": interaction.id, "annotator": ADA}
    store.add(
        interaction,
        Preference(**by, a="0", b="1", verdict="a"),
        Label(**by, response="0", good=True),
        Label(**by, response="1", good=False),
    )


def test_other_prompts_are_sampled(policy, store):
    feedback = TrainingSet(store, split="all").plain_texts()
    prompts = feedback.prompts()
    context = MethodContext(policy, feedback, Run(seed=0), max_left_out=0.5)
    texts = run_sync(context.sample(prompts, 3))
    alone = MethodContext(policy, feedback, Run(seed=0)).sample(prompts[:-1], 3)
    assert texts == [*run_sync(alone), []]
    assert feedback.left_out[PROMPT_REASON] == 1
    (row,) = feedback.refused.find_records(feedback.every_case())
    assert row.record == "refused"
    assert "two user turns in a row" in row.reason
    strict = MethodContext(policy, feedback, Run(seed=0))
    with pytest.raises(TooManyLeftOut, match=r"1 of 7 rows.*refused: .*two user turns"):
        run_sync(strict.sample(prompts, 3))


@pytest.mark.parametrize("name", ["d2o", "spac"])
def test_methods_that_sample_list_it(name, policy, store):
    feedback = TrainingSet(store, split="all")
    options = STEP | {"max_left_out": 0.9}
    learned = run_sync(get_method(name).learn(policy, feedback, Run(seed=0), **options))
    rows = read_left_out(learned.lineage.notes[NOTE], store.artifacts)
    assert {row.record for row in rows} == {"refused"}
    assert "refused: " in "".join(describe_left_out(learned, store.artifacts))


def test_rounds_go_on_without_it(policy, store):
    config = OnlineConfig(rounds=1, prompts_per_round=7, num_samples=3)

    def learn(**options):
        learner = OnlineLearner(
            "dpo",
            store,
            Run(seed=0),
            feedback_source=RewardJudge(Longer()),
            config=config,
            options={**STEP, **options},
        )
        prompts = TrainingSet(store, split="all").prompts()
        return asyncio.run(learner.learn(policy, prompts)).policies[0]

    learned = learn(max_left_out=0.5)
    (row,) = read_left_out(learned.lineage.notes[NOTE], store.artifacts)
    assert row.record == "refused"
    with pytest.raises(TooManyLeftOut, match="two user turns in a row"):
        learn()


def test_evaluations_of_rounds_leave_out_as_much_as_the_method(policy, store):
    learner = OnlineLearner(
        "dpo",
        store,
        Run(seed=0),
        feedback_source=RewardJudge(Longer()),
        config=OnlineConfig(rounds=1, prompts_per_round=7, num_samples=3),
        options=STEP | {"max_left_out": "0.5"},
        judge=Longer(),
    )
    prompts = TrainingSet(store, split="all").prompts()
    (evaluation,) = asyncio.run(learner.learn(policy, prompts, prompts)).evaluations
    assert evaluation.prompts == 6
    assert len(evaluation.refused) == 1


class Spending:
    """Policy that refuses the first prompts, and whose budget ends at the following ones."""

    def __init__(self, id_):
        self.id = id_

    async def decode(self, prompts, *, seed=0):
        if int(prompts[0][0].text) >= 8:
            raise BudgetExceeded("no calls are left", spent=8, allowed=8)
        raise BadRequest("not this one")


def test_a_budget_that_ends_after_refused_prompts_only_is_an_error():
    prompts = tuple((Message.user(str(i)),) for i in range(24))
    plan = Plan(prompts, (Spending("a"), Spending("b")), ((None,) * 24,) * 2)
    run = Run(seed=0, budget=Budget(calls=1_000))
    with pytest.raises(BudgetExceeded):
        run_sync(answer_and_judge(plan, Longer(), run, max_left_out=0.5))


def test_evaluations_leave_it_out_for_both_policies(policy, store):
    other = policy.derive(system="Be brief.", lineage=policy.lineage)
    with pytest.raises(BacktalkError, match=r"1 of 7 prompts are refused.*two user turns in a row"):
        evaluate(other, policy, store, judge=Longer(), split="all")
    result = evaluate(other, policy, store, judge=Longer(), split="all", max_left_out=0.15)
    assert result.prompts == 6
    with pytest.raises(BacktalkError, match="1 of 1 prompts are refused"):
        evaluate(other, policy, store, judge=Longer(), prompts=[REFUSED], max_left_out=1.0)
    for i in range(13):
        add(store, f"Is shop {i} open?")
    result = evaluate(other, policy, store, judge=Longer(), split="all")
    assert result.prompts == 19
    assert len(result.refused) == 1
    assert "two user turns in a row" in result.refused[0]


def test_errors_that_concern_every_request_stop():
    requests = [Request(messages=(Message.user(str(i)),)) for i in range(4)]

    def model(errors):
        def answer(request):
            error = errors.get(request.messages[0].text)
            if error is not None:
                raise error
            return Completion(text=request.messages[0].text)

        return FunctionModel(answer, name="f")

    errors = {"1": BadRequest("no"), "3": ContextTooLong("long")}
    answers = run_sync(generate_or_refuse(model(errors), requests))
    assert [type(answer) for answer in answers] == [
        Completion, BadRequest, Completion, ContextTooLong
    ]  # fmt: skip
    with pytest.raises(AuthenticationError):
        run_sync(generate_or_refuse(model({**errors, "2": AuthenticationError("key")}), requests))


def test_commands_that_train_list_what_they_leave_out(policy, tmp_path, capsys):
    location = tmp_path / "feedback.db"
    with Store(location) as store:
        number = 0
        while sum(1 for _ in TrainingSet(store).prompts()) < 8:
            add(store, f"Shop {number}?")
            number += 1
        refused = (Message.user("Is it"), Message.user("open?"))
        while not in_split(refused, "train"):
            refused = (*refused, Message.user("Or not?"))
        add(store, refused, id="refused")
        save_policy(store, policy.named("small"))
    shared = ["dpo", "--policy", "small", "--store", str(location), "-o", "max_steps=1"]
    shared += ["-o", "batch_size=2", "-o", "max_left_out=0.5"]
    online = ["--rounds", "1", "--num-samples", "2", "--prompts-per-round", "9"]
    longer = ["--judge", "longer-answers"]
    REWARDS.decorator("longer-answers")(Longer)
    try:
        assert main(["learn-online", *shared, *online, *longer]) == 0
    finally:
        REWARDS.unregister("longer-answers")
    printed = capsys.readouterr().err
    assert "Round 1: 1 records were left out" in printed
    assert "refused: " in printed
    watched = ["watch", *shared, "--every", "1", "--once"]
    assert main(watched) == 0
    printed = capsys.readouterr().err
    assert "1 records were left out" in printed
    assert "refused: " in printed
