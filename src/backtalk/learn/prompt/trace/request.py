"""Requests of OptoPrime to a model: the problem of a pseudo-program, and replies sent back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import Record
from backtalk.learn.prompt.meta_prompts import shorten, user_request
from backtalk.learn.prompt.trace.nodes import Node
from backtalk.learn.prompt.trace.pseudo_program import PseudoProgram, describe_values

OBJECTIVE = "Change the values of the variables so that the outputs improve by the feedback."
"""Default task of the optimiser."""

_GUIDE = """The sections describe a program that ran.
#Code: one line for each call, in the order of execution.
#Documentation: meaning of each function.
#Variables: values that you may change. #Constraints: conditions that they have to meet.
#Inputs: values that you cannot change. #Others: intermediate results. #Outputs: results.
#Feedback: words about the outputs, or the exception that ended the program.
#Memory: earlier values of the variables, with the feedback that followed."""


class Attempt(Record):
    """Earlier values of the parameters with the feedback that followed."""

    values: dict[str, JsonValue]
    feedback: str


def suggestion_request(
    program: PseudoProgram,
    memory: Sequence[Attempt],
    *,
    allowed: Mapping[str, Node],
    objective: str = OBJECTIVE,
    show_trace: bool = True,
) -> Prompt:
    """Return the request for new values of parameters.

    Parameters
    ----------
    program : PseudoProgram
        Program with its feedback.
    memory : sequence of Attempt
        Earlier values with their feedback, the latest last.
    allowed : Mapping[str, Node]
        Parameters that may change, by their name in the program.
    objective : str, default OBJECTIVE
        Task, in words.
    show_trace : bool, default True
        If false, leave out the execution.
    """
    fixed = [name for name in program.parameters if name not in allowed]
    earlier = "\n\n".join(
        f"{describe_values(one.values)}\nFeedback: {shorten(one.feedback)}" for one in memory
    )
    return user_request(
        f"#Instruction\n{objective}\n{_GUIDE}",
        program.text if show_trace else program.text_without_trace,
        f"#Memory\n{earlier}" if earlier else "",
        f"Do not change: {', '.join(fixed)}." if fixed else "",
        _reply_format(allowed),
    )


def _reply_format(allowed: Mapping[str, Node]) -> str:
    values = ", ".join(f'"{name}": new value' for name in allowed)
    return (
        "Reply with one JSON object. First reason about which variables caused the feedback, and "
        f'how to change them:\n{{"reasoning": "text", "suggestion": {{{values}}}}}\n'
        "Leave out variables that should stay."
    )


def correction_request(
    request: Prompt, reply: str, error: Exception, *, allowed: Mapping[str, Node]
) -> Prompt:
    """Return a request that sends a wrong reply back.

    Parameters
    ----------
    request : Prompt
        Request that was answered.
    reply : str
        Reply of the model.
    error : Exception
        Reason why it is wrong.
    allowed : Mapping[str, Node]
        Parameters that may change, by name.
    """
    return (
        *request,
        Message.assistant(shorten(reply) or "(empty)"),
        Message.user(f"The reply is wrong: {error}. {_reply_format(allowed)}"),
    )
