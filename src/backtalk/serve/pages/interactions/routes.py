"""Routes of the page Interactions: search, details, delete and restore."""

from __future__ import annotations

from starlette.responses import Response

from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback import KINDS, Interaction
from backtalk.feedback.describe import describe_answer, describe_message
from backtalk.policy import list_policies
from backtalk.serve.errors import APIError
from backtalk.serve.pages.interactions.feedback_view import (
    format_metadata,
    kind_name,
    make_feedback_view,
)
from backtalk.serve.pages.interactions.filters import PARAMETERS, parse_query
from backtalk.serve.pages.interactions.view import response_views
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section
from backtalk.store import Store
from backtalk.store.detail import InteractionDetail, conversation, get_detail
from backtalk.store.search import SearchPage, search

section = Section("/interactions", "Interactions", "view")

_SNIPPET = 220


@section.get()
def listing(request: PageRequest) -> Response:
    """Show the interactions that match the filters, newest first."""
    parameters = {name: request.query(name).strip() for name in PARAMETERS}
    if not request.can("manage"):
        parameters["deleted"] = ""
    error, page = "", SearchPage((), None, full=False, searched=0, oldest=None)
    try:
        page = search(
            request.store, parse_query(request.store, parameters), before=_before(request)
        )
    except BacktalkError as problem:
        error = f"{problem}"
    policies = list_policies(request.store)
    return request.page(
        "interactions/list.html",
        title="Interactions",
        status=422 if error else 200,
        parameters=parameters,
        narrowed=any(parameters.values()),
        error=error,
        page=page,
        rows=[
            (hit, prompt_snippet(hit.interaction), answer_snippet(hit.interaction))
            for hit in page.hits
        ],
        kinds=[(kind, kind_name(kind)) for kind in KINDS],
        policies=policies,
        labels={policy.id: policy.label for policy in policies},
        first=not request.query("before"),
        kind_name=kind_name,
    )


def _before(request: PageRequest) -> int | None:
    text = request.query("before")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BacktalkError(f"before: {text!r} is not a page cursor", "Start with the newest")
    return int(text)


def prompt_snippet(interaction: Interaction) -> str:
    """Return the beginning of the last message of the prompt."""
    return _snippet(describe_message(interaction.prompt[-1]))


def answer_snippet(interaction: Interaction) -> str:
    """Return the beginning of the first response shown."""
    views = response_views(interaction)
    if not views:
        return ""
    response = views[0].response
    return _snippet(describe_answer(response.text, response.messages))


def _snippet(text: str) -> str:
    line = " ".join(text[: 2 * _SNIPPET].split())
    return line if len(line) <= _SNIPPET else f"{line[:_SNIPPET]}…"


@section.get("/{id:path}")
def show(request: PageRequest) -> Response:
    """Show an interaction with its feedback and its conversation."""
    detail = _read_detail(request)
    interaction = detail.interaction
    shown = [item for item in detail.feedback if item.deleted is None or request.can("manage")]
    policies = list_policies(request.store)
    turns = [] if detail.deleted is not None else conversation(request.store, interaction)
    return request.page(
        "interactions/detail.html",
        title=f"Interaction {interaction.id}",
        detail=detail,
        interaction=interaction,
        responses=response_views(interaction),
        feedback=[make_feedback_view(item, interaction) for item in shown],
        turns=[(turn, prompt_snippet(turn), answer_snippet(turn)) for turn in turns],
        labels={policy.id: policy.label for policy in policies},
        metadata=format_metadata(interaction.metadata),
    )


def _read_detail(request: PageRequest) -> InteractionDetail:
    detail = get_detail(request.store, request.part("id"))
    if detail.deleted is not None and not request.can("manage"):
        raise NotFound(f"The interaction {detail.interaction.id!r} was deleted")
    return detail


@section.post("/{id:path}/delete", "manage")
def delete(request: PageRequest) -> Response:
    """Soft-delete an interaction or one of its feedback items."""
    store, id_, record_type = _target(request)
    store.delete(id_)
    return _audit_and_redirect(request, f"{record_type} deleted", id_)


@section.post("/{id:path}/restore", "manage")
def restore(request: PageRequest) -> Response:
    """Restore an interaction or one of its feedback items."""
    store, id_, record_type = _target(request)
    store.restore(id_)
    return _audit_and_redirect(request, f"{record_type} restored", id_)


def _target(request: PageRequest) -> tuple[Store, str, str]:
    """Return the store, and the id and type of the record to change."""
    detail = _read_detail(request)
    feedback = request.form.text("feedback")
    if not feedback:
        return request.store, detail.interaction.id, "interaction"
    if feedback not in {item.feedback.id for item in detail.feedback}:
        raise APIError(404, f"The interaction has no feedback {feedback!r}")
    return request.store, feedback, "feedback"


def _audit_and_redirect(request: PageRequest, action: str, id_: str) -> Response:
    request.store.audit_log.append(action, id_, actor=request.name, project=request.project)
    return request.redirect(request.url("/interactions", request.part("id")))
