"""``backtalk ask``: generate an answer with a policy."""

from __future__ import annotations

from typing import Annotated

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    JsonOption,
    ProjectOption,
    SeedOption,
    SendToOption,
    StoreOption,
)


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("ask", rich_help_panel=panel)(ask)


def ask(
    prompt: Annotated[str, typer.Argument(help="Prompt; - reads standard input.")],
    *,
    policy: Annotated[
        str | None, typer.Option(help="Policy, by name or id. Default: the active policy.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(help="User who asks, for the entries of the policy's memory about them."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Save the interaction, so that it can get feedback.")
    ] = False,
    seed: SeedOption = 0,
    send_to: SendToOption = None,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Generate an answer with a policy.

    Examples
    --------
    - `backtalk ask "When do you open?"`
    - `backtalk ask - --policy chooser --keep < question.txt`
    """
    import sys

    from backtalk.api import find_policy
    from backtalk.cli.context import opened
    from backtalk.cli.output import note, say, say_json
    from backtalk.cli.sending import sending
    from backtalk.feedback import Interaction, as_prompt
    from backtalk.feedback.describe import describe_answer
    from backtalk.policy import load_policy

    text = sys.stdin.read().strip() if prompt == "-" else prompt
    with opened(store, project) as db:
        chosen = find_policy(policy, db)
        with sending([chosen], send_to=send_to, prompts=1):
            loaded = load_policy(chosen, db.artifacts, store=db)
            response = loaded.respond(text, seed=seed, user=user)
        interaction = Interaction(
            prompt=as_prompt(text), responses=(response,), policy=chosen.id, user=user
        )
        if keep:
            db.add(interaction)
    if json:
        say_json(interaction.to_dict())
        return
    say(describe_answer(response.text, response.messages))
    if keep:
        note(f"Saved as interaction {interaction.id}. Judge it: backtalk feedback last --thumb +")
