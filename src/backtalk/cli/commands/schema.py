"""``backtalk schema``: the JSON Schema of records and policies."""

from __future__ import annotations

from typing import Annotated

import typer


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("schema", rich_help_panel=panel)(schema)


def schema(
    record: Annotated[
        str | None,
        typer.Argument(
            help="`policy`, `interaction` or a kind of feedback. Default: all records of feedback."
        ),
    ] = None,
) -> None:
    """Print the JSON Schema (draft 2020-12) of records, or of a policy's YAML.

    An editor checks a policy that begins with the line
    `# yaml-language-server: $schema=policy.schema.json`.

    Examples
    --------
    - `backtalk schema > backtalk.schema.json`
    - `backtalk schema preference`
    - `backtalk schema policy > policy.schema.json`
    """
    from backtalk.cli.output import say_json
    from backtalk.errors import UnknownName
    from backtalk.feedback import Interaction
    from backtalk.feedback.kinds import KINDS, json_schema
    from backtalk.policy.schema import policy_schema

    known = {"interaction": Interaction, **KINDS}
    if record is None:
        say_json(json_schema())
        return
    if record == "policy":
        say_json(policy_schema())
        return
    if record not in known:
        raise UnknownName.among("record", record, ["policy", *known])
    say_json(known[record].model_json_schema())
