"""Records as lines of the spool."""

from __future__ import annotations

import json

from backtalk.errors import RecordError
from backtalk.feedback import AnyFeedback, Interaction, parse_feedback, parse_interaction

Record = Interaction | AnyFeedback


def to_line(project: str, record: Record) -> bytes:
    """Return a record with its project as one line, without its end.

    >>> talk = Interaction.of("Is it open?", "Yes.")
    >>> from_line(to_line("mail", talk)) == ("mail", talk)
    True
    """
    letter = "I" if isinstance(record, Interaction) else "F"
    return f"{letter}{json.dumps(project)}\t{record.to_json()}".encode()


def from_line(line: bytes) -> tuple[str, Record]:
    """Return a record and its project.

    Raises
    ------
    RecordError
        If the line holds none.
    """
    head, _, body = line.partition(b"\t")
    try:
        project = json.loads(head[1:])
    except ValueError:
        raise RecordError(f"the line {line[:40]!r} is none of the spool's") from None
    parse = parse_interaction if head[:1] == b"I" else parse_feedback
    return project, parse(body)
