"""Routes of the page Memory: list, details, edits, forgetting and undo."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from starlette.responses import Response

from backtalk.errors import BacktalkError, NotFound
from backtalk.memory import EntryPage, Memory, MemoryEntry
from backtalk.reports.lessons import describe_scope
from backtalk.serve.errors import APIError
from backtalk.serve.pages.memory import view
from backtalk.serve.pages.memory.filters import ANY_STATE, KINDS, PARAMETERS, STATES, parse_query
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section

section = Section("/memory", "Memory", "view")

_DEFAULT = "memory"
"""Name of the memory that a URL without a name means."""
_PAGE_SIZE = 25
_MAX_TEXT = 4_000
"""Maximum length of an entry's text in characters."""


@section.get()
def listing(request: PageRequest) -> Response:
    """Show the entries that match the filters, newest first."""
    memory = _memory(request)
    parameters = {name: request.query(name).strip() for name in PARAMETERS}
    error, page = "", EntryPage((), None)
    try:
        query = parse_query(parameters)
        if not parameters["conflicts"]:
            page = memory.page(query, before=_before(request), size=_PAGE_SIZE)
    except BacktalkError as problem:
        error = f"{problem}"
    questions = memory.conflicts()
    return request.page(
        "memory/list.html",
        title="Memory",
        status=422 if error else 200,
        memory=memory,
        name_options=[(name, name) for name in _names(request)],
        parameters=parameters,
        narrowed=any(parameters.values()),
        error=error,
        page=page,
        first=not request.query("before"),
        questions=questions,
        counts=memory.count(by="state"),
        effects=view.effects(request, memory) if page.entries else {},
        kinds=[("", "any"), *((name, name) for name in KINDS)],
        states=[
            ("", "active"),
            *((name, name) for name in STATES if name != "active"),
            (ANY_STATE, "any"),
        ],
        describe_scope=describe_scope,
        describe_effect=view.describe_effect,
        effect_interval=view.effect_interval,
    )


def _before(request: PageRequest) -> int | None:
    text = request.query("before")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BacktalkError(f"before: {text!r} is not a number", "Follow the link `Older`")
    return int(text)


@section.get("/{id}")
def show(request: PageRequest) -> Response:
    """Show an entry: provenance, scope, uses, measured effect and history."""
    memory = _memory(request)
    entry = memory.get(request.part("id"))
    effect = view.effects(request, memory).get(entry.id)
    questions = [one for one in memory.conflicts() if entry.id in {one.holds.id, one.other.id}]
    return request.page(
        "memory/detail.html",
        title="Entry of the memory",
        memory=memory,
        entry=entry,
        effect=effect,
        interval=view.effect_interval(effect),
        proof=view.describe_effect(effect),
        scope=describe_scope(entry.scope),
        feedback=view.feedback_of(request, entry),
        replaced=_entries(memory, entry.supersedes),
        replaced_by=_entries(memory, view.superseding(request, memory, entry)),
        questions=questions,
        history=view.history_views(memory.history(entry.id), entry),
    )


@section.post("/{id}/edit", "manage")
def edit(request: PageRequest) -> Response:
    """Change the text or the scope of an entry."""
    text = request.form.text("text").strip()
    if not text or len(text) > _MAX_TEXT:
        raise APIError(422, f"The text of an entry has 1 to {_MAX_TEXT:,} characters")
    memory = _memory(request)
    entry = memory.get(request.part("id"))
    names = ("users", "where", "inside", "outside")
    scope = view.parse_scope(*(request.form.text(name) for name in names))
    if (text, scope) != (entry.text, entry.scope):
        memory.edit(entry.id, text=text, scope=scope, actor=request.name)
        _audit(request, "memory entry edited", entry.id)
    return _back(request, memory, entry.id)


@section.post("/{id}/forget", "manage")
def forget(request: PageRequest) -> Response:
    """Remove the text of an entry permanently."""
    memory = _memory(request)
    entry = memory.get(request.part("id"))
    memory.forget(entry.id, actor=request.name)
    _audit(request, "memory entry forgotten", entry.id)
    return _back(request, memory, entry.id)


@section.post("/{id}/settle", "manage")
def settle(request: PageRequest) -> Response:
    """Let an entry hold over those that contradict it."""
    memory = _memory(request)
    entry = memory.get(request.part("id"))
    memory.settle(entry.id, actor=request.name)
    _audit(request, "memory contradiction settled", entry.id)
    return _back(request, memory, entry.id)


@section.post("/{id}/undo", "manage")
def undo(request: PageRequest) -> Response:
    """Undo a change of an entry."""
    memory = _memory(request)
    entry = memory.get(request.part("id"))
    undo_change(request, memory, entry)
    return _back(request, memory, entry.id)


def undo_change(request: PageRequest, memory: Memory, entry: MemoryEntry) -> None:
    """Undo the change that the form names.

    Parameters
    ----------
    request : PageRequest
        Request with the form.
    memory : Memory
        Memory of the entry.
    entry : MemoryEntry
        Entry.

    Raises
    ------
    APIError
        If it is no change of the entry.
    """
    number = request.form.text("change")
    known = {str(change.number): change.number for change in memory.history(entry.id)}
    if number not in known:
        raise APIError(404, f"The entry {entry.id[:8]} has no change {number!r}. Reload the page")
    memory.undo(known[number], actor=request.name)
    _audit(request, "memory change undone", f"{entry.id}, change {number}")


def _audit(request: PageRequest, action: str, detail: str) -> None:
    request.store.audit_log.append(action, detail, actor=request.name, project=request.project)


def _back(request: PageRequest, memory: Memory, id_: str) -> Response:
    return request.redirect(request.url("/memory", id_, memory=memory_parameter(memory)))


def memory_parameter(memory: Memory) -> str:
    """Return the query parameter that names a memory; empty for the default one."""
    return "" if memory.name == _DEFAULT else memory.name


def _names(request: PageRequest) -> list[str]:
    return request.store.memories.names()


def _memory(request: PageRequest) -> Memory:
    """Return the memory that the URL names.

    Raises
    ------
    NotFound
        If there is none of that name.
    """
    name = request.query("memory")
    if not name:
        return Memory(request.store)
    if name not in _names(request):
        raise NotFound(f"There is no memory {name!r}", "The page Memory lists the memories")
    return Memory(request.store, name)


def _entries(memory: Memory, ids: Iterable[str]) -> list[MemoryEntry]:
    entries = []
    for id_ in ids:
        with suppress(NotFound):
            entries.append(memory.get(id_))
    return entries
