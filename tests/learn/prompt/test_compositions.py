"""Prompts selected by the request: kinds of requests, effects of techniques, prompts of tasks."""

import asyncio

import numpy as np
import pytest

from backtalk.embedders import HashedTfidf
from backtalk.feedback import Annotator, Edit, Interaction, as_prompt
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.prompt.compositions.grid import (
    choose_compositions,
    fit_effects,
    measure_effects,
    select_compositions,
)
from backtalk.learn.prompt.compositions.kinds import find_kinds
from backtalk.learn.prompt.compositions.techniques import (
    Technique,
    compose,
    demonstrations_of_kinds,
)
from backtalk.learn.prompt.edits import lines
from backtalk.learn.prompt.protocol import PromptCandidate, TextFeedback
from backtalk.learn.prompt.task_prompts import TaskContext, task_request, write_task_prompts
from backtalk.learn.prompt.writer import InstructionWriter
from backtalk.models import Budget, Completion, FunctionModel, Usage, register_model
from backtalk.models.registry import MODELS
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, load_policy
from backtalk.run import Run
from backtalk.store import Store

MAILS = [as_prompt(f"Write a mail to my boss about item {n}.") for n in range(12)]
LISTS = [as_prompt(f"Sort the words of list {n} by the alphabet.") for n in range(12)]
REQUESTS = [*MAILS, *LISTS]
EMBEDDER = HashedTfidf.fit([prompt[0].text for prompt in REQUESTS], dimension=64)
BASE = PromptCandidate("You help.")
FORMAL, COMMAS = Technique("formal", ("Be formal.",)), Technique("commas", ("Use commas.",))
SHOUT = Technique("shout", ("Shout.",))


def find(prompts, most=4):
    return asyncio.run(find_kinds(prompts, EMBEDDER, most=most, seed=0))


def true_score(candidate, index):
    """Return a score: formal mails and commas in lists are good, shouting is bad."""
    rules = lines(candidate)
    fits = "Be formal." in rules if index < len(MAILS) else "Use commas." in rules
    misfits = "Use commas." in rules if index < len(MAILS) else "Be formal." in rules
    return 0.5 + 0.2 * fits - 0.2 * misfits - 0.3 * ("Shout." in rules)


async def evaluate(jobs):
    return [("", true_score(candidate, index)) for candidate, index in jobs]


def test_requests_of_different_words_are_of_different_kinds():
    kinds = find(REQUESTS)
    labels = asyncio.run(kinds.of(REQUESTS))
    assert len(kinds.centers) == 2
    assert len(set(labels[:12])) == len(set(labels[12:])) == 1
    assert labels[0] != labels[12]


def test_equal_requests_are_of_one_kind():
    assert len(find([as_prompt("Sort them.")] * 20).centers) == 1


def test_the_nearest_kind_is_that_of_the_smallest_distance():
    kinds = find(REQUESTS)
    vectors = asyncio.run(EMBEDDER.embed([prompt[0].text for prompt in REQUESTS]))
    distances = ((vectors[:, None, :] - kinds.centers[None]) ** 2).sum(axis=2)
    assert asyncio.run(kinds.of(REQUESTS)) == distances.argmin(axis=1).tolist()


def test_effects_are_found_for_each_kind_of_request_and_harmful_techniques_are_dropped():
    techniques, model = asyncio.run(
        measure_effects(
            BASE,
            [FORMAL, SHOUT, COMMAS],
            REQUESTS,
            evaluate,
            find(REQUESTS),
            answers=240,
            rng=np.random.default_rng(4),
        )
    )
    assert techniques == [FORMAL, COMMAS]
    effects = asyncio.run(model.predict([MAILS[0], LISTS[0]]))
    assert effects == pytest.approx(np.array([[0.2, -0.2], [-0.2, 0.2]]), abs=0.08)
    choices = choose_compositions(effects)
    selections = asyncio.run(model.selector(choices).select([MAILS[0], LISTS[0]]))
    assert [choices[one.index] for one in selections] == [(True, False), (False, True)]


def test_without_evidence_that_requests_differ_all_get_the_same_composition():
    rng = np.random.default_rng(0)
    design = (rng.random((200, 2)) < 0.5).astype(float)
    vectors = rng.normal(size=(200, 8))
    gains = design @ [0.3, -0.2] + rng.normal(scale=0.3, size=200)
    weights, means = fit_effects(design, vectors, gains, rng.normal(size=(3, 8)))
    effects = vectors @ weights + means
    assert choose_compositions(effects)[0] == (True, False)
    assert (effects > 0).mean(axis=0) == pytest.approx([1, 0], abs=0.1)


def test_a_technique_with_variants_adds_that_of_the_kind_and_the_kind_is_selected_first():
    kinds = find(REQUESTS)
    (mails,) = asyncio.run(kinds.of(MAILS[:1]))
    variants = (FORMAL, COMMAS) if mails == 0 else (COMMAS, FORMAL)
    slots = [Technique("rules of the kind", variants=variants), SHOUT]
    rng = np.random.default_rng(4)
    slots, model = asyncio.run(
        measure_effects(BASE, slots, REQUESTS, evaluate, kinds, answers=120, rng=rng)
    )
    prompts, selector = asyncio.run(
        select_compositions(BASE, slots, model, kinds, REQUESTS, proposer="test")
    )
    chosen = [prompts[one.index] for one in asyncio.run(selector.select([MAILS[3], LISTS[3]]))]
    assert [one.template.rules for one in chosen] == [("Be formal.",), ("Use commas.",)]
    assert prompts[0].template.rules == (), "no technique is the same for all kinds"


def test_predicted_scores_of_compositions_are_sums_of_effects():
    _, model = asyncio.run(
        measure_effects(
            BASE,
            [FORMAL, COMMAS],
            REQUESTS,
            evaluate,
            find(REQUESTS),
            answers=60,
            rng=np.random.default_rng(1),
        )
    )
    effects = asyncio.run(model.predict(REQUESTS))
    selector = model.selector([(False, False), (True, False), (True, True)])
    sums = np.column_stack([0 * effects[:, 0], effects[:, 0], effects.sum(axis=1)])
    assert asyncio.run(selector.predict(REQUESTS)) == pytest.approx(sums)


def test_a_composition_has_the_lines_and_demonstrations_of_its_techniques():
    kinds = find(REQUESTS)
    shown = asyncio.run(demonstrations_of_kinds(kinds, [(prompt, "Done.") for prompt in MAILS]))
    (mails,) = asyncio.run(kinds.of(MAILS[:1]))
    prompt = compose(BASE, [FORMAL, Technique("shown", variants=tuple(shown))], mails)
    assert prompt.template.rules == ("Be formal.",)
    assert [example.answer for example in prompt.template.demonstrations] == ["Done."] * 2
    assert all("mail" in example.prompt[0].text for example in prompt.template.demonstrations)


def test_an_instruction_model_reads_the_context_and_writes_the_prompt_of_each_task():
    seen = []

    def write(request):
        seen.append(request.messages[0].text)
        task = "mails" if "boss" in seen[-1] else "lists"
        return Completion(text=f"<prompt>Handle {task} with care.</prompt>", model="fake")

    review = TextFeedback(MAILS[1], "Hey.", "Too casual.")
    contexts = [
        TaskContext(tuple(MAILS), ((MAILS[0], "Dear Ann,"),), (review,)),
        TaskContext(tuple(LISTS)),
    ]
    writer = InstructionWriter(FunctionModel(write, name="fake"))
    (prompts, _) = asyncio.run(
        write_task_prompts(writer, BASE, contexts, count=2, rng=np.random.default_rng(0))
    )
    assert [one.system for one in prompts] == ["Handle mails with care.", "Handle lists with care."]
    assert all(words in seen[0] for words in ("You help.", "Dear Ann,", "Too casual."))
    assert "Dear Ann," not in seen[2]


def test_the_meta_prompt_is_the_same_for_all_tasks_but_for_their_context():
    first, second = (
        task_request(BASE, TaskContext((prompt,)))[0].text for prompt in (MAILS[0], LISTS[0])
    )
    swapped = first.replace(MAILS[0][0].text, LISTS[0][0].text)
    assert swapped == second


def answer(request):
    """Answer in capitals to lists if the prompt says so, and write prompts."""
    text = request.messages[-1].text
    if "<prompt>" in text:
        words = "Write in capitals." if "alphabet" in text else "Write as ever."
        return Completion(text=f"<prompt>{words}</prompt>", model="tasks", usage=Usage(1, 1, 1))
    system = request.messages[0].text if request.messages[0].role == "system" else ""
    loud = "capitals" in system
    text = "ANT, BEE, COD" if loud else "ant, bee, cod"
    return Completion(text=text, model="tasks", usage=Usage(1, 1, 1))


@pytest.fixture(scope="module", autouse=True)
def _tasks():
    if "answers-by-task" not in MODELS:
        register_model("answers-by-task")(lambda: FunctionModel(answer, name="tasks"))
        alike = Completion(text="<prompt>Sort.</prompt> ant, bee, cod", model="alike")
        register_model("answers-alike")(lambda: FunctionModel(lambda _: alike, name="alike"))


@pytest.fixture
def store(tmp_path):
    """Return a store with lists that a person writes in capitals, and mails that stay."""
    with Store(tmp_path / "s.db") as store:
        for number in range(100):
            text = f"Sort the words of list {number} by the alphabet."
            if number % 2:
                text = f"Write a mail to my boss about item {number}."
            shown = Interaction.of(text, "ant, bee, cod")
            better = "ant, bee, cod" if number % 2 else "ANT, BEE, COD"
            edit = Edit(
                interaction=shown.id,
                annotator=Annotator.human("ada"),
                response="0",
                text=better if number % 2 == 0 else better + ".",
            )
            store.add(shown, edit)
        yield store


@pytest.mark.parametrize(
    ("method", "options"), [("meta-prompt", {}), ("adaptive-prompt", {"answers": 60})]
)
def test_a_policy_is_learned_whose_prompt_depends_on_the_request(store, method, options):
    policy = Policy(model=NamedSpec(name="answers-by-task"), system="You help.")
    with Run(seed=1) as run:
        learned = asyncio.run(get_method(method).learn(policy, TrainingSet(store), run, **options))
    assert learned.compositions is not None
    loaded = load_policy(learned, store.artifacts)
    assert loaded.respond("Sort the words of list 99 by the alphabet.").text == "ANT, BEE, COD"
    assert learned.lineage.method == method
    assert learned.lineage.notes["lower bound"] > 0
    assert learned.lineage.options["kinds"] == 4


def test_a_policy_is_not_learned_if_no_composition_helps(store):
    policy = Policy(model=NamedSpec(name="answers-alike"))
    with Run(seed=1) as run, pytest.raises(NoImprovement, match="No better prompts"):
        asyncio.run(get_method("meta-prompt").learn(policy, TrainingSet(store), run))


def test_a_budget_that_ends_too_early_is_said(store):
    policy = Policy(model=NamedSpec(name="answers-by-task"))
    budget = Budget(calls=5)
    with Run(seed=1, budget=budget) as run, pytest.raises(NoImprovement, match="budget"):
        asyncio.run(get_method("adaptive-prompt").learn(policy, TrainingSet(store), run))
