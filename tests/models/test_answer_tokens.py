"""Answers are encoded as the continuation of the tokens that a sampler reads."""

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from backtalk.feedback import Message
from backtalk.models.errors import BadRequest, ModelError, TemplateError
from backtalk.models.local.chat_template import ChatTemplate
from tests.models.made_tokenizers import (
    CHATML,
    KINDS,
    LOSSLESS,
    PADDED,
    THINKING,
    TRIMMED,
    made_tokenizer,
)

TEMPLATES = {"chatml": CHATML, "trimmed": TRIMMED, "padded": PADDED, "thinking": THINKING}
EDGES = [
    "    return x", "  Hello", "\n\nHello", " ", "", "Hello", "Hello  \n", "\tx", "\n", "a\n\n\nb",
    "Hi <|end|> there", "<|user|>", "<think>\nok\n</think>\n\nHello.", "é😀 ü", " <|end|>",
]  # fmt: skip
texts = st.one_of(
    st.sampled_from(EDGES),
    st.text(st.sampled_from(" \n\taHello.<|end|>é"), max_size=12),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=8),
)


def chat_of(kind, template="chatml", *, strips=False, **options):
    tokenizer = made_tokenizer(kind, strips=strips)
    return ChatTemplate(
        tokenizer,
        name=kind,
        eos_token_ids=frozenset({tokenizer.eos_token_id}),
        template=TEMPLATES.get(template, template),
        options=options,
    )


def following(kind, prompt, tokens, *, strips=False):
    """Return the text that tokens add to that of a prompt, by the tokenizer's own decoder."""
    tokenizer = made_tokenizer(kind, strips=strips)
    before, whole = tokenizer.decode(prompt), tokenizer.decode([*prompt, *tokens])
    assert whole.startswith(before)
    return whole[len(before) :]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(
    question=texts,
    answer=texts,
    template=st.sampled_from(["chatml", "trimmed", "plain"]),
    strips=st.booleans(),
)
def test_an_answer_continues_the_prompt_of_the_sampler(kind, question, answer, template, strips):
    chat = chat_of(kind, template, strips=strips)
    messages = [Message.user(question + "?")]
    try:
        prompt, tokens = chat.conversation_tokens(messages, answer)
    except ModelError:
        assert kind not in LOSSLESS
        return
    assert prompt == chat.prompt_tokens(messages)
    assert tokens[-1] in chat.eos_token_ids
    assert chat.eos_token_ids.isdisjoint(tokens[:-1])
    written = following(kind, prompt, tokens[:-1], strips=strips)
    # Some tokenizers write a space before every text.
    assert written == answer or (
        not answer[:1].isspace()
        and made_tokenizer(kind, strips=strips).decode(tokens[:-1]) == answer
    )


@pytest.mark.parametrize("kind", LOSSLESS)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), template=st.sampled_from(["chatml", "trimmed", "plain"]))
def test_a_sample_has_the_same_text_again(kind, data, template):
    tokenizer, chat = made_tokenizer(kind), chat_of(kind, template)
    ids = [id_ for id_ in range(len(tokenizer)) if id_ not in tokenizer.all_special_ids]
    drawn = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=6))
    messages = [Message.user("Is it open?")]
    prompt = chat.prompt_tokens(messages)
    text = chat.answer_text(prompt, drawn)
    again, tokens = chat.conversation_tokens(messages, text)
    assert again == prompt
    assert chat.answer_text(prompt, tokens) == text


@pytest.mark.parametrize("kind", ["smollm", "qwen", "llama2", "mistral", "gemma"])
@pytest.mark.parametrize("answer", ["Hello", " Hello ", "  x"])
def test_white_space_that_the_template_writes_is_written_once(kind, answer):
    prompt, tokens = chat_of(kind, "padded").conversation_tokens([Message.user("Hi")], answer)
    begins = "" if answer.startswith(" ") else " "
    ends = "" if answer.endswith(" ") else " "
    assert following(kind, prompt, tokens[:-1]) == begins + answer + ends


@pytest.mark.parametrize("kind", ["smollm", "qwen", "gemma"])
def test_an_empty_block_of_thinking_is_part_of_an_answer(kind):
    messages, block = [Message.user("Hi")], "<think>\n\n</think>\n\n"
    thought = "<think>\nGreet.\n</think>\n\nHello."
    chat = chat_of(kind, "thinking")
    prompt, tokens = chat.conversation_tokens(messages, "Hello.")
    assert following(kind, prompt, tokens[:-1]) == block + "Hello."
    assert made_tokenizer(kind).convert_tokens_to_ids("<think>") in tokens
    assert following(kind, *_body(chat, messages, thought)) == thought
    assert following(kind, *_body(chat, messages, block + "Hello.")) == block + "Hello."
    off = chat_of(kind, "thinking", enable_thinking=False)
    prompt, tokens = off.conversation_tokens(messages, "Hello.")
    assert following(kind, [], prompt).endswith(block)
    assert following(kind, prompt, tokens[:-1]) == "Hello."


def _body(chat, messages, answer):
    prompt, tokens = chat.conversation_tokens(messages, answer)
    return prompt, tokens[:-1]


def test_a_continued_message_keeps_its_own_tokens():
    for kind in LOSSLESS:
        chat = chat_of(kind)
        for begun in ("def f():", "def f():\n", "Yes, "):
            messages = [Message.user("Hi"), Message.assistant(begun)]
            prompt, tokens = chat.conversation_tokens(messages, "    return")
            assert prompt == chat.prompt_tokens(messages)
            assert following(kind, prompt, tokens[:-1]) == "    return"


def test_what_a_tokenizer_cannot_write_is_named():
    question = [Message.user("Hi")]
    with pytest.raises(TemplateError, match=r"U\+0065.*as 'é' \(U\+00E9\)"):
        chat_of("qwen").conversation_tokens(question, "cafe\u0301")
    with pytest.raises(TemplateError, match=r"no token for '世' \(U\+4E16\)"):
        chat_of("t5").conversation_tokens(question, "Hello 世")
    with pytest.raises(BadRequest, match=r"answer 'a\\ud800' has a lone surrogate, U\+D800.*at ch"):
        chat_of("smollm").conversation_tokens(question, "a\ud800")
    with pytest.raises(BadRequest, match=r"message '\\udc00' has a lone surrogate"):
        chat_of("smollm").prompt_tokens([Message.user("\udc00")])


def test_an_error_in_a_template_is_a_refused_request():
    with pytest.raises(BadRequest, match="cannot write the messages"):
        chat_of("smollm", "{{ messages[0].content + 1 }}<|end|>").prompt_tokens([Message.user("a")])


def test_programs_of_people_continue_the_prompts_of_smollm2():
    folder = next(
        (path for path in (_cached_smollm2(), os.environ.get("BACKTALK_SMOLLM2")) if path), None
    )
    data = Path(os.environ.get("BACKTALK_DATA", "../shared/data")) / "ilf_mbpp_feedback.jsonl.gz"
    if folder is None:
        pytest.skip("SmolLM2 is not here: fetch it with `backtalk models fetch smollm2`")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = ChatTemplate(
        tokenizer, name="smollm2", eos_token_ids=frozenset([tokenizer.eos_token_id])
    )
    programs = ["    return x", "  Hello", "\n\nHello", " "]
    if data.exists():
        with gzip.open(data, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        programs += [text for row in rows for text in row.values() if isinstance(text, str)]
    for text in programs[:300]:
        messages = [Message.user("Write it.")]
        prompt, tokens = chat.conversation_tokens(messages, text)
        assert prompt == chat.prompt_tokens(messages)
        assert tokenizer.decode([*prompt, *tokens[:-1]]) == tokenizer.decode(prompt) + text


def _cached_smollm2():
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "backtalk"
    folders = [path.parent for path in cache.glob("**/tokenizer.json") if "smollm2" in str(path)]
    return str(folders[0]) if folders else None


def test_a_token_that_the_model_has_no_embedding_for_is_named():
    tokenizer = made_tokenizer("smollm")
    own = tokenizer.convert_tokens_to_ids("</think>")
    chat = ChatTemplate(
        tokenizer,
        name="small",
        eos_token_ids=frozenset({tokenizer.eos_token_id}),
        vocabulary_size=own,
    )
    message = rf"larger than the model.*'</think>' with id {own}, and the model knows {own} tokens"
    with pytest.raises(TemplateError, match=message):
        chat.conversation_tokens([Message.user("Hi")], "a</think>b")
    assert chat.conversation_tokens([Message.user("Hi")], "Hello.")
