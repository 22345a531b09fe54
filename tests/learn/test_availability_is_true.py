"""Methods that are available find something to learn from; the others say what is missing."""

import asyncio
import gzip
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import (
    Annotator,
    Choice,
    Critique,
    Edit,
    Instruction,
    Interaction,
    Label,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Shown,
    Step,
    Steps,
    as_prompt,
)
from backtalk.feedback.views import CritiqueView
from backtalk.formats.ingest import ingest
from backtalk.learn import (
    MethodContext,
    TrainingSet,
    available_methods,
    in_split,
)
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.registration import build_plan
from backtalk.learn.prompt.criteria import MIN_CRITIQUES
from backtalk.learn.prompt.examples import good_answers
from backtalk.learn.prompt.learning import split_prompts
from backtalk.learn.prompt.signals import make_signal
from backtalk.learn.reward_feedback import reward_feedback
from backtalk.memory import Memory
from backtalk.models import Completion, Usage
from backtalk.models.local.chat_template import ChatTemplate
from backtalk.models.registry import MODELS, register_model
from backtalk.models.spec import LocalSpec, NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.run import Run
from backtalk.store import Store

DATA = Path(os.environ.get("BACKTALK_DATA", Path(__file__).parents[3] / "shared" / "data"))
ADA = Annotator.human("ada")
LOCAL = Policy(model=LocalSpec(model="folder"), name="local")
SCRIPTED = Policy(model=NamedSpec(name="scripted-answers"), name="scripted")
OTHER = Policy(model=NamedSpec(name="scripted-answers"), system="Be brief.", name="other")
NEEDS_MORE = {"counterfactual-dpo", "cdf"}
"""Methods with a required option, and of several kinds of feedback that each would do alone."""
ASK_A_MODEL = {"cipher", "droc", "leap", "inverse-constitution", "gate"}
"""Methods of memories to which only a model, or people, can say whether there is a lesson."""
FUTILE = {"ties", "contradictions"}
"""Feedback that some methods could train on, which leaves a policy as it is."""


class ScriptedAnswers:
    """Model whose samples differ from one another, with log-probabilities."""

    name = identity = "scripted-answers"

    async def generate(self, requests):
        return [
            Completion(
                text=f"Answer {request.draw_seed % 97} to it. It is {request.sample_index}.",
                finish_reason="stop",
                usage=Usage(1, 1, 1),
                model=self.name,
            )
            for request in requests
        ]

    async def score(self, requests):
        from tests.models import tiny

        encode = tiny.tokenizer().encode
        return [np.full(len(encode(text)) + 1, -1.0) for _, text in requests]

    def bound(self, request):
        return Usage(1, 1, 1)


@pytest.fixture(scope="module", autouse=True)
def _scripted_model():
    if "scripted-answers" not in MODELS:
        register_model("scripted-answers")(ScriptedAnswers)


@pytest.fixture(scope="module")
def chat():
    pytest.importorskip("torch")
    from tests.models import tiny

    tokenizer = tiny.tokenizer()
    ends = frozenset({tokenizer.eos_token_id})
    return ChatTemplate(tokenizer, name="tiny", eos_token_ids=ends)


def questions():
    """Yield prompts of the training split with numbers in them."""
    for number in range(1_000):
        prompt = f"What is {number} plus 1? Explain it."
        if in_split(as_prompt(prompt), "train"):
            yield prompt, f"It is {number + 1}.", f"It is {number + 2}."


def on_one(make):
    """Return a function that makes an interaction of one answer, right or wrong, with feedback."""

    def records(number, prompt, right, wrong):
        shown = Interaction.of(prompt, (right, wrong)[number % 2])
        fields = {"interaction": shown.id, "annotator": ADA, "response": "0"}
        return shown, make(number, right, fields)

    return records


def on_two(*verdicts):
    """Return a function that makes an interaction of two answers with preferences."""

    def records(number, prompt, right, wrong):
        shown = Interaction.of(prompt, right, wrong)
        fields = {"interaction": shown.id, "annotator": ADA, "a": "0", "b": "1"}
        return shown, *(Preference(**fields, **verdict) for verdict in verdicts)

    return records


def thumb_on_one_prompt(number, *_):
    shown = Interaction.of("Name a prime.", f"{number}")
    person = Annotator.human(f"user-{number}")
    return shown, Label(interaction=shown.id, annotator=person, response="0", good=number % 2 == 0)


def ranking(number, prompt, right, wrong):
    shown = Interaction.of(prompt, right, wrong)
    return shown, Ranking(interaction=shown.id, annotator=ADA, tiers=(("0",), ("1",)))


def pick(number, prompt, right, wrong):
    shown = Interaction.of(prompt, right, wrong)
    display = (Shown(response="0"), Shown(response="1"))
    return shown, Choice(interaction=shown.id, annotator=ADA, shown=display, chosen="0")


def checked_steps(number, prompt, right, wrong):
    records = []
    for text, verdict in ((right, "right"), (wrong, "wrong")):
        whole = f"Add them.\n{text}"
        solved = Interaction.of(prompt, whole)
        steps = (
            Step(start=0, end=10, verdict="right"),
            Step(start=10, end=len(whole), verdict=verdict),
        )
        records += [
            solved,
            Steps(interaction=solved.id, annotator=ADA, response="0", steps=steps),
        ]
    return records


def instruction(number, prompt, right, wrong):
    shown = Interaction.of(prompt, right)
    return shown, Instruction(interaction=shown.id, annotator=ADA, text="Be brief.")


SYNTHETIC = {
    "thumbs": on_one(lambda number, _, about: Label(**about, good=number % 2 == 0)),
    "thumbs up": on_one(lambda _, __, about: Label(**about, good=True)),
    "thumbs down": on_one(lambda _, __, about: Label(**about, good=False)),
    "thumbs on one prompt": thumb_on_one_prompt,
    "stars": on_one(lambda number, _, about: Rating(**about, value=1 + number % 5)),
    "stars of an aspect": on_one(
        lambda number, _, about: Rating(**about, value=5 - number % 2 * 4, aspect="tone")
    ),
    "preferences": on_two({"verdict": "a"}),
    "weak preferences": on_two({"verdict": "a", "probability": 0.6}),
    "ties": on_two({"verdict": "tie"}),
    "both bad": on_two({"verdict": "both_bad"}),
    "contradictions": on_two({"verdict": "a"}, {"verdict": "b"}),
    "rankings": ranking,
    "edits": on_one(lambda _, right, about: Edit(**about, text=right + " Really.")),
    "critiques": on_one(lambda _, __, about: Critique(**about, text="Too short.")),
    "outcomes": on_one(
        lambda number, _, about: Outcome(**about, passed=number % 2 == 0, text="Checked.")
    ),
    "picks": pick,
    "steps": checked_steps,
    "instructions": instruction,
    "prompts": lambda _, prompt, right, __: [Interaction.of(prompt, right)],
}
"""Functions from a number, a prompt and two answers to records."""
FILES = (
    "hh_rlhf_harmless.jsonl.gz",
    "fine_grained_qa_feedback.jsonl.gz",
    "ilf_mbpp_feedback.jsonl.gz",
    "gsm8k_solutions.jsonl.gz",
)


def make_store(source, folder):
    store = Store(folder / "s.db")
    if source in SYNTHETIC:
        for number, (prompt, right, wrong) in enumerate(islice(questions(), 9)):
            store.add(*SYNTHETIC[source](number, prompt, right, wrong))
        return store
    if not (DATA / source).exists():
        pytest.skip(f"{DATA / source} is absent")
    part = folder / source
    with gzip.open(DATA / source, "rb") as rows, gzip.open(part, "wb") as first:
        first.writelines(islice(rows, 8))
    ingest(store, str(part))
    return store


def learns(method, store, chat):
    """Return whether a method finds something to learn from, without training."""
    with Run() as run:
        feedback = TrainingSet(store)
        if method.target == "decoding":
            return reward_feedback(feedback).is_enough
        values = {"samples": 2, "style": "Be brief."}
        options = method.read_options({k: v for k, v in values.items() if k in method.options})
        context = MethodContext(SCRIPTED, feedback.plain_texts(), run)
        try:
            build, _ = asyncio.run(build_plan(method.name, context, options))
        except BacktalkError:
            return False
        encoder = Encoder(chat, prepare=SCRIPTED.messages)
        return any(task.trees for task in build(encoder))


def has_a_prompt_to_learn(store):
    """Return whether a prompt can be searched: the same for all optimisers."""
    with Run() as run:
        context = MethodContext(SCRIPTED, TrainingSet(store), run)
        try:
            split_prompts(context.feedback, context.prompts(), seed=0)
            asyncio.run(make_signal(context))
        except BacktalkError:
            return False
    return True


def has_critiques(store):
    """Return whether there are enough critiques to find criteria in."""
    return len(TrainingSet(store).views(CritiqueView)) >= MIN_CRITIQUES


def remembers(method, store):
    """Return whether a method writes an entry into a new memory."""
    with Run() as run:
        learning = method.learn(SCRIPTED, TrainingSet(store), run, memory_name=method.name)
        try:
            learned = asyncio.run(learning)
        except BacktalkError:
            return False
    assert learned.lineage.rewards is not None
    return bool(Memory(store, method.name).entries())


def is_definite(item):
    """Return whether neither samples nor options can supply what a method is missing."""
    return item.method.name not in NEEDS_MORE and all(
        getattr(requirement, "definite", True) for requirement in item.unmet
    )


@pytest.mark.parametrize("source", [*SYNTHETIC, *FILES])
def test_a_method_that_is_available_learns_and_others_name_what_is_missing(source, tmp_path, chat):
    with make_store(source, tmp_path) as store:
        save_policy(store, SCRIPTED)
        save_policy(store, OTHER)
        items = [
            item
            for item in available_methods(store, policy=LOCAL)
            if item.method.name not in ASK_A_MODEL
        ]
        has_prompt = has_a_prompt_to_learn(store)
        learning = {
            item.method.name: has_prompt
            and (item.method.name != "system-feedback" or has_critiques(store))
            and (item.method.name != "leap-prompt" or bool(good_answers(TrainingSet(store))))
            if item.method.target == "prompt"
            else remembers(item.method, store)
            if item.method.target == "memory"
            else learns(item.method, store, chat)
            for item in items
        }
    wrong = [item.method.name for item in items if item.available > learning[item.method.name]]
    assert wrong == []
    missed = {
        item.method.name: item.reasons
        for item in items
        if learning[item.method.name] and not item.available and is_definite(item)
    }
    assert missed == {} or source in FUTILE
    assert all(all(item.reasons) for item in items)
