"""``backtalk export``: feedback for other tools, or all of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, KindsOption, ProjectOption, StoreOption


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export_command)


def export_command(
    path: Annotated[
        str,
        typer.Argument(
            help="The file, JSON lines or Parquet by its ending; for archive, a folder."
        ),
    ],
    *,
    format: Annotated[  # noqa: A002 - as it is called everywhere
        str,
        typer.Option(
            "--format", "-f", help="`backtalk`, `archive`, or another tool's; see docs/formats.md."
        ),
    ] = "backtalk",
    kind: KindsOption = None,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Export feedback, in the layout of another tool or with nothing left out.

    Whatever kind of feedback there is, is seen as what the layout holds: rankings as pairs, edits
    as demonstrations. `archive` writes everything to a folder: records, policies, evaluations,
    history and artifacts.

    Examples
    --------
    - `backtalk export pairs.jsonl -f trl-preference`
    - `backtalk export tune.jsonl.gz -f openai-chat`
    - `backtalk export everything/ -f archive`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import note, say, say_json
    from backtalk.formats import export
    from backtalk.formats.archive import write_archive

    with opened(store, project) as db:
        if format == "archive":
            archived = write_archive(db, Path(path))
            counts = asdict(archived)
            text = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        else:
            loose = db.feedback(kinds=kind, system_wide=True) if format == "backtalk" else ()
            done = export(db.cases(kinds=kind), path, format, loose=loose)
            counts = asdict(done)
            text = f"{done.rows:,} rows"
            for reason, count in (done.reasons | done.dropped).items():
                note(f"left out {count:,} times: {reason}")
    if json:
        say_json(counts)
    elif path != "-":
        say(f"{path}: {text}")
