"""OpenAI's fine-tuning files: conversations to imitate, and preferences."""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Response
from backtalk.feedback.judgements import Preference
from backtalk.feedback.views import Case
from backtalk.feedback.words import Demonstration
from backtalk.formats.chat import as_messages, unread
from backtalk.formats.content_ids import HUMAN, case, feedback, make_interaction, written
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format


@import_format(
    "openai-chat",
    title="OpenAI supervised fine-tuning: messages",
    source="https://platform.openai.com/docs/guides/supervised-fine-tuning",
    looks_like=lambda row: "messages" in row and not {"chosen", "prompt", "completion"} & set(row),
)
def openai_chat(row: Data) -> list[Case]:
    """The last assistant's message is a demonstration, of what stood before it.

    A message of weight 0 is none; then the last one that has another weight is. An earlier one is
    a demonstration too if it has the weight 1, in so many words. Tools are metadata.
    """
    fields = Fields(row)
    messages = as_messages(fields.items("messages"), "messages")
    weights = [part.maybe_number("weight") for part in fields.parts("messages")]
    answers = [i for i, message in enumerate(messages) if message.role == "assistant" and i > 0]
    shown = [i for i in answers if weights[i] != 0]
    if not shown:
        raise fields.error("messages", "there is no assistant's message to imitate")
    common = fields.rest(("messages",)) | unread(row["messages"], "messages")
    results = []
    for i in [i for i in shown[:-1] if weights[i]] + shown[-1:]:
        if not messages[i].text:
            raise fields.error(f"messages.{i}", "an answer to imitate needs text, not only calls")
        after = row["messages"][i + 1 :] if i == shown[-1] else []
        metadata = {**common, "after": after} if after else common
        interaction = make_interaction(messages[:i], [], metadata=metadata)
        results.append(
            case(interaction, [feedback(Demonstration, interaction, HUMAN, text=messages[i].text)])
        )
    return results


@import_format(
    "openai-preference",
    title="OpenAI preference fine-tuning: input, preferred and non-preferred output",
    source="https://platform.openai.com/docs/guides/direct-preference-optimization",
    looks_like=lambda row: {"input", "preferred_output", "non_preferred_output"} <= set(row),
)
def openai_preference(row: Data) -> list[Case]:
    """A preference between two outputs; tools are metadata."""
    fields = Fields(row)
    asked = fields.part("input")
    one = _output(fields, "preferred_output", "0")
    other = _output(fields, "non_preferred_output", "1")
    if one.text == other.text and one.messages == other.messages:
        raise RecordError("non_preferred_output: the same as preferred_output")
    names = ("input", "preferred_output", "non_preferred_output")
    metadata: dict[str, Any] = asked.rest(("messages",)) | fields.rest(names)
    metadata |= unread(asked.data.get("messages"), "input.messages")
    interaction = make_interaction(asked.messages("messages"), [one, other], metadata=metadata)
    return [
        case(interaction, [feedback(Preference, interaction, HUMAN, a="0", b="1", verdict="a")])
    ]


def _output(fields: Fields, name: str, id_: str) -> Response:
    return written(id_, as_messages(fields.items(name), name))
