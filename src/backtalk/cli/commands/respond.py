"""``backtalk respond``: ask a policy."""

from __future__ import annotations

from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, SeedOption, StoreOption


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("respond")(respond)


def respond(
    prompt: Annotated[str, typer.Argument(help="What to ask; - reads it from standard input.")],
    *,
    policy: Annotated[
        str | None, typer.Option(help="Who answers; what is served, if left out.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the interaction, so that it can get feedback.")
    ] = False,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Ask a policy.

    Examples
    --------
    - `backtalk respond "When do you open?"`
    - `backtalk respond - --policy chooser --keep < question.txt`
    """
    import sys

    from backtalk.cli.context import opened, served_or_error
    from backtalk.cli.output import note, say, say_json
    from backtalk.feedback import Interaction, as_prompt
    from backtalk.policy import load_policy, read_policy

    asked = sys.stdin.read().strip() if prompt == "-" else prompt
    with opened(store, project) as db:
        chosen = served_or_error(db) if policy is None else read_policy(db, policy)
        response = load_policy(chosen, db.artifacts).respond(asked, seed=seed)
        interaction = Interaction(prompt=as_prompt(asked), responses=(response,), policy=chosen.id)
        if keep:
            db.add(interaction)
    if json:
        say_json(interaction.to_dict())
        return
    say(response.text)
    if keep:
        note(f"Kept as interaction {interaction.id}")
