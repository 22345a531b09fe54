"""``backtalk memory``: the entries of a memory, which people own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption

if TYPE_CHECKING:
    from backtalk.memory import EntryQuery, Memory
    from backtalk.store import Store

commands = typer.Typer(
    no_args_is_help=True, help="Memory: what people said, kept with its scope and its source."
)

EntryArgument = Annotated[
    str, typer.Argument(help="Entry, by its id or a unique beginning of its id.")
]
MemoryOption = Annotated[str, typer.Option("--memory", help="Name of the memory.")]
MEMORY = "memory"
_STATES = ("active", "superseded", "retired", "undone", "forgotten")
_KINDS = ("correction", "principle", "preference", "fact", "instruction", "case")


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel."""
    for module in ("memory_changes", "memory_retirement"):  # they add commands to the group
        import_module(f"backtalk.cli.commands.{module}")
    app.add_typer(commands, name="memory", rich_help_panel=panel)


def open_memory(store: Store, name: str, *, create: bool = False) -> Memory:
    """Return a memory of the project.

    Parameters
    ----------
    store : Store
        Store of the project.
    name : str
        Name of the memory.
    create : bool, default False
        If true, the memory need not exist.

    Raises
    ------
    UnknownName
        If the project has other memories, and none of this name.
    """
    from backtalk.errors import UnknownName
    from backtalk.memory import Memory

    names = store.memories.names()
    if not create and names and name not in names:
        raise UnknownName.among("memory", name, names)
    return Memory(store, name)


@commands.command("list")
def list_(
    *,
    user: Annotated[str, typer.Option(help="Only entries for this user.")] = "",
    by: Annotated[str, typer.Option("--by", help="Only entries that this person said.")] = "",
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", "-k", help=f"Only this kind: {', '.join(_KINDS)}. Repeatable."),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Only this state: {', '.join(_STATES)}, or all. Repeatable. Default: active."
        ),
    ] = None,
    text: Annotated[str, typer.Option(help="Only entries with this in their text.")] = "",
    revision: Annotated[
        int | None, typer.Option(min=0, help="Only entries that this revision added.")
    ] = None,
    conflicts: Annotated[
        bool,
        typer.Option("--conflicts", help="Contradictions on which people have yet to decide."),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of entries.")] = 25,
    before: Annotated[
        int | None, typer.Option(min=1, help="Position of the next page, as the last one said.")
    ] = None,
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """List entries, the newest first.

    Examples
    --------
    - `backtalk memory list`
    - `backtalk memory list --user ada --text units`
    - `backtalk memory list --state superseded --state retired`
    - `backtalk memory list --conflicts`
    """
    from backtalk.cli.context import opened
    from backtalk.memory import EntryQuery

    states = _names("state", state or ["active"], (*_STATES, "all"))
    query = EntryQuery(
        states=() if "all" in states else states,  # type: ignore[arg-type]
        kinds=_names("kind", kind or [], _KINDS),  # type: ignore[arg-type]
        user=user,
        person=by,
        text=text,
        revision=revision,
    )
    with opened(store, project) as db:
        chosen = open_memory(db, memory)
        if conflicts:
            _list_conflicts(chosen, json=json)
        else:
            _list_page(chosen, query, before=before, limit=limit, json=json)


def _names(what: str, names: list[str], known: tuple[str, ...]) -> tuple[str, ...]:
    from backtalk.errors import UnknownName

    for name in names:
        if name not in known:
            raise UnknownName.among(what, name, known)
    return tuple(names)


def _list_page(
    memory: Memory, query: EntryQuery, *, before: int | None, limit: int, json: bool
) -> None:
    from backtalk.cli.memory_output import say_entries
    from backtalk.cli.output import note, say_json

    page = memory.page(query, before=before, size=limit)
    if json:
        say_json([entry.to_dict() for entry in page.entries])
    elif page.entries:
        say_entries(memory, page.entries, states=tuple(query.states) != ("active",))
    if not page.entries:
        counts = ", ".join(f"{count:,} {name}" for name, count in memory.count(by="state").items())
        note(f"No such entry. In the memory: {counts or 'none'}.")
    if page.next_cursor is not None:
        note(f"There are more: the same command with --before {page.next_cursor} goes on.")
    if questions := len(memory.conflicts()):
        note(f"Open questions: {questions:,}; see `backtalk memory list --conflicts`.")


def _list_conflicts(memory: Memory, *, json: bool) -> None:
    from backtalk.cli.memory_output import scope_in_words
    from backtalk.cli.output import note, say_json, say_table

    questions = memory.conflicts()
    if json:
        say_json(
            [{"holds": one.holds.to_dict(), "other": one.other.to_dict()} for one in questions]
        )
        return
    if not questions:
        note("No question is open.")
        return
    ids = [entry.id for one in questions for entry in (one.holds, one.other)]
    short = memory.short_ids(ids)
    rows = [
        (short[entry.id], label, scope_in_words(entry.scope), ", ".join(entry.people), entry.text)
        for one in questions
        for label, entry in (("holds", one.holds), ("or?", one.other))
    ]
    say_table(("id", "", "applies to", "said by", "text"), rows)
    note("Which one holds? `backtalk memory settle ID` says so.")


@commands.command("show")
def show(
    entry: EntryArgument,
    *,
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Show an entry.

    Examples
    --------
    - `backtalk memory show 0193a5b2`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.memory_output import say_entry
    from backtalk.cli.output import say_json

    with opened(store, project) as db:
        chosen = open_memory(db, memory)
        result = chosen.get(entry)
        if json:
            say_json(result.to_dict())
        else:
            say_entry(chosen, result)


@commands.command("why")
def why(
    entry: EntryArgument,
    *,
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Explain an entry: where it came from, what it does, and what it costs.

    Examples
    --------
    - `backtalk memory why 0193a5b2`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.memory_output import explanation_to_dict, say_explanation
    from backtalk.cli.output import say_json
    from backtalk.memory import explain_entry

    with opened(store, project) as db:
        chosen = open_memory(db, memory)
        explanation = explain_entry(db, chosen, entry)
        if json:
            say_json(explanation_to_dict(explanation))
        else:
            say_explanation(chosen, explanation)


@commands.command("history")
def history(
    entry: Annotated[
        str | None, typer.Argument(help="Entry, by id. Default: changes of all entries.")
    ] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of changes.")] = 50,
    memory: MemoryOption = MEMORY,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """List changes, the newest first; `backtalk memory undo CHANGE` undoes one.

    Examples
    --------
    - `backtalk memory history`
    - `backtalk memory history 0193a5b2`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.memory_output import change_to_dict, say_history
    from backtalk.cli.output import note, say_json

    with opened(store, project) as db:
        chosen = open_memory(db, memory)
        changes = chosen.history(entry, limit=limit)
        if json:
            say_json([change_to_dict(change) for change in changes])
        elif changes:
            say_history(chosen, changes)
        else:
            note("The memory has no changes yet.")
