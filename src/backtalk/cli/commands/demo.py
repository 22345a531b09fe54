"""``backtalk demo``: the whole loop in a simulated world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from backtalk.cli.options import JsonOption, SeedOption


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo_command)


def demo_command(
    *,
    folder: Annotated[
        Path, typer.Option(help="Where the store and the report go; made anew.")
    ] = Path("demo"),
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the report when it is done.")
    ] = True,
    model: Annotated[
        Literal["small", "writer"],
        typer.Option(
            help="What drafts: a small language model, or a grammar that is quick and needs no "
            "backtalk\\[train]."
        ),
    ] = "small",
    requests: Annotated[
        int,
        typer.Option(
            min=100, help="How many requests users make: fewer are quicker, and prove less."
        ),
    ] = 1_500,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Run the whole loop in the mail world, and open a report.

    A small language model drafts mails, and simulated people react in every way there is. A reward
    is learned from it, a policy that chooses by the reward is evaluated on requests that nobody has
    seen, and the better one is promoted; one that learned from the wrong people is refused.

    Examples
    --------
    - `backtalk demo`
    - `backtalk demo --model writer --requests 300 --no-browser`
    """
    import webbrowser

    from backtalk.cli.output import note, progress_bars, say, say_json
    from backtalk.demo import run_demo

    with progress_bars() as progress:
        outcome = run_demo(folder, seed=seed, requests=requests, model=model, progress=progress)
    if json:
        say_json(outcome.report.numbers)
    else:
        for line in outcome.lines:
            say(line)
        say()
        say(f"Report: {outcome.page}")
        say(f"Look around: backtalk status --store {outcome.store}")
    if browser and notes_is_terminal() and not webbrowser.open(outcome.page.resolve().as_uri()):
        note("No browser was found; open the report yourself.")


def notes_is_terminal() -> bool:
    """Return whether somebody is looking."""
    from backtalk.cli.output import notes

    return notes.is_terminal
