"""Searches for tokens by gradients, with a tiny model, and the optimisers that run them."""

import asyncio

import numpy as np
import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Edit, Interaction, as_prompt
from backtalk.learn import get_method, learn
from backtalk.learn.prompt.edits import lines
from backtalk.learn.prompt.proposers.pe2 import QUESTIONS, EngineerProposer
from backtalk.learn.prompt.protocol import PromptCandidate, TextFeedback
from backtalk.learn.prompt.token_search.settings import TokenSearchSettings
from backtalk.learn.prompt.writer import InstructionWriter
from backtalk.models import EndpointSpec, FunctionModel, LocalSpec, Sampling, register_model
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, PromptTemplate
from backtalk.store import Store
from tests.learn.prompt.test_proposers import make_state

pytest.importorskip("torch")
from backtalk.learn.prompt.token_search.line import PromptLine
from backtalk.learn.prompt.token_search.search import TokenSearch
from backtalk.learn.prompt.token_search.targets import Targets
from backtalk.models import LocalModel
from tests.models import tiny

ADA = Annotator.human("ada")
QUESTION = as_prompt("Is the shop open?")
EXAMPLES = [(QUESTION, "Yes, at nine."), (as_prompt("How do I return it?"), "Put it back.")]
BASE = PromptCandidate("We are sorry.\n\nYes.", PromptTemplate(rules=("Thank you.", "Open at.")))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return LocalModel(tiny.save(tmp_path_factory.mktemp("llama")))


def make_targets(model, answer="", **options):
    fake = FunctionModel(lambda _: answer, name="reasoner")
    return Targets(fake, model.chat, EXAMPLES, Sampling(max_tokens=80), **options)


def make_search(model, **settings):
    targets = make_targets(model, reasoning="none")
    contexts = [as_prompt("Is it late?"), as_prompt("What is the parcel?")]
    return TokenSearch(model.engine, targets, contexts, TokenSearchSettings(**settings))


@pytest.mark.parametrize("index", range(5))
def test_a_line_is_replaced_in_its_slot_and_its_tokens_are_found(model, index):
    line = PromptLine(BASE, index)
    expected = [*lines(BASE)[:index], "A letter.", *lines(BASE)[index + 1 :]]
    assert lines(line.filled("A letter.")) == tuple(expected)
    tokens, place = line.find(model.chat, "A letter.", QUESTION)
    assert model.chat.decode(tokens[place]).strip() == "A letter."
    assert tokens == model.chat.prompt_tokens(line.messages("A letter.", QUESTION))


def test_a_step_that_evaluates_all_tokens_takes_the_best_of_brute_force(model):
    search = make_search(
        model, top_k=384, evaluated=384, continuations=False, perplexity_weight=0.0
    )
    line, text, position = PromptLine(PromptCandidate(None), 0), "We open late.", 1
    best = run_sync(search.step(line, text, position))
    tokens, place = line.find(model.chat, text, QUESTION)
    tokens = tokens[place]
    texts = {
        model.chat.decode([*tokens[:position], token, *tokens[position + 1 :]]).strip()
        for token in range(384)
    }
    texts = [text, *(one for one in texts if one and "\n" not in one and one != text)]
    losses = search.compute_objectives(line, texts, ["", ""])
    assert search.objectives[best] == pytest.approx(min(losses), abs=1e-6)


def test_a_search_lowers_the_objective_and_grows_and_rotates(model):
    search = make_search(model, top_k=40, evaluated=2, max_length=12)
    line = PromptLine(PromptCandidate("We are sorry."), 0)
    results = run_sync(search.run(line, 6))
    values = [value for _, value in results]
    assert values == sorted(values)
    assert values[0] < search.objectives["We are sorry."]
    assert all("\n" not in text and text == text.strip() for text, _ in results)


def test_the_proposals_are_likely_in_all_contexts(model):
    search = make_search(model, top_k=60)
    proposed = search.propose([])
    values = model.engine.next_token_log_probabilities(search._contexts)
    top = [set(np.argsort(-row)[:60].tolist()) for row in values]
    assert proposed
    assert set(proposed) <= top[0] & top[1]
    for token, context in proposed.items():
        assert values[context, token] == values[:, token].max()


@pytest.mark.parametrize(
    ("reasoning", "response", "before", "answer"),
    [
        ("none", "unused", "", "Yes, at nine."),
        ("steps", "We open.\nNo.", "We open.\n", "Yes, at nine."),
        ("response", "We open.", "We open.\nTherefore, the final answer is ", "Yes, at nine."),
        ("auto", "We open at nine. " * 3, None, "Yes, at nine."),
        ("auto", "At ten.", "", "Yes, at nine."),
    ],
)
def test_the_answer_counts_after_the_reasoning(model, reasoning, response, before, answer):
    targets = make_targets(model, response, reasoning=reasoning)
    line = PromptLine(PromptCandidate(None), 0)
    prefix = run_sync(targets.prefixes(line, "Thank you."))[0]
    if before is None:
        before = f"{response.rstrip()}\nTherefore, the final answer is "
    assert prefix == before
    messages = line.messages("Thank you.", QUESTION)
    context, tokens = targets.encode(messages, prefix, targets.answers()[0])
    prompt = model.chat.prompt_tokens(messages)
    assert context[: len(prompt)] == prompt
    # A space between both belongs to the token of either.
    assert model.chat.decode(context[len(prompt) :]).rstrip(" ") == before.rstrip(" ")
    assert model.chat.decode(tokens).strip() == answer
    assert tokens[-1] in model.chat.eos_token_ids


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        for i in range(60):
            item = Interaction.of(f"What is item {i}", f"The answer is {i}.")
            common = {"interaction": item.id, "annotator": ADA, "response": item.responses[0].id}
            opened.add(item, Edit(**common, text=f"The answer is {i}. Please tell me."))
        yield opened


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("greater", {}),
        ("greaterprompt", {"family": "gradient"}),
        ("greaterprompt", {"family": "both"}),
    ],
)
def test_an_endpoint_gives_no_gradients_and_is_not_called(store, method, options):
    hosted = Policy(model=EndpointSpec(model="m", base_url="http://127.0.0.1:9/v1"), name="hosted")
    with pytest.raises(BacktalkError, match="needs gradients") as error:
        learn(method, hosted, store, **options)
    assert "protegi" in error.value.mend


REQUESTS = []


def _answer(request):
    """Answer politely if the instruction says so, and write that instruction when asked."""
    REQUESTS.append(request.messages)
    last = request.messages[-1].text
    if "Step 1." in last:
        return "The answers must say please."
    if "Step 2." in last:
        return "<prompt>Say please.</prompt>"
    polite = any(m.role == "system" and "Say please." in m.text for m in request.messages)
    return f"The answer is {last.split()[-1]}.{' Please tell me.' * polite}"


register_model("polite-engineer")(lambda: FunctionModel(_answer, name="polite-engineer"))
PLAIN = Policy(model=NamedSpec(name="polite-engineer"), name="plain")


@pytest.mark.parametrize("method", ["pe2", "greaterprompt"])
def test_a_model_that_only_answers_is_guided_through_inspection_and_revision(store, method):
    learned = learn(method, PLAIN, store, candidates=2, examples=12, confirmation=20)
    assert learned.system == "Say please."
    if method == "greaterprompt":
        assert learned.lineage.notes["family"] == "text: the model gives no gradients"


def test_the_meta_prompt_has_two_steps_the_context_and_questions_about_examples():
    REQUESTS.clear()
    writer = InstructionWriter(FunctionModel(_answer, name="engineer"))
    proposer = EngineerProposer(
        writer,
        [TextFeedback(QUESTION, "Go away.", "It is rude.")] * 4,
        batch_size=2,
        max_words=5,
        history=2,
    )
    (candidate,) = run_sync(proposer.propose(make_state(), 3))
    assert (candidate.system, candidate.proposer) == ("Say please.", "pe2")
    inspection, revision = REQUESTS[0], REQUESTS[-1]
    text = inspection[0].text
    assert all(question in text for question in QUESTIONS)
    assert "System: <instruction>" in text
    assert text.count("It is rude.") == 1
    assert revision[0] in [request[0] for request in REQUESTS[:3]]
    assert [message.role for message in revision] == ["user", "assistant", "user"]
    assert "Change at most 5 words." in revision[2].text
    assert "Score: 0" in revision[2].text


def test_a_small_model_of_a_world_finds_a_rule_by_gradients(tmp_path):
    from backtalk.learn.context import MethodContext
    from backtalk.learn.prompt.proposers.greater import GreaterProposer
    from backtalk.learn.prompt.token_search.settings import TokenSearchSettings
    from backtalk.learn.prompt.writer import make_writer
    from backtalk.learn.training_set import TrainingSet
    from backtalk.run import Run
    from backtalk.worlds import get_world
    from backtalk.worlds.small import small_model_folder

    world = get_world("lists")
    rule = next(one for one in world.rules if (one.action, one.scope) == ("semicolons", "all"))
    good = [
        (prompt, world.ideal(world.parse_prompt(prompt), (rule,)))
        for prompt in world.prompts("train", 6, seed=5)
    ]
    policy = Policy(model=LocalSpec(model=str(small_model_folder("lists"))))
    with Store(tmp_path / "s.db") as store, Run() as run:
        context = MethodContext(policy, TrainingSet(store), run)
        proposer = GreaterProposer(
            make_writer(context),
            good,
            TokenSearchSettings(evaluated=2),
            steps=2,
            batch_size=3,
            contexts=2,
        )
        state = make_state()
        state.context = context
        candidates = asyncio.run(proposer.propose(state, 4))
    assert candidates
    assert rule.text in [one for candidate in candidates for one in candidate.template.rules]


def test_the_methods_say_what_they_need():
    assert any("gradients" in one for one in get_method("greater").describe().requires)
    assert not any("local" in one for one in get_method("greaterprompt").describe().requires)


def test_answers_that_do_not_fit_into_the_context_window_are_left_out(model, tmp_path):
    from backtalk.learn.context import MethodContext
    from backtalk.learn.prompt.proposers.greater import GreaterProposer
    from backtalk.learn.training_set import TrainingSet
    from backtalk.run import Run

    long = "Zq x! " * 30
    writer = InstructionWriter(FunctionModel(_answer, name="writer"))
    policy = Policy(model=LocalSpec(model=model.name))
    with Store(tmp_path / "s.db") as store, Run() as run:
        state = make_state()
        state.context = MethodContext(policy, TrainingSet(store), run)
        settings = TokenSearchSettings(max_length=2)
        proposer = GreaterProposer(writer, [*EXAMPLES, (QUESTION, long)], settings)
        assert [answer for _, answer in proposer._examples(state, model)] != []
        assert long not in [answer for _, answer in proposer._examples(state, model)]
        proposer.demonstrations = [(QUESTION, long)]
        with pytest.raises(BacktalkError, match="fits into the context window") as error:
            asyncio.run(proposer.propose(state, 2))
    assert "longer context window" in error.value.mend


def test_judgements_without_a_good_answer_are_refused_with_a_mend():
    from backtalk.learn.prompt.proposers.greater import GreaterProposer

    proposer = GreaterProposer(
        InstructionWriter(FunctionModel(_answer, name="writer")), [], TokenSearchSettings()
    )
    with pytest.raises(BacktalkError, match="no good answers") as error:
        asyncio.run(proposer.propose(make_state(), 2))
    assert "opro" in error.value.mend
