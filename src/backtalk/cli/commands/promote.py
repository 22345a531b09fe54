"""``backtalk promote``: make a policy the active one, on evidence."""

from __future__ import annotations

from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, ActorOption, JsonOption, ProjectOption, StoreOption


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("promote", rich_help_panel=panel)(promote_command)


def promote_command(
    context: typer.Context,
    policy: Annotated[str, typer.Argument(help="Policy, by name or id.")],
    *,
    evaluation: Annotated[
        str | None,
        typer.Option(
            help="Evaluation to take as evidence, by id. Default: the latest of the policy."
        ),
    ] = None,
    win_rate: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Bound that the lower end of the win rate's interval must exceed."
        ),
    ] = 0.5,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="Largest loss allowed on a guardrail judge, on its scale."),
    ] = None,
    actor: ActorOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Make a policy the active one, if its evaluation passes the gate.

    The gate requires that the 95 % interval of the win rate over the active policy lies above one
    half, on held-out prompts or in live traffic, and that no guardrail judge shows a loss. The
    first policy of a project needs no evaluation. A refusal states its reasons and exits with
    code 4.

    Examples
    --------
    - `backtalk promote chooser`
    - `backtalk promote chooser --win-rate 0.55 --actor ada`
    """
    from backtalk.cli.context import note_next_steps, opened, refuse_options, user_name
    from backtalk.cli.output import say, say_json
    from backtalk.evaluate.storage import list_evaluations, read_evaluation
    from backtalk.policy import read_policy
    from backtalk.promotion import Gate, active_policy, promote

    with opened(store, project) as db:
        chosen = read_policy(db, policy)
        served = active_policy(db)
        if served is None:
            refuse_options(
                context,
                "evaluation",
                "win_rate",
                "tolerance",
                because="the first policy of a project is promoted without evidence",
            )
        done = list_evaluations(db, candidate=chosen.id)
        matching = [e for e in done if served is None or e.baseline == served.id] or done
        evidence = matching[-1] if matching else None
        if evaluation is not None:
            evidence = read_evaluation(db, evaluation)
        if evidence is not None and not evidence.guards:
            refuse_options(
                context,
                "tolerance",
                because="the evaluation has no guardrail judge",
                mend="Evaluate with --guard first",
            )
        gate = Gate(win_rate=win_rate, tolerance=tolerance)
        promotion = promote(db, chosen, evidence, actor=actor or user_name(), gate=gate)
        if json:
            say_json(promotion.to_dict())
            return
        before = "nothing" if served is None else served.label
        say(f"{chosen.label} ({chosen.id[:8]}) is the active policy now; before, it was {before}.")
        if served is None:
            note_next_steps(db, store, project)
