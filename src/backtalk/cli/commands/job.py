"""``backtalk job``: rounds of background learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption

if TYPE_CHECKING:
    from backtalk.store.jobs import Job

commands = typer.Typer(no_args_is_help=True, help="Rounds of background learning.")


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel."""
    app.add_typer(commands, name="job", rich_help_panel=panel)


@commands.command("list")
def list_(
    *, store: StoreOption = STORE, project: ProjectOption = PROJECT, json: JsonOption = False
) -> None:
    """List the rounds of `backtalk watch`, with their results and errors.

    Examples
    --------
    - `backtalk job list`
    """
    from backtalk.cli.context import opened

    with opened(store, project) as db:
        jobs = db.jobs.list()
    _show(jobs, json=json)


@commands.command("retry")
def retry(
    job: Annotated[str, typer.Argument(help="Failed job, by id.")],
    *,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Queue a failed job again.

    Examples
    --------
    - `backtalk job retry 15ff71d6`
    """
    from backtalk.cli.context import opened

    with opened(store, project) as db:
        jobs = [db.jobs.retry(job)]
    _show(jobs, json=json)


def _to_dict(job: Job) -> dict[str, Any]:
    from dataclasses import asdict

    values = {name: _parse(getattr(job, name)) for name in ("body", "result")}
    times = {
        name: time.isoformat()
        for name in ("created", "not_before", "ended")
        if (time := getattr(job, name)) is not None
    }
    return asdict(job) | values | times


def _parse(text: str | None) -> Any:
    """Return the value of a JSON text; a text that is not JSON stays as it is."""
    from pydantic_core import from_json

    try:
        return None if text is None else from_json(text)
    except ValueError:
        return text


def _show(jobs: list[Job], *, json: bool) -> None:
    from backtalk.cli.output import say, say_json, say_table
    from backtalk.feedback.record import short_ids

    if json:
        say_json([_to_dict(job) for job in jobs])
        return
    if not jobs:
        say("There are no jobs; `backtalk watch METHOD` creates them.")
        return
    short = short_ids(job.id for job in jobs)
    say_table(
        ("job", "task", "created", "state", "attempts", "result"),
        [
            (
                short[job.id],
                job.kind.rpartition(" ")[0],
                f"{job.created:%Y-%m-%d %H:%M}",
                job.state,
                str(job.attempts),
                _result(job),
            )
            for job in jobs
        ],
        numbers=(4,),
    )


def _result(job: Job) -> str:
    if job.error is not None:
        return job.error
    result = _parse(job.result) or {}
    parts = [f"{name} {result[name][:8]}" for name in ("policy", "evaluation") if result.get(name)]
    if result.get("promoted"):
        parts.append("promoted")
    if result.get("experiment"):
        parts.append(f"experiment {result['experiment']}")
    return ", ".join(
        [*parts, *([reason] if (reason := result.get("reason", result.get("why"))) else [])]
    )
