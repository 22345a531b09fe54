"""``backtalk evaluation``: stored evaluations of policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption

commands = typer.Typer(no_args_is_help=True, help="Evaluations of policies.")


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel."""
    app.add_typer(commands, name="evaluation", rich_help_panel=panel)


@commands.command("list")
def list_(
    *,
    candidate: Annotated[
        str | None, typer.Option(help="Only evaluations of this policy, by name or id.")
    ] = None,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """List evaluations, oldest first.

    Examples
    --------
    - `backtalk evaluation list`
    - `backtalk evaluation list --candidate chooser`
    """
    from backtalk.cli.commands.status import show_evaluations
    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json
    from backtalk.evaluate.storage import list_evaluations
    from backtalk.policy import list_policies, read_policy

    with opened(store, project) as db:
        id_ = None if candidate is None else read_policy(db, candidate).id
        evaluations = list_evaluations(db, candidate=id_)
        labels = {policy.id: policy.label for policy in list_policies(db)}
    if json:
        say_json([evaluation.to_dict() for evaluation in evaluations])
    elif evaluations:
        show_evaluations(evaluations, labels)
    else:
        say("There are no evaluations; `backtalk evaluate POLICY` makes one.")


@commands.command("report")
def report(
    context: typer.Context,
    evaluation: Annotated[
        str | None, typer.Argument(help="Evaluation, by id. Default: the latest.")
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", help="HTML file to write; its numbers go to a JSON file next to it."
        ),
    ] = Path("report.html"),
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Write an evaluation as a self-contained HTML file.

    Examples
    --------
    - `backtalk evaluation report --output mail.html`
    - `backtalk evaluation report 3f2a --json`
    """
    from backtalk.cli.commands.evaluate import policies_of
    from backtalk.cli.context import opened, refuse_options
    from backtalk.cli.output import say, say_json
    from backtalk.errors import NotFound
    from backtalk.evaluate.storage import list_evaluations, read_evaluation
    from backtalk.reports import evaluation_report, read_examples, read_training

    if json:
        refuse_options(context, "output", because="--json prints the numbers and writes no file")
    with opened(store, project) as db:
        if evaluation is not None:
            result = read_evaluation(db, evaluation)
        else:
            done = list_evaluations(db)
            if not done:
                raise NotFound(
                    f"Project {project!r} has no evaluation",
                    "Make one with `backtalk evaluate`",
                )
            result = done[-1]
        candidate, baseline = policies_of(db, result)
        document = evaluation_report(
            result,
            candidate,
            baseline,
            examples=read_examples(db, result),
            training=read_training(db, candidate),
        )
    if json:
        say_json(document.numbers)
        return
    page, numbers = document.write(output)
    say(f"{page} (numbers: {numbers})")
