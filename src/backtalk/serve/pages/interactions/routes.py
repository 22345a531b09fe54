"""The page Interactions: what was asked and answered, and what was said about it."""

from __future__ import annotations

from starlette.responses import Response

from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback import KINDS, Interaction
from backtalk.policy import list_policies
from backtalk.serve.errors import APIError
from backtalk.serve.pages.interactions.feedback_view import as_json, feedback_view, words
from backtalk.serve.pages.interactions.filters import NAMES, wanted
from backtalk.serve.pages.interactions.view import response_views
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section
from backtalk.store import Store
from backtalk.store.detail import InteractionDetail, conversation, get_detail
from backtalk.store.search import SearchPage, search

section = Section("/interactions", "Interactions", "view")

_SNIPPET = 220


@section.get()
def listing(visit: PageRequest) -> Response:
    """Show interactions, newest first, those that the address asks for."""
    given = {name: visit.query(name).strip() for name in NAMES}
    if not visit.can("manage"):
        given["deleted"] = ""
    wrong, page = "", SearchPage((), None, full=False, searched=0, oldest=None)
    try:
        page = search(visit.store, wanted(visit.store, given), before=_before(visit))
    except BacktalkError as error:
        wrong = f"{error}"
    policies = list_policies(visit.store)
    return visit.page(
        "interactions/list.html",
        title="Interactions",
        status=422 if wrong else 200,
        given=given,
        narrowed=any(given.values()),
        wrong=wrong,
        page=page,
        rows=[(hit, asked(hit.interaction), answered(hit.interaction)) for hit in page.hits],
        kinds=[(kind, words(kind)) for kind in KINDS],
        policies=policies,
        labels={policy.id: policy.label for policy in policies},
        first=not visit.query("before"),
        words=words,
    )


def _before(visit: PageRequest) -> int | None:
    text = visit.query("before")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BacktalkError(f"before: {text!r} is not the end of a page", "Begin with the newest")
    return int(text)


def asked(interaction: Interaction) -> str:
    """Return the beginning of what was asked last."""
    return _beginning(interaction.prompt[-1].text)


def answered(interaction: Interaction) -> str:
    """Return the beginning of the answer that was shown first."""
    views = response_views(interaction)
    return _beginning(views[0].response.text) if views else ""


def _beginning(text: str) -> str:
    line = " ".join(text[: 2 * _SNIPPET].split())
    return line if len(line) <= _SNIPPET else f"{line[:_SNIPPET]}…"


@section.get("/{id:path}")
def one(visit: PageRequest) -> Response:
    """Show one interaction with all its feedback, and the conversation that it is part of."""
    kept = _kept(visit)
    interaction = kept.interaction
    shown = [said for said in kept.feedback if said.deleted is None or visit.can("manage")]
    policies = list_policies(visit.store)
    turns = [] if kept.deleted is not None else conversation(visit.store, interaction)
    return visit.page(
        "interactions/one.html",
        title=f"Interaction {interaction.id}",
        kept=kept,
        interaction=interaction,
        responses=response_views(interaction),
        feedback=[feedback_view(said, interaction) for said in shown],
        turns=[(turn, asked(turn), answered(turn)) for turn in turns],
        labels={policy.id: policy.label for policy in policies},
        metadata=as_json(interaction.metadata),
    )


def _kept(visit: PageRequest) -> InteractionDetail:
    kept = get_detail(visit.store, visit.part("id"))
    if kept.deleted is not None and not visit.can("manage"):
        raise NotFound(f"The interaction {kept.interaction.id!r} was deleted")
    return kept


@section.post("/{id:path}/delete", "manage")
def delete(visit: PageRequest) -> Response:
    """Hide an interaction, or one piece of its feedback, until it is restored."""
    store, id_, what = _target(visit)
    store.delete(id_)
    return _changed(visit, f"{what} deleted", id_)


@section.post("/{id:path}/restore", "manage")
def restore(visit: PageRequest) -> Response:
    """Show again what was hidden."""
    store, id_, what = _target(visit)
    store.restore(id_)
    return _changed(visit, f"{what} restored", id_)


def _target(visit: PageRequest) -> tuple[Store, str, str]:
    """Return the store, the id of what is to be changed, and what it is."""
    kept = _kept(visit)
    feedback = visit.form.text("feedback")
    if not feedback:
        return visit.store, kept.interaction.id, "interaction"
    if feedback not in {said.feedback.id for said in kept.feedback}:
        raise APIError(404, f"The interaction has no feedback {feedback!r}")
    return visit.store, feedback, "feedback"


def _changed(visit: PageRequest, action: str, id_: str) -> Response:
    visit.store.audit_log.append(action, id_, actor=visit.name, project=visit.project)
    return visit.redirect(visit.url("/interactions", visit.part("id")))
