"""Encoding of records as lines of the write-ahead log."""

from __future__ import annotations

import json

from backtalk.errors import RecordError
from backtalk.feedback import AnyFeedback, Interaction, parse_feedback, parse_interaction

LogRecord = Interaction | AnyFeedback
"""Record in the write-ahead log."""


def encode_line(project: str, record: LogRecord) -> bytes:
    """Return a record and its project as one line, without the line break.

    >>> interaction = Interaction.of("Are you open?", "Yes.")
    >>> decode_line(encode_line("mail", interaction)) == ("mail", interaction)
    True
    """
    letter = "I" if isinstance(record, Interaction) else "F"
    return f"{letter}{json.dumps(project)}\t{record.to_json()}".encode()


def decode_line(line: bytes) -> tuple[str, LogRecord]:
    """Return the project and the record of a line.

    Raises
    ------
    RecordError
        If the line is invalid.
    """
    head, _, body = line.partition(b"\t")
    try:
        project = json.loads(head[1:])
    except ValueError:
        raise RecordError(f"the line {line[:40]!r} is not a line of the log") from None
    parse = parse_interaction if head[:1] == b"I" else parse_feedback
    return project, parse(body)
