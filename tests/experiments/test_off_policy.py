"""Off-policy estimates from logs whose true values are known."""

import json
import math

import numpy as np
import pytest

from backtalk.cli import main
from backtalk.decode import BestOfN, Sample
from backtalk.errors import BacktalkError, UnknownName
from backtalk.experiments.off_policy import estimate_policy, judged_responses
from backtalk.feedback import Annotator, Interaction, Label, Message, Response
from backtalk.models import Completion, Sampling
from backtalk.models.spec import NamedSpec
from backtalk.policy import LoadedPolicy, Policy, save_policy
from backtalk.rewards import Scores
from backtalk.stats.estimate import NotIdentified
from backtalk.store import Store
from tests.experiments.conftest import ADA, make_trial

TEXTS = ("Yes.", "No, not today, I am afraid.", "We open at nine!")
WORTH = np.array([0.2, 0.5, 0.9])


class FixedModel:
    """Model with fixed probabilities of three answers."""

    name = identity = "fixed"

    def __init__(self, *probabilities):
        self.probabilities = probabilities

    async def score(self, texts):
        return [np.array([math.log(self.probabilities[TEXTS.index(text)])]) for _, text in texts]

    async def generate(self, requests):
        rng = np.random.default_rng(0)
        return [Completion(text=str(rng.choice(TEXTS, p=self.probabilities))) for _ in requests]


def fail_to_load():
    raise AssertionError("the policy was loaded")


def make_policy(system, decoder=None):
    return Policy(model=NamedSpec(name="writer"), system=system, decoder=decoder or Sample())


def add_log(store, probabilities, count, *, policy, propensity=False):
    """Add interactions with answers of given probabilities, each with a thumb by its worth."""
    rng = np.random.default_rng(1)
    records = []
    for number in range(count):
        index = int(rng.choice(3, p=probabilities))
        candidates = range(3) if propensity else [index]
        responses = tuple(
            Response(
                id=str(i),
                text=TEXTS[i],
                log_probability=None if propensity else math.log(probabilities[i]),
                propensity=probabilities[i] if propensity and i == index else None,
            )
            for i in candidates
        )
        interaction = Interaction(
            id=f"talk {number}",
            prompt=(Message.user("Is it open?"),),
            responses=responses,
            shown=(str(index),),
            policy=policy.id,
        )
        good = bool(rng.random() < WORTH[index])
        records += [
            interaction,
            Label(interaction=interaction.id, annotator=ADA, response=str(index), good=good),
        ]
    store.add(*records)


def values(result):
    return {item.estimator: item.estimate for item in result.estimates}


def test_estimates_of_an_arm_cover_its_true_value(store):
    trial = make_trial(store, candidates=2, allocation="thompson", floor=0.1)
    truth = dict(zip(trial.experiment.arms, (0.5, 0.3, 0.8), strict=True))
    for _ in range(4):
        trial.traffic(truth, 200)
    rare = trial.candidates[0]
    policy = next(p for p in map(make_policy, ("candidate 0", "candidate 1")) if p.id == rare)
    result = estimate_policy(store, policy, load=fail_to_load, level=0.99)
    assert result.basis == "the probabilities of the arms of experiments"
    assert result.logged.n == 800
    assert result.logged.value > 0.55
    for estimate in values(result).values():
        assert not estimate.excludes(0.3)
        assert estimate.value < 0.5


def test_an_unlogged_model_is_estimated_by_its_probabilities(store):
    logging, target = make_policy("logging"), make_policy("target")
    save_policy(store, logging)
    probabilities = (0.1, 0.3, 0.6)
    add_log(store, (0.5, 0.3, 0.2), 1500, policy=logging)
    loaded = LoadedPolicy(target, FixedModel(*probabilities), {})
    result = estimate_policy(store, target, load=lambda: loaded)
    truth = float(np.array(probabilities) @ WORTH)
    assert result.basis == "its model's probabilities"
    for estimate in values(result).values():
        assert not estimate.excludes(truth)
    assert result.logged.high < truth
    assert values(result)["dr"].width < values(result)["ips"].width


def test_best_of_logged_candidates_is_estimated_by_propensities(store):
    class Longest:
        name = "longest"
        bounds = None

        async def score(self, answers):
            return Scores(np.array([float(len(text)) for _, text in answers]))

    target = make_policy("target", BestOfN(n=3, reward="longest"))
    add_log(store, (0.4, 0.3, 0.3), 600, policy=make_policy("logging"), propensity=True)
    loaded = LoadedPolicy(target, FixedModel(1, 0, 0), {"longest": Longest()})
    result = estimate_policy(store, target, load=lambda: loaded)
    assert result.basis == "its choice among logged candidates"
    for estimate in values(result).values():
        assert not estimate.excludes(0.5)
        assert estimate.width < 0.3


def test_a_pessimistic_choice_among_logged_candidates_counts_its_uncertainty(store):
    """The longest answer is the most uncertain; a pessimist chooses the next."""

    class Unsure:
        name = "unsure"
        bounds = None

        async def score(self, answers):
            lengths = np.array([float(len(text)) for _, text in answers])
            return Scores(lengths, np.where(lengths == lengths.max(), 20.0, 1.0))

    add_log(store, (0.4, 0.3, 0.3), 600, policy=make_policy("logging"), propensity=True)
    for pessimism, worth in ((0.0, WORTH[1]), (0.1, WORTH[1]), (1.0, WORTH[2])):
        target = make_policy("target", BestOfN(n=3, reward="unsure", pessimism=pessimism))
        loaded = LoadedPolicy(target, FixedModel(1, 0, 0), {"unsure": Unsure()})
        result = estimate_policy(store, target, load=lambda loaded=loaded: loaded)
        for estimate in values(result).values():
            assert abs(estimate.value - worth) < 0.12


@pytest.mark.parametrize(
    "judgements",
    [
        ["ada down", "bo down", "ada up"],
        ["ada up", "bo down", "bo up"],
        ["ada down", "bo up", "ada up", "bo down"],
        ["bo up", "ada down", "ada up", "ada down"],
    ],
    ids=", ".join,
)
def test_a_change_of_mind_counts_as_in_experiments(store, judgements):
    trial = make_trial(store)
    interaction = trial.interaction(trial.control)
    labels = []
    for name, thumb in map(str.split, judgements):
        label = trial.thumb(interaction, thumb == "up")
        labels.append(label.model_copy(update={"annotator": Annotator.human(name)}))
    store.add(interaction, *labels)
    (response,) = judged_responses(store, "thumb")
    state = trial.reader().refresh()
    assert state.arms[trial.control].values["thumb"] == {response.value: 1}
    assert response.value == 1.0


def test_errors_name_the_missing_data(store):
    plain, target = make_policy("logging"), make_policy("target")
    for outcome in ("clicks", "preference"):
        with pytest.raises(UnknownName, match=outcome):
            estimate_policy(store, target, outcome=outcome, load=fail_to_load)
    with pytest.raises(BacktalkError, match="in no experiment"):
        estimate_policy(store, target, load=fail_to_load)
    add_log(store, (0.5, 0.3, 0.2), 100, policy=plain)
    with pytest.raises(BacktalkError, match="log-probability"):
        estimate_policy(store, target, load=fail_to_load)
    save_policy(store, plain)
    cold = make_policy("target", Sample(sampling=Sampling(temperature=0.2)))
    with pytest.raises(BacktalkError, match="temperature 1"):
        estimate_policy(store, cold, load=lambda: LoadedPolicy(cold, FixedModel(1, 0, 0), {}))
    with pytest.raises(BacktalkError, match="propensity"):
        estimate_policy(store, make_policy("x", BestOfN(n=2, reward="r")), load=fail_to_load)


def test_a_target_outside_the_support_of_the_log_is_not_identified(store):
    plain, target = make_policy("logging"), make_policy("target")
    save_policy(store, plain)
    add_log(store, (0.5, 0.499, 0.001), 300, policy=plain)
    loaded = LoadedPolicy(target, FixedModel(1e-9, 1e-9, 1 - 2e-9), {})
    with pytest.raises(NotIdentified, match="does not cover"):
        estimate_policy(store, target, load=lambda: loaded)


def test_experiments_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("BACKTALK_STORE", "BACKTALK_PROJECT", "BACKTALK_WHO"):
        monkeypatch.delenv(name, raising=False)
    with Store("backtalk.db") as store:
        trial = make_trial(store, rule={"at_least": 20, "promote": False})
        trial.traffic(dict(zip(trial.experiment.arms, (0.1, 0.9), strict=True)), 200)
        save_policy(store, trial_policy := make_policy("third").named("third"))

    def run(*arguments):
        code = main(list(arguments))
        return code, capsys.readouterr()

    candidate = trial.candidates[0]
    code, shown = run("experiment", "show", "trial")
    assert code == 0
    assert "better" in shown.out
    shown_json = json.loads(run("experiment", "show", "trial", "--json")[1].out)
    assert shown_json["arms"][1]["verdict"] == "better"
    assert shown_json["events"][0]["actor"] == "ada"
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
    assert [(row["name"], row["runs"]) for row in listed] == [("trial", False), ("b", True)]
    assert (listed[1]["outcome"], listed[1]["control"]) == ("preference", candidate)
    code, refused = run("experiment", "promote", "b")
    assert (code, "do not both have judgements" in refused.err) == (4, True)
    assert run("experiment", "stop", "b", "--arm", trial_policy.id[:8])[0] == 0
    assert "no candidate is left" in run("experiment", "check", "b")[1].out
    code, refused = run("experiment", "start", "c", "--candidate", "third", "--share", "1.5")
    assert (code, "sum has to be 1" in refused.err) == (1, True)
    assert run("experiment", "show", "none")[0] == 1
