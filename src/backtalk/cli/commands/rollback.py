"""``backtalk rollback``: undo a promotion."""

from __future__ import annotations

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption, WhoOption


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rollback")(rollback_command)


def rollback_command(
    *,
    actor: WhoOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Serve again what was served before the last promotion.

    Examples
    --------
    - `backtalk rollback`
    - `backtalk rollback --who ada`
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
        say(f"{label} is served again." if done.policy else "Nothing is served any more.")
