"""The value of a policy by a project's log, where the truth is known."""

import json
import math

import numpy as np
import pytest

from backtalk.cli import main
from backtalk.decode import BestOfN, Sample
from backtalk.errors import BacktalkError, UnknownName
from backtalk.experiments.off_policy import estimate_policy
from backtalk.feedback import Interaction, Label, Message, Response
from backtalk.models import Completion, Sampling
from backtalk.models.spec import NamedSpec
from backtalk.policy import LoadedPolicy, Policy, save_policy
from backtalk.rewards import Scores
from backtalk.stats.estimate import NotIdentified
from backtalk.store import Store
from tests.experiments.conftest import ADA, trial_of

TEXTS = ("Yes.", "No, not today, I am afraid.", "We open at nine!")
WORTH = np.array([0.2, 0.5, 0.9])


class Odds:
    """A model that gives three answers by set odds, and says so."""

    name = identity = "odds"

    def __init__(self, *odds):
        self.odds = odds

    async def score(self, texts):
        return [np.array([math.log(self.odds[TEXTS.index(text)])]) for _, text in texts]

    async def generate(self, requests):
        rng = np.random.default_rng(0)
        return [Completion(text=str(rng.choice(TEXTS, p=self.odds))) for _ in requests]


def nobody():
    raise AssertionError("nothing has to be loaded")


def written(system, decoder=None):
    return Policy(model=NamedSpec(name="writer"), system=system, decoder=decoder or Sample())


def log(store, odds, count, *, policy, propensity=False):
    """Let a policy answer by its odds, and judge each answer by what it is worth."""
    rng = np.random.default_rng(1)
    records = []
    for number in range(count):
        place = int(rng.choice(3, p=odds))
        kept = range(3) if propensity else [place]
        responses = tuple(
            Response(
                id=str(i),
                text=TEXTS[i],
                log_probability=None if propensity else math.log(odds[i]),
                propensity=odds[i] if propensity and i == place else None,
            )
            for i in kept
        )
        interaction = Interaction(
            id=f"talk {number}",
            prompt=(Message.user("Is it open?"),),
            responses=responses,
            shown=(str(place),),
            policy=policy.id,
        )
        good = bool(rng.random() < WORTH[place])
        records += [
            interaction,
            Label(interaction=interaction.id, annotator=ADA, response=str(place), good=good),
        ]
    store.add(*records)


def values(found):
    return {one.estimator: one.estimate for one in found.estimates}


def test_an_arm_of_an_experiment_is_worth_what_it_is_worth(store):
    trial = trial_of(store, candidates=2, allocation="thompson", floor=0.1)
    truth = dict(zip(trial.experiment.arms, (0.5, 0.3, 0.8), strict=True))
    for _ in range(4):
        trial.traffic(truth, 200)
    rare = trial.candidates[0]
    policy = next(p for p in map(written, ("candidate 0", "candidate 1")) if p.id == rare)
    result = estimate_policy(store, policy, load=nobody, level=0.99)
    assert result.basis == "the probabilities of the arms of experiments"
    assert result.logged.n == 800
    assert result.logged.value > 0.55
    for estimate in values(result).values():
        assert not estimate.excludes(0.3)
        assert estimate.value < 0.5


def test_a_model_that_never_answered_is_known_by_its_probabilities(store):
    logging, target = written("logging"), written("target")
    save_policy(store, logging)
    odds = (0.1, 0.3, 0.6)
    log(store, (0.5, 0.3, 0.2), 1500, policy=logging)
    loaded = LoadedPolicy(target, Odds(*odds), {})
    result = estimate_policy(store, target, load=lambda: loaded)
    truth = float(np.array(odds) @ WORTH)
    assert result.basis == "its model's probabilities"
    for estimate in values(result).values():
        assert not estimate.excludes(truth)
    assert result.logged.high < truth
    assert values(result)["dr"].width < values(result)["ips"].width


def test_the_best_of_logged_candidates_is_known_by_the_propensity_of_what_was_shown(store):
    class Longest:
        name = "longest"
        bounds = None

        async def score(self, answers):
            return Scores(np.array([float(len(text)) for _, text in answers]))

    target = written("target", BestOfN(n=3, reward="longest"))
    log(store, (0.4, 0.3, 0.3), 600, policy=written("logging"), propensity=True)
    loaded = LoadedPolicy(target, Odds(1, 0, 0), {"longest": Longest()})
    result = estimate_policy(store, target, load=lambda: loaded)
    assert result.basis == "its choice among logged candidates"
    for estimate in values(result).values():
        assert not estimate.excludes(0.5)
        assert estimate.width < 0.3


def test_what_is_missing_is_said(store):
    plain, target = written("logging"), written("target")
    for outcome in ("clicks", "preference"):
        with pytest.raises(UnknownName, match=outcome):
            estimate_policy(store, target, outcome=outcome, load=nobody)
    with pytest.raises(BacktalkError, match="in no experiment"):
        estimate_policy(store, target, load=nobody)
    log(store, (0.5, 0.3, 0.2), 100, policy=plain)
    with pytest.raises(BacktalkError, match="log-probability"):
        estimate_policy(store, target, load=nobody)
    save_policy(store, plain)
    cold = written("target", Sample(sampling=Sampling(temperature=0.2)))
    with pytest.raises(BacktalkError, match="temperature 1"):
        estimate_policy(store, cold, load=lambda: LoadedPolicy(cold, Odds(1, 0, 0), {}))
    with pytest.raises(BacktalkError, match="propensity"):
        estimate_policy(store, written("x", BestOfN(n=2, reward="r")), load=nobody)


def test_a_target_that_answers_otherwise_is_not_identified(store):
    plain, target = written("logging"), written("target")
    save_policy(store, plain)
    log(store, (0.5, 0.499, 0.001), 300, policy=plain)
    loaded = LoadedPolicy(target, Odds(1e-9, 1e-9, 1 - 2e-9), {})
    with pytest.raises(NotIdentified, match="does not cover"):
        estimate_policy(store, target, load=lambda: loaded)


def test_experiments_by_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("BACKTALK_STORE", "BACKTALK_PROJECT", "BACKTALK_WHO"):
        monkeypatch.delenv(name, raising=False)
    with Store("backtalk.db") as store:
        trial = trial_of(store, rule={"at_least": 20, "promote": False})
        trial.traffic(dict(zip(trial.experiment.arms, (0.1, 0.9), strict=True)), 200)
        save_policy(store, trial_policy := written("third").named("third"))

    def run(*arguments):
        code = main(list(arguments))
        return code, capsys.readouterr()

    candidate = trial.candidates[0]
    code, shown = run("experiment", "show", "trial")
    assert code == 0
    assert "better" in shown.out
    told = json.loads(run("experiment", "show", "trial", "--json")[1].out)
    assert told["arms"][1]["verdict"] == "better"
    assert told["events"][0]["actor"] == "ada"
    assert "Nothing to do" in run("experiment", "check", "trial")[1].out
    code, estimated = run("estimate", candidate[:8])
    assert code == 0, estimated.err
    assert "doubly robust" in estimated.out
    code, refused = run("experiment", "start", "b", "--candidate", "third")
    assert (code, "'trial' is running" in refused.err) == (1, True)
    assert run("experiment", "promote", "trial", "--who", "bo")[0] == 0
    start = ("experiment", "start", "b", "--candidate", "third", "--allocation", "dueling")
    assert run(*start)[0] == 0
    listed = json.loads(run("experiment", "list", "--json")[1].out)
    assert [(one["name"], one["runs"]) for one in listed] == [("trial", False), ("b", True)]
    assert (listed[1]["outcome"], listed[1]["control"]) == ("preference", candidate)
    code, refused = run("experiment", "promote", "b")
    assert (code, "do not both have judgements" in refused.err) == (4, True)
    assert run("experiment", "stop", "b", "--arm", trial_policy.id[:8])[0] == 0
    assert "no candidate is left" in run("experiment", "check", "b")[1].out
    code, refused = run("experiment", "start", "c", "--candidate", "third", "--share", "1.5")
    assert (code, "sum has to be 1" in refused.err) == (1, True)
    assert run("experiment", "show", "none")[0] == 1
