"""ShareGPT: conversations of messages with ``from`` and ``value``."""

from __future__ import annotations

from backtalk.feedback.case import Case
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.openai import TOOLS, demonstrations
from backtalk.formats.prompts import SYSTEM_COLUMNS

_OTHER_LAYOUTS = {"chosen", "rejected", "kto_tag", "label", "prompt", "completion", "instruction"}


@import_format(
    "sharegpt",
    title="ShareGPT: conversations of from and value",
    source="https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#sharegpt-format",
    matches=lambda row: "conversations" in row and _OTHER_LAYOUTS.isdisjoint(row),
    columns=("conversations", *SYSTEM_COLUMNS, *TOOLS),
    reads_person=True,
    fallback=True,
)
def sharegpt(row: RowData) -> list[Case]:
    """Parse the last answer as a demonstration; the messages before it are the prompt.

    Roles are ``human``, ``gpt``, ``model``, ``chatgpt``, ``bing``, ``system``, ``function_call``
    and ``observation``, or those of OpenAI's messages. Tools are metadata.
    """
    return demonstrations(row, "conversations")
