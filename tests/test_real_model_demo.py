"""The demo with a real model: its rule, its steps on a tiny model, and an error without it."""

import json

import pytest
from typer.testing import CliRunner

from backtalk.cli.main import make_app
from backtalk.demo import real_model, run_real_model_demo
from backtalk.demo.questions import SUBJECTS, names_subject, questions, worth
from backtalk.evaluate.storage import list_evaluations
from backtalk.feedback.case import prompt_key
from backtalk.feedback.split import split_for
from backtalk.models.errors import UnknownModel
from backtalk.models.fetched.cache import fetched_models
from backtalk.policy import list_policies
from backtalk.promotion import active_policy
from backtalk.store import Store
from tests.models import tiny


def test_questions_are_different_and_of_the_split_of_a_store():
    train, held_out = questions("train", 1_000), questions("held-out", 1_000)
    keys = [prompt_key(prompt) for prompt in (*train, *held_out)]
    assert len(set(keys)) == len(keys) == 6 * len(SUBJECTS)
    assert {split_for(prompt_key(prompt)) for prompt in train} == {"train"}
    assert {split_for(prompt_key(prompt)) for prompt in held_out} == {"held-out"}
    assert len(held_out) >= real_model.REQUESTS // 3
    assert questions("train", 5, seed=1) != questions("train", 5)
    assert questions("train", 5) == train[:5]


def test_the_worth_of_an_answer_falls_with_its_words():
    for (prompt,) in questions("train", 300):
        (subject,) = (one for one in SUBJECTS if f" {one}" in prompt.text.replace("?", " "))
        answers = [" ".join([subject, *["word"] * n]) for n in (0, 10, 50, 79, 200)]
        values = [worth(prompt.text, answer) for answer in answers]
        assert values == pytest.approx([159 / 160, 149 / 160, 109 / 160, 1 / 2, 1 / 2])
        assert worth(prompt.text, "It is a thing.") == pytest.approx(76 / 160)
        assert not names_subject(prompt.text, "")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    model = tiny.save(tmp_path_factory.mktemp("models") / "tiny")
    folder = tmp_path_factory.mktemp("demo")
    (folder / "report.html").write_text("old")
    return run_real_model_demo(folder, model=str(model), requests=24, max_tokens=12)


def test_preferences_train_a_policy_that_is_evaluated_on_held_out_questions(demo):
    with Store(demo.store) as store:
        counts = store.counts()
        assert counts["interaction"] == counts["preference"] == 16
        assert {policy.label for policy in list_policies(store)} == {"plain", "tuned"}
        (tuned,) = (policy for policy in list_policies(store) if policy.label == "tuned")
        (evaluation,) = list_evaluations(store, candidate=tuned.id)
        active = active_policy(store)
    assert evaluation.split == "held-out"
    assert evaluation.prompts == 8
    assert (active.label == "tuned") == (evaluation.win_rate.low > 0.5)


def test_the_report_says_what_was_found(demo):
    numbers = json.loads(demo.page.with_suffix(".json").read_text())
    page = demo.page.read_text()
    assert (numbers["refusal"] is None) == (numbers["evaluation"]["win_rate"]["low"] > 0.5)
    assert ("The gate refuses it" in page) == (numbers["refusal"] is not None)
    assert "SUBJECTS" not in page
    assert "names the subject" in page
    assert "whether the answers are true is not checked" in page


def test_a_missing_model_replaces_nothing(tmp_path):
    report = tmp_path / "report.html"
    report.write_text("old")
    with pytest.raises(UnknownModel):
        run_real_model_demo(tmp_path, model=str(tmp_path), requests=24)
    assert report.read_text() == "old"


def test_the_command_names_the_fetch(tmp_path, monkeypatch):
    monkeypatch.setenv("BACKTALK_CACHE", str(tmp_path))
    arguments = ["demo", "--model", "smollm2", "--folder", str(tmp_path / "demo")]
    result = CliRunner().invoke(make_app("demo"), arguments)
    assert result.exit_code != 0
    assert "backtalk models fetch smollm2" in str(result.exception)
    assert not (tmp_path / "demo").exists()


def test_the_command_refuses_too_few_requests_of_the_mail_world(tmp_path):
    arguments = ["demo", "--requests", "50", "--folder", str(tmp_path / "demo")]
    result = CliRunner().invoke(make_app("demo"), arguments)
    assert "--requests 100 or more" in str(result.exception)


@pytest.mark.skipif(
    "smollm2" not in fetched_models(), reason="run `backtalk models fetch smollm2` first"
)
def test_a_short_run_on_the_real_model(tmp_path):
    demo = run_real_model_demo(tmp_path, requests=6, max_tokens=8)
    assert demo.report.numbers["counts"]["interaction"] == 4
    assert demo.report.numbers["words"]["before"] > 0
