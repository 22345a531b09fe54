"""Requests to a model that writes prompts, in plain English, and parsers of its replies."""

from __future__ import annotations

import re
from collections.abc import Sequence

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt, prompt_text
from backtalk.learn.prompt.protocol import PromptCandidate, TextFeedback

MAX_SHOWN = 1_200
"""Maximum number of characters of a text that a request quotes; the middle is left out."""

OPENING_TAG = "<prompt>"
"""Text with which a reply begins."""
_TAGS = (OPENING_TAG, "</prompt>")
REPLY_FORMAT = f"Write nothing but the new instruction, between {_TAGS[0]} and {_TAGS[1]}."


def user_request(*parts: str) -> Prompt:
    """Return a user message of several paragraphs; empty ones are left out."""
    return (Message.user("\n\n".join(part for part in parts if part)),)


def shorten(text: str, limit: int = MAX_SHOWN) -> str:
    """Return a text without its middle if it is long."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} […] {text[-half:]}"


def parse_instruction(reply: str) -> str:
    """Return the instruction in a reply: the tagged part, or all of it without tags.

    >>> parse_instruction("Here it is: <prompt> Be brief. </prompt>")
    'Be brief.'
    """
    start, end = (re.escape(tag) for tag in _TAGS)
    match = re.search(rf"{start}(.*?)(?:{end}|\Z)", reply, re.DOTALL)
    return (match[1] if match else reply).strip().strip('"').strip()


def parse_list(reply: str) -> list[str]:
    r"""Return the items of a numbered or bulleted list; each line is an item without marks.

    >>> parse_list("1. Be brief.\n- Be kind.")
    ['Be brief.', 'Be kind.']
    """
    lines = (re.sub(r"^\s*(?:\d+[.)]|[-*•])\s*", "", line).strip() for line in reply.splitlines())
    return [line for line in lines if line]


def describe_prompt(candidate: PromptCandidate) -> str:
    """Return the instruction and the rules of a candidate as a quotation."""
    text = "\n".join([candidate.system or "", *candidate.template.rules]).strip()
    return f'"""\n{text or "(empty)"}\n"""'


def quote_example(prompt: Prompt, answer: str, *, name: str = "Answer") -> str:
    """Return a request and its answer.

    Parameters
    ----------
    prompt : Prompt
        Request of a user.
    answer : str
        Text of the answer.
    name : str, default "Answer"
        Heading of the answer.
    """
    return f"Request: {shorten(prompt_text(prompt))}\n{name}: {shorten(answer)}"


def quote_feedback(feedback: TextFeedback) -> str:
    """Return a request, its answer, and what was said about it."""
    parts = [quote_example(feedback.prompt, feedback.answer)]
    if feedback.text:
        parts.append(f"Feedback: {shorten(feedback.text)}")
    if feedback.better is not None:
        parts.append(f"Better answer: {shorten(feedback.better)}")
    return "\n".join(parts)


def inference_request(examples: Sequence[tuple[Prompt, str]]) -> Prompt:
    """Return the request to infer the instruction behind example answers."""
    return user_request(
        "An assistant received one instruction, and wrote these answers by it.",
        *(quote_example(*example) for example in examples),
        "State the instruction that leads to such answers.",
        REPLY_FORMAT,
    )


def variation_request(candidate: PromptCandidate) -> Prompt:
    """Return the request to reword an instruction."""
    return user_request(
        f"Instruction of an assistant:\n{describe_prompt(candidate)}",
        "Say the same in other words.",
        REPLY_FORMAT,
    )


def critique_request(candidate: PromptCandidate, batch: Sequence[TextFeedback]) -> Prompt:
    """Return the request to explain why an instruction led to bad answers."""
    return user_request(
        f"Instruction of an assistant:\n{describe_prompt(candidate)}",
        "These answers were written by it, and were found wanting.",
        *(quote_feedback(item) for item in batch),
        "Explain in one or two sentences what the instruction lacks or gets wrong. "
        "Do not rewrite it.",
    )


def revision_request(
    candidate: PromptCandidate, critiques: Sequence[str], batch: Sequence[TextFeedback]
) -> Prompt:
    """Return the request to revise an instruction by critiques of it.

    Parameters
    ----------
    candidate : PromptCandidate
        Prompt to revise.
    critiques : sequence of str
        Critiques of the prompt, the latest last.
    batch : sequence of TextFeedback
        Answers that the critiques are about; may be empty.
    """
    return user_request(
        f"Instruction of an assistant:\n{describe_prompt(candidate)}",
        *(quote_feedback(item) for item in batch),
        "Critique of the instruction:\n" + "\n".join(f"- {text}" for text in critiques),
        "Revise the instruction so that the critique no longer applies. Keep what works.",
        REPLY_FORMAT,
    )


def history_request(history: Sequence[tuple[PromptCandidate, float]], direction: str) -> Prompt:
    """Return the request for a better instruction, given earlier ones with their scores.

    Parameters
    ----------
    history : sequence of tuple[PromptCandidate, float]
        Candidates and their scores in [0, 1], the best last.
    direction : str
        Direction of change that promises a higher score; empty for none.
    """
    return user_request(
        "Instructions of an assistant, each with the score of its answers in percent:",
        *(f"{describe_prompt(item)}\nScore: {100 * score:.0f}" for item, score in history),
        f"Direction to go on: {direction}" if direction else "",
        "Write an instruction that differs from all of these and reaches a higher score.",
        REPLY_FORMAT,
    )


def direction_request(history: Sequence[tuple[PromptCandidate, float]]) -> Prompt:
    """Return the request to state in which direction the scores of a history rise."""
    return user_request(
        "Instructions of an assistant, each with the score of its answers in percent:",
        *(f"{describe_prompt(item)}\nScore: {100 * score:.0f}" for item, score in history),
        "State in one sentence which change of the instruction raises the score, and which "
        "lowers it.",
    )
