"""``backtalk rollback``: undo a promotion."""

from __future__ import annotations

import typer

from backtalk.cli.options import PROJECT, STORE, ActorOption, JsonOption, ProjectOption, StoreOption


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("rollback", rich_help_panel=panel)(rollback_command)


def rollback_command(
    *,
    actor: ActorOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Make the policy before the last promotion the active one again.

    Examples
    --------
    - `backtalk rollback`
    - `backtalk rollback --actor ada`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.output import say, say_json
    from backtalk.policy import read_policy
    from backtalk.promotion import rollback

    with opened(store, project) as db:
        done = rollback(db, actor=actor or user_name())
        label = "nothing" if done.policy is None else read_policy(db, done.policy).label
    if json:
        say_json(done.to_dict())
    else:
        say(
            f"{label} is the active policy again."
            if done.policy
            else "There is no active policy now."
        )
