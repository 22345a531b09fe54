"""Objectives declare the columns that they read; binding and reading enforce it."""

import math

import pytest

torch = pytest.importorskip("torch", reason="objectives are functions of tensors")

from backtalk.errors import BacktalkError, UnknownName  # noqa: E402
from backtalk.learn import Paper  # noqa: E402
from backtalk.learn.finetune import (  # noqa: E402
    OBJECTIVES,
    Batch,
    BoundObjective,
    LossOutput,
    MissingColumn,
    Objective,
    PairLabel,
    PromptTree,
    ResponseTokens,
    TrainingTask,
    get_objective,
    objective,
)

PAPER = Paper("A test", "We", 2026)


def bound(function, *, needs=(), optional=None, reduction="response"):
    """Return an objective that is not registered."""
    return BoundObjective(
        Objective(
            "columns", PAPER, function, reduction, False, 0, None, {}, tuple(needs), optional or {}
        ),
        {},
    )


def read(name):
    """Return the loss function that is a column of responses."""
    return lambda batch: LossOutput(batch.column(name))


def tree(*responses, **fields):
    return PromptTree((7,), responses, **fields)


def batch(*trees):
    tokens = sum(len(response.tokens) for tree in trees for response in tree.responses)
    return Batch.from_trees(trees, torch.zeros(tokens))


GOOD, BAD = ResponseTokens((1, 2), label=True), ResponseTokens((3,), label=False)
UNLABELLED = ResponseTokens((4,))


def test_a_declared_column_is_read():
    losses = bound(read("label"), needs=["label"])(batch(tree(GOOD, BAD))).losses
    assert losses.tolist() == [1, 0]


def test_a_missing_column_fails_when_the_task_is_made():
    kto = get_objective("kto").bind()
    TrainingTask("label", kto, [tree(GOOD), tree(BAD)])
    with pytest.raises(MissingColumn) as error:
        TrainingTask("rating", kto, [tree(GOOD, UNLABELLED), tree(BAD, UNLABELLED)])
    for word in ("kto", "label", "2 of 4 responses", "'rating'"):
        assert word in error.value.what
    assert "'label'" in error.value.mend


def test_a_missing_column_fails_in_a_batch_too():
    with pytest.raises(MissingColumn, match="label"):
        get_objective("bco").bind()(batch(tree(GOOD, UNLABELLED)))


@pytest.mark.parametrize(
    ("column", "data", "units"),
    [
        ("pair.strength", tree(GOOD, BAD, pairs=(PairLabel(0, 1),)), "1 of 1 pairs"),
        ("tree.difficulty", tree(GOOD), "1 of 1 trees"),
        ("token.reward", tree(GOOD, BAD), "2 of 2 responses"),
        ("toxicity", tree(GOOD), "1 of 1 responses"),
    ],
)
def test_columns_of_every_level_are_checked(column, data, units):
    needy = bound(read(column), needs=[column])
    with pytest.raises(MissingColumn, match=units):
        needy.check_columns([data])


def test_columns_of_every_level_are_read():
    data = tree(
        ResponseTokens((1, 2), token_rewards=(0.5, -0.5), features={"toxicity": 0.25}),
        ResponseTokens((3,), token_rewards=(1.0,), features={"toxicity": 0.75}),
        features={"difficulty": 3.0},
        pairs=(PairLabel(0, 1, features={"strength": 0.5}),),
    )
    names = ("toxicity", "pair.strength", "tree.difficulty", "token.reward")
    values = {}

    def loss(batch):
        values.update({name: batch.column(name).tolist() for name in names})
        return LossOutput(batch.column("toxicity"))

    needy = bound(loss, needs=names)
    needy.check_columns([data])
    needy(batch(data))
    assert values == {
        "toxicity": [0.25, 0.75],
        "pair.strength": [0.5],
        "tree.difficulty": [3.0],
        "token.reward": [0.5, -0.5, 1.0],
    }


def test_a_misspelt_column_is_an_error_that_names_the_declared_ones():
    with pytest.raises(UnknownName, match="'lable'") as error:
        bound(read("lable"), needs=["label"])(batch(tree(GOOD)))
    assert "Did you mean 'label'?" in error.value.mend


def test_a_column_that_exists_and_is_not_declared_is_an_error():
    with pytest.raises(UnknownName, match="label"):
        bound(read("label"))(batch(tree(GOOD)))


def test_an_optional_column_has_its_default_where_it_is_missing():
    losses = bound(read("score"), optional={"score": 0.25})
    known, unknown = ResponseTokens((1,), score=0.75), ResponseTokens((2,))
    assert losses(batch(tree(known, unknown))).losses.tolist() == [0.75, 0.25]
    assert losses(batch(tree(unknown))).losses.tolist() == [0.25]
    TrainingTask("rating", losses, [tree(unknown)])


def test_an_optional_column_may_default_to_nan():
    losses = bound(read("pair.base_margin"), optional={"pair.base_margin": math.nan})
    pairs = (PairLabel(0, 1, features={"base_margin": 2.0}), PairLabel(0, 1))
    values = losses(batch(tree(GOOD, BAD, pairs=pairs))).losses.tolist()
    assert values[0] == 2
    assert math.isnan(values[1])


def test_a_column_of_an_unknown_level_is_refused():
    with pytest.raises(BacktalkError, match="unknown level"):
        objective("columns", paper=PAPER, needs=("word.reward",))


def test_a_misspelt_column_of_a_response_is_an_error():
    with pytest.raises(TypeError, match="lable"):
        ResponseTokens((1,), lable=True)


def test_self_play_objectives_need_is_sample_of_every_response():
    """Trees of self-play objectives say of every response whether it is a sample."""
    samples = ResponseTokens((1,), is_sample=True), ResponseTokens((2,))
    with pytest.raises(MissingColumn, match="1 of 2 responses"):
        get_objective("xpo").bind().check_columns([tree(*samples)])


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_every_objective_is_documented(name):
    registered = get_objective(name)
    assert registered.formula
    assert registered.summary.endswith(".")
    for option in registered.describe_options():
        assert option.meaning.endswith("."), option.name


def test_the_formula_is_the_literal_block_of_the_docstring():
    assert get_objective("dpo").formula == (
        "-log sigmoid(beta (log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)))"
    )
    assert get_objective("bco").formula.splitlines()[1].startswith("-log sigmoid(delta - r)")


@pytest.mark.parametrize(("name", "option"), [("cdpo", "label_smoothing"), ("rdpo", "flip_rate")])
def test_flip_is_the_old_name_of_an_option(name, option):
    with pytest.warns(DeprecationWarning, match=option):
        assert get_objective(name).bind(flip=0.2).options[option] == 0.2


def test_smoothing_is_the_old_name_of_an_option():
    with pytest.warns(DeprecationWarning, match="label_smoothing"):
        assert get_objective("exo").bind(smoothing=0.2).options["label_smoothing"] == 0.2
