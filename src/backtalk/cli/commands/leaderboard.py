"""``backtalk leaderboard``: rank models by preferences between their recorded answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, SeedOption, StoreOption

if TYPE_CHECKING:
    from backtalk.evaluate.leaderboard import Leaderboard


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("leaderboard", rich_help_panel=panel)(leaderboard_command)


def leaderboard_command(
    *,
    reference: Annotated[
        str | None,
        typer.Option(
            help="Reference model. Default: the model that all others were compared with."
        ),
    ] = None,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Rank the models whose answers are in the store, by the preferences between them.

    If all were compared with one reference, as in AlpacaEval, the ranking is by win rate, raw and
    length-controlled; otherwise by a Bradley-Terry fit.

    Examples
    --------
    - `backtalk leaderboard`
    - `backtalk leaderboard --reference gpt-4 --json`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say_json
    from backtalk.evaluate.leaderboard import leaderboard

    with opened(store, project) as db:
        result = leaderboard(db.cases(kinds=["preference"]), reference=reference, seed=seed)
    if json:
        say_json(result.to_dict())
    else:
        _show(result)


def _show(result: Leaderboard) -> None:
    from backtalk.cli.output import note, percent, say, say_table

    against = "the average model" if result.reference is None else result.reference
    say(
        f"{result.preferences:,} preferences on {result.prompts:,} prompts; win rates against "
        f"{against}"
    )
    say_table(
        ("model", "win rate", "length-controlled", "mean length"),
        [
            (
                place.model,
                percent(place.win_rate),
                "" if place.length_controlled is None else percent(place.length_controlled),
                f"{place.mean_length:,.0f}",
            )
            for place in result.places
        ],
        numbers=(1, 2, 3),
    )
    if result.both_bad:
        note(f"{result.both_bad:,} preferences call both answers bad; they are not counted.")
