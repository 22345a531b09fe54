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
        Literal["small", "writer", "smollm2"],
        typer.Option(
            help="Model that answers: a small language model, a fast grammar that does not need "
            "backtalk\\[train], or smollm2, a real one, after `backtalk models fetch smollm2`."
        ),
    ] = "small",
    requests: Annotated[
        int | None,
        typer.Option(
            min=6,
            help="Number of requests: by default 120 for smollm2, and 1,500, at least 100, for "
            "the others. Fewer are faster and prove less.",
        ),
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Run the whole loop in the mail world or with a real model, and open a report.

    A small language model drafts mails, and simulated annotators give every kind of feedback. A
    reward is learned from it; a best-of-n policy is evaluated on held-out requests and promoted.
    Another one, learned from annotators who prefer length to quality, is refused by the gate.

    With smollm2, a real language model answers questions, simulated people prefer brief answers to
    the point, the model's weights are trained on their preferences by DPO with a LoRA adapter, and
    the gate decides by answers to held-out questions.

    Examples
    --------
    - `backtalk demo`
    - `backtalk demo --model writer --requests 300 --no-browser`
    - `backtalk demo --model smollm2`
    """
    import webbrowser

    from backtalk.cli.output import note, progress_bars, say, say_json
    from backtalk.demo import run_demo, run_real_model_demo
    from backtalk.errors import BacktalkError
    from backtalk.models.fetched.cache import find_model

    is_real = model == "smollm2"
    if requests is None:
        requests = 120 if is_real else 1_500
    if is_real:
        find_model(model)
    elif requests < _MIN_REQUESTS:
        raise BacktalkError(
            f"{requests} requests are too few for the mail world",
            f"Give --requests {_MIN_REQUESTS} or more",
        )
    note(_plan(model, requests))
    with progress_bars() as progress:
        if model == "smollm2":
            outcome = run_real_model_demo(folder, seed=seed, requests=requests, progress=progress)
        else:
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

    if model == "smollm2":
        return (
            f"The demo asks SmolLM2 {requests:,} questions, collects simulated preferences,\n"
            "trains the model on them, and compares it with the untrained one on held-out\n"
            "questions. With two free cores it takes a few minutes."
        )
    seconds = max(_SECONDS[model] * requests, 30)
    return (
        f"The demo drafts answers to {requests:,} requests, collects simulated feedback, learns a\n"
        "reward, compares policies on held-out requests, and tries each kind of feedback\n"
        f"alone. It takes about {duration_words(seconds)} on two cores."
    )


_MIN_REQUESTS = 100
"""Minimum number of requests of the mail world, so that every kind of feedback occurs."""

_SECONDS = {"small": 0.16, "writer": 0.1}
"""Seconds per request of the demo on two cores, by model."""


def notes_is_terminal() -> bool:
    """Return true if notes go to a terminal."""
    from backtalk.cli.output import notes

    return notes.is_terminal
