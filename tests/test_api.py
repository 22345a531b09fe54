"""The functions that ``import backtalk`` offers."""

import asyncio
import subprocess
import sys

import pytest

import backtalk
from backtalk import BacktalkError, NotFound, Policy, Store, aevaluate, alearn, evaluate, learn
from backtalk.api import select_prompts
from backtalk.feedback import as_prompt
from backtalk.worlds import get_world

PLAIN = "{name: plain, model: {kind: named, name: writer}}"


@pytest.fixture(scope="module")
def mail(shared_demo, tmp_path_factory):
    return shared_demo.copy(tmp_path_factory.mktemp("mail") / "demo")


def test_learn_and_evaluate_are_the_loop(mail):
    with Store(mail) as store:
        chooser = learn("best-of-n", "plain", store, name="four", n=4, kinds=["ranking"])
        assert (chooser.name, chooser.lineage.options["n"]) == ("four", 4)
        evaluation = evaluate(chooser, "plain", store, judge="true-utility", limit=12)
        assert (evaluation.candidate, evaluation.prompts) == (chooser.id, 12)
        again = asyncio.run(aevaluate("four", "plain", store, judge="true-utility", limit=12))
        assert again.value.candidate == evaluation.value.candidate
        same = asyncio.run(alearn("best-of-n", "plain", store, n=4, kinds=["ranking"]))
        assert same.decoder == chooser.decoder
        custom = evaluate(
            chooser, "plain", store, judge="true-utility", prompts=[find_task()] * 2, split="all"
        )
        assert custom.prompts == 1


def find_task():
    """Return the text of a request of the mail world."""
    return get_world("mail").tasks("held-out", 1, seed=5)[0].text


def test_errors_of_the_loop_name_the_mend(tmp_path):
    with Store(tmp_path / "empty.db") as store:
        with pytest.raises(NotFound, match="no active policy"):
            learn("best-of-n", None, store)
        with pytest.raises(BacktalkError, match="Did you mean 'best-of-n'"):
            learn("best-of-m", Policy.from_yaml(PLAIN), store)
        plain = Policy.from_yaml(PLAIN)
        with pytest.raises(BacktalkError, match="no prompt of the split 'held-out'"):
            evaluate(plain, plain, store, judge="true-utility")


@pytest.mark.parametrize("name", ["learn", "evaluate"])
@pytest.mark.parametrize(
    "before",
    ["", "import backtalk.learn.method, backtalk.evaluate.judges; ", "import backtalk.cli.main; "],
)
def test_a_function_stays_callable_whatever_was_imported_before(name, before):
    code = (
        f"{before}import backtalk; from backtalk import {name}; "
        f"assert callable({name}) and callable(backtalk.{name}); import backtalk.{name}.storage"
        if name == "evaluate"
        else f"{before}import backtalk; from backtalk import {name}; "
        f"assert callable({name}) and callable(backtalk.{name}); import backtalk.{name}.method; "
        f"assert callable(backtalk.{name})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_records_can_be_built_from_the_front_door():
    span = backtalk.Span(start=0, end=2, label="wrong")
    step = backtalk.Step(start=0, end=2, verdict="wrong")
    ada = backtalk.Annotator.human("ada")
    about = {"interaction": "i", "annotator": ada}
    assert backtalk.Spans(response="0", spans=(span,), **about).spans == (span,)
    assert backtalk.Steps(response="0", steps=(step,), **about).steps == (step,)
    rule = backtalk.Instruction(
        text="Be brief.", annotator=ada, scope=backtalk.Scope(where="mails")
    )
    assert rule.scope.where == "mails"
    scale = backtalk.Scale(name="stars", low=1, high=5)
    assert backtalk.Rating(response="0", value=4, scale=scale, **about).value == 4
    shown = (backtalk.Shown(response="0"), backtalk.Shown(response="1"))
    assert backtalk.Choice(chosen="0", shown=shown, **about).chosen == "0"


def test_a_sample_of_prompts_hardly_changes_as_prompts_are_added():
    prompts = [as_prompt(f"question {number}") for number in range(200)]
    samples = {
        count: select_prompts(prompts[:count], split="all", limit=20, seed=4)
        for count in (100, 101, 200)
    }
    changed = [p for p in samples[100] if p not in samples[101]]
    assert len(changed) == sum(p is prompts[100] for p in samples[101])
    assert [p for p in samples[200] if p in prompts[:100]] == [
        p for p in samples[100] if p in samples[200]
    ]
    larger = select_prompts(prompts, split="all", limit=30, seed=4)
    assert [p for p in larger if p in samples[200]] == samples[200]
    assert len(larger) == 30
    assert larger == sorted(larger, key=prompts.index)
    assert select_prompts(prompts, split="all", limit=30, seed=5) != larger
