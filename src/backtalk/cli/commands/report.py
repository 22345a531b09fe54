"""``backtalk report``: an evaluation as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report_command)


def report_command(
    evaluation: Annotated[
        str | None, typer.Argument(help="An evaluation, by id; the latest, if left out.")
    ] = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", help="The HTML file; its numbers go beside it as JSON.")
    ] = Path("report.html"),
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Write an evaluation as one HTML file that needs nothing else.

    Examples
    --------
    - `backtalk report --output mail.html`
    - `backtalk report 3f2a --json`
    """
    from backtalk.cli.commands.evaluate import policies_of
    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json
    from backtalk.errors import NotFound
    from backtalk.evaluate.storage import list_evaluations, read_evaluation
    from backtalk.reports import evaluation_report, read_exhibits, read_training

    with opened(store, project) as db:
        if evaluation is not None:
            result = read_evaluation(db, evaluation)
        else:
            done = list_evaluations(db)
            if not done:
                raise NotFound(
                    f"Project {project!r} has no evaluation to report on",
                    "Make one with `backtalk evaluate`",
                )
            result = done[-1]
        candidate, baseline = policies_of(db, result)
        report = evaluation_report(
            result,
            candidate,
            baseline,
            examples=read_exhibits(db, result),
            training=read_training(db, candidate),
        )
    if json:
        say_json(report.numbers)
        return
    page, numbers = report.write(output)
    say(f"{page} (numbers: {numbers})")
