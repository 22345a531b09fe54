"""``backtalk schema``: the JSON Schema of the records."""

from __future__ import annotations

from typing import Annotated

import typer


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("schema", rich_help_panel=panel)(schema)


def schema(
    record: Annotated[
        str | None,
        typer.Argument(help="`interaction` or a kind of feedback. Default: all."),
    ] = None,
) -> None:
    """Print the JSON Schema (draft 2020-12) of records.

    Examples
    --------
    - `backtalk schema > backtalk.schema.json`
    - `backtalk schema preference`
    """
    from backtalk.cli.output import say_json
    from backtalk.errors import UnknownName
    from backtalk.feedback import Interaction
    from backtalk.feedback.kinds import KINDS, json_schema

    known = {"interaction": Interaction, **KINDS}
    if record is None:
        say_json(json_schema())
        return
    if record not in known:
        raise UnknownName.among("record", record, list(known))
    say_json(known[record].model_json_schema())
