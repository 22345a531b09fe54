"""``backtalk purge``: a person asks for their data to go."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("purge")(purge)


def purge(
    user: Annotated[
        str, typer.Argument(help="The user's id, as interactions and feedback name it.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Remove a user's interactions and feedback for good.

    It also names the policies that may have learned from them.

    Examples
    --------
    - `backtalk purge ada@example.org`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json
    from backtalk.policy import list_policies

    with opened(store, project) as db:
        if not yes:
            typer.confirm(f"Remove all data of {user!r} from project {project!r}?", abort=True)
        gone = db.purge(user)
        touched = [
            policy.label
            for policy in list_policies(db)
            if gone.first is not None
            and policy.lineage.snapshot is not None
            and policy.lineage.snapshot.last >= gone.first
        ]
    if json:
        say_json({**asdict(gone), "policies": touched})
        return
    say(f"Removed {gone.interactions:,} interactions and {gone.feedback:,} pieces of feedback.")
    if touched:
        say(f"These policies may have learned from them; learn again: {', '.join(touched)}")
