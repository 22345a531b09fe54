"""``backtalk leaderboard``: rank models by preferences between their recorded answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    AspectOption,
    JsonOption,
    ProjectOption,
    SeedOption,
    StoreOption,
)

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
    aspect: AspectOption = "overall",
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="Model that is the reference with longer or shorter answers; it guards the "
            "length-controlled win rates. Repeat the option for several."
        ),
    ] = None,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Rank the models whose answers are in the store, by the preferences between them.

    If all were compared with one reference, as in AlpacaEval, the ranking is by win rate, raw and
    length-controlled; otherwise by a Bradley-Terry fit. Preferences on one aspect, such as safety,
    are left out unless `--aspect` names it.

    Examples
    --------
    - `backtalk leaderboard`
    - `backtalk leaderboard --reference gpt-4 --json`
    - `backtalk leaderboard --aspect safety`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say_json
    from backtalk.evaluate.leaderboard import leaderboard

    with opened(store, project) as db:
        result = leaderboard(
            db.cases(kinds=["preference"]),
            reference=reference,
            variants=variant or (),
            aspect=aspect,
            seed=seed,
        )
    if json:
        say_json(result.to_dict())
    else:
        _show(result)


def _show(result: Leaderboard) -> None:
    from backtalk.cli.output import note, percent, say, say_table
    from backtalk.feedback.aspects import listed_aspects
    from backtalk.feedback.base import OVERALL

    aspect = "" if result.aspect == OVERALL else f", aspect {result.aspect}"
    against = "the average model" if result.reference is None else result.reference
    say(
        f"{result.preferences:,} preferences on {result.prompts:,} prompts"
        f"{aspect}; win rates against {against}"
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
    if result.other_aspects:
        note(f"Left out {listed_aspects(result.other_aspects)}; --aspect ranks by one of them.")
