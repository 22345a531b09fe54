"""Claims: selection, measurement, status and evidence."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from claims import evidence, running
from claims.claim import CLAIMS, Claim, Control, Expected, advantage_key, claim, find_claims
from claims.decisions import ACTIONS, Process
from claims.simulation import best_of
from claims.systems import get_system, systems

from backtalk.errors import UnknownName
from backtalk.learn import METHODS

BETTER = Expected("gain", "the gain", above=0.0, size=(0.5, 1.5))


def measure(seed):
    return {"gain": 1 + 0.1 * seed}


def make_claim(measure=measure, expected=(BETTER,), seeds=3, controls=()):
    return Claim(
        "made", "AlpacaFarm", "Somebody (2026), A paper", "m", "It gains.", "mail", tuple(expected),
        seeds, measure, tuple(controls),
    )  # fmt: skip


@pytest.fixture
def registered(monkeypatch):
    """Function that registers a claim until the test ends."""
    running.load()

    def register(item):
        monkeypatch.setitem(CLAIMS, item.name, item)
        return item

    return register


def test_every_claim_names_a_system_of_the_literature():
    for item in running.load().values():
        assert get_system(item.system).tier in {"A", "B"}
        assert item.seeds >= 5
        assert item.expected
        assert item.paper
        assert item.says.endswith(".")
        assert item.method.split()[0].rstrip(",") in {*METHODS.names(), "annotators"}


def test_an_unknown_system_is_an_error_that_suggests_the_closest():
    with pytest.raises(UnknownName, match="Did you mean 'AlpacaFarm'"):
        claim(system="AlpacaFram", paper="", method="", says="", expected=[BETTER])
    with pytest.raises(UnknownName, match="nothing"):
        find_claims(["nothing"])


def test_all_systems_are_listed():
    assert len(systems()) == 468
    assert sum(system.tier == "A" for system in systems()) == 271


def test_claims_are_found_by_name_system_and_family():
    running.load()
    names = {item.name for item in find_claims(["SIM"])}
    assert {"alpacafarm-rankings", "alpacafarm-over-optimisation"} <= names
    assert {item.name for item in find_claims(["AlpacaFarm"])} <= names
    assert [item.name for item in find_claims(["alpacafarm-rankings"])] == ["alpacafarm-rankings"]
    assert len(find_claims([])) == len(CLAIMS)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([0.9, 1.0, 1.1], "holds"),
        ([1.9, 2.0, 2.1], "partly"),
        ([-0.1, 0.0, 0.1], "fails"),
        ([-1.1, -1.0, -0.9], "fails"),
        ([0.2, 1.0, 2.9], "fails"),
    ],
)
def test_a_claim_holds_only_if_direction_and_size_do(values, status):
    item = make_claim()
    result = item.estimates([{"gain": value} for value in values])
    assert result["gain"].value == pytest.approx(np.mean(values))
    assert item.status(result) == status


def test_the_first_figure_decides_and_a_failed_other_one_gives_partly():
    other_policy = Expected("loss", "the loss", below=0.0)
    runs = [{"gain": 1 + 0.01 * i, "loss": 1 + 0.01 * i} for i in range(3)]
    for expected, status in (((BETTER, other_policy), "partly"), ((other_policy, BETTER), "fails")):
        item = make_claim(expected=expected)
        assert item.status(item.estimates(runs)) == status


def test_a_missed_size_without_a_stated_direction_fails():
    item = make_claim(expected=[Expected("gain", "the gain", size=(-0.1, 0.1))])
    assert item.status(item.estimates([{"gain": 1 + 0.1 * i} for i in range(3)])) == "fails"


def test_runs_that_do_not_vary_have_an_estimate_too():
    result = make_claim().estimates([{"gain": 1.0}] * 3)["gain"]
    assert (result.low, result.value, result.high) == (1, 1, 1)


def test_measurements_are_not_repeated(registered, tmp_path):
    calls = []

    def record_seed(seed):
        calls.append(seed)
        return {"gain": 1.0 + seed}

    item = registered(make_claim(record_seed))
    for again in (False, False, True):
        running.run([item], jobs=1, again=again, report=lambda _: None, folder=tmp_path)
    assert calls == [0, 1, 2, 0, 1, 2]
    assert [run.figures["gain"] for run in running.read_measurements(item, tmp_path)] == [1, 2, 3]
    (tmp_path / "made" / "1.json").unlink()
    running.run([item], jobs=1, report=lambda _: None, folder=tmp_path)
    assert calls[6:] == [1]
    changed = json.loads((tmp_path / "made" / "0.json").read_text()) | {"digest": "other"}
    (tmp_path / "made" / "0.json").write_text(json.dumps(changed))
    assert [run.seed for run in running.read_measurements(item, tmp_path)] == [1, 2]


def test_confirmation_seeds_are_measured_apart(registered, tmp_path):
    item = registered(make_claim())
    running.run([item], jobs=1, confirm=True, report=lambda run: None, folder=tmp_path)
    confirmation = tuple(running.read_measurements(item, tmp_path, seeds=item.confirmation_seeds))
    assert [run.seed for run in confirmation] == [50, 51, 52]
    assert running.read_measurements(item, tmp_path) == []

    running.run([item], jobs=1, report=lambda run: None, folder=tmp_path)
    runs = tuple(running.read_measurements(item, tmp_path))
    result = evidence.Evidence(item, runs, {}, confirmation)
    assert result.status == "holds"
    assert result.confirmed["status"] == "partly"  # the mean of 6, 6.1 and 6.2 is too large
    assert result.confirmed["value"] == pytest.approx(6.1)
    assert "On seeds 50 to 52 the first figure is 6.100" in evidence._page([result], [])
    assert evidence.Evidence(item, (), result.to_dict()).confirmed == result.confirmed
    assert evidence.Evidence(item, runs, {}, confirmation[:2]).confirmed == {}


def test_claims_on_a_real_model_are_marked_with_their_cost(registered, tmp_path):
    item = registered(replace(make_claim(), model="SmolLM2-135M-Instruct", world="writing"))
    running.run([item], jobs=1, report=lambda run: None, folder=tmp_path)
    page = evidence._page(
        [evidence.Evidence(item, tuple(running.read_measurements(item, tmp_path)))], []
    )
    assert "| real model (SmolLM2-135M-Instruct), writing |" in page
    assert "## Cost of the claims on a real model" in page


def test_an_exception_fails_its_claim_only(registered, tmp_path):
    def broken(seed):
        if seed == 1:
            raise ValueError("no such value")
        return {"gain": 1.0}

    item = registered(make_claim(broken))
    running.run([item], jobs=1, report=lambda _: None, folder=tmp_path)
    result = evidence.Evidence(item, tuple(running.read_measurements(item, tmp_path)))
    assert result.status == "fails"
    assert result.errors == ["ValueError: no such value"]
    assert "no such value" in evidence._details(result)
    assert result.to_dict()["status"] == "fails"


def test_a_claim_without_all_measurements_is_not_yet_decided(tmp_path):
    item = make_claim()
    result = evidence.Evidence(item, ())
    assert result.status == "not yet"
    assert "not measured" in evidence._details(result)


def test_a_claim_without_runs_keeps_what_was_published(registered, tmp_path):
    item = registered(make_claim())
    running.run([item], jobs=1, report=lambda _: None, folder=tmp_path)
    measured = evidence.Evidence(item, tuple(running.read_measurements(item, tmp_path)))
    published = evidence.Evidence(item, (), measured.to_dict())
    assert published.to_dict() == measured.to_dict()
    assert evidence._details(published) == evidence._details(measured)
    figures = [dict(figure, what="another figure") for figure in measured.to_dict()["figures"]]
    changed = evidence.Evidence(item, (), measured.to_dict() | {"figures": figures})
    assert changed.status == "not yet"


UNTRAINED = Control("before", "the policy before it learns", "gain")


@pytest.mark.parametrize(
    ("control", "status"),
    [
        ([0.2, 0.3, 0.5], "holds"),
        ([1.0, 1.1, 1.2], "fails"),  # equal
        ([1.3, 1.4, 1.5], "fails"),  # better
        ([0.3, 1.4, 1.0], "fails"),  # as good, within the interval
    ],
)
def test_a_claim_whose_control_does_as_well_fails(control, status):
    item = make_claim(controls=[UNTRAINED])
    runs = [{"gain": 1 + 0.1 * i, "before": value} for i, value in enumerate(control)]
    assert item.status(item.estimates(runs)) == status
    assert make_claim().status(item.estimates(runs)) == "holds"


def test_controls_are_compared_seed_by_seed():
    item = make_claim(controls=[UNTRAINED])
    gains = [0.6, 1.0, 1.4, 0.8, 1.2]
    estimates = item.estimates([{"gain": gain, "before": gain - 0.05} for gain in gains])
    assert estimates["before"].high > estimates["gain"].low
    assert estimates[advantage_key(UNTRAINED)].low == pytest.approx(0.05)
    assert item.status(estimates) == "holds"


def test_a_figure_that_has_to_be_low_surpasses_higher_controls():
    loss = Expected("loss", "the loss", below=0.0)
    item = make_claim(expected=[loss], controls=[Control("before", "untrained", "loss")])
    for control, status in ((0.5, "holds"), (-2.0, "fails")):
        runs = [{"loss": -1 - 0.1 * i, "before": control} for i in range(3)]
        assert item.status(item.estimates(runs)) == status


def test_a_hollow_figure_that_is_not_the_main_result_leaves_the_claim_partly():
    other = Expected("faster", "the speed", above=0.0)
    item = make_claim(expected=(BETTER, other), controls=[Control("before", "untrained", "faster")])
    runs = [{"gain": 1 + 0.1 * i, "faster": 1.0, "before": 1.0} for i in range(3)]
    assert item.status(item.estimates(runs)) == "partly"


def test_controls_are_recorded_and_shown_beside_their_figure(registered, tmp_path):
    item = registered(
        make_claim(lambda seed: {"gain": 1 + 0.1 * seed, "before": 1.0}, controls=[UNTRAINED])
    )
    running.run([item], jobs=1, report=lambda _: None, folder=tmp_path)
    measured = evidence.Evidence(item, tuple(running.read_measurements(item, tmp_path)))
    assert measured.status == "fails"
    (entry,) = measured.to_dict()["controls"]
    assert (entry["figure"], entry["what"]) == ("the gain", "the policy before it learns")
    assert entry["value"] == pytest.approx(1)
    assert entry["advantage"]["value"] == pytest.approx(0.1)
    assert "**not surpassed**" in evidence._details(measured)
    published = evidence.Evidence(item, (), measured.to_dict())
    assert published.to_dict() == measured.to_dict()
    assert evidence._details(published) == evidence._details(measured)


def test_results_without_a_control_that_was_added_are_not_yet_decided(registered, tmp_path):
    before = registered(make_claim())
    running.run([before], jobs=1, report=lambda _: None, folder=tmp_path)
    results = evidence.Evidence(before, tuple(running.read_measurements(before, tmp_path)))
    item = make_claim(controls=[UNTRAINED])
    assert evidence.Evidence(item, (), results.to_dict()).status == "not yet"


@pytest.mark.parametrize(
    ("control", "error"),
    [
        (Control("before", "untrained", "gian"), "'gian', which is not one with a direction"),
        (Control("gain", "untrained", "gain"), "two figures are named 'gain'"),
    ],
)
def test_a_control_of_no_figure_or_with_the_name_of_one_is_refused(control, error):
    with pytest.raises(ValueError, match=error):
        make_claim(controls=[control])


def test_best_of_n_is_the_mean_over_all_subsets():
    rng = np.random.default_rng(0)
    proxy, truth = rng.normal(size=(2, 3, 7))
    for n in (1, 2, 4, 7):
        means = []
        for row, values in zip(proxy, truth, strict=True):
            chosen = [
                values[max(subset, key=row.__getitem__)]
                for subset in itertools.combinations(range(7), n)
            ]
            means.append(np.mean(chosen))
        assert best_of(n, proxy, truth) == pytest.approx(np.mean(means))


def test_the_advantages_of_a_process_are_those_of_its_soft_optimum():
    process = Process.random(0)
    advantages = process.advantages()
    best = np.exp(advantages / process.temperature)
    np.testing.assert_allclose(best.sum(axis=1), 1, atol=1e-9)

    def soft_value(policy):  # value with the entropy bonus, which the optimum maximises
        bonus = -process.temperature * np.log(policy)
        return replace(process, rewards=process.rewards + bonus).value(policy)

    rng = np.random.default_rng(0)
    for _ in range(20):
        other_policy = best * np.exp(0.3 * rng.normal(size=best.shape))
        assert soft_value(other_policy / other_policy.sum(axis=1, keepdims=True)) < soft_value(best)


def test_segments_follow_the_transitions_of_the_process():
    process = Process.random(1)
    states, actions = process.sample_segments(200, 6, seed=1)
    probabilities = process.transitions[states[:, :-1], actions[:, :-1], states[:, 1:]]
    assert (probabilities > 0).all()
    assert set(np.unique(actions)) == set(range(ACTIONS))


def test_an_interval_is_clipped_to_the_bounds():
    unbounded = Expected("rho", "a correlation")
    bounded = Expected("rho", "a correlation", bounds=(-1.0, 1.0))
    values = [0.9, 1.0, 1.0, 0.95]
    assert unbounded.estimate(values).high > 1 == bounded.estimate(values).high
    assert unbounded.estimate(values).low == bounded.estimate(values).low
