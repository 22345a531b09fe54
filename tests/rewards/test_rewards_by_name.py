"""Learned rewards are found by id, beginning, title and policy; errors list what there is."""

import json

import pytest
from typer.testing import CliRunner

from backtalk.cli.main import make_app
from backtalk.errors import BacktalkError, Conflict, NotFound
from backtalk.evaluate.judges import describe_judge, get_judge
from backtalk.feedback import Annotator, Interaction, Preference
from backtalk.learn import learn
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy
from backtalk.rewards.rewards_by_name import _find_id, reward_names_in
from backtalk.store import Store

PLAIN = Policy(model=NamedSpec(name="writer"), name="plain")


@pytest.fixture(scope="module")
def location(tmp_path_factory):
    path = tmp_path_factory.mktemp("rewards") / "s.db"
    with Store(path) as store:
        for number in range(30):
            interaction = Interaction.of(f"question {number}", f"yes {number}", f"no {number}")
            store.add(
                interaction,
                Preference(
                    interaction=interaction.id,
                    annotator=Annotator.human("ada"),
                    a="0",
                    b="1",
                    verdict="a",
                ),
            )
        learn("best-of-n", PLAIN, store, name="chooser", n=2)
    return path


@pytest.fixture
def store(location):
    with Store(location) as opened:
        yield opened


def run(location, *arguments):
    return CliRunner().invoke(make_app(), [*arguments, "--store", str(location)])


def test_a_reward_is_learned_and_found_by_its_name(location, store):
    result = run(location, "reward", "learn", "--name", "checker", "--split", "all")
    assert result.exit_code == 0, result.output
    assert "all prompts of default" in result.output
    info = describe_judge(get_judge("reward:checker", store))
    assert info.fitted_on.split == "all"
    assert info.name.startswith("checker (Bradley-Terry on ")
    assert describe_judge(get_judge(f"reward:{info.artifact[:10]}", store)) == info
    shown = json.loads(run(location, "reward", "show", "checker", "--json").stdout)
    assert (shown["artifact"], shown["decided"]) == (info.artifact, 30)
    assert "reward:checker" in run(location, "reward", "list").output


def test_a_reward_is_found_by_a_policy_that_uses_it(store):
    by_policy = describe_judge(get_judge("reward:chooser", store))
    assert by_policy.fitted_on.split == "train"
    assert "chooser" in reward_names_in(store)


def test_an_unknown_reward_lists_those_that_there_are(store):
    with pytest.raises(NotFound, match="no reward 'nobody'") as error:
        get_judge("reward:nobody", store)
    assert "chooser" in error.value.mend
    assert "reward:held-out" in error.value.mend


def test_a_reward_of_another_project_is_known_by_its_id(store):
    elsewhere = store.in_project("elsewhere")
    with pytest.raises(NotFound, match="in project 'elsewhere'") as error:
        get_judge("reward:checker", elsewhere)
    hint, _, known = error.value.mend.partition("Known: ")
    assert "Other projects have it as" in hint
    assert "checker" not in known


def test_an_ambiguous_beginning_lists_the_ids(store):
    for folder in ("ab1", "ab2"):
        (store.artifacts.root / folder).mkdir()
        (store.artifacts.root / folder / "reward.json").write_text("{}")
    try:
        with pytest.raises(Conflict, match="ab1, ab2"):
            _find_id("ab", store)
        assert _find_id("ab1", store) == "ab1"
    finally:
        for folder in ("ab1", "ab2"):
            (store.artifacts.root / folder / "reward.json").unlink()
            (store.artifacts.root / folder).rmdir()


def test_the_held_out_reward_is_learned_once(store):
    first = describe_judge(get_judge("reward:held-out", store))
    count = len(store.artifacts.ids())
    assert describe_judge(get_judge("reward:held-out", store)) == first
    assert len(store.artifacts.ids()) == count
    assert first.fitted_on.split == "held-out"


@pytest.mark.parametrize("name", ["held-out", "two words"])
def test_a_reserved_or_impossible_name_is_refused(location, name):
    result = run(location, "reward", "learn", "--name", name)
    assert isinstance(result.exception, BacktalkError)


def test_a_reward_that_separates_its_pairs_says_so_when_it_is_learned_and_shown(location):
    result = run(location, "reward", "show", "chooser")
    assert "separates its" in result.output
