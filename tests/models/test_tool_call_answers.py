"""Answers with tool calls are the tokens that the chat template writes for them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.feedback import Message
from backtalk.feedback.answers import MessageText
from backtalk.feedback.describe import describe_message
from backtalk.feedback.requests import with_request
from backtalk.models.errors import BadRequest, ModelError, TemplateError
from backtalk.models.local.chat_template import ChatTemplate
from tests.models.made_tokenizers import KINDS, LOSSLESS, made_tokenizer
from tests.models.tool_templates import (
    FIRST_CALL,
    HERMES,
    LLAMA,
    MISTRAL,
    NAMES_ONLY,
    NO_TOOLS,
    TOOL_TEMPLATES,
)

QUESTION = (Message.user("Is it open?"),)
TOOL = {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}
words = st.text(st.sampled_from(" \n\t\"'{}\\aé<|end|>"), max_size=8)
values = st.recursive(
    st.one_of(words, st.integers(-99, 99), st.booleans(), st.none(), st.just("<|end|>")),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(words, inner, max_size=2)),
    max_leaves=3,
)


def call_of(name, arguments, id_="call00001", *, as_text=True):
    written = json.dumps(arguments) if as_text else arguments
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": written}}


def answer_of(*calls, content=None):
    return Message(role="assistant", content=content, tool_calls=tuple(calls))


def chat_of(kind, template):
    tokenizer = made_tokenizer(kind)
    return ChatTemplate(
        tokenizer,
        name=kind,
        eos_token_ids=frozenset({tokenizer.eos_token_id}),
        template=TOOL_TEMPLATES.get(template, template),
    )


def tokens_of(chat, message, prompt=QUESTION, **options):
    text = MessageText(describe_message(message), message)
    return chat.conversation_tokens(prompt, text, **options)


def rendered(kind, template, message, *, tokens=False):
    """Return what transformers renders for the answer, or the tokens of the whole conversation."""
    fields = message.model_dump(exclude={"reasoning"})
    for call in fields["tool_calls"]:
        arguments = call["function"]["arguments"]
        if isinstance(arguments, str):
            call["function"]["arguments"] = json.loads(arguments)
    question = {"role": "user", "content": QUESTION[0].text}
    how = {"chat_template": TOOL_TEMPLATES[template]}
    render = made_tokenizer(kind).apply_chat_template
    if tokens:
        how |= {"return_dict": False, "sanitize_control_tokens": True}
        return render([question, fields], **how)
    opened = render([question], tokenize=False, add_generation_prompt=True, **how)
    whole = render([question, fields], tokenize=False, **how)
    assert whole.startswith(opened)
    return whole[len(opened) :].removesuffix("\n").removesuffix("<|end|>")


def _names(value):
    """Yield the names of arguments, also of nested ones."""
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            yield from _names(item)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(
    template=st.sampled_from(sorted(TOOL_TEMPLATES)),
    arguments=st.lists(st.dictionaries(words, values, max_size=2), min_size=1, max_size=2),
    content=st.one_of(
        st.none(), st.sampled_from(["", "Looking.", " Let me\n", "<think>a</think>"])
    ),
)
def test_an_answer_is_what_the_template_writes(kind, template, arguments, content):
    message = answer_of(*(call_of(f"time{i}", a) for i, a in enumerate(arguments)), content=content)
    chat, tokenizer = chat_of(kind, template), made_tokenizer(kind)
    control = any("<|end|>" in name for one in arguments for name in _names(one))
    several = template == "llama" and len(arguments) > 1
    dropped = template in {"llama", "mistral"} and (content or "").strip()
    if control or several or dropped:
        with pytest.raises(ModelError):
            tokens_of(chat, message)
        return
    try:
        prompt, tokens = tokens_of(chat, message)
    except (TemplateError, BadRequest):
        assert kind not in LOSSLESS
        return
    assert prompt == chat.prompt_tokens(QUESTION)
    assert tokens[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in tokens[:-1]
    before, whole = tokenizer.decode(prompt), tokenizer.decode([*prompt, *tokens[:-1]])
    assert whole.startswith(before)
    # Some tokenizers write a space before every text, and after special tokens.
    expected, written = rendered(kind, template, message), whole[len(before) :]
    assert written.replace("|>  ", "|> ").removeprefix(" ") == expected.removeprefix(" ")
    conversation = rendered(kind, template, message, tokens=True)
    if conversation[: len(prompt)] == prompt and "<think>" not in (content or ""):
        assert conversation[len(prompt) :][: len(tokens)] == tokens


@pytest.mark.parametrize("kind", LOSSLESS)
def test_special_tokens_of_the_format_are_tokens_and_those_in_arguments_are_text(kind):
    message = answer_of(call_of("time", {"at": "<|end|> and <|tool|>"}))
    _, tokens = tokens_of(chat_of(kind, "mistral"), message)
    tool = made_tokenizer(kind).convert_tokens_to_ids("<|tool|>")
    assert tokens.count(tool) == 1
    assert tool in tokens[:2]
    _, tokens = tokens_of(chat_of(kind, "hermes"), message)
    assert tool not in tokens


@pytest.mark.parametrize(
    ("template", "calls", "content", "reason"),
    [
        (NO_TOOLS, 1, None, "does not write the tool calls"),
        (NO_TOOLS, 1, "Looking.", "does not write the tool calls"),
        (FIRST_CALL, 2, None, "does not write the tool calls"),
        (NAMES_ONLY, 1, None, "does not write the arguments"),
        (LLAMA, 1, "Looking.", "does not write the text of an answer beside its tool calls"),
        (LLAMA, 2, None, "refuses the messages: one call at a time"),
        (MISTRAL, 1, "Looking.", "does not write the text"),
        ("plain", 1, None, "cannot write|does not write"),
    ],
)
def test_a_template_that_cannot_write_an_answer_is_named(template, calls, content, reason):
    message = answer_of(*[call_of("time", {"at": 1})] * calls, content=content)
    with pytest.raises((TemplateError, BadRequest), match=reason):
        tokens_of(chat_of("smollm", template), message)


def test_ids_that_a_template_refuses_are_named():
    with pytest.raises(BadRequest, match="9 characters"):
        tokens_of(chat_of("smollm", MISTRAL), answer_of(call_of("time", {}, "call_1")))


def test_a_control_token_in_the_name_of_an_argument_is_refused():
    for name in ("<|end|>", "<|user|>", "a<|tool|>"):
        calls = answer_of(call_of("time", {"deep": [{name: 1}]}))
        with pytest.raises(BadRequest, match="name of an argument"):
            tokens_of(chat_of("smollm", HERMES), calls)
        history = [*QUESTION, calls, Message(role="tool", content="9", tool_call_id="call00001")]
        with pytest.raises(BadRequest, match="name of an argument"):
            chat_of("smollm", HERMES).prompt_tokens(history)


def test_settings_of_the_request_and_a_begun_answer_are_part_of_the_prompt():
    chat, message = chat_of("qwen", HERMES), answer_of(call_of("time", {}), content=" open.")
    prompt = with_request(QUESTION, {"tools": [TOOL]})
    tokens, answer = tokens_of(chat, message, prompt)
    assert tokens == chat.prompt_tokens(QUESTION, tools=[TOOL])
    assert answer == tokens_of(chat, message)[1]
    begun = (*prompt[:-1], *QUESTION, Message.assistant("Looking if it is"))
    tokens, answer = tokens_of(chat, message, begun)
    assert tokens == chat.prompt_tokens(begun)
    assert chat.decode([*tokens, *answer]).endswith(
        'Looking if it is open.\n<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>'
    )


def test_arguments_may_be_objects_or_texts_that_are_no_json():
    chat = chat_of("smollm", HERMES)
    objects = answer_of(call_of("time", {"at": [1, None]}, as_text=False))
    texts = answer_of(call_of("time", {"at": [1, None]}))
    assert tokens_of(chat, objects) == tokens_of(chat, texts)
    broken = {"id": "c", "function": {"name": "time", "arguments": "{at noon"}}
    _, tokens = tokens_of(chat, answer_of(broken))
    assert '"arguments": "{at noon"}' in chat.decode(tokens)


@pytest.mark.parametrize("template", TOOL_TEMPLATES)
@pytest.mark.parametrize("arguments", ["", " ", None])
def test_a_call_without_arguments_has_an_empty_object(template, arguments):
    chat = chat_of("smollm", template)
    expected = answer_of(call_of("time", {}, as_text=False))
    message = answer_of(call_of("time", arguments, as_text=False))
    assert tokens_of(chat, message) == tokens_of(chat, expected)
    missing = {"id": "call00001", "type": "function", "function": {"name": "time"}}
    assert tokens_of(chat, answer_of(missing)) == tokens_of(chat, expected)
    result = Message(role="tool", content="9", tool_call_id="call00001")
    history, other = [*QUESTION, message, result], [*QUESTION, expected, result]
    assert chat.prompt_tokens([*history, *QUESTION]) == chat.prompt_tokens([*other, *QUESTION])
