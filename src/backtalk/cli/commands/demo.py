"""``backtalk demo``: run the whole loop in a simulated world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from backtalk.cli.options import JsonOption, SeedOption


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("demo", rich_help_panel=panel)(demo_command)


def demo_command(
    *,
    folder: Annotated[
        Path, typer.Option(help="Folder for the store and the report; replaced if it exists.")
    ] = Path("demo"),
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the report in a browser.")
    ] = True,
    model: Annotated[
        Literal["small", "writer"],
        typer.Option(
            help="Model that answers: a small language model, or a fast grammar that does not need "
            "backtalk\\[train]."
        ),
    ] = "small",
    requests: Annotated[
        int,
        typer.Option(min=100, help="Number of requests. Fewer are faster and prove less."),
    ] = 1_500,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Run the whole loop in the mail world, and open a report.

    A small language model drafts mails, and simulated annotators give every kind of feedback. A
    reward is learned from it; a best-of-n policy is evaluated on held-out requests and promoted.
    Another one, learned from annotators who prefer length to quality, is refused by the gate.

    Examples
    --------
    - `backtalk demo`
    - `backtalk demo --model writer --requests 300 --no-browser`
    """
    import webbrowser

    from backtalk.cli.output import note, progress_bars, say, say_json
    from backtalk.demo import run_demo

    note(_plan(model, requests))
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
        note("No browser found; open the report yourself.")


def _plan(model: str, requests: int) -> str:
    """Return what the demo does and about how long it takes."""
    from backtalk.cli.progress import duration_words

    seconds = max(_SECONDS[model] * requests, 30)
    return (
        f"The demo drafts answers to {requests:,} requests, collects simulated feedback, learns a\n"
        "reward, compares policies on held-out requests, and tries each kind of feedback\n"
        f"alone. It takes about {duration_words(seconds)} on two cores."
    )


_SECONDS = {"small": 0.16, "writer": 0.1}
"""Seconds per request of the demo on two cores, by model."""


def notes_is_terminal() -> bool:
    """Return true if notes go to a terminal."""
    from backtalk.cli.output import notes

    return notes.is_terminal
