"""``backtalk delete`` and ``backtalk restore``: soft-delete records and restore them."""

from __future__ import annotations

from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, ProjectOption, StoreOption

RecordArgument = Annotated[str, typer.Argument(help="Interaction or feedback, by id.")]


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("delete", rich_help_panel=panel)(delete)
    app.command("restore", rich_help_panel=panel)(restore)


def delete(
    record: RecordArgument, *, store: StoreOption = STORE, project: ProjectOption = PROJECT
) -> None:
    """Soft-delete an interaction with its feedback, or one feedback item.

    Examples
    --------
    - `backtalk delete 0a1b2c`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say

    with opened(store, project) as db:
        db.delete(record)
    say(f"Deleted {record}; `backtalk restore {record}` restores it.")


def restore(
    record: RecordArgument, *, store: StoreOption = STORE, project: ProjectOption = PROJECT
) -> None:
    """Restore a deleted record.

    Examples
    --------
    - `backtalk restore 0a1b2c`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say

    with opened(store, project) as db:
        db.restore(record)
    say(f"Restored {record}.")
