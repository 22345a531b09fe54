"""``backtalk promote``: serve a policy that proved itself."""

from __future__ import annotations

from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption, WhoOption


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("promote")(promote_command)


def promote_command(
    policy: Annotated[str, typer.Argument(help="A policy, by name or id.")],
    *,
    evaluation: Annotated[
        str | None, typer.Option(help="The evidence; the policy's latest evaluation, if left out.")
    ] = None,
    win_rate: Annotated[
        float,
        typer.Option(min=0, max=1, help="The lower end of the win rate has to lie above this."),
    ] = 0.5,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="How much worse a guard may be, on its own scale.")
    ] = None,
    actor: WhoOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Serve a policy from now on, if its evaluation passes the gate.

    The gate asks that the 95 % interval of its win rate over what is served lies above one half,
    on held-out prompts or in live traffic, and that no guard is shown to get worse. The first
    policy of a project passes without. A refusal says why, and exits with code 4.

    Examples
    --------
    - `backtalk promote chooser`
    - `backtalk promote chooser --win-rate 0.55 --who ada`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.output import say, say_json
    from backtalk.evaluate.storage import list_evaluations, read_evaluation
    from backtalk.policy import read_policy
    from backtalk.promotion import Gate, active_policy, promote

    with opened(store, project) as db:
        chosen = read_policy(db, policy)
        served = active_policy(db)
        done = list_evaluations(db, candidate=chosen.id)
        fitting = [e for e in done if served is None or e.baseline == served.id] or done
        evidence = fitting[-1] if fitting else None
        if evaluation is not None:
            evidence = read_evaluation(db, evaluation)
        gate = Gate(win_rate=win_rate, tolerance=tolerance)
        promotion = promote(db, chosen, evidence, actor=actor or user_name(), gate=gate)
    if json:
        say_json(promotion.to_dict())
        return
    before = "nothing" if served is None else served.label
    say(f"{chosen.label} ({chosen.id[:8]}) is served from now on; before, it was {before}.")
