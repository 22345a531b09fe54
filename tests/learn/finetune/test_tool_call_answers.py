"""Answers that are tool calls are trained on by every method, as the template writes them."""

import pickle
from types import SimpleNamespace

import pytest

from backtalk.feedback import (
    Annotator,
    Demonstration,
    Interaction,
    Label,
    Message,
    Preference,
    Ranking,
    Rating,
    Response,
)
from backtalk.feedback.answers import MessageText
from backtalk.feedback.kinds import Scale, Span, Spans
from backtalk.feedback.views import LabelView, Pair, RankingView, ScoreView, SpanWeights
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.answer_writer import AnswerWriter
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.registration import dry_run
from backtalk.learn.finetune.tree_builders import label_trees, list_trees, pair_trees
from backtalk.learn.held_out_preferences import held_out_preferences
from backtalk.learn.left_out_rows import NOTE, TooManyLeftOut, describe_left_out, read_left_out
from backtalk.learn.training_set import NOT_PLAIN
from backtalk.models import LocalModel, LocalSpec
from backtalk.models.local.chat_template import ChatTemplate
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy
from backtalk.run import Run
from backtalk.store import Store
from tests.models import tiny
from tests.models.made_tokenizers import made_tokenizer
from tests.models.tool_templates import HERMES, LLAMA, MISTRAL, NO_TOOLS

ADA = Annotator.human("ada")
UNIT = {"scale": Scale.UNIT}
TRAINED = [
    "sft", "dpo", "ipo", "simpo", "orpo", "slic-hf", "kto", "bco", "pmpo", "lipo",
    "plackett-luce-dpo", "nca", "sppo", "inpo", "t-reg", "chain-of-hindsight", "fast", "raft",
]  # fmt: skip
STEP = {"max_steps": 1, "batch_size": 2}


def call(name, id_="c", **arguments):
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*listed, text=None):
    return (Message(role="assistant", content=text, tool_calls=listed),)


def response(id_, messages=(), text=""):
    return Response(id=id_, text=text, messages=messages)


def add(store, question, *responses):
    """Add an interaction whose responses are judged in every way, the first as the best."""
    interaction = Interaction(prompt=(Message.user(question),), responses=responses)
    by = {"interaction": interaction.id, "annotator": ADA}
    ids = [one.id for one in responses]
    store.add(
        interaction,
        Preference(**by, a=ids[0], b=ids[1], verdict="a"),
        Ranking(**by, tiers=tuple((id_,) for id_ in ids)),
        *(Label(**by, response=id_, good=id_ == ids[0]) for id_ in ids),
        *(Rating(**by, response=id_, value=1 / (i + 1), **UNIT) for i, id_ in enumerate(ids)),
    )
    return interaction


def save(folder, template):
    network = tiny.network("llama")
    network.config.max_position_embeddings = 512
    network.save_pretrained(folder)
    tiny.tokenizer(template=template).save_pretrained(folder)
    return Policy(model=LocalSpec(model=str(folder)))


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return save(tmp_path_factory.mktemp("tools"), HERMES)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "feedback.db") as opened:
        yield opened


@pytest.fixture
def filled(store):
    for i in range(3):
        add(
            store,
            f"Open, {i}?",
            response("a", calls(call("time", at=i))),
            response("b", calls(call("date", at=i))),
            response("c", text="No."),
        )
    return store


def read(policy, store):
    model = LocalModel(policy.model.model)
    return TrainingSet(store, split="all").plain_texts(AnswerWriter(policy, model)), model.chat


def test_answers_are_the_tokens_that_the_template_writes(policy, filled):
    feedback, chat = read(policy, filled)
    pairs = [pair for pair in feedback.views(Pair) if "0" in pair.prompt[0].text]
    chosen = '<tool_call>\n{"name": "time", "arguments": {"at": 0}}\n</tool_call>'
    assert {pair.chosen for pair in pairs} >= {chosen}
    tree = pair_trees(Encoder(chat), pairs)[0]
    assert len(tree.responses) == 3
    assert list(tree.prompt) == chat.prompt_tokens(pairs[0].prompt)
    rendered = tiny.tokenizer(template=HERMES).apply_chat_template(
        [
            {"role": "user", "content": "Open, 0?"},
            {"role": "assistant", "tool_calls": [call("time", at=0)]},
        ],
        return_dict=False,
    )
    assert rendered[: len(tree.prompt)] == list(tree.prompt)
    answer = rendered[len(tree.prompt) :]
    assert any(list(one.tokens) == answer[: len(one.tokens)] for one in tree.responses)
    lists = list_trees(Encoder(chat), feedback.by_kind(RankingView)["ranking"])
    assert [len(tree.responses) for tree in lists] == [3, 3, 3]
    assert len(list_trees(Encoder(chat), feedback.by_kind(ScoreView)["rating"])) == 3
    labels = feedback.by_kind(LabelView)["label"]
    assert len(label_trees(Encoder(chat), labels, anchors=True)) == 9
    assert feedback.left_out == {}


def test_answers_that_differ_in_their_calls_only_are_pairs_and_in_ids_are_none(policy, store):
    add(
        store,
        "1?",
        response("a", calls(call("time", at=1))),
        response("b", calls(call("time", at=2))),
    )
    add(store, "2?", response("a", calls(call("time"), text="Hm.")), response("b", text="Hm."))
    add(
        store,
        "3?",
        response("a", calls(call("time", "c1"))),
        response("b", calls(call("time", "c2"))),
    )
    feedback, chat = read(policy, store)
    encoder = Encoder(chat)
    trees = pair_trees(encoder, feedback.by_kind(Pair)["preference"])
    assert len(trees) == 2
    assert encoder.left_out == {"ties": 1}
    unrendered = TrainingSet(store, split="all").plain_texts().by_kind(Pair)["preference"]
    assert [pair.chosen != pair.rejected for pair in unrendered] == [True, True, False]


@pytest.mark.parametrize(("template", "differ"), [(MISTRAL, True), (LLAMA, False)])
def test_a_call_and_its_text_are_one_answer_only_if_their_tokens_are(store, template, differ):
    # Mistral writes a special token before its calls, Llama 3.1 writes none.
    message = Message(role="assistant", content=None, tool_calls=(call("time", "c23456789"),))
    tokenizer = made_tokenizer("smollm")
    chat = ChatTemplate(
        tokenizer,
        name="tools",
        eos_token_ids=frozenset({tokenizer.eos_token_id}),
        template=template,
    )
    model = SimpleNamespace(load_chat=lambda: chat)
    write = AnswerWriter(Policy(model=LocalSpec(model="tools")), model)
    text = str(write((Message.user("?"),), message))
    add(store, "?", response("a", (message,)), response("b", text=text), response("c", text="No."))
    feedback, encoder = TrainingSet(store, split="all").plain_texts(write), Encoder(chat)
    pairs = pair_trees(encoder, feedback.by_kind(Pair)["preference"])
    (ranked,) = list_trees(encoder, feedback.by_kind(RankingView)["ranking"])
    (scored,) = list_trees(encoder, feedback.by_kind(ScoreView)["rating"])
    assert len(ranked.responses) == len(scored.responses) == (3 if differ else 2)
    assert len({one.tokens for one in ranked.responses}) == len(ranked.responses)
    assert [len(tree.responses) for tree in pairs] == ([2] if differ else [])
    copied = pickle.loads(pickle.dumps(feedback.by_kind(Pair)["preference"][0]))
    assert (copied.chosen != copied.rejected) == differ


@pytest.mark.parametrize("name", TRAINED)
def test_every_method_trains_on_tool_calls(name, policy, filled):
    options = STEP | ({"source": "store"} if name == "raft" else {})
    learned = run_sync(
        get_method(name).learn(policy, TrainingSet(filled, split="all"), Run(seed=0), **options)
    )
    notes = learned.lineage.notes
    assert NOTE not in notes
    assert not any(key.startswith("left out: ") and NOT_PLAIN in key for key in notes)


def test_answers_that_a_template_cannot_write_are_left_out_and_listed(filled, tmp_path):
    plain = save(tmp_path / "plain", NO_TOOLS)
    feedback = TrainingSet(filled, split="all")
    with pytest.raises(TooManyLeftOut, match="does not write the tool calls of an answer"):
        run_sync(get_method("dpo").learn(plain, feedback, Run(seed=0), **STEP))
    for i in range(2):
        add(filled, f"Closed, {i}?", response("a", text="Yes."), response("b", text="No."))
    learned = run_sync(
        get_method("dpo").learn(plain, feedback, Run(seed=0), **STEP, max_left_out=1.0)
    )
    rows = read_left_out(learned.lineage.notes[NOTE], filled.artifacts)
    assert {row.record for row in rows} == {
        case.interaction.id for case in filled.cases() if "Open" in case.interaction.prompt[0].text
    }
    assert all("does not write the tool calls" in row.reason for row in rows)
    assert "were left out" in describe_left_out(learned, filled.artifacts)[0]
    checks = run_sync(dry_run("dpo", plain, feedback, Run(seed=0), **STEP, max_left_out=1.0))
    assert any("does not write the tool calls" in check.measured for check in checks.checks)


def test_answers_of_several_messages_are_left_out_and_counted(policy, filled):
    turns = (*calls(call("time")), Message(role="tool", content="9", tool_call_id="c"))
    turns = (*turns, Message.assistant("At nine."))
    add(filled, "4?", response("a", turns, text="At nine."), response("b", text="No."))
    feedback, _ = read(policy, filled)
    assert len(feedback.by_kind(ScoreView)["rating"]) == 10
    assert feedback.left_out == {NOT_PLAIN: 2}  # the rating and the label, which is a score too


def test_stored_answers_and_samples_are_read_alike(policy, filled):
    feedback, _ = read(policy, filled)
    context = MethodContext(policy, feedback, Run(seed=0))
    texts = context.stored_responses(context.prompts())
    assert [len(one) for one in texts] == [3, 3, 3]
    assert [isinstance(text, MessageText) for text in texts[0]] == [True, True, False]


def test_offsets_of_spans_are_those_of_the_written_answer(store):
    interaction = Interaction(
        prompt=(Message.user("?"),),
        responses=(response("a", calls(call("time"), text="Let me see."), text="Let me see."),),
    )
    span = Span(start=4, end=6, label="bad", good=False)
    store.add(
        interaction,
        Spans(interaction=interaction.id, annotator=ADA, response="a", spans=(span,)),
    )
    feedback = TrainingSet(store, split="all").plain_texts(lambda _, message: "> " + message.text)
    (view,) = feedback.views(SpanWeights)
    assert view.completion[view.weights[0].start : view.weights[0].end] == "me"


def test_held_out_preferences_between_tool_calls_count(policy, filled):
    result = run_sync(held_out_preferences(policy, filled, run=Run(seed=0), split="all"))
    assert result.prompts == 3
    assert "too long, or changed by the chat template" not in result.left_out


def test_a_demonstration_beside_tool_calls_is_a_pair_of_texts(policy, filled):
    interaction = next(iter(filled.cases())).interaction
    filled.add(Demonstration(interaction=interaction.id, annotator=ADA, text="At nine."))
    learned = get_method("sft").learn(policy, TrainingSet(filled, split="all"), Run(seed=0), **STEP)
    assert run_sync(learned).id
