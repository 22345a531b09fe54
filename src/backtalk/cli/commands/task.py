"""``backtalk task``: annotation tasks, the questions that people answer in the inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import PROJECT, STORE, ActorOption, JsonOption, ProjectOption, StoreOption

if TYPE_CHECKING:
    from backtalk.annotation.assignments import Assignments
    from backtalk.annotation.tasks import Task, TaskStatus
    from backtalk.store import Store

commands = typer.Typer(
    no_args_is_help=True, help="Annotation tasks: questions for people, answered in the inbox."
)

TaskArgument = Annotated[
    str, typer.Argument(help="Task, by name, id or a unique beginning of its id.")
]


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel."""
    app.add_typer(commands, name="task", rich_help_panel=panel)


@commands.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Question, as annotators see it.")],
    *,
    kind: Annotated[
        str,
        typer.Option(
            help="Form of the task: compare, rank, rate, thumbs, spans, steps, rewrite or critique."
        ),
    ] = "compare",
    people: Annotated[int, typer.Option(min=1, help="Number of people who judge each item.")] = 1,
    aspect: Annotated[
        list[str] | None, typer.Option(help="Aspect to rate, for --kind rate. Repeatable.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Label for a marked span, for --kind spans. Repeatable."),
    ] = None,
    guideline: Annotated[str, typer.Option(help="Guideline shown to annotators.")] = "",
    policy: Annotated[
        str | None, typer.Option(help="Only answers of this policy, by name or id.")
    ] = None,
    unjudged: Annotated[
        bool, typer.Option("--unjudged", help="Only items without feedback of this kind.")
    ] = False,
    max_items: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of items, oldest first.")
    ] = None,
    actor: ActorOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Create a task: people are asked to judge interactions in the inbox.

    Examples
    --------
    - `backtalk task add "Which answer is better?" --people 2`
    - `backtalk task add "How is it?" --kind rate --aspect tone --aspect correctness`
    - `backtalk task add "What is wrong?" --kind spans --label unclear --max-items 200`
    """
    from pydantic import ValidationError

    from backtalk.annotation.assignments import Assignments
    from backtalk.annotation.tasks import Task, add_task
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.output import note
    from backtalk.errors import RecordError
    from backtalk.feedback.record import explain
    from backtalk.policy import read_policy

    with opened(store, project) as db:
        answered_by = None if policy is None else read_policy(db, policy).id
        fields = {
            "name": name,
            "kind": kind,
            "people": people,
            "filter": {"policy": answered_by, "unjudged": unjudged, "max_items": max_items},
            "aspects": aspect or (),
            "labels": label or (),
            "guideline": guideline,
        }
        try:
            task = Task.model_validate(fields)
        except ValidationError as error:
            raise RecordError(f"The task is not valid: {explain(error)}") from None
        add_task(db, task, actor=actor or user_name())
        shown, left_out = _short_id(db, task), Assignments(db, task).count_identical()
    _say(task, shown, "is open", json=json)
    if left_out:
        note(f"{left_out:,} interactions are not asked: their answers are all the same.")


@commands.command("list")
def list_(
    *, store: StoreOption = STORE, project: ProjectOption = PROJECT, json: JsonOption = False
) -> None:
    """List all tasks, closed ones included, with their progress.

    Examples
    --------
    - `backtalk task list`
    """
    from backtalk.annotation.assignments import Assignments
    from backtalk.annotation.tasks import list_tasks
    from backtalk.cli.context import opened
    from backtalk.cli.output import say_json, say_table
    from backtalk.feedback.record import short_ids

    with opened(store, project) as db:
        results = [_to_dict(listed, Assignments(db, listed.task)) for listed in list_tasks(db)]
    if json:
        say_json(results)
        return
    short = short_ids(row["id"] for row in results)
    say_table(
        ("task", "id", "kind", "judged", "of", "people", "identical", ""),
        [
            (
                row["name"],
                short[row["id"]],
                row["kind"],
                str(row["done"]),
                str(row["total"]),
                str(row["people"]),
                str(row["identical"] or ""),
                "" if row["open"] else "closed",
            )
            for row in results
        ],
        numbers=(3, 4, 5, 6),
    )


@commands.command("close")
def close(
    task: TaskArgument,
    *,
    actor: ActorOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Close a task: nobody is asked any more. Its feedback stays.

    Examples
    --------
    - `backtalk task close "Which answer is better?"`
    """
    from backtalk.annotation.tasks import close_task
    from backtalk.cli.context import opened, user_name

    with opened(store, project) as db:
        result = close_task(db, task, actor=actor or user_name())
        shown = _short_id(db, result)
    _say(result, shown, "is closed", json=json)


@commands.command("open")
def open_(
    task: TaskArgument,
    *,
    actor: ActorOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Open a closed task again.

    Examples
    --------
    - `backtalk task open "Which answer is better?"`
    """
    from backtalk.annotation.tasks import open_task
    from backtalk.cli.context import opened, user_name

    with opened(store, project) as db:
        result = open_task(db, task, actor=actor or user_name())
        shown = _short_id(db, result)
    _say(result, shown, "is open", json=json)


def _short_id(store: Store, task: Task) -> str:
    from backtalk.annotation.tasks import list_tasks
    from backtalk.feedback.record import short_ids

    return short_ids(status.task.id for status in list_tasks(store))[task.id]


def _say(task: Task, short_id: str, what: str, *, json: bool) -> None:
    from backtalk.cli.output import say, say_json

    if json:
        say_json(task.to_dict())
    else:
        say(f"{task.name} ({short_id}) {what}")


def _to_dict(listed: TaskStatus, assignments: Assignments) -> dict[str, Any]:
    progress = assignments.progress("")
    return {
        **listed.task.to_dict(),
        "open": listed.open,
        "actor": listed.actor,
        "time": listed.time.isoformat(),
        "done": progress.done,
        "total": progress.total,
        "identical": assignments.count_identical(),
        "wanted": progress.total,  # Previous name of "total", for one version.
    }
