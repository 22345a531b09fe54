"""``backtalk leaderboard``: the models whose recorded answers were compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, SeedOption, StoreOption

if TYPE_CHECKING:
    from backtalk.evaluate.leaderboard import Leaderboard


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("leaderboard")(leaderboard_command)


def leaderboard_command(
    *,
    reference: Annotated[
        str | None,
        typer.Option(help="The model to compare all others with; found, if left out."),
    ] = None,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Rank the models whose answers are in the store, by the preferences between them.

    Where all were compared with one reference, as in AlpacaEval, that gives win rates, plain and
    length-controlled; else a Bradley-Terry fit ranks them.

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


def _show(found: Leaderboard) -> None:
    from backtalk.cli.output import note, percent, say, say_table

    against = "the average model" if found.reference is None else found.reference
    say(
        f"{found.preferences:,} preferences on {found.prompts:,} prompts; win rates against "
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
            for place in found.places
        ],
        numbers=(1, 2, 3),
    )
    if found.both_bad:
        note(f"{found.both_bad:,} more found both answers bad; they do not say which is better.")
