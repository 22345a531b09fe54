"""``backtalk delete`` and ``backtalk restore``: hide records, and show them again."""

from __future__ import annotations

from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, ProjectOption, StoreOption

RecordArgument = Annotated[str, typer.Argument(help="The id of an interaction or of feedback.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("delete")(delete)
    app.command("restore")(restore)


def delete(
    record: RecordArgument, *, store: StoreOption = STORE, project: ProjectOption = PROJECT
) -> None:
    """Hide an interaction with its feedback, or one piece of feedback.

    Examples
    --------
    - `backtalk delete 0a1b2c`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say

    with opened(store, project) as db:
        db.delete(record)
    say(f"{record} is hidden; `backtalk restore {record}` undoes that.")


def restore(
    record: RecordArgument, *, store: StoreOption = STORE, project: ProjectOption = PROJECT
) -> None:
    """Show again what was hidden.

    Examples
    --------
    - `backtalk restore 0a1b2c`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say

    with opened(store, project) as db:
        db.restore(record)
    say(f"{record} is back.")
