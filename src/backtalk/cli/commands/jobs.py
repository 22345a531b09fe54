"""``backtalk jobs``: what learning in the background did, and what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption

if TYPE_CHECKING:
    from backtalk.store.jobs import Job


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("jobs")(jobs)


def jobs(
    *,
    retry: Annotated[
        str | None, typer.Option(help="Let this failed job be tried again.", metavar="ID")
    ] = None,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """List the rounds of `backtalk learn --watch`: what came of them, and why some failed.

    Examples
    --------
    - `backtalk jobs`
    - `backtalk jobs --retry 15ff71d6`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say_json

    with opened(store, project) as db:
        results = db.jobs.list() if retry is None else [db.jobs.again(retry)]
    if json:
        say_json([_entry(job) for job in results])
    else:
        _show(results)


def _entry(job: Job) -> dict[str, Any]:
    from dataclasses import asdict

    parsed = {name: _parsed(getattr(job, name)) for name in ("body", "result")}
    times = {
        name: time.isoformat()
        for name in ("made", "not_before", "ended")
        if (time := getattr(job, name)) is not None
    }
    return asdict(job) | parsed | times


def _parsed(text: str | None) -> Any:
    """Return what JSON says; what is none stays as it is."""
    from pydantic_core import from_json

    try:
        return None if text is None else from_json(text)
    except ValueError:
        return text


def _show(found: list[Job]) -> None:
    from backtalk.cli.output import say, say_table

    if not found:
        say("There are no jobs: `backtalk learn METHOD --watch` makes them.")
        return
    say_table(
        ("job", "what", "since", "state", "tries", "result"),
        [
            (
                job.id[:8],
                job.kind.rpartition(" ")[0],
                f"{job.made:%Y-%m-%d %H:%M}",
                job.state,
                str(job.tries),
                _came_of(job),
            )
            for job in found
        ],
        numbers=(4,),
    )


def _came_of(job: Job) -> str:
    if job.error is not None:
        return job.error
    result = _parsed(job.result) or {}
    parts = [f"{name} {result[name][:8]}" for name in ("policy", "evaluation") if result.get(name)]
    if result.get("promoted"):
        parts.append("promoted")
    if result.get("experiment"):
        parts.append(f"experiment {result['experiment']}")
    return ", ".join([*parts, *([result["why"]] if result.get("why") else [])])
