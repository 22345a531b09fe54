"""``backtalk import``: read feedback from files into a store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
    from backtalk.formats.archive import ArchiveSummary
    from backtalk.formats.ingest import IngestResult
    from backtalk.store import Store

_STDIN = "-"
_PREVIEW_ROWS, _PREVIEW_FILES = 2, 3
"""Numbers of rows and of files that are shown on a terminal before an import."""


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
    preview: Annotated[
        int | None,
        typer.Option(
            min=1, help="Show the first N rows as they are read, and import nothing.", metavar="N"
        ),
    ] = None,
    suggest: Annotated[
        bool,
        typer.Option("--suggest", help="Print a mapping to start from, and import nothing."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Import feedback from files into a store.

    Reads JSON Lines, JSON, CSV, TSV and Parquet, also compressed with gzip or Zstandard, and
    inspect_ai's .eval logs. Invalid rows are written to a rejects file next to the input, with line
    numbers and reasons. Importing the same file again adds nothing. On a terminal the first rows
    are shown as they are read.

    Examples
    --------
    - `backtalk import pairs.jsonl.gz`
    - `backtalk import answers.parquet -f alpaca-eval -o baseline=baseline.parquet`
    - `backtalk import table.csv --suggest > table.yaml`
    - `backtalk import table.csv --mapping table.yaml --preview 3`
    - `zcat thumbs.csv.gz | backtalk import - --mapping thumbs.yaml`
    """
    from backtalk.cli.context import (
        note_next_steps,
        opened,
        read_assignments,
        refuse_options,
    )
    from backtalk.cli.output import say, say_json
    from backtalk.errors import BacktalkError

    if mapping is not None and format is not None:
        raise BacktalkError("--format and --mapping exclude each other", "Give one of them")
    if suggest:
        names: tuple[str, ...] = ("format", "mapping", "option", "allow_bad", "preview", "json")
        refuse_options(context, *names, because="--suggest only writes a mapping")
    elif preview is not None:
        refuse_options(context, "allow_bad", "json", because="--preview only shows rows")
    elif format == "archive":
        refuse_options(
            context, "option", "allow_bad", because="an archive has no rows to read or reject"
        )
    if suggest:
        for path in paths:
            say(_suggestion(path))
        return
    layout = _Layout(format if mapping is None else _mapping(mapping), read_assignments(option))
    if preview is not None:
        for path in paths:
            say("\n".join(layout.preview(path, preview)))
        return
    with opened(store, project, create=True) as db:
        results = [_import_path(db, path, layout, quiet=json) for path in paths]
        if not json:
            note_next_steps(db, store, project)
    if json:
        say_json({path: asdict(done) for path, done in zip(paths, results, strict=True)})
    if sum(getattr(done, "rejected", 0) for done in results) > allow_bad:
        raise typer.Exit(ExitCode.BAD_ROWS)


@dataclass(frozen=True)
class _Layout:
    """Format or mapping of the files, ``None`` if it is to be recognised, and its options."""

    format: str | RowMapping | None
    options: dict[str, str]

    def preview(self, path: str, rows: int, files: int | None = None) -> list[str]:
        """Return the first rows of each file as lines."""
        from backtalk.formats import read_preview

        previews = read_preview(
            path, format=self.format, options=self.options, rows=rows, files=files
        )
        return [line for item in previews for line in item.lines()]


def _import_path(
    db: Store, path: str, layout: _Layout, *, quiet: bool
) -> IngestResult | ArchiveSummary:
    from backtalk.cli.output import note, notes, progress_bars, say
    from backtalk.formats.ingest import ingest

    if layout.format == "archive":
        from backtalk.formats.archive import read_archive

        archived = read_archive(db, Path(path))
        if not quiet:
            say(f"{path}: {_counts(archived)}")
        return archived
    if notes.is_terminal and path != _STDIN:
        note("\n".join(layout.preview(path, _PREVIEW_ROWS, _PREVIEW_FILES)))
    with progress_bars() as progress:
        done = ingest(
            db,
            path,
            format=layout.format,
            options=layout.options,
            progress=partial(progress, f"importing {path}"),
        )
    if not quiet:
        say(f"{path}: {_summary(done)}")
    for line in done.unusual:
        note(f"  {line}")
    if done.rejected:
        note(f"{done.rejected} rejected rows are in {done.rejects}. {done.first_reason}")
    return done


def _mapping(path: Path) -> RowMapping:
    from backtalk.formats import RowMapping

    return RowMapping.from_file(path)


def _suggestion(path: str) -> str:
    from backtalk.formats import suggest_mapping
    from backtalk.formats.preview import read_first_rows

    return suggest_mapping(read_first_rows(path)).rstrip("\n")


def _summary(done: IngestResult) -> str:
    added = done.added
    return (
        f"{done.rows:,} rows: {added.interactions:,} interactions and {added.feedback:,} feedback "
        f"items added, {added.known:,} records already stored, {done.rejected:,} rows rejected"
    )


def _counts(archived: Any) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in asdict(archived).items())
