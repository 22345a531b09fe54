"""``backtalk memory add``, ``edit``, ``forget``, ``undo`` and other changes of a memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.commands.memory import (
    MEMORY,
    EntryArgument,
    MemoryOption,
    commands,
    open_memory,
)
from backtalk.cli.options import PROJECT, STORE, ActorOption, JsonOption, ProjectOption, StoreOption

if TYPE_CHECKING:
    from backtalk.feedback import Scope

UsersOption = Annotated[
    list[str] | None,
    typer.Option("--user", help="User it applies to. Repeatable. Default: everybody."),
]
WhereOption = Annotated[
    str, typer.Option(help='Condition in words, such as "in e-mails to my boss".')
]
InsideOption = Annotated[
    list[str] | None, typer.Option(help="Request that it applies to. Repeatable.")
]
OutsideOption = Annotated[
    list[str] | None, typer.Option(help="Request that it does not apply to. Repeatable.")
]


@commands.command("add")
def add(
    text: Annotated[str, typer.Argument(help="Text, as you would say it to the model.")],
    *,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            "-k",
            help="Kind: correction, principle, preference, fact, instruction or case. Default: "
            "preference with --user, otherwise instruction.",
        ),
    ] = "",
    user: UsersOption = None,
    where: WhereOption = "",
    inside: InsideOption = None,
    outside: OutsideOption = None,
    by: Annotated[
        str, typer.Option("--by", help="Person who said it. Default: the user, if there is one.")
    ] = "",
    actor: ActorOption = "",
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Add an entry, which every policy with this memory follows at once.

    Examples
    --------
    - `backtalk memory add "Use metric units."`
    - `backtalk memory add "Use imperial units." --user ada`
    - `backtalk memory add "No emojis." --where "in e-mails to customers"`
    """
    from pydantic import ValidationError

    from backtalk.cli.context import opened, user_name
    from backtalk.cli.memory_output import say_changes
    from backtalk.cli.output import say_json
    from backtalk.feedback.record import record_error
    from backtalk.memory import MemoryEntry

    users = tuple(dict.fromkeys(user or ()))
    person = by or (users[0] if len(users) == 1 else "")
    try:
        entry = MemoryEntry(
            kind=kind or ("preference" if users else "instruction"),  # type: ignore[arg-type]
            text=_entry_text(text),
            scope=_scope(users, where, inside, outside),
            people=(person,) if person else (),
        )
    except ValidationError as error:
        raise record_error("The entry", error) from None
    with opened(store, project, create=True) as db:
        chosen = open_memory(db, memory, create=True)
        since = chosen.last_change
        chosen.add([entry], actor=actor or user_name(), at_once=True)
        if json:
            say_json(chosen.get(entry.id).to_dict())
        else:
            say_changes(chosen, chosen.changes(since), json=False)


@commands.command("edit")
def edit(
    entry: EntryArgument,
    text: Annotated[str | None, typer.Argument(help="New text. Default: as it is.")] = None,
    *,
    user: UsersOption = None,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="Let it apply to all users.")
    ] = False,
    where: WhereOption = "",
    anywhere: Annotated[
        bool, typer.Option("--anywhere", help="Let it apply to all requests.")
    ] = False,
    inside: InsideOption = None,
    outside: OutsideOption = None,
    actor: ActorOption = "",
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Change the text of an entry, or whom and where it applies to.

    Examples
    --------
    - `backtalk memory edit 0193a5b2 "Use metric units, except for body height."`
    - `backtalk memory edit 0193a5b2 --user ada`
    - `backtalk memory edit 0193a5b2 --everybody --where "in e-mails"`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.memory_output import say_changes
    from backtalk.errors import BacktalkError

    if (everybody and user) or (anywhere and (where or inside or outside)):
        raise BacktalkError("The entry cannot apply to all and to some", "Give one of the options")
    with opened(store, project) as db:
        chosen = open_memory(db, memory)
        scope = chosen.get(entry).scope
        changed = _scope(
            () if everybody else tuple(user or scope.users),
            "" if anywhere else where or scope.where or "",
            () if anywhere else inside or scope.inside,
            () if anywhere else outside or scope.outside,
        )
        if text is None and changed == scope:
            raise BacktalkError(
                "Nothing is to be changed", "Give a text, or an option such as --user or --where"
            )
        changes = chosen.edit(
            entry,
            text=None if text is None else _entry_text(text),
            scope=None if changed == scope else changed,
            actor=actor or user_name(),
        )
        say_changes(chosen, changes, json=json)


def _entry_text(text: str) -> str:
    from backtalk.errors import BacktalkError

    if not text.strip():
        raise BacktalkError(
            "The text of an entry is empty",
            "Give its text; `backtalk memory forget ID` removes an entry",
        )
    return text.strip()


def _scope(
    users: tuple[str, ...],
    where: str,
    inside: list[str] | tuple[str, ...] | None,
    outside: list[str] | tuple[str, ...] | None,
) -> Scope:
    from backtalk.feedback import Scope

    return Scope(
        users=users, where=where or None, inside=tuple(inside or ()), outside=tuple(outside or ())
    )


@commands.command("forget")
def forget(
    entry: EntryArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    actor: ActorOption = "",
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Remove the text of an entry from the store, permanently.

    It is gone from the entry, from its history and from the database. The feedback that it was
    made from remains, and no entry is made from it again.

    Examples
    --------
    - `backtalk memory forget 0193a5b2`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.memory_output import say_changes
    from backtalk.cli.output import note

    with opened(store, project) as db:
        chosen = open_memory(db, memory)
        before = chosen.get(entry)
        if not yes and sys.stdin.isatty():
            typer.confirm(f"Forget {before.text!r}? This cannot be undone.", abort=True)
        changes = chosen.forget(entry, actor=actor or user_name())
        say_changes(chosen, changes, json=json)
        if before.feedback and not json:
            note(f"It was made from feedback that remains: {', '.join(before.feedback)}.")


@commands.command("undo")
def undo(
    change: Annotated[
        int | None,
        typer.Argument(min=1, help="Number of a change, as `memory history` lists it."),
    ] = None,
    *,
    entry: Annotated[str, typer.Option(help="Undo the last change of this entry.")] = "",
    revision: Annotated[
        int | None,
        typer.Option(min=1, help="Undo everything that this revision added."),
    ] = None,
    actor: ActorOption = "",
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Undo a change, the last change of an entry, or all that a revision added.

    Examples
    --------
    - `backtalk memory undo 12`
    - `backtalk memory undo --entry 0193a5b2`
    - `backtalk memory undo --revision 3`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.memory_output import say_changes
    from backtalk.errors import BacktalkError

    if sum((change is not None, bool(entry), revision is not None)) != 1:
        raise BacktalkError(
            "It is not clear what to undo", "Give one of CHANGE, --entry and --revision"
        )
    with opened(store, project) as db:
        chosen = open_memory(db, memory)
        number = chosen.history(entry, limit=1)[0].number if entry else change
        changes = chosen.undo(number, revision=revision, actor=actor or user_name())
        say_changes(chosen, changes, json=json)


@commands.command("settle")
def settle(
    entry: EntryArgument,
    *,
    actor: ActorOption = "",
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Answer an open question: this entry holds over those that contradict it.

    Examples
    --------
    - `backtalk memory settle 0193a5b2`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.memory_output import say_changes

    with opened(store, project) as db:
        chosen = open_memory(db, memory)
        say_changes(chosen, chosen.settle(entry, actor=actor or user_name()), json=json)


@commands.command("export")
def export(
    *,
    output: Annotated[
        Path | None, typer.Option("--output", help="File to write. Default: standard output.")
    ] = None,
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
) -> None:
    """Write all entries as JSON Lines, in every state.

    Examples
    --------
    - `backtalk memory export --output memory.jsonl`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import note
    from backtalk.memory.files import write_entries

    with opened(store, project) as db:
        chosen = open_memory(db, memory)
        if output is None:
            write_entries(chosen, sys.stdout)
            return
        with output.open("w", encoding="utf-8") as file:
            count = write_entries(chosen, file)
    note(f"Wrote {count:,} entries to {output}.")


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File of `backtalk memory export`.")],
    *,
    actor: ActorOption = "",
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
) -> None:
    """Add the entries of a file, which every policy with this memory follows at once.

    Examples
    --------
    - `backtalk memory import memory.jsonl`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.output import say
    from backtalk.memory.files import read_entries

    with opened(store, project, create=True) as db:
        chosen = open_memory(db, memory, create=True)
        before = chosen.count()[""]
        for batch in read_entries(file):
            chosen.add(batch, actor=actor or user_name(), at_once=True)
        say(f"Added {chosen.count()[''] - before:,} entries.")
