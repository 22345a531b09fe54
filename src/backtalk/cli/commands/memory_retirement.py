"""``backtalk memory retire``: entries whose measured effect is harmful."""

from __future__ import annotations

from typing import Annotated

import typer

from backtalk.cli.commands.memory import MEMORY, MemoryOption, commands, open_memory
from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be retired, and change nothing.")
]
ErrorRateOption = Annotated[
    float, typer.Option(help="Expected share of harmless entries among those retired.")
]


@commands.command("retire")
def retire(
    *,
    dry_run: DryRunOption = False,
    error_rate: ErrorRateOption = 0.05,
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Retire the entries whose measured effect on feedback is harmful.

    Background learning does the same. `backtalk memory undo --entry ID` brings an entry back; it is
    then judged by later answers alone.

    Examples
    --------
    - `backtalk memory retire --dry-run`
    - `backtalk memory retire`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import note, say, say_json
    from backtalk.memory.effect import harmful_entries, retire_harmful

    with opened(store, project) as db:
        chosen = open_memory(db, memory)
        work = harmful_entries if dry_run else retire_harmful
        retirements = work(db, chosen, error_rate=error_rate)
    if json:
        fields = (
            "estimate",
            "low",
            "high",
            "measure",
            "scored_shown",
            "scored_withheld",
            "e_value",
        )
        say_json(
            [
                {"id": one.entry.id, "text": one.entry.text, "reason": one.reason}
                | {name: getattr(one.effect, name) for name in fields}
                for one in retirements
            ]
        )
        return
    for one in retirements:
        say(f"{one.entry.id[:8]}  {one.entry.text}")
        note(f"  {one.reason}")
    if not retirements:
        note("No entry is shown to be harmful.")
    elif dry_run:
        note("Nothing was changed.")
