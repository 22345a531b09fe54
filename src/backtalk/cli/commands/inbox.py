"""``backtalk inbox``: what people are asked to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption, WhoOption

if TYPE_CHECKING:
    from backtalk.annotation.tasks import Task, TaskStatus

commands = typer.Typer(no_args_is_help=True, help="What people are asked to judge on the pages.")

TaskArgument = Annotated[str, typer.Argument(help="A task, by name or id.")]


def add_to(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(commands, name="inbox")


@commands.command("add")
def add(
    name: Annotated[str, typer.Argument(help="The question, as the annotators see it.")],
    *,
    ask: Annotated[
        str,
        typer.Option(
            help="compare, rank, rate, thumbs, spans, steps, rewrite or critique.",
        ),
    ] = "compare",
    people: Annotated[int, typer.Option(min=1, help="How many people judge an item.")] = 1,
    aspect: Annotated[
        list[str] | None, typer.Option(help="What is rated; several may be given.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="What a marked span can be called; several may be given."),
    ] = None,
    guideline: Annotated[str, typer.Option(help="What the annotators are told.")] = "",
    policy: Annotated[
        str | None, typer.Option(help="Only what this policy answered, by name or id.")
    ] = None,
    unjudged: Annotated[
        bool, typer.Option("--unjudged", help="Only what nobody has judged in this way.")
    ] = False,
    most: Annotated[int | None, typer.Option(min=1, help="At most so many, the oldest.")] = None,
    actor: WhoOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Ask people to judge interactions, from now on.

    Examples
    --------
    - `backtalk inbox add "Which answer is better?" --people 2`
    - `backtalk inbox add "How is it?" --ask rate --aspect tone --aspect correctness`
    - `backtalk inbox add "What is wrong?" --ask spans --label unclear --label false --most 200`
    """
    from pydantic import ValidationError

    from backtalk.annotation.tasks import Task, add_task
    from backtalk.cli.context import opened, user_name
    from backtalk.errors import RecordError
    from backtalk.feedback.record import explain
    from backtalk.policy import read_policy

    with opened(store, project) as db:
        answered_by = None if policy is None else read_policy(db, policy).id
        fields = {
            "name": name,
            "kind": ask,
            "people": people,
            "which": {"policy": answered_by, "unjudged": unjudged, "most": most},
            "aspects": aspect or (),
            "labels": label or (),
            "guideline": guideline,
        }
        try:
            task = Task.model_validate(fields)
        except ValidationError as error:
            raise RecordError(f"The task is not complete: {explain(error)}") from None
        add_task(db, task, actor=actor or user_name())
    _say(task, "is asked from now on", json=json)


@commands.command("list")
def list_(
    *, store: StoreOption = STORE, project: ProjectOption = PROJECT, json: JsonOption = False
) -> None:
    """List all tasks, closed ones too, with how far they are.

    Examples
    --------
    - `backtalk inbox list`
    """
    from backtalk.annotation.assignments import Assignments
    from backtalk.annotation.tasks import list_tasks
    from backtalk.cli.context import opened
    from backtalk.cli.output import say_json, say_table

    with opened(store, project) as db:
        results = [
            _told(listed, Assignments(db, listed.task).progress("")) for listed in list_tasks(db)
        ]
    if json:
        say_json(results)
        return
    say_table(
        ("task", "id", "asks to", "judged", "of", "people", ""),
        [
            (
                row["name"],
                row["id"][:8],
                row["kind"],
                str(row["done"]),
                str(row["wanted"]),
                str(row["people"]),
                "" if row["open"] else "closed",
            )
            for row in results
        ],
        numbers=(3, 4, 5),
    )


@commands.command("close")
def close(
    task: TaskArgument,
    *,
    actor: WhoOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Ask nobody any more; what was judged is kept.

    Examples
    --------
    - `backtalk inbox close "Which answer is better?"`
    """
    from backtalk.annotation.tasks import close_task
    from backtalk.cli.context import opened, user_name

    with opened(store, project) as db:
        result = close_task(db, task, actor=actor or user_name())
    _say(result, "is closed", json=json)


def _say(task: Task, what: str, *, json: bool) -> None:
    from backtalk.cli.output import say, say_json

    if json:
        say_json(task.to_dict())
    else:
        say(f"{task.name} ({task.id[:8]}) {what}")


def _told(listed: TaskStatus, progress: Any) -> dict[str, Any]:
    return {
        **listed.task.to_dict(),
        "open": listed.open,
        "actor": listed.actor,
        "time": listed.time.isoformat(),
        "done": progress.done,
        "wanted": progress.wanted,
    }
