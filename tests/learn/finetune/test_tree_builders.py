"""Trees of pairs, labels, rankings and scores: columns, weights, and data left out."""

from collections import Counter

import pytest

from backtalk.feedback import Annotator, Message
from backtalk.feedback.views import LabelView, Pair, RankingView, ScoreView, SFTExample
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.methods.preference import soft_pair_trees
from backtalk.learn.finetune.tree_builders import (
    MAX_RESPONSES,
    example_trees,
    label_trees,
    list_trees,
    ordered_list_trees,
    pair_trees,
)
from backtalk.models.local.chat_template import ChatTemplate
from tests.models.tiny import tokenizer

TOKENIZER = tokenizer()
CHAT = ChatTemplate(TOKENIZER, name="tiny", eos_token_ids=frozenset({TOKENIZER.eos_token_id}))
OPEN = (Message.user("Is it open?"),)
LATE = (Message.user("Is it late?"),)
LONG = "We are sorry. " * 20
ADA, BO = Annotator.human("ada"), Annotator.human("bo")


@pytest.fixture
def encoder():
    return Encoder(CHAT, max_length=60)


def texts(tree):
    return [CHAT.decode(branch.tokens) for branch in tree.responses]


def values(tree):
    return {
        CHAT.decode(branch.tokens): branch.score if branch.label is None else float(branch.label)
        for branch in tree.responses
    }


def compared(tree):
    responses = texts(tree)
    return [(responses[pair.chosen], responses[pair.rejected]) for pair in tree.pairs]


def pair(chosen, rejected, prompt=OPEN, **fields):
    return Pair(prompt=prompt, chosen=chosen, rejected=rejected, **fields)


def scored(completion, score, **fields):
    return ScoreView(
        **{"prompt": OPEN, "annotator": ADA, **fields}, completion=completion, score=score
    )


def test_the_pairs_of_a_prompt_are_one_tree_with_each_response_once(encoder):
    pairs = [pair("a", "b"), pair("b", "c"), pair("a", "c"), pair("c", "b", LATE)]
    one, other = pair_trees(encoder, pairs)
    assert texts(one) == ["a", "b", "c"]
    assert compared(one) == [("a", "b"), ("b", "c"), ("a", "c")]
    assert compared(other) == [("c", "b")]
    assert one.prompt == tuple(CHAT.prompt_tokens(OPEN))
    assert all(branch.tokens[-1] == TOKENIZER.eos_token_id for branch in one.responses)
    assert not encoder.left_out


def test_judgements_that_contradict_each_other_are_both_kept(encoder):
    (tree,) = pair_trees(encoder, [pair("a", "b"), pair("b", "a"), pair("a", "b")])
    assert compared(tree) == [("a", "b"), ("b", "a"), ("a", "b")]


def test_ties_and_equal_responses_are_left_out_and_counted(encoder):
    pairs = [pair("a", "b", tie=True, probability=0.5), pair("a", "a"), pair("a", "c")]
    (tree,) = pair_trees(encoder, pairs)
    assert compared(tree) == [("a", "c")]
    assert encoder.left_out == Counter({"ties": 2})
    assert pair_trees(encoder, []) == []


def test_a_comparison_knows_how_strong_how_probable_and_how_heavy_it_is(encoder):
    pairs = [pair("a", "b", strength=0.5, probability=0.75, weight=0.5), pair("a", "c")]
    (tree,) = pair_trees(encoder, pairs)
    first, second = tree.pairs
    assert (first.weight, first.features) == (0.5, {"strength": 0.5, "probability": 0.75})
    assert (second.weight, second.features) == (1.0, {"probability": 1.0})


def test_a_strength_is_a_probability_where_none_was_given(encoder):
    pairs = [
        pair("a", "b", strength=0.5),
        pair("a", "c", strength=0.5, probability=0.9),
        pair("a", "d"),
    ]
    (tree,) = soft_pair_trees(encoder, pairs)
    assert [one.features["probability"] for one in tree.pairs] == [0.75, 0.9, 1.0]


def test_no_tree_has_more_than_so_many_responses_and_no_pair_is_lost(encoder):
    chain = [pair(str(i), str(i + 1)) for i in range(40)]
    trees = pair_trees(encoder, chain)
    assert max(len(tree.responses) for tree in trees) <= MAX_RESPONSES
    assert [one for tree in trees for one in compared(tree)] == [
        (one.chosen, one.rejected) for one in chain
    ]


def test_a_response_that_is_too_long_takes_only_its_own_pairs_with_it(encoder):
    (tree,) = pair_trees(encoder, [pair("a", LONG), pair("a", "b"), pair(LONG, "b")])
    assert compared(tree) == [("a", "b")]
    assert encoder.left_out == Counter({"longer than 60 tokens": 2})


def test_a_prompt_that_is_too_long_is_counted(encoder):
    assert pair_trees(encoder, [pair("a", "b", (Message.user(LONG),))]) == []
    assert example_trees(encoder, [SFTExample(prompt=(Message.user(LONG),), completion="a")]) == []
    assert encoder.left_out == Counter({"longer than 60 tokens": 2})


@pytest.mark.parametrize("text", ["", "é", "漢字 ☃ 🎉", "a\n\nb", " a "])
def test_any_text_comes_back_and_ends_once(encoder, text):
    (tree,) = example_trees(encoder, [SFTExample(prompt=OPEN, completion=text)])
    (branch,) = tree.responses
    assert CHAT.decode(branch.tokens).strip() == text.strip()
    assert branch.tokens.count(TOKENIZER.eos_token_id) == 1


def test_columns_of_a_response_come_from_response_text(encoder):
    def marked(prompt, text):
        assert prompt == OPEN
        return ResponseText(text, score=float(text == "b"))

    (tree,) = pair_trees(encoder, [pair("a", "b")], response_text=marked)
    assert values(tree) == {"a": 0, "b": 1}


def label(completion, prompt=OPEN, *, good=True, **fields):
    return LabelView(prompt=prompt, completion=completion, good=good, **fields)


def test_label_trees_have_labels_and_weights(encoder):
    trees = label_trees(encoder, [label("a"), label("b", good=False, weight=0.5)], anchors=False)
    assert [values(tree) for tree in trees] == [{"a": 1}, {"b": 0}]
    assert [tree.weight for tree in trees] == [1, 0.5]
    assert all(not tree.kl_anchors for tree in trees)


def anchors(trees):
    return [[CHAT.decode(one.tokens) for one in tree.kl_anchors] for tree in trees]


def test_an_anchor_is_the_response_to_the_next_other_prompt(encoder):
    labels = [label("a"), label("b"), label("c", LATE), label("d")]
    assert anchors(label_trees(encoder, labels, anchors=True)) == [["c"], ["c"], ["d"], ["c"]]


def test_labels_of_one_prompt_have_no_anchors(encoder):
    assert anchors(label_trees(encoder, [label("a"), label("b")], anchors=True)) == [[], []]
    assert anchors(label_trees(encoder, [label("a")], anchors=True)) == [[]]
    assert label_trees(encoder, [], anchors=True) == []


def test_an_anchor_that_is_too_long_does_not_take_the_response_with_it(encoder):
    trees = label_trees(encoder, [label("a"), label(LONG, LATE)], anchors=True)
    assert anchors(trees) == [[]]
    assert encoder.left_out == Counter({"longer than 60 tokens": 1})


def ranked(*tiers, **fields):
    return RankingView(prompt=OPEN, tiers=tuple(map(tuple, tiers)), **fields)


def test_the_value_of_a_ranked_response_is_the_share_of_those_below(encoder):
    (tree,) = list_trees(encoder, [ranked("a", "bc", "d", weight=0.5)])
    assert values(tree) == {"a": 1, "b": 1 / 3, "c": 1 / 3, "d": 0}
    assert tree.weight == 0.5


def test_a_list_without_an_order_is_left_out(encoder):
    flat = [ranked("abc"), scored("a", 0.5), scored("b", 0.5), scored("c", 0.1, annotator=BO)]
    assert list_trees(encoder, flat) == []
    assert encoder.left_out == Counter({"lists without an order": 3})


def test_responses_that_were_not_compared_are_not_tied(encoder):
    best_of = ranked("a", "bcd", within="unordered", weight=0.9)
    (as_one,) = list_trees(encoder, [best_of])
    assert values(as_one) == {"a": 1, "b": 0, "c": 0, "d": 0}
    apart = ordered_list_trees(encoder, [best_of])
    assert [values(tree) for tree in apart] == [{"a": 1, other: 0} for other in "bcd"]
    assert sum(tree.weight for tree in apart) == pytest.approx(0.9)
    (tied,) = ordered_list_trees(encoder, [ranked("a", "bcd")])
    assert values(tied) == values(as_one)


def test_scores_are_a_list_of_one_prompt_one_annotator_and_one_aspect(encoder):
    lists = [
        scored("a", 0.2),
        scored("b", 0.8, weight=0.5),
        scored("a", 0.9, annotator=BO),
        scored("b", 0.1, annotator=BO),
        scored("a", 0.3, aspect="tone"),
        scored("c", 0.4, aspect="tone"),
        scored("z", 1.0, prompt=LATE),
    ]
    trees = list_trees(encoder, lists)
    assert [values(tree) for tree in trees] == [
        {"b": 0.8, "a": 0.2},
        {"a": 0.9, "b": 0.1},
        {"c": 0.4, "a": 0.3},
    ]
    assert trees[0].weight == 0.75
    assert texts(trees[0]) == ["b", "a"], "best first"
    assert encoder.left_out == Counter({"lists without an order": 1})


def test_of_two_scores_of_one_response_the_later_counts(encoder):
    (tree,) = list_trees(encoder, [scored("a", 0.9), scored("b", 0.5), scored("a", 0.1)])
    assert values(tree) == {"b": 0.5, "a": 0.1}


@pytest.mark.parametrize("count", [16, 17, 40])
def test_a_long_list_becomes_several_from_top_to_bottom(encoder, count):
    names = [f"{i}" for i in range(count)]
    by_score = list_trees(encoder, [scored(name, 1 - i / count) for i, name in enumerate(names)])
    by_rank = list_trees(encoder, [ranked(*([name] for name in names))])
    for trees in (by_score, by_rank):
        assert len(trees) == -(-count // MAX_RESPONSES)
        assert all(len(tree.responses) <= MAX_RESPONSES for tree in trees)
        assert sorted((one for tree in trees for one in texts(tree)), key=int) == names
        firsts = {int(texts(tree)[0]) for tree in trees}
        assert firsts == set(range(len(trees))), "the best ones are not all in one list"


def test_a_list_goes_on_without_the_response_that_is_too_long(encoder):
    by_rank, by_score = list_trees(
        encoder,
        [ranked("a", [LONG], "b"), scored("a", 0.9), scored(LONG, 0.5), scored("b", 0.1)],
    )
    assert values(by_rank) == {"a": 1, "b": 0}
    assert values(by_score) == {"a": 0.9, "b": 0.1}
    assert encoder.left_out == Counter({"longer than 60 tokens": 2})


def test_a_response_in_two_tiers_counts_in_the_first(encoder):
    (tree,) = list_trees(encoder, [ranked("a", "ab", "c")])
    assert values(tree) == {"a": 1, "b": 0.5, "c": 0}
