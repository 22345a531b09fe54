"""Leaderboards rank by the preferences of one aspect."""

import pytest

from backtalk.errors import BacktalkError, UnknownName
from backtalk.evaluate.judges import get_judge
from backtalk.evaluate.leaderboard import leaderboard
from backtalk.feedback import Annotator, Interaction, Message, Preference, Response
from backtalk.feedback.case import Case
from backtalk.models.run_sync import run_sync
from backtalk.rewards import RecordedReward
from backtalk.stats import NotIdentified
from backtalk.store import Store

ADA = Annotator.human("ada")


def comparison(number, verdicts, models=("m", "n")):
    """Return a case of two models' answers with one verdict for each aspect."""
    interaction = Interaction(
        prompt=(Message.user(f"Question {number}"),),
        responses=tuple(
            Response(id=str(i), text=f"Answer {model} {number}" + "." * number, model=model)
            for i, model in enumerate(models)
        ),
    )
    about = {"interaction": interaction.id, "annotator": ADA, "a": "0", "b": "1"}
    return Case(
        interaction,
        tuple(
            Preference(**about, verdict=verdict, aspect=aspect)
            for aspect, verdict in verdicts.items()
        ),
    )


def mixed():
    """Return preferences in which m is better and n is safer."""
    return [
        comparison(i, {"overall": "b" if i == 0 else "a", "safety": "a" if i == 1 else "b"})
        for i in range(8)
    ]


def test_better_and_safer_are_two_leaderboards():
    overall = leaderboard(mixed())
    assert [place.model for place in overall.places] == ["m", "n"]
    assert (overall.preferences, overall.aspect) == (8, "overall")
    assert overall.other_aspects == {"safety": 8}
    safety = leaderboard(mixed(), aspect="safety")
    assert [place.model for place in safety.places] == ["n", "m"]
    assert (safety.aspect, safety.other_aspects) == ("safety", {"overall": 8})
    assert overall == leaderboard([comparison(i, {"overall": "b" if i == 0 else "a",
                                                 "safety": "tie"}) for i in range(8)])  # fmt: skip


def test_other_aspects_only_are_named_with_the_option():
    cases = [comparison(i, {"safety": "ab"[i % 2], "tone": "a"}) for i in range(4)]
    with pytest.raises(BacktalkError, match=r"4 on safety, 4 on tone.*--aspect safety"):
        leaderboard(cases)
    with pytest.raises(BacktalkError, match=r"aspect 'safty'.*4 on safety"):
        leaderboard(cases, aspect="safty")
    assert leaderboard(cases, aspect="safety").preferences == 4


def test_an_unbeaten_model_needs_a_reference_or_more_preferences():
    cases = [comparison(i, {"overall": "a"}) for i in range(8)]
    with pytest.raises(NotIdentified, match="name a reference model"):
        leaderboard(cases)
    (place,) = leaderboard(cases, reference="n").places
    assert (place.model, place.win_rate.value) == ("m", 1)
    with pytest.raises(UnknownName, match="Known: m, n"):
        leaderboard(cases, reference="")


def test_preferences_on_one_prompt_are_ranked_too():
    cases = [comparison(3, {"overall": verdict}) for verdict in "aab"]
    assert leaderboard(cases).prompts == 1


@pytest.mark.parametrize("missing", [None, " ", "nan"])
def test_a_model_without_a_name_counts_by_the_id_of_its_response(missing):
    cases = [comparison(i, {"overall": "ab"[i % 2]}, models=(missing, "n")) for i in range(4)]
    assert {place.model for place in leaderboard(cases).places} == {"0", "n"}


def test_the_recorded_judge_reads_one_aspect():
    cases = [comparison(1, {"overall": "a", "safety": "b"})]
    answers = [(cases[0].interaction.prompt, r.text) for r in cases[0].interaction.responses]
    assert run_sync(RecordedReward.from_cases(cases).score(answers)).mean.tolist() == [1, 0]
    safety = RecordedReward.from_cases(cases, aspect="safety")
    assert run_sync(safety.score(answers)).mean.tolist() == [0, 1]
    only = [comparison(1, {"safety": "b"})]
    answers = [(only[0].interaction.prompt, only[0].interaction.responses[0].text)]
    with pytest.raises(BacktalkError, match=r"1 on safety.*recorded:safety"):
        run_sync(RecordedReward.from_cases(only).score(answers))


def test_a_judge_names_its_aspect(tmp_path):
    case = comparison(1, {"overall": "a", "safety": "b"})
    answers = [(case.interaction.prompt, r.text) for r in case.interaction.responses]
    with Store(tmp_path / "store.db") as store:
        store.add(case.interaction, *case.feedback)
        results = {
            name: run_sync(get_judge(name, store).score(answers)).mean.tolist()
            for name in ("recorded", "recorded:safety")
        }
        with pytest.raises(UnknownName):
            get_judge("recorded:", store)
    assert results == {"recorded": [1, 0], "recorded:safety": [0, 1]}
