"""Texts are tokenised with the chat template, with a weight for each token."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.errors import BacktalkError
from backtalk.feedback import Message
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens, micro_batches
from backtalk.models.local.chat_template import ChatTemplate
from tests.learn.finetune.small import trees
from tests.models.tiny import tokenizer

TOKENIZER = tokenizer()
END = TOKENIZER.eos_token_id
CHAT = ChatTemplate(TOKENIZER, name="tiny", eos_token_ids=frozenset({END}))
QUESTION = (Message.user("Is the shop open today?"),)


def encoded(text, **options):
    return Encoder(CHAT, **options).tree(
        QUESTION, [text] if isinstance(text, ResponseText) else text
    )


def pieces(branch):
    return [TOKENIZER.decode([token]) for token in branch.tokens]


words = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\ufffd"), min_size=1
).filter(lambda text: text.strip() == text)


@settings(max_examples=200, deadline=None)
@given(words, words)
def test_the_tokens_are_those_of_the_whole_conversation(question, answer):
    prompt = (Message.user(question),)
    tree = Encoder(CHAT).tree(prompt, [ResponseText(answer)])
    whole = TOKENIZER.apply_chat_template(
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        return_dict=False, sanitize_control_tokens=True,
    )  # fmt: skip
    together = [*tree.prompt, *tree.responses[0].tokens]
    assert whole[: len(together)] == together
    assert tree.responses[0].tokens.count(END) == 1
    assert tree.responses[0].tokens[-1] == END
    assert TOKENIZER.decode(together[len(tree.prompt) :], skip_special_tokens=True) == answer


def test_reasoning_is_learned_only_if_the_encoder_is_told_to():
    template = (
        "{% for message in messages %}<|{{ message.role }}|>{{ message.reasoning_content or '' }}"
        "{{ message.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    chat = ChatTemplate(TOKENIZER, name="tiny", eos_token_ids=frozenset({END}), template=template)
    text = ResponseText("At nine.", reasoning="We open late. ")
    texts = []
    for reasoning in (False, True):
        tree = Encoder(chat, reasoning=reasoning).tree(QUESTION, [text])
        texts.append(chat.decode(tree.responses[0].tokens))
    assert texts == ["At nine.", "We open late. At nine."]


def test_a_span_of_the_text_gives_its_weight_to_its_tokens():
    text = "Yes, we open at nine."
    start = text.index("nine")
    tree = encoded(ResponseText(text, weights=((0, len(text), 0.0), (start, start + 4, 2.0))))
    (branch,) = tree.responses
    shown = list(zip(pieces(branch), branch.weights, strict=True))
    assert "".join(piece for piece, weight in shown if weight == 2).strip() == "nine"
    assert all(weight in {0, 2} for piece, weight in shown if piece != "<|end|>")
    assert shown[-1] == ("<|end|>", 1.0)


@settings(max_examples=100, deadline=None)
@given(words, st.data())
def test_each_token_has_the_weight_of_the_last_of_its_characters(text, data):
    values = data.draw(st.lists(st.integers(0, 3), min_size=len(text), max_size=len(text)))
    stretches = tuple((i, i + 1, float(value)) for i, value in enumerate(values))
    (branch,) = encoded(ResponseText(text, weights=stretches)).responses
    done = 0
    for index, weight in enumerate(branch.weights[:-1]):
        written = CHAT.decode(branch.tokens[: index + 1])
        last = max(len(written), done + 1)
        assert weight == values[last - 1]
        done = max(done, len(written.rstrip("\ufffd")))
    assert branch.weights[-1] == 1


def test_rewards_of_spans_become_token_rewards():
    text = "Yes, we open at nine."
    (branch,) = encoded(ResponseText(text, reward_spans=((0, 3, -1.0),))).responses
    assert branch.weights is None
    assert set(branch.token_rewards) == {0.0, -1.0}
    assert branch.token_rewards[0] == -1
    rewards = tuple(float(i) for i in range(len(branch.tokens)))
    assert encoded(ResponseText(text, token_rewards=rewards)).responses[0].token_rewards == rewards


def test_an_unfinished_response_does_not_learn_to_end():
    (branch,) = encoded(ResponseText("Yes, we", is_complete=False)).responses
    assert branch.tokens[-1] == END
    assert branch.weights[-1] == 0
    assert set(branch.weights[:-1]) == {1.0}


def test_what_is_too_long_is_left_out_and_counted():
    encoder = Encoder(CHAT, max_length=30)
    assert encoder.tree(QUESTION, [ResponseText("Yes."), ResponseText("word " * 50)]) is None
    assert encoder.tree(QUESTION, [ResponseText("Yes.")]) is not None
    assert encoder.left_out == Counter({"longer than 30 tokens": 1})


def test_the_policy_puts_its_system_prompt_first():
    encoder = Encoder(CHAT, prepare=lambda prompt: (Message.system("Be brief."), *prompt))
    shown = TOKENIZER.decode(encoder.tree(QUESTION, [ResponseText("Yes.")]).prompt)
    assert shown.index("Be brief.") < shown.index("Is the shop")


def test_trees_that_cannot_be_are_errors():
    with pytest.raises(BacktalkError, match="no tokens"):
        ResponseTokens(())
    with pytest.raises(BacktalkError, match="1 weights"):
        ResponseTokens((1, 2), weights=(1.0,))
    with pytest.raises(BacktalkError, match="0 prompt tokens"):
        PromptTree((), (ResponseTokens((1,)),))
    with pytest.raises(BacktalkError, match="compares 0 with 1"):
        PromptTree((1,), (ResponseTokens((1,)),), pairs=(PairLabel(0, 1),))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(1, 400), st.booleans())
def test_parts_of_a_step_hold_every_tree_once_and_keep_to_the_budget(seed, budget, shared):
    forest = trees(20, seed=seed, responses=3)
    batches = micro_batches(forest, budget, shared=shared)
    assert Counter(id(tree) for batch in batches for tree in batch) == Counter(map(id, forest))
    for batch in batches:
        if shared:
            read = sum(tree.size for tree in batch)
        else:
            rows = [
                len(tree.prompt) + len(branch.tokens) - 1
                for tree in batch
                for branch in tree.responses
            ]
            read = max(rows) * len(rows)
        assert read <= budget or len(batch) == 1


def test_the_key_of_a_response_is_what_was_computed():
    one = PromptTree((5, 6), (ResponseTokens((7, 1)), ResponseTokens((6, 7, 1))))
    moved = PromptTree((5,), (ResponseTokens((6, 7, 1)),))
    keys = {one.key(one.responses[0]), one.key(one.responses[1]), moved.key(moved.responses[0])}
    assert len(keys) == 3
    masked = ResponseTokens((7, 1), weights=(0.0, 1.0))
    assert one.with_responses([masked]).key(masked) == one.key(one.responses[0])
