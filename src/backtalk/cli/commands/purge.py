"""``backtalk purge``: erase the data of a user."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("purge", rich_help_panel=panel)(purge)


def purge(
    user: Annotated[str, typer.Argument(help="User id, as in interactions and feedback.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Erase the interactions, the feedback and the memory entries of a user, permanently.

    Policies that may have learned from them are listed.

    Examples
    --------
    - `backtalk purge ada@example.org`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json
    from backtalk.policy import list_policies

    with opened(store, project) as db:
        if not yes:
            typer.confirm(f"Erase all data of {user!r} from project {project!r}?", abort=True)
        purged = db.purge(user)
        affected = [
            policy.label
            for policy in list_policies(db)
            if purged.first is not None
            and policy.lineage.snapshot is not None
            and policy.lineage.snapshot.last >= purged.first
        ]
    if json:
        say_json({**asdict(purged), "policies": affected})
        return
    say(f"Erased {purged.interactions:,} interactions and {purged.feedback:,} feedback items.")
    if purged.memory_entries:
        say(f"Erased {purged.memory_entries:,} entries of memories.")
    if affected:
        say(f"Policies that may have learned from them, to be trained again: {', '.join(affected)}")
