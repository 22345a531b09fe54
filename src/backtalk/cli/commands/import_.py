"""``backtalk import``: read feedback from files into a store."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.exit_codes import ExitCode
from backtalk.cli.options import (
    PROJECT,
    STORE,
    JsonOption,
    OptionsOption,
    ProjectOption,
    StoreOption,
)

if TYPE_CHECKING:
    from backtalk.formats import RowMapping
    from backtalk.formats.ingest import IngestResult


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("import", rich_help_panel=panel)(import_command)


def import_command(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(help="Files or folders; - reads standard input.", metavar="PATH..."),
    ],
    *,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    format: Annotated[  # noqa: A002 - the usual name
        str | None,
        typer.Option(
            "--format", "-f", help="Format of the files. Default: recognised from the first rows."
        ),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="YAML file that maps columns to fields.")
    ] = None,
    option: OptionsOption = None,
    allow_bad: Annotated[
        int, typer.Option(min=0, help="Number of rejected rows to tolerate.", metavar="N")
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Import feedback from files into a store.

    Reads JSON Lines, JSON, CSV, TSV and Parquet, also compressed with gzip or Zstandard. Invalid
    rows are written to a rejects file next to the input, with line numbers and reasons. Importing
    the same file again adds nothing.

    Examples
    --------
    - `backtalk import pairs.jsonl.gz`
    - `backtalk import answers.parquet -f alpaca-eval -o baseline=baseline.parquet`
    - `zcat thumbs.csv.gz | backtalk import - --mapping thumbs.yaml`
    """
    from backtalk.cli.context import opened, read_assignments, refuse_options
    from backtalk.cli.output import note, progress_bars, say, say_json
    from backtalk.errors import BacktalkError
    from backtalk.formats.archive import read_archive
    from backtalk.formats.ingest import ingest

    if mapping is not None and format is not None:
        raise BacktalkError("--format and --mapping exclude each other", "Give one of them")
    if format == "archive":
        refuse_options(
            context, "option", "allow_bad", because="an archive has no rows to read or reject"
        )
    chosen: str | RowMapping | None = _mapping(mapping) if mapping is not None else format
    results: dict[str, Any] = {}
    bad = 0
    with opened(store, project, create=True) as db:
        for path in paths:
            if format == "archive":
                archived = read_archive(db, Path(path))
                results[path] = asdict(archived)
                if not json:
                    say(f"{path}: {_counts(archived)}")
                continue
            with progress_bars() as progress:
                done = ingest(
                    db,
                    path,
                    format=chosen,
                    options=read_assignments(option),
                    progress=partial(progress, f"importing {path}"),
                )
            bad += done.rejected
            results[path] = asdict(done)
            if not json:
                say(f"{path}: {_summary(done)}")
            if done.rejected:
                note(f"{done.rejected} rejected rows are in {done.rejects}. {done.first_reason}")
    if json:
        say_json(results)
    if bad > allow_bad:
        raise typer.Exit(ExitCode.BAD_ROWS)


def _mapping(path: Path) -> RowMapping:
    from backtalk.formats import RowMapping

    return RowMapping.from_file(path)


def _summary(done: IngestResult) -> str:
    added = done.added
    return (
        f"{done.rows:,} rows: {added.interactions:,} interactions and {added.feedback:,} feedback "
        f"items added, {added.known:,} records already stored, {done.rejected:,} rows rejected"
    )


def _counts(archived: Any) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in asdict(archived).items())
