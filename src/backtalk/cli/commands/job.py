"""``backtalk job``: rounds of background learning, and fine-tuning jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    JsonOption,
    OptionsOption,
    ProjectOption,
    StoreOption,
)

if TYPE_CHECKING:
    from backtalk.store.jobs import Job

commands = typer.Typer(
    no_args_is_help=True, help="Rounds of background learning, and fine-tuning jobs."
)


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel."""
    app.add_typer(commands, name="job", rich_help_panel=panel)


@commands.command("list")
def list_(
    *, store: StoreOption = STORE, project: ProjectOption = PROJECT, json: JsonOption = False
) -> None:
    """List the rounds of `backtalk watch` and fine-tuning jobs, with their results and errors.

    Examples
    --------
    - `backtalk job list`
    """
    from backtalk.cli.context import opened

    with opened(store, project) as db:
        jobs = db.jobs.list()
    _show(jobs, json=json)


@commands.command("run")
def run(
    *,
    option: OptionsOption = None,
    once: Annotated[
        bool, typer.Option("--once", help="Run the jobs that are queued, then exit.")
    ] = False,
    store: StoreOption = STORE,
) -> None:
    """Run the fine-tuning jobs of all projects on this machine.

    A gateway runs its jobs itself, unless its settings say `fine_tuning: {train: false}`. Ctrl-C
    ends the command after the current step, and the job continues there the next time.

    Examples
    --------
    - `backtalk job run --once`
    - `backtalk job run -o adapter=lora --store postgresql://db/feedback`
    """
    from backtalk.cli.background import stopped_by_signals
    from backtalk.cli.context import opened, read_assignments
    from backtalk.cli.output import note, progress_bars
    from backtalk.errors import BacktalkError, MissingExtra

    try:
        from backtalk.serve.fine_tuning.settings import FineTuningSettings
        from backtalk.serve.fine_tuning.worker import FineTuningWorker
    except ModuleNotFoundError as error:
        raise MissingExtra.named("serve", "Fine-tuning jobs") from error
    settings = FineTuningSettings(options=dict(read_assignments(option)))
    with opened(store, PROJECT) as db, progress_bars() as progress:
        worker = FineTuningWorker(db, settings, report=note, progress=progress)
        with stopped_by_signals(worker.stop):
            if not worker.run(idle_seconds=0 if once else None):
                raise BacktalkError(
                    "Another process runs the jobs on this machine",
                    "Stop it, or the gateway that started it",
                )


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
        say("There are no jobs; `backtalk watch METHOD` and the gateway create them.")
        return
    short = short_ids(job.id for job in jobs)
    say_table(
        ("job", "task", "created", "state", "attempts", "result"),
        [
            (
                short[job.id],
                _task(job),
                f"{job.created:%Y-%m-%d %H:%M}",
                _state(job),
                str(job.attempts),
                _result(job),
            )
            for job in jobs
        ],
        numbers=(4,),
    )


_FINE_TUNE = "fine-tune"
"""Kind of fine-tuning jobs; see :mod:`backtalk.serve.fine_tuning.job`."""


def _task(job: Job) -> str:
    if job.kind != _FINE_TUNE:
        return job.kind.rpartition(" ")[0]
    body = _parse(job.body)
    return f"{_FINE_TUNE} {body['model']} {body['method']}"


def _state(job: Job) -> str:
    result = _parse(job.result) if job.kind == _FINE_TUNE and job.state == "waiting" else None
    if not result:
        return job.state
    steps = f" {result['step']}/{result['steps']}" if result.get("steps") else ""
    return f"{result['status']}{steps}"


def _result(job: Job) -> str:
    if job.error is not None:
        return job.error
    result = _parse(job.result) or {}
    if "fine_tuned_model" in result:
        return str(result["fine_tuned_model"])
    parts = [f"{name} {result[name][:8]}" for name in ("policy", "evaluation") if result.get(name)]
    if result.get("promoted"):
        parts.append("promoted")
    if result.get("experiment"):
        parts.append(f"experiment {result['experiment']}")
    return ", ".join(
        [*parts, *([reason] if (reason := result.get("reason", result.get("why"))) else [])]
    )
