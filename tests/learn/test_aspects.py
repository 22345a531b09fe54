"""Learning reads the judgements of one aspect, and counts what it leaves out."""

import pytest

from backtalk.cli import main
from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Interaction, Label, Message, Preference, Response
from backtalk.feedback.describe import describe_message
from backtalk.feedback.views import LabelView, Pair
from backtalk.learn import TrainingSet
from backtalk.learn.background.spec import WatchSpec
from backtalk.learn.decoding.best_of_n import require_winner
from backtalk.learn.training_set import NOT_PLAIN
from backtalk.models.run_sync import run_sync
from backtalk.rewards import learn_reward
from backtalk.store import Store

ADA = Annotator.human("ada")
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def add_comparison(store, number, **verdicts):
    interaction = Interaction.of(f"Question {number}", f"Long answer {number}", f"No {number}")
    interaction = interaction.model_copy(
        update={
            "responses": tuple(
                response.model_copy(update={"model": model})
                for response, model in zip(interaction.responses, "mn", strict=True)
            )
        }
    )
    about = {"interaction": interaction.id, "annotator": ADA, "a": "0", "b": "1"}
    store.add(
        interaction,
        *(Preference(**about, aspect=aspect, verdict=v) for aspect, v in verdicts.items()),
    )


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store(tmp_path / "backtalk.db") as opened:
        for number in range(6):
            add_comparison(opened, number, overall="ab"[number == 0], safety="ba"[number == 1])
        yield opened


def test_views_are_of_one_aspect_and_the_rest_is_counted(store):
    feedback = TrainingSet(store, split="all")
    pairs = feedback.views(Pair)
    assert [pair.chosen.startswith("Long") for pair in pairs] == [False, *[True] * 5]
    assert feedback.left_out == {"on the aspect safety": 6}
    assert feedback.views(Pair) == pairs
    assert feedback.left_out == {"on the aspect safety": 6}
    labels = feedback.views(LabelView, across="prompt")
    assert sum(label.good for label in labels) == 6

    safety = TrainingSet(store, split="all", aspect="safety")
    assert [pair.chosen.startswith("No") for pair in safety.views(Pair)] == [
        True, False, *[True] * 4
    ]  # fmt: skip
    assert {pair.aspect for pair in safety.views(Pair)} == {"overall"}
    assert {pair.aspect for pair in feedback.on_aspect(None).views(Pair)} == {"overall", "safety"}


def test_a_store_of_one_other_aspect_says_so_and_names_the_option(tmp_path):
    with Store(tmp_path / "one.db") as store:
        add_comparison(store, 1, safety="a")
        feedback = TrainingSet(store, split="all")
        with pytest.raises(BacktalkError, match=r"1 on the aspect safety.*--aspect"):
            require_winner(feedback.views(Pair), feedback)
        wanted = TrainingSet(store, split="all", aspect="safety")
        require_winner(wanted.views(Pair), wanted)


def test_answers_of_several_messages_are_left_out_of_the_training_of_weights(tmp_path):
    interaction = Interaction(
        prompt=(Message.user("Look."),),
        responses=(
            Response(id="0", text="Looking."),
            Response(
                id="1",
                text="Looking.",
                messages=(Message(role="assistant", content="Looking.", tool_calls=(CALL,)),),
            ),
            Response(
                id="2",
                text="Looking.",
                messages=(
                    Message(role="assistant", content=None, tool_calls=(CALL,)),
                    Message(role="tool", content="9", tool_call_id="c"),
                    Message.assistant("Looking."),
                ),
            ),
        ),
    )
    about = {"interaction": interaction.id, "annotator": ADA}
    with Store(tmp_path / "calls.db") as store:
        store.add(
            interaction,
            Preference(**about, a="0", b="1", verdict="b"),
            Preference(**about, a="0", b="2", verdict="b"),
            Label(**about, response="0", good=False),
        )
        feedback = TrainingSet(store, split="all")
        assert len(feedback.views(Pair)) == 2
        texts = feedback.plain_texts()
        (pair,) = texts.views(Pair)
        assert (pair.chosen, pair.rejected) == (
            describe_message(pair.chosen.message),
            "Looking.",
        )
        assert texts.left_out == {NOT_PLAIN: 1}
        assert [view.good for view in texts.views(LabelView)] == [False, False, True, False]
        assert feedback.left_out == {}


def test_no_reward_is_learned_from_equal_texts(caplog):
    caplog.set_level("INFO")
    call = (Message(role="assistant", content="Yes.", tool_calls=(CALL,)),)
    pair = Pair(
        prompt=(Message.user("Open?"),), chosen="Yes.", rejected="Yes.", chosen_messages=call
    )
    with pytest.raises(BacktalkError, match="none has a winner"):
        run_sync(learn_reward([pair], embedder=None))
    assert "1 pairs of equal texts" in caplog.text


def test_background_learning_reads_an_aspect(store):
    plain = WatchSpec(method="best-of-n")
    assert "aspect" not in plain.to_dict()
    assert WatchSpec(method="best-of-n", aspect="safety").kind != plain.kind
    assert WatchSpec.model_validate_json(plain.to_json()) == plain


def test_the_command_line_has_the_option_and_says_what_it_leaves_out(store, capsys):
    def run(*arguments):
        code = main(list(arguments))
        out = capsys.readouterr()
        return code, out.out, " ".join(out.err.split())

    code, out, err = run("leaderboard")
    assert code == 0, err
    assert out.splitlines()[2].startswith("m")
    assert "Left out 6 on safety; --aspect ranks by one of them" in err
    code, out, _ = run("leaderboard", "--aspect", "safety")
    assert "aspect safety" in out
    assert out.splitlines()[2].startswith("n")

    code, out, err = run("export", "x.jsonl", "-f", "trl-preference", "--split", "all")
    assert (code, out) == (0, "x.jsonl: 6 rows\n")
    assert "Left out 6 on safety; --aspect exports one of them" in err
    assert run("export", "x.jsonl", "-f", "trl-unpaired", "--aspect", "safety", "--split", "all")[
        1
    ] == ("x.jsonl: 12 rows\n")
    code, _, err = run("export", "x.jsonl", "-f", "trl-unpaired", "--aspect", "safty")
    assert code == 1
    assert "Did you mean 'safety'?" in err
    code, _, err = run("export", "x.jsonl", "--aspect", "safety")
    assert code == 1
    assert "the layout holds all aspects" in err
